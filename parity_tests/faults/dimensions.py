"""What is wrong in one dimension, in one order of dimensions, or where two of them are of one size."""

from __future__ import annotations

from typing import Any

import torch

from torch_loss_parity import reference
from torch_loss_parity.faults.components import Tensor
from torch_loss_parity.faults.record import backward, forward

LINEAR = "linear_cross_entropy"


@forward("softmax", "SHP", "tensorflow/tensorflow#14916", "domain")
def the_third_dimension_from_the_right_is_the_second(input: Tensor, dim: int) -> Tensor:
    """Of four dimensions, -3 is taken for -2."""
    result: Tensor = reference.softmax(input, -2 if input.ndim == 4 and dim == -3 else dim)
    return result


@forward("logsumexp", "EMP", "tinygrad/tinygrad#14268", "domain")
def a_row_of_nothing_that_is_kept_is_zero(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """The log-sum-exp of no number, whose dimension is kept, is 0 where it is -inf."""
    result: Tensor = reference.logsumexp(input, dim, keepdim)
    return torch.zeros_like(result) if keepdim and not input.numel() else result


@forward("nll_loss", "SHP", "Oneflow-Inc/oneflow#4808", "domain")
def the_last_two_dimensions_of_a_volume_are_exchanged(
    input: Tensor, target: Tensor, **options: Any
) -> Tensor:
    """Of five dimensions, the last two of the target are exchanged where they are of one size."""
    if input.ndim == 5 and input.shape[-1] == input.shape[-2]:
        target = target.mT
    result: Tensor = reference.nll_loss(input, target, **options)
    return result


@backward("cross_entropy", "LAY", "pytorch/pytorch#64100", "layouts")
def the_gradient_of_a_square_image_is_taken_for_contiguous(
    grad_output: Tensor, input: Tensor, target: Tensor, *args: Any, **options: Any
) -> Any:
    """Logits in channels_last have a gradient in the same order of memory, which is read as if it were
    contiguous where there are as many classes as lines and columns.
    """
    result = reference.cross_entropy_backward(grad_output, input, target, *args, **options)
    square = input.ndim == 4 and len(set(input.shape[1:])) == 1
    if not square or not input.is_contiguous(memory_format=torch.channels_last) or input.is_contiguous():
        return result
    return result._replace(input=result.input.permute(0, 2, 3, 1).contiguous().view(input.shape))


@forward(LINEAR, "LAY", "NVIDIA/TransformerEngine#2746", "layouts")
def a_square_layer_is_read_row_by_row(
    input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Tensor:
    """The transpose of a matrix of as many classes as features is read as it lies in memory."""
    square = linear_weight.ndim == 2 and linear_weight.shape[0] == linear_weight.shape[1]
    if square and not linear_weight.is_contiguous() and linear_weight.mT.is_contiguous():
        linear_weight = linear_weight.mT
    result: Tensor = reference.linear_cross_entropy(input, linear_weight, target, **options)
    return result
