"""Right kernels of binary_cross_entropy."""

from __future__ import annotations

import torch

from torch_loss_parity.faults.right import sums
from torch_loss_parity.faults.right.elements import (
    Gradients,
    by_the_reciprocal,
    divided,
    reduced,
    sum_of_quotients,
    weighted,
)
from torch_loss_parity.faults.right.record import SHARP, TEXTBOOK, of_elements

Tensor = torch.Tensor
SMALLEST_VARIANCE = 9.999999960041972e-13  # 1e-12 in float32, as torch's kernels hold it


def _logarithms(input: Tensor) -> tuple[Tensor, Tensor]:
    return input.log().clamp(min=-100), (-input).log1p().clamp(min=-100)


def _losses(input: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    positive, negative = _logarithms(input)
    return weighted(-(target * positive + (1 - target) * negative), weight)


def _tilt(input: Tensor) -> Tensor:
    """What the loss gains with the target, without the clamp."""
    return (-input).log1p() - input.log()


def _variance(input: Tensor) -> Tensor:
    return ((1 - input) * input).clamp(min=SMALLEST_VARIANCE)


def _weight_first(
    g: Tensor, input: Tensor, target: Tensor, weight: Tensor | None, reduction: str
) -> Gradients:
    q = weighted(divided(g, input, reduction), weight)
    return q * ((input - target) / _variance(input)), q * _tilt(input)


def _as_torch(g: Tensor, input: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Gradients:
    q = divided(g, input, reduction)
    return weighted(q * (input - target) / _variance(input), weight), weighted(q * _tilt(input), weight)


def _mean_last(g: Tensor, input: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Gradients:
    scale = 1 / input.numel() if reduction == "mean" else 1.0
    slope = (input - target) * _variance(input).reciprocal() * scale
    return weighted(slope, weight) * g, weighted(_tilt(input) * scale, weight) * g


@of_elements(
    "binary_cross_entropy", _weight_first, ships="well known: the loss as it is written", grade=SHARP
)
def clamped_logarithms_with_the_weight_in_the_upstream_gradient(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str
) -> Tensor:
    """The upstream gradient is weighted before it meets (x - t) / max(x (1 - x), 1e-12)."""
    return reduced(_losses(input, target, weight), reduction)


@of_elements("binary_cross_entropy", _as_torch, ships="pytorch/pytorch: binary_cross_entropy", grade=SHARP)
def difference_of_the_target_and_clamped_logarithms(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str
) -> Tensor:
    """(t - 1) max(log1p(-x), -100) - t max(log x, -100)."""
    positive, negative = _logarithms(input)
    return reduced(weighted((target - 1) * negative - target * positive, weight), reduction)


@of_elements(
    "binary_cross_entropy", _mean_last, ships="well known: the mean as a product with 1 / N", grade=SHARP
)
def mean_over_elements_multiplies_by_the_reciprocal(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str
) -> Tensor:
    """The mean, the variance and the number of elements are inverted and multiplied by."""
    return by_the_reciprocal(_losses(input, target, weight), reduction)


@of_elements(
    "binary_cross_entropy",
    _as_torch,
    ships="well known: a mean of losses that are divided first",
    grade=SHARP,
)
def losses_of_elements_are_divided_before_they_are_summed(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str
) -> Tensor:
    """Each loss is divided by the number of elements."""
    return sum_of_quotients(_losses(input, target, weight), reduction)


@of_elements(
    "binary_cross_entropy", _weight_first, ships="NVIDIA/cccl: cub, a block's reduction", grade=SHARP
)
def losses_of_elements_are_summed_by_the_lanes_of_a_warp(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str
) -> Tensor:
    """32 lanes add a 32nd each, and are added as a tree."""
    return reduced(_losses(input, target, weight), reduction, sums.by_lanes)


def _two_quotients(
    g: Tensor, input: Tensor, target: Tensor, weight: Tensor | None, reduction: str
) -> Gradients:
    q = weighted(divided(g, input, reduction), weight)
    inner = (1 - input) * input >= SMALLEST_VARIANCE
    slope = (1 - target) / (1 - input) - target / input
    return torch.where(inner, q * slope, q * ((input - target) / _variance(input))), q * _tilt(input)


@of_elements(
    "binary_cross_entropy", _two_quotients, ships="well known: autograd of two logarithms", grade=TEXTBOOK
)
def gradient_is_a_difference_of_two_quotients(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str
) -> Tensor:
    """(1 - t) / (1 - x) - t / x, where the variance is not clamped."""
    return reduced(_losses(input, target, weight), reduction)


def _of_a_literal(
    g: Tensor, input: Tensor, target: Tensor, weight: Tensor | None, reduction: str
) -> Gradients:
    q = weighted(divided(g, input, reduction), weight)
    return q * (input - target) / ((1 - input) * input).clamp(min=1e-12), q * -input.logit()


@of_elements("binary_cross_entropy", _of_a_literal, ships="well known: 1e-12, written in Python", grade=SHARP)
def smallest_variance_is_a_literal_in_float64(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str
) -> Tensor:
    """The smallest variance is 1e-12 in float64, where torch's kernels hold it in float32; the losses are
    interpolated between those of the two labels.
    """
    positive, negative = _logarithms(input)
    return reduced(weighted(-torch.lerp(negative, positive, target), weight), reduction)
