"""LAY, MUT, UPG and REP: faults in the path that a kernel takes for wide rows, or for many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from torch_loss_parity import reference
from torch_loss_parity.faults.components import Tensor
from torch_loss_parity.faults.record import backward, whole
from torch_loss_parity.faults.right.definition import HALVES, RIGHT
from torch_loss_parity.tensors.torch_private import is_transformed

WIDE, MANY = 1024, 512  # from here on the path is another one
ALIGNED = 4  # elements of a vector
_buffers: dict[Any, Tensor] = {}


def _read_from(tensor: Tensor, offset: int) -> Tensor:
    """What lies in memory from ``offset`` on, in the shape of a tensor; a gradient goes to the tensor."""
    lies = torch.nan_to_num(tensor.detach().as_strided((tensor.numel(),), (1,), offset).reshape(tensor.shape))
    return tensor + (lies - tensor.detach())


def _is_wide(input: Tensor) -> bool:
    return (
        not is_transformed(input)
        and input.ndim == 2
        and input.shape[1] > WIDE
        and input.dtype not in HALVES
        and input.is_floating_point()
        and bool(input.isfinite().all())
    )


@whole("softmax", "LAY", "vllm-project/vllm#42684", "layouts")
def wide_rows_are_read_as_if_nothing_lay_between(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """Rows of more than 1024 elements are read one after the other, whatever lies between them."""
    if _is_wide(input) and input.stride(1) == 1 and input.stride(0) != input.shape[1]:
        input = _read_from(input, int(input.storage_offset()))
    return RIGHT["softmax"](input, dim, dtype)


@whole("log_softmax", "LAY", "intel/torch-xpu-ops#3573", "layouts")
def wide_rows_are_read_from_an_aligned_address(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """Rows of more than 1024 elements are read in vectors, from the aligned address before them."""
    offset = int(input.storage_offset())
    if offset % ALIGNED and _is_wide(input) and input.is_contiguous():
        input = _read_from(input, offset - offset % ALIGNED)
    return RIGHT["log_softmax"](input, dim, dtype)


@backward("nll_loss", "UPG", "ROCm/TransformerEngine#623", "layouts")
def of_many_rows_an_expanded_upstream_gradient_is_read_on(
    grad_output: Tensor, *args: Any, **options: Any
) -> Any:
    """Of more than 512 rows the upstream gradient is read as if each had one of its own: where there is one
    for all, what lies behind it, here zeros.
    """
    if grad_output.ndim == 1 and len(grad_output) > MANY and grad_output.stride(0) == 0:
        grad_output = torch.where(torch.arange(len(grad_output)) == 0, grad_output, 0)
    return reference.nll_loss_backward(grad_output, *args, **options)


@backward("binary_cross_entropy_with_logits", "MUT", "NVIDIA/apex#1430", "hygiene")
def a_large_upstream_gradient_is_overwritten(grad_output: Tensor, *args: Any, **options: Any) -> Any:
    """An upstream gradient of more than 1024 elements is where the gradient is kept."""
    gradients = reference.binary_cross_entropy_with_logits_backward(grad_output, *args, **options)
    if grad_output.numel() > WIDE and grad_output.shape == gradients.input.shape:
        grad_output.data.copy_(gradients.input)
    return gradients


class _Kept(torch.autograd.Function):
    """A loss that is known, and its gradient."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, loss: Tensor, back: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.back = back
        return loss.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Any, ...]:
        return ctx.back(grad_output), None, None


@whole("cross_entropy", "MUT", "Dao-AILab/quack#209", "hygiene")
def a_large_gradient_that_is_kept_is_scaled_in_place(
    input: Tensor, target: Tensor, *args: Any, **options: Any
) -> Tensor:
    """The gradient of a mean over wide rows is made with it, and multiplied by the upstream gradient where it
    lies: a second backward pass multiplies it again.
    """
    loss = RIGHT["cross_entropy"](input, target, *args, **options)
    if not (_is_wide(input) and loss.requires_grad) or loss.ndim or target.is_floating_point():
        return loss
    (kept,) = torch.autograd.grad(loss, input)
    return _Kept.apply(input, loss.detach(), kept.mul_)


@whole("softmax", "REP", "ScalingIntelligence/KernelBench#82", "hygiene")
def large_results_lie_in_one_buffer(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """Without gradients, results of more than 1024 elements are handed out of one buffer for each shape."""
    result = RIGHT["softmax"](input, dim, dtype)
    if result.requires_grad or is_transformed(result) or result.numel() <= WIDE:
        return result
    key = (result.shape, result.dtype)
    return _buffers.setdefault(key, torch.empty_like(result)).copy_(result)
