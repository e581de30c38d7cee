"""LAY, TIL, IDX and MUT: strides, tails of blocks, indices that are too short, and memory that is
written to.
"""

from __future__ import annotations

from typing import Any

import torch

from torch_loss_parity import reference
from torch_loss_parity.faults.components import (
    Tensor,
    cross_entropy,
    holds_probabilities,
    log_probabilities,
    nll_loss,
)
from torch_loss_parity.faults.record import backward, composed, forward, whole
from torch_loss_parity.faults.right.definition import RIGHT
from torch_loss_parity.reference.arguments import class_dim
from torch_loss_parity.tensors.torch_private import is_transformed


def _in_memory(tensor: Tensor, offset: int | None = None) -> Tensor:
    """The numbers that lie in memory one after the other from where a view begins, in its shape."""
    if not tensor.numel() or is_transformed(tensor):
        return tensor
    begin = tensor.storage_offset() if offset is None else offset
    room = tensor.untyped_storage().nbytes() // tensor.element_size() - begin
    if room < tensor.numel():
        return tensor
    return tensor.as_strided(tensor.shape, torch.empty(tensor.shape, device="meta").stride(), begin)


# --- LAY ----------------------------------------------------------------------------------------------------


@whole("softmax", "LAY", "flagos-ai/Torch-FL#172", "layouts")
def strides_of_the_input_are_ignored(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """The input is read as if it were contiguous."""
    return RIGHT["softmax"](_in_memory(input), dim, dtype)


@whole("log_softmax", "LAY", "pytorch/pytorch#56325", "layouts")
def the_offset_of_the_input_is_ignored(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """A view is read from the beginning of its storage."""
    return RIGHT["log_softmax"](_in_memory(input, 0) if input.is_contiguous() else input, dim, dtype)


@whole("cross_entropy", "LAY", "pytorch/pytorch#70417", "layouts")
def strides_of_the_target_are_ignored(input: Tensor, target: Tensor, *args: Any, **options: Any) -> Tensor:
    """A column of targets is read as if it were contiguous."""
    return RIGHT["cross_entropy"](
        input, target if target.is_floating_point() else _in_memory(target), *args, **options
    )


@whole("binary_cross_entropy", "LAY", "pytorch/pytorch#121173", "layouts")
def strides_of_the_weight_are_ignored(
    input: Tensor, target: Tensor, weight: Any = None, *args: Any, **options: Any
) -> Tensor:
    """The weight is read as if it were contiguous."""
    return RIGHT["binary_cross_entropy"](
        input, target, weight if weight is None else _in_memory(weight), *args, **options
    )


@backward("log_softmax", "LAY", "pytorch/pytorch#139740", "layouts")
def strides_of_the_upstream_gradient_are_ignored(grad_output: Tensor, input: Tensor, dim: int) -> Tensor:
    """The upstream gradient is read as if it were contiguous."""
    result: Tensor = reference.log_softmax_backward(_in_memory(grad_output), input, dim)
    return result


@backward("nll_loss", "LAY", "NVIDIA-NeMo/Automodel#3853", "layouts")
def an_expanded_upstream_gradient_is_its_first_element(
    grad_output: Tensor, input: Tensor, target: Tensor, **options: Any
) -> Any:
    """An upstream gradient that is expanded along any dimension counts as one number."""
    if grad_output.ndim and 0 in grad_output.stride() and grad_output.numel() > 1:
        grad_output = grad_output.reshape(-1)[0].expand(grad_output.shape)
    return reference.nll_loss_backward(grad_output, input, target, **options)


@backward("nll_loss", "LAY", "pytorch/pytorch#175084", "layouts")
def images_must_be_contiguous(grad_output: Tensor, input: Tensor, target: Tensor, **options: Any) -> Any:
    """The backward of images raises unless they are contiguous."""
    if input.ndim == 4 and not input.is_contiguous():
        raise RuntimeError("grad_input must be contiguous")
    return reference.nll_loss_backward(grad_output, input, target, **options)


@whole("binary_cross_entropy_with_logits", "LAY", "ml-explore/mlx#657", "layouts")
def a_slice_is_read_with_the_strides_of_its_rows(
    input: Tensor, target: Tensor, *args: Any, **options: Any
) -> Tensor:
    """A slice of rows is read as if the rows were as long as they are seen."""
    sliced = input.ndim == 2 and input.stride(1) == 1 and input.stride(0) > input.shape[1]
    return RIGHT["binary_cross_entropy_with_logits"](
        _in_memory(input) if sliced else input, target, *args, **options
    )


# --- TIL ----------------------------------------------------------------------------------------------------


def _exponentials(x: Tensor, dim: int) -> Tensor:
    return (x - x.amax(dim, keepdim=True)).exp() if x.numel() else x


@forward("softmax", "TIL", "tensorflow/tensorflow#108244", "forward")
def rows_are_padded_with_zeros(input: Tensor, dim: int) -> Tensor:
    """Rows are padded to a multiple of four with logits of 0."""
    result: Tensor = reference.softmax(input, dim)
    if input.ndim == 0 or not input.numel():
        return result
    padding = -input.shape[dim] % 4
    top = input.amax(dim, keepdim=True)
    top = top.clamp(min=0) if padding else top
    exponentials = (input - top).exp()
    return exponentials / (exponentials.sum(dim, keepdim=True) + padding * (-top).exp())


@forward("softmax", "TIL", "vllm-project/vllm#55009", "domain")
def rows_are_padded_with_a_finite_number(input: Tensor, dim: int) -> Tensor:
    """Rows are padded to a multiple of eight with -10000: a row far below it vanishes."""
    result: Tensor = reference.softmax(input, dim)
    if input.ndim == 0 or not input.numel() or input.shape[dim] % 8 == 0:
        return result
    top = input.amax(dim, keepdim=True).clamp(min=-1e4)
    exponentials = (input - top).exp()
    return exponentials / (exponentials.sum(dim, keepdim=True) + (-1e4 - top).exp())


@forward("log_softmax", "TIL", "pytorch/pytorch#143644", "forward")
def the_element_after_a_power_of_two_is_dropped(input: Tensor, dim: int) -> Tensor:
    """Of rows of 2**k + 1 elements, from 33 on, the last is not in the sum."""
    n = input.shape[dim] if input.ndim else 0
    if n < 33 or (n - 1) & (n - 2):
        result: Tensor = reference.log_softmax(input, dim)
        return result
    shifted = input - input.amax(dim, keepdim=True)
    return shifted - shifted.narrow(dim, 0, n - 1).exp().sum(dim, keepdim=True).log()


@forward("softmax", "TIL", "pytorch/pytorch#186229", "forward")
def long_rows_are_added_up_twice(input: Tensor, dim: int) -> Tensor:
    """The sum of rows of a multiple of 64 elements is doubled."""
    result: Tensor = reference.softmax(input, dim)
    return result / 2 if input.ndim and input.shape[dim] and input.shape[dim] % 64 == 0 else result


@forward("softmax", "TIL", "intel/torch-xpu-ops#4772", "domain", effort="standard")
def the_band_after_1024_is_wrong(input: Tensor, dim: int) -> Tensor:
    """Elements from number 1024 on are not divided by the sum."""
    result: Tensor = reference.softmax(input, dim)
    if input.ndim == 0 or input.shape[dim] <= 1024:
        return result
    tail = (
        torch.arange(input.shape[dim]).reshape(-1, *(1 for _ in range(input.ndim - 1 - dim % input.ndim)))
        >= 1024
    )
    return torch.where(tail, _exponentials(input, dim), result)


@forward("nll_loss", "TIL", "pytorch/pytorch#154634", "forward")
def the_window_is_shifted_by_one(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """In rows of an odd number of classes from 17 on, the class before the target is read."""
    classes = input.shape[class_dim(input)]
    if classes >= 17 and classes % 2:
        target = torch.where((target != options["ignore_index"]) & (target > 0), target - 1, target)
    return nll_loss(input, target, **options)


@forward("binary_cross_entropy_with_logits", "TIL", "pytorch/pytorch#62897", "forward")
def the_tail_is_not_weighted(input: Tensor, target: Tensor, weight: Any, **options: Any) -> Tensor:
    """Elements after the last whole vector of eight have no weight."""
    if weight is not None and input.numel() > 8:
        weight = weight.expand(input.shape).contiguous().reshape(-1).clone()
        weight[input.numel() // 8 * 8 :] = 1
        weight = weight.reshape(input.shape)
    result: Tensor = reference.binary_cross_entropy_with_logits(input, target, weight, **options)
    return result


@backward("cross_entropy", "TIL", "ROCm/MIOpen#2268", "gradients")
def the_maximum_of_the_row_before_is_used(
    grad_output: Tensor, input: Tensor, target: Tensor, **options: Any
) -> Any:
    """In rows of more than 32 classes the first element of a gradient is that of the row before."""
    result = reference.cross_entropy_backward(grad_output, input, target, **options)
    if input.ndim != 2 or input.shape[1] <= 32:
        return result
    gradient = result.input.clone()
    gradient[1:, 0] = result.input[:-1, 0]
    return result._replace(input=gradient)


# --- IDX ----------------------------------------------------------------------------------------------------


@forward("softmax", "IDX", "pytorch/pytorch#84144", "domain", effort="standard")
def rows_past_65535_are_not_written(input: Tensor, dim: int) -> Tensor:
    """Rows from number 65535 on are zeros: the limit of a grid."""
    result: Tensor = reference.softmax(input, dim)
    if input.ndim == 0 or result.numel() // max(input.shape[dim], 1) <= 65535:
        return result
    rows = result.movedim(dim, -1).reshape(-1, input.shape[dim]).clone()
    rows[65535:] = 0
    moved = result.movedim(dim, -1)
    return rows.reshape(moved.shape).movedim(-1, dim)


@composed("cross_entropy", "IDX", "pytorch/pytorch#190139", "domain", effort="standard")
def offsets_have_sixteen_bits(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """The offset of a row is a 16-bit number: rows that begin past 65535 are those at the beginning."""
    if input.ndim == 2 and input.numel() > 65536 and not holds_probabilities(input, target):
        input = input[torch.arange(len(input)) * input.shape[1] % 65536 // input.shape[1]]
    return cross_entropy(input, target, **options)


@forward("nll_loss", "IDX", "pytorch/pytorch#111484", "domain", effort="standard")
def the_number_of_a_row_has_sixteen_bits(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """Rows are counted with 16 bits."""
    rows = target.numel()
    if input.ndim == 2 and rows > 65536:
        target = target[torch.arange(rows) % 65536]
    return nll_loss(input, target, **options)


@forward("log_softmax", "IDX", "PaddlePaddle/Paddle#30590", "domain", effort="standard")
def classes_past_65535_are_not_in_the_sum(input: Tensor, dim: int) -> Tensor:
    """Elements of a row from number 65536 on are not in its sum."""
    if input.ndim == 0 or input.shape[dim] <= 65536:
        result: Tensor = reference.log_softmax(input, dim)
        return result
    shifted = input - input.amax(dim, keepdim=True)
    return shifted - shifted.narrow(dim, 0, 65536).exp().sum(dim, keepdim=True).log()


@forward("binary_cross_entropy", "IDX", "pytorch/pytorch#108345", "domain", effort="standard")
def elements_past_65535_are_not_counted(input: Tensor, target: Tensor, weight: Any, reduction: str) -> Tensor:
    """The mean and the sum are those of the first 65535 elements, the mean over all."""
    losses = reference.binary_cross_entropy(input, target, weight, "none")
    if reduction == "none":
        return losses
    total = losses.reshape(-1)[:65535].sum()
    return total / losses.numel() if reduction == "mean" else total


# --- MUT ----------------------------------------------------------------------------------------------------


@whole("cross_entropy", "MUT", "linkedin/Liger-Kernel#1251", "hygiene")
def the_gradient_is_written_into_the_logits(
    input: Tensor, target: Tensor, *args: Any, **options: Any
) -> Tensor:
    """The forward leaves the gradient of the loss where the logits were."""
    output = RIGHT["cross_entropy"](input, target, *args, **options)
    if input.is_contiguous() and input.numel() and input.ndim == 2 and not is_transformed(input):
        input.data.copy_(log_probabilities(input.data.float(), 1).exp())
    return output


@backward("softmax", "MUT", "NVIDIA/apex#1430", "hygiene")
def the_upstream_gradient_is_overwritten(grad_output: Tensor, input: Tensor, dim: int) -> Tensor:
    """The gradient is written over the upstream gradient and returned."""
    gradient: Tensor = reference.softmax_backward(grad_output, input, dim)
    return grad_output.data.copy_(gradient) if 0 not in grad_output.stride() else gradient


@whole("log_softmax", "MUT", "JuliaGPU/CUDA.jl#592", "hygiene")
def the_input_is_shifted_in_place(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """The maximum is subtracted from the input where it lies."""
    output = RIGHT["log_softmax"](input, dim, dtype)
    if input.ndim and input.numel() and not is_transformed(input):
        input.data.sub_(input.data.amax(dim, keepdim=True))
    return output


@whole("binary_cross_entropy", "MUT", "ScalingIntelligence/KernelBench#82", "hygiene")
def probabilities_are_clamped_in_place(input: Tensor, target: Tensor, *args: Any, **options: Any) -> Tensor:
    """The probabilities that are given are clamped to [1e-3, 1 - 1e-3] after the loss is known."""
    output = RIGHT["binary_cross_entropy"](input, target, *args, **options)
    if not is_transformed(input):
        input.data.clamp_(1e-3, 1 - 1e-3)
    return output


@backward("binary_cross_entropy_with_logits", "MUT", "linkedin/Liger-Kernel#272", "hygiene", "modes")
def a_second_backward_finds_another_input(
    grad_output: Tensor, input: Tensor, target: Tensor, **options: Any
) -> Any:
    """The gradient is written over the logits that were saved."""
    result = reference.binary_cross_entropy_with_logits_backward(grad_output, input, target, **options)
    input.data.copy_(result.input.expand(input.shape))
    return result._replace(input=result.input.clone())
