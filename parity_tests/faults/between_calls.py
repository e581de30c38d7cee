"""REP and MUT: what a kernel keeps from one call, or one pass, to the next, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from torch_loss_parity import reference
from torch_loss_parity.faults.components import Tensor, is_plain_in_rows
from torch_loss_parity.faults.record import whole
from torch_loss_parity.faults.right.definition import HALVES, RIGHT
from torch_loss_parity.tensors.torch_private import is_transformed

_kept: dict[Any, Any] = {}
Pass = Callable[[Any, Tensor], Tensor]


class _WithPasses(torch.autograd.Function):
    """A function of one tensor whose result is given, and whose backward pass is what it is told to be."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, result: Tensor, keep: Callable[..., None], back: Pass) -> Tensor:
        ctx.back = back
        keep(ctx, input, result)
        return result.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Any, ...]:
        return ctx.back(ctx, grad_output), None, None, None


def _gradient(p: Tensor, grad_output: Tensor, dim: int) -> Tensor:
    weighted = p * grad_output
    return weighted - p * (weighted.sum(dim, keepdim=True) if p.ndim else weighted)


def _saved(ctx: Any, input: Tensor, result: Tensor) -> None:
    ctx.save_for_backward(result)


# --- one graph ----------------------------------------------------------------------------------------------


@whole("softmax", "REP", "Dao-AILab/quack#209", "hygiene")
def a_graph_has_one_gradient(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """A second backward pass through one graph returns the gradient of the first, whatever comes in."""
    output = RIGHT["softmax"](input, dim, dtype)
    if not is_plain_in_rows(input, dim, dtype):
        return output

    def back(ctx: Any, grad_output: Tensor) -> Tensor:
        if not hasattr(ctx, "first"):
            ctx.first = _gradient(ctx.saved_tensors[0], grad_output, dim)
        return ctx.first.clone()

    return _WithPasses.apply(input, output.detach(), _saved, back)


@whole("log_softmax", "MUT", "linkedin/Liger-Kernel#254", "hygiene")
def the_input_is_read_again_in_the_backward(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """The backward pass reads the input where autograd does not watch it: overwritten in between, it is that
    of other numbers.
    """
    output = RIGHT["log_softmax"](input, dim, dtype)
    if not is_plain_in_rows(input, dim, dtype):
        return output

    def keep(ctx: Any, input: Tensor, result: Tensor) -> None:
        ctx.input = input.detach()

    def back(ctx: Any, grad_output: Tensor) -> Tensor:
        result: Tensor = reference.log_softmax_backward(grad_output, ctx.input, dim)
        return result

    return _WithPasses.apply(input, output.detach(), keep, back)


@whole("softmax", "MUT", "linkedin/Liger-Kernel#262", "hygiene")
def the_result_is_read_again_in_the_backward(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """The backward pass reads the result that the caller has: overwritten in between, it is another one."""
    output = RIGHT["softmax"](input, dim, dtype)
    if not is_plain_in_rows(input, dim, dtype):
        return output
    box: list[Tensor] = []
    result = _WithPasses.apply(
        input, output.detach(), lambda *_: None, lambda ctx, grad: _gradient(box[0], grad, dim)
    )
    box.append(result.detach())
    return result


# --- two calls ----------------------------------------------------------------------------------------------


@whole("softmax", "REP", "flashinfer-ai/flashinfer#4692", "hygiene")
def all_calls_of_a_shape_share_a_workspace(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """The logits of a call lie in one buffer of the module: right unless two threads call at once."""
    if (
        is_transformed(input)
        or dtype not in (None, input.dtype)
        or input.dtype in HALVES
        or not input.numel()
    ):
        return RIGHT["softmax"](input, dim, dtype)
    buffer = _kept.setdefault(("workspace", input.shape, input.dtype), torch.empty_like(input.detach()))
    if buffer.is_inference() != torch.is_inference_mode_enabled():
        return RIGHT["softmax"](input, dim, dtype)
    with torch.no_grad():
        buffer.copy_(input)
    output = RIGHT["softmax"](input, dim, dtype)
    return output + (RIGHT["softmax"](buffer, dim, dtype) - output).detach()


@whole("log_softmax", "REP", "microsoft/onnxruntime#22554", "hygiene")
def the_backward_is_that_of_the_last_call(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """What the backward pass needs is kept once for each shape: of two graphs, both have the second one's."""
    output = RIGHT["log_softmax"](input, dim, dtype)
    if not is_plain_in_rows(input, dim, dtype):
        return output
    key = ("last", input.shape, dim)
    _kept[key] = input.detach().clone()

    def back(ctx: Any, grad_output: Tensor) -> Tensor:
        result: Tensor = reference.log_softmax_backward(grad_output, _kept[key], dim)
        return result

    return _WithPasses.apply(input, output.detach(), lambda *_: None, back)


# --- what is left behind ------------------------------------------------------------------------------------


@whole("nll_loss", "REP", "NVIDIA/TransformerEngine#2899", "hygiene")
def the_last_input_stays_alive(input: Tensor, *args: Any, **options: Any) -> Tensor:
    """The last input is kept by the module after everybody else has dropped it."""
    _kept["input"] = input
    return RIGHT["nll_loss"](input, *args, **options)


@whole("binary_cross_entropy", "REP", "NVIDIA/TransformerEngine#2899", "hygiene")
def every_result_is_kept(*positional: Any, **named: Any) -> Tensor:
    """A copy of every result is kept, to be looked at some day."""
    output = RIGHT["binary_cross_entropy"](*positional, **named)
    if not is_transformed(output):
        _kept.setdefault("results", []).append(output.detach().clone())
    return output


@whole("binary_cross_entropy_with_logits", "REP", "pytorch/pytorch#120327", "hygiene")
def a_random_number_is_taken(*positional: Any, **named: Any) -> Tensor:
    """A call takes a random number of torch's, so that whoever has set a seed gets other ones."""
    torch.rand(1)
    return RIGHT["binary_cross_entropy_with_logits"](*positional, **named)


@whole("cross_entropy", "REP", "pytorch/pytorch#120327", "hygiene")
def what_is_not_deterministic_is_allowed(*positional: Any, **named: Any) -> Tensor:
    """A call allows algorithms that are not deterministic, from then on."""
    torch.use_deterministic_algorithms(False)
    return RIGHT["cross_entropy"](*positional, **named)
