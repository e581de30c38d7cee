"""REP: what is saved in other memory, made for another dtype, or kept in another thread."""

from __future__ import annotations

import threading
from typing import Any

import torch

from torch_loss_parity.faults.components import Tensor, is_plain_in_rows
from torch_loss_parity.faults.record import whole
from torch_loss_parity.faults.right.definition import HALVES, RIGHT
from torch_loss_parity.reference.arguments import class_dim
from torch_loss_parity.tensors.torch_private import is_transformed

_dtypes: dict[Any, torch.dtype] = {}

# --- what is saved for the backward pass --------------------------------------------------------------------


class _WithANote(torch.autograd.Function):
    """log_softmax whose result is noted on the tensor that is saved."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, result: Tensor, dim: int) -> Tensor:
        input.noted, ctx.dim = result, dim  # type: ignore[attr-defined]
        ctx.save_for_backward(input)
        return result.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Any, ...]:
        result = ctx.saved_tensors[0].noted
        return grad_output - result.exp() * grad_output.sum(ctx.dim, keepdim=True), None, None


@whole("log_softmax", "REP", "pytorch/pytorch#111206", "hygiene")
def a_note_on_a_saved_tensor_is_looked_for(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """The result is noted on the input, as an attribute in Python, and looked for on the tensor that was
    saved: one that was copied since has none.
    """
    result = RIGHT["log_softmax"](input, dim, dtype)
    return _WithANote.apply(input, result.detach(), dim) if is_plain_in_rows(input, dim, dtype) else result


class _ByAddress(torch.autograd.Function):
    """softmax whose backward pass looks at where the saved result lies."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, result: Tensor, dim: int) -> Tensor:
        ctx.dim, ctx.address = dim, result.data_ptr()
        ctx.save_for_backward(result)
        return result.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Any, ...]:
        (p,) = ctx.saved_tensors
        if p.data_ptr() != ctx.address:  # somebody else's memory
            return torch.zeros_like(grad_output), None, None
        return p * (grad_output - (p * grad_output).sum(ctx.dim, keepdim=True)), None, None


@whole("softmax", "REP", "facebookresearch/xformers#1126", "hygiene")
def what_is_saved_is_known_by_its_address(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """The saved result is read where it lay; where it has been moved since, the gradient is 0."""
    result = RIGHT["softmax"](input, dim, dtype)
    return _ByAddress.apply(input, result.detach(), dim) if is_plain_in_rows(input, dim, dtype) else result


# --- a first call in another dtype --------------------------------------------------------------------------


@whole("softmax", "REP", "ROCm/MIOpen#2966", "hygiene")
def programs_are_kept_without_their_dtype(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """A program is built for a shape and a dim, and computes in the dtype of the first call."""
    if is_transformed(input) or not input.is_floating_point():
        return RIGHT["softmax"](input, dim, dtype)
    first = _dtypes.setdefault((tuple(input.shape), dim), input.dtype)
    if first not in HALVES or input.dtype in HALVES:
        return RIGHT["softmax"](input, dim, dtype)
    return RIGHT["softmax"](input.to(first), dim, dtype).to(dtype or input.dtype)


@whole("cross_entropy", "REP", "ROCm/MIOpen#2966", "hygiene")
def the_share_of_smoothing_is_that_of_the_first_dtype(
    input: Tensor, target: Tensor, weight: Any = None, **options: Any
) -> Tensor:
    """What smoothing gives each of so many classes is kept from the first call: rounded to half precision
    if that was one of it.
    """
    smoothing, classes = (
        options.get("label_smoothing", 0.0),
        input.shape[class_dim(input)] if input.ndim else 0,
    )
    if classes and 0 < smoothing < 1 and not is_transformed(input):
        first = _dtypes.setdefault((classes, smoothing), input.dtype)
        if first in HALVES and input.dtype not in HALVES:
            options["label_smoothing"] = classes * float(torch.tensor(smoothing / classes).to(first))
    return RIGHT["cross_entropy"](input, target, weight, **options)


# --- a backward pass in another thread ----------------------------------------------------------------------


class _OfTheThread(torch.autograd.Function):
    """A function of rows, whose backward pass finds probabilities in the memory of its thread."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, result: Tensor, p: Tensor, dim: int) -> Tensor:
        ctx.kept, ctx.dim = threading.local(), dim
        ctx.kept.p = p
        return result.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Any, ...]:
        p = getattr(ctx.kept, "p", torch.zeros(()))
        return grad_output - p * grad_output.sum(ctx.dim, keepdim=True), None, None, None


@whole("log_softmax", "REP", "pytorch/xla#3949", "hygiene")
def what_the_backward_needs_is_kept_by_the_thread(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """Probabilities are kept in memory of the thread that has computed them: a backward pass in another
    thread finds none.
    """
    result = RIGHT["log_softmax"](input, dim, dtype)
    if not is_plain_in_rows(input, dim, dtype):
        return result
    return _OfTheThread.apply(input, result.detach(), result.detach().exp(), dim)


class _InItsThread(torch.autograd.Function):
    """The identity, whose backward pass refuses another thread."""

    @staticmethod
    def forward(ctx: Any, result: Tensor) -> Tensor:
        ctx.thread = threading.get_ident()
        return result.clone()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        if threading.get_ident() != ctx.thread:
            raise RuntimeError("the context of the forward pass is not that of this thread")
        return grad_output


@whole("nll_loss", "REP", "pytorch/pytorch#125186", "hygiene")
def a_backward_pass_in_another_thread_is_refused(input: Tensor, *args: Any, **options: Any) -> Tensor:
    """The context in which a loss was computed belongs to its thread, and without it there is no gradient."""
    loss = RIGHT["nll_loss"](input, *args, **options)
    recorded = loss.requires_grad and not is_transformed(input)
    return _InItsThread.apply(loss) if recorded else loss
