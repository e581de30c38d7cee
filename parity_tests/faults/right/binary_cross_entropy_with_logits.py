"""Right kernels of binary_cross_entropy_with_logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F

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
OPERATOR = "binary_cross_entropy_with_logits"
Weight = Tensor | None
LOG2_E, LN_2 = 1.4426950408889634, 0.6931471805599453


def _softplus(x: Tensor) -> Tensor:
    return x.clamp(min=0) + x.abs().neg().exp().log1p()


def _tilt(input: Tensor, pos_weight: Weight) -> Tensor:
    """What the loss gains with the target."""
    if pos_weight is None:
        return -input
    return pos_weight * _softplus(-input) - _softplus(input)


def _sigmoid_minus_target(
    g: Tensor, input: Tensor, target: Tensor, weight: Weight, reduction: str, pos_weight: Weight
) -> Gradients:
    """(sigmoid(x) - t) w g; with pos_weight, ((1 + (p - 1) t) sigmoid(x) - p t) w g."""
    q = weighted(divided(g, input, reduction), weight)
    if pos_weight is None:
        return (input.sigmoid() - target) * q, _tilt(input, None) * q
    positive = pos_weight * target
    slope = (positive + 1 - target) * input.sigmoid() - positive
    return slope * q, _tilt(input, pos_weight) * q


def _two_sigmoids(
    g: Tensor, input: Tensor, target: Tensor, weight: Weight, reduction: str, pos_weight: Weight
) -> Gradients:
    """((1 - t) sigmoid(x) - p t sigmoid(-x)) w g."""
    q = weighted(divided(g, input, reduction), weight)
    positive = target if pos_weight is None else pos_weight * target
    slope = (1 - target) * input.sigmoid() - positive * (-input).sigmoid()
    return q * slope, q * _tilt(input, pos_weight)


def _weighted_last(
    g: Tensor, input: Tensor, target: Tensor, weight: Weight, reduction: str, pos_weight: Weight
) -> Gradients:
    scale = 1 / input.numel() if reduction == "mean" else 1.0
    slope, tilt = _sigmoid_minus_target(torch.ones_like(g), input, target, None, "sum", pos_weight)
    return weighted(slope * g * scale, weight), weighted(tilt * g * scale, weight)


@of_elements(
    OPERATOR,
    _sigmoid_minus_target,
    ships="tensorflow/tensorflow: sigmoid_cross_entropy_with_logits",
    grade=TEXTBOOK,
)
def max_minus_product_plus_log1p(
    input: Tensor, target: Tensor, weight: Weight, reduction: str, pos_weight: Weight
) -> Tensor:
    """max(x, 0) - x t + log1p(exp(-|x|)); with pos_weight (1 - t) x + (1 + (p - 1) t) softplus(-x)."""
    if pos_weight is None:
        losses = input.clamp(min=0) - input * target + input.abs().neg().exp().log1p()
    else:
        tail = input.abs().neg().exp().log1p() + (-input).clamp(min=0)
        losses = (1 - target) * input + (1 + (pos_weight - 1) * target) * tail
    return reduced(weighted(losses, weight), reduction)


@of_elements(
    OPERATOR, _two_sigmoids, ships="google-deepmind/optax: sigmoid_binary_cross_entropy", grade=SHARP
)
def two_log_sigmoids(
    input: Tensor, target: Tensor, weight: Weight, reduction: str, pos_weight: Weight
) -> Tensor:
    """-t logsigmoid(x) - (1 - t) logsigmoid(-x)."""
    positive = target if pos_weight is None else pos_weight * target
    losses = -positive * F.logsigmoid(input) - (1 - target) * F.logsigmoid(-input)
    return reduced(weighted(losses, weight), reduction)


@of_elements(
    OPERATOR, _sigmoid_minus_target, ships="pytorch/pytorch: binary_cross_entropy_with_logits", grade=TEXTBOOK
)
def one_minus_target_times_x_minus_log_sigmoid(
    input: Tensor, target: Tensor, weight: Weight, reduction: str, pos_weight: Weight
) -> Tensor:
    """(1 - t) x - (1 + (p - 1) t) logsigmoid(x)."""
    below = F.logsigmoid(input)
    losses = (1 - target) * input - (below if pos_weight is None else ((pos_weight - 1) * target + 1) * below)
    return reduced(weighted(losses, weight), reduction)


@of_elements(OPERATOR, _two_sigmoids, ships="well known: t softplus(-x) + (1 - t) softplus(x)", grade=SHARP)
def two_softplus(input: Tensor, target: Tensor, weight: Weight, reduction: str, pos_weight: Weight) -> Tensor:
    """t softplus(-x) + (1 - t) softplus(x); the mean multiplies by the reciprocal."""
    positive = target if pos_weight is None else pos_weight * target
    losses = positive * _softplus(-input) + (1 - target) * _softplus(input)
    return by_the_reciprocal(weighted(losses, weight), reduction)


@of_elements(OPERATOR, _weighted_last, ships="ml-explore/mlx: nn.losses.binary_cross_entropy", grade=TEXTBOOK)
def logaddexp_minus_product(
    input: Tensor, target: Tensor, weight: Weight, reduction: str, pos_weight: Weight
) -> Tensor:
    """logaddexp(0, x) - x t."""
    zero = torch.zeros_like(input)
    if pos_weight is None:
        losses = torch.logaddexp(zero, input) - input * target
    else:
        losses = (1 - target) * torch.logaddexp(zero, input)
        losses = losses + pos_weight * target * torch.logaddexp(zero, -input)
    return reduced(weighted(losses, weight), reduction)


@of_elements(
    OPERATOR, _two_sigmoids, ships="pytorch/pytorch: soft_margin_loss, labels of both signs", grade=SHARP
)
def softplus_of_the_signed_logit(
    input: Tensor, target: Tensor, weight: Weight, reduction: str, pos_weight: Weight
) -> Tensor:
    """Where the target is 0 or 1, softplus of the logit with the sign that is wrong; else two softplus."""
    scale = torch.ones_like(input) if pos_weight is None else pos_weight
    losses = torch.where(
        target == 1,
        scale * _softplus(-input),
        torch.where(
            target == 0,
            _softplus(input),
            scale * target * _softplus(-input) + (1 - target) * _softplus(input),
        ),
    )
    return sum_of_quotients(weighted(losses, weight), reduction)


@of_elements(OPERATOR, _weighted_last, ships="NVIDIA/cccl: cub, a block's reduction", grade=TEXTBOOK)
def losses_of_logits_are_summed_by_the_lanes_of_a_warp(
    input: Tensor, target: Tensor, weight: Weight, reduction: str, pos_weight: Weight
) -> Tensor:
    """32 lanes add a 32nd each, and are added as a tree."""
    positive = target if pos_weight is None else pos_weight * target
    losses = positive * _softplus(-input) + (1 - target) * _softplus(input)
    return reduced(weighted(losses, weight), reduction, sums.by_lanes)


@of_elements(OPERATOR, _two_sigmoids, ships="well known: weights multiply the labels", grade=SHARP)
def weights_multiply_the_terms(
    input: Tensor, target: Tensor, weight: Weight, reduction: str, pos_weight: Weight
) -> Tensor:
    """The weight multiplies t and 1 - t before the softplus."""
    positive, negative = weighted(target, weight), weighted(1 - target, weight)
    positive = positive if pos_weight is None else positive * pos_weight
    losses = positive * _softplus(-input) + negative * _softplus(input)
    return reduced(losses, reduction, sums.in_float64)


def _half_a_tanh(
    g: Tensor, input: Tensor, target: Tensor, weight: Weight, reduction: str, pos_weight: Weight
) -> Gradients:
    q = weighted(divided(g, input, reduction), weight)
    sigmoid = torch.tanh(input * 0.5) * 0.5 + 0.5
    positive = target if pos_weight is None else pos_weight * target
    return (sigmoid * (1 - target) - positive * (1 - sigmoid)) * q, _tilt(input, pos_weight) * q


@of_elements(OPERATOR, _half_a_tanh, ships="openxla/xla: logistic as 0.5 + 0.5 tanh(0.5 x)", grade=TEXTBOOK)
def sigmoid_is_half_a_tanh(
    input: Tensor, target: Tensor, weight: Weight, reduction: str, pos_weight: Weight
) -> Tensor:
    """The gradient's sigmoid is 1/2 + tanh(x / 2) / 2."""
    scale = 1 if pos_weight is None else 1 + (pos_weight - 1) * target
    return reduced(weighted((1 - target) * input + scale * _softplus(-input), weight), reduction)


