"""Faults of logsumexp, of several kinds: its shift, infinities, several dimensions, its gradient."""

from __future__ import annotations

from typing import Any

import torch

from torch_loss_parity import reference
from torch_loss_parity.faults.components import Tensor
from torch_loss_parity.faults.record import backward, forward, whole
from torch_loss_parity.faults.right.definition import HALVES, RIGHT
from torch_loss_parity.reference.arguments import normalized_dims

Dims = int | tuple[int, ...]


def _reduced(x: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    """What has kept its dimensions, without them unless they are to be kept."""
    kept = keepdim or not x.ndim
    return x if kept else x.squeeze(normalized_dims(dim, x.ndim))


def _shift(x: Tensor, dim: Dims) -> Tensor:
    """The maximum along the dimensions, and 0 where it is infinite."""
    largest = x.amax(dim, keepdim=True)
    return torch.where(largest.isinf(), torch.zeros_like(largest), largest)


def _of(x: Tensor, dim: Dims, shift: Tensor | float) -> Tensor:
    """The logarithm of the sum of exponentials of what is shifted, before the shift is added."""
    return (x - shift).exp().sum(dim, keepdim=True).log()


# --- the result ---------------------------------------------------------------------------------------------


@forward("logsumexp", "STB", "Oneflow-Inc/oneflow#9385", "forward", "domain")
def exponentials_are_added_up_as_they_are(input: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    """log sum exp(x), not shifted: overflows from 89 on, and is -inf below -104."""
    return _reduced(_of(input, dim, 0.0), dim, keepdim)


@forward("logsumexp", "STB", "choderalab/perses#1239", "forward")
def the_shift_is_not_added_again(input: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    """The maximum is subtracted, and is missing from the result."""
    if not input.numel():
        return reference.logsumexp(input, dim, keepdim)
    return _reduced(_of(input, dim, _shift(input, dim)), dim, keepdim)


@forward("logsumexp", "STB", "apple/coremltools#2690", "forward")
def a_sum_beyond_float16_is_lost(input: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    """log sum exp(x), not shifted: 0 where the sum is beyond the largest number of float16."""
    right: Tensor = reference.logsumexp(input, dim, keepdim)
    return torch.where((right > 11.09) & right.isfinite(), torch.zeros_like(right), right)


@forward("logsumexp", "INF", "tinygrad/tinygrad#17822", "semantics")
def a_row_of_minus_infinity_is_nan(input: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    """The maximum is subtracted also where it is -inf: -inf - -inf."""
    if not input.numel():
        return reference.logsumexp(input, dim, keepdim)
    largest = input.amax(dim, keepdim=True)
    shift = torch.where(largest == torch.inf, torch.zeros_like(largest), largest)
    return _reduced(_of(input, dim, shift) + shift, dim, keepdim)


@whole("logsumexp", "EMP", "pytorch/pytorch#91843", "semantics", "domain")
def a_sum_of_nothing_is_refused(input: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """Without elements there is no maximum, and an error."""
    if not input.numel():
        raise RuntimeError("amax(): Expected reduction dim to be specified for input.numel() == 0")
    return RIGHT["logsumexp"](input, dim, keepdim)


@whole("logsumexp", "SHP", "roastduck/FreeTensor#531", "forward")
def no_dimension_is_kept(input: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """Dimensions are reduced away, whatever keepdim says."""
    return RIGHT["logsumexp"](input, dim, False)


@forward("logsumexp", "SHP", "pytorch/pytorch#8762", "domain")
def the_shift_is_added_across_rows(input: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    """Of a square of rows, the maximum of another row is added: that of the last dimension but one."""
    axes = normalized_dims(dim, input.ndim)
    square = input.ndim == 2 and input.shape[0] == input.shape[1] > 1 and len(axes) == 1 and not keepdim
    if not square:
        return reference.logsumexp(input, dim, keepdim)
    shift = _shift(input, dim)
    return _reduced(_of(input, dim, shift) + _shift(input, 1 - axes[0]).T.reshape(shift.shape), dim, keepdim)


@forward("logsumexp", "SHP", "scipy/scipy#3518", "forward")
def the_shift_is_that_of_the_first_of_several_dims(input: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    """Of several dimensions, the sum is taken along all, the maximum along the first; the largest is
    added.
    """
    axes = normalized_dims(dim, input.ndim)
    if len(axes) < 2 or not input.numel():
        return reference.logsumexp(input, dim, keepdim)
    return _reduced(_of(input, dim, _shift(input, axes[0])) + _shift(input, dim), dim, keepdim)


@whole("logsumexp", "ACC", "google-research/last#43", "forward", dtype="float16")
def exponentials_are_added_up_in_half_precision(input: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """The sum of exponentials of half precision is kept in half precision."""
    if input.dtype not in HALVES or not input.numel() or input.requires_grad or not input.ndim:
        return RIGHT["logsumexp"](input, dim, keepdim)
    shift = _shift(input.float(), dim)
    total = (input.float() - shift).exp().to(input.dtype).sum(dim, keepdim=True)
    return _reduced((total.float().log() + shift).to(input.dtype), dim, keepdim)


# --- the gradient -------------------------------------------------------------------------------------------


def _kept(grad_output: Tensor, input: Tensor, dim: Dims) -> Tensor:
    """The upstream gradient, to broadcast against the input."""
    axes = normalized_dims(dim, input.ndim)
    return grad_output.reshape([1 if axis in axes else size for axis, size in enumerate(input.shape)])


@backward("logsumexp", "UPG", "microsoft/DirectML#739", "gradients")
def the_gradient_is_the_probability(grad_output: Tensor, input: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    """The upstream gradient is taken for 1."""
    result: Tensor = reference.logsumexp_backward(torch.ones_like(grad_output), input, dim, keepdim)
    return result


@backward("logsumexp", "UPG", "elixir-nx/nx#1470", "gradients")
def the_shift_has_a_gradient_of_its_own(
    grad_output: Tensor, input: Tensor, dim: Dims, keepdim: bool
) -> Tensor:
    """The maximum is a constant where it is subtracted, and none where it is added: its gradient is left
    over.
    """
    result: Tensor = reference.logsumexp_backward(grad_output, input, dim, keepdim)
    if not input.numel() or not input.ndim:
        return result
    largest = input == input.amax(dim, keepdim=True)
    return result + _kept(grad_output, input, dim) * largest / largest.sum(dim, keepdim=True)


@backward("logsumexp", "UPG", "tensorflow/tensorflow#127232", "semantics")
def the_gradient_of_ties_goes_to_the_first(
    grad_output: Tensor, input: Tensor, dim: Dims, keepdim: bool
) -> Tensor:
    """Where two numbers are equal, the first has the gradient, as of a maximum."""
    result: Tensor = reference.logsumexp_backward(grad_output, input, dim, keepdim)
    axes = normalized_dims(dim, input.ndim)
    if not input.ndim or len(axes) > 1 or input.shape[axes[0]] < 2:
        return result
    tied = (input == input.select(axes[0], 0).unsqueeze(axes[0])).all(axes[0], keepdim=True)
    first = torch.zeros_like(input)
    first.select(axes[0], 0).fill_(1.0)
    return torch.where(tied, first * _kept(grad_output, input, dim), result)


@backward("logsumexp", "INF", "pytorch/pytorch#31829", "semantics")
def the_gradient_of_a_row_of_minus_infinity_is_zero(
    grad_output: Tensor, input: Tensor, dim: Dims, keepdim: bool
) -> Tensor:
    """Where nothing is left, the gradient is 0, and not undefined."""
    result: Tensor = reference.logsumexp_backward(grad_output, input, dim, keepdim)
    return torch.where((input == -torch.inf) & result.isnan(), torch.zeros_like(result), result)


@backward("logsumexp", "INF", "JuliaStats/LogExpFunctions.jl#59", "semantics", "gradients")
def a_masked_number_makes_the_gradient_nan(
    grad_output: Tensor, input: Tensor, dim: Dims, keepdim: bool
) -> Tensor:
    """A number of -inf, whose exponential is 0, makes the gradient of its row nan."""
    result: Tensor = reference.logsumexp_backward(grad_output, input, dim, keepdim)
    if not input.ndim:
        return result
    masked = (input == -torch.inf).any(normalized_dims(dim, input.ndim)[0], keepdim=True)
    return torch.where(masked, torch.full_like(result, torch.nan), result)


@backward("logsumexp", "SHP", "tinygrad/tinygrad#14268", "domain", "semantics")
def the_upstream_gradient_of_square_rows_is_turned(
    grad_output: Tensor, input: Tensor, dim: Dims, keepdim: bool
) -> Tensor:
    """Without keepdim the upstream gradient is broadcast as if the first dimension had been summed, where
    that fits.
    """
    if keepdim or not input.ndim or input.shape[1:] != grad_output.shape:
        return reference.logsumexp_backward(grad_output, input, dim, keepdim)
    ones = torch.ones_like(grad_output)
    return grad_output * reference.logsumexp_backward(ones, input, dim, keepdim)


@backward("logsumexp", "ACC", "google-deepmind/optax#1020", "gradients")
def the_gradient_is_from_a_rounded_result(
    grad_output: Tensor, input: Tensor, dim: Dims, keepdim: bool
) -> Tensor:
    """exp(x - y) with the result y rounded to bfloat16."""
    y: Any = reference.logsumexp(input, dim, True)
    return _kept(grad_output, input, dim) * (input - y.bfloat16().to(y.dtype)).exp()