def _folded_half_a_tanh(
    g: Tensor, input: Tensor, target: Tensor, weight: Weight, reduction: str, pos_weight: Weight
) -> Gradients:
    q = weighted(divided(g, input, reduction), weight)
    scale = 1 if pos_weight is None else 1 + (pos_weight - 1) * target
    return ((1 - target) - scale * (0.5 - torch.tanh(input * 0.5) * 0.5)) * q, _tilt(input, pos_weight) * q


@of_elements(
    OPERATOR, _folded_half_a_tanh, ships="well known: torch's formula, differentiated", grade=TEXTBOOK
)
def positive_weight_is_folded_and_its_sigmoid_half_a_tanh(
    input: Tensor, target: Tensor, weight: Weight, reduction: str, pos_weight: Weight
) -> Tensor:
    """The gradient is (1 - t) - (1 + (p - 1) t) sigmoid(-x), with 1/2 - tanh(x / 2) / 2."""
    scale = 1 if pos_weight is None else 1 + (pos_weight - 1) * target
    return reduced(weighted((1 - target) * input + scale * _softplus(-input), weight), reduction)


def _powers_of_two(
    g: Tensor, input: Tensor, target: Tensor, weight: Weight, reduction: str, pos_weight: Weight
) -> Gradients:
    q = weighted(divided(g, input, reduction), weight)
    sigmoid = 1 / (1 + (input * -LOG2_E).exp2())
    if pos_weight is None:
        return (sigmoid - target) * q, -input * q
    positive = pos_weight * target
    tilt = pos_weight * _softplus_by_exp2(-input) - _softplus_by_exp2(input)
    return ((positive + 1 - target) * sigmoid - positive) * q, tilt * q


def _softplus_by_exp2(x: Tensor) -> Tensor:
    return x.clamp(min=0) + (1 + (x.abs() * -LOG2_E).exp2()).log2() * LN_2


def _subtracted_by_powers_of_two(input: Tensor, target: Tensor, pos_weight: Weight) -> Tensor:
    tail = _softplus_by_exp2(-input)
    tail = tail if pos_weight is None else (1 + (pos_weight - 1) * target) * tail
    return (1 - target) * input + tail


@of_elements(
    OPERATOR,
    _powers_of_two,
    ships="tinygrad/tinygrad: binary_crossentropy_logits, exp and log as exp2 and log2",
    grade=TEXTBOOK,
)
def losses_by_powers_and_logarithms_of_two(
    input: Tensor, target: Tensor, weight: Weight, reduction: str, pos_weight: Weight
) -> Tensor:
    """ln 2 log2(1 + 2**(-|x| log2(e))), and sigmoids of 2**(-x log2(e))."""
    if pos_weight is None:
        losses = _softplus_by_exp2(input) - input * target
    else:
        losses = _subtracted_by_powers_of_two(input, target, pos_weight)
    return reduced(weighted(losses, weight), reduction)


@of_elements(
    OPERATOR,
    _powers_of_two,
    ships="triton-lang/triton: a kernel of torch's formula on tl.exp2 and tl.log2",
    grade=TEXTBOOK,
)
def what_torch_subtracts_by_powers_of_two(
    input: Tensor, target: Tensor, weight: Weight, reduction: str, pos_weight: Weight
) -> Tensor:
    """(1 - t) x + (1 + (p - 1) t) softplus(-x), with ln 2 log2(1 + 2**(-|x| log2(e)))."""
    losses = _subtracted_by_powers_of_two(input, target, pos_weight)
    return reduced(weighted(losses, weight), reduction)
