"""Right kernels of binary_cross_entropy_with_logits: what others make of softplus, and of its derivative."""

from __future__ import annotations

import torch

from torch_loss_parity.faults.right.elements import Gradients, divided, reduced, weighted
from torch_loss_parity.faults.right.record import TEXTBOOK, of_elements

Tensor = torch.Tensor
OPERATOR = "binary_cross_entropy_with_logits"
Weight = Tensor | None
LN_2 = 0.6931471805599453


def _positive(target: Tensor, pos_weight: Weight) -> Tensor:
    return target if pos_weight is None else pos_weight * target


def _logaddexp_with_zero(x: Tensor) -> Tensor:
    return x.clamp(min=0) + x.abs().neg().exp().log1p()


def _exp_of_a_difference(x: Tensor) -> Tensor:
    """exp(x - softplus(x)), an infinite logit replaced by 0 as its softplus is."""
    difference = x - _logaddexp_with_zero(x)
    return torch.where(x == torch.inf, torch.zeros_like(x), difference).exp()


def _through_logaddexp(
    g: Tensor, input: Tensor, target: Tensor, weight: Weight, reduction: str, pos_weight: Weight
) -> Gradients:
    q = weighted(divided(g, input, reduction), weight)
    slope = (1 - target) * _exp_of_a_difference(input)
    slope = slope - _positive(target, pos_weight) * _exp_of_a_difference(-input)
    tilt = _logaddexp_with_zero(-input)
    tilt = (tilt if pos_weight is None else pos_weight * tilt) - _logaddexp_with_zero(input)
    return slope * q, tilt * q


@of_elements(OPERATOR, _through_logaddexp, ships="jax-ml/jax: _logaddexp_jvp, in optax", grade=TEXTBOOK)
def sigmoid_is_exp_of_x_minus_softplus(
    input: Tensor, target: Tensor, weight: Weight, reduction: str, pos_weight: Weight
) -> Tensor:
    """-t logsigmoid(x) - (1 - t) logsigmoid(-x), by logaddexp, whose derivative is exp(x - logaddexp)."""
    losses = _positive(target, pos_weight) * _logaddexp_with_zero(-input)
    return reduced(weighted(losses + (1 - target) * _logaddexp_with_zero(input), weight), reduction)


def _softplus_in_base_2(x: Tensor) -> Tensor:
    return torch.logaddexp2(x * (1 / LN_2), torch.zeros_like(x)) * LN_2


def _sigmoid_in_base_2(x: Tensor) -> Tensor:
    return LN_2 / (1 + torch.exp2(-x * (1 / LN_2))) * (1 / LN_2)


def _through_base_2(
    g: Tensor, input: Tensor, target: Tensor, weight: Weight, reduction: str, pos_weight: Weight
) -> Gradients:
    q = weighted(divided(g, input, reduction), weight)
    slope = (1 - target) * q * _sigmoid_in_base_2(input)
    slope = slope - _positive(target, pos_weight) * q * _sigmoid_in_base_2(-input)
    tilt = _softplus_in_base_2(-input)
    tilt = (tilt if pos_weight is None else pos_weight * tilt) - _softplus_in_base_2(input)
    return slope, tilt * q


@of_elements(
    OPERATOR, _through_base_2, ships="pytorch/pytorch: logaddexp2, tinygrad: logaddexp", grade=TEXTBOOK
)
def softplus_is_logaddexp2_of_a_scaled_logit(
    input: Tensor, target: Tensor, weight: Weight, reduction: str, pos_weight: Weight
) -> Tensor:
    """ln 2 logaddexp2(x / ln 2, 0) of both signs, differentiated by autograd: 1 / ln 2 and ln 2 come back as
    two factors.
    """
    losses = _positive(target, pos_weight) * _softplus_in_base_2(-input)
    return reduced(weighted(losses + (1 - target) * _softplus_in_base_2(input), weight), reduction)


def _less_g_times_the_target(
    g: Tensor, input: Tensor, target: Tensor, weight: Weight, reduction: str, pos_weight: Weight
) -> Gradients:
    q = weighted(divided(g, input, reduction), weight) + torch.zeros_like(input)
    largest = (-input).clamp(min=0)
    first, second = (-largest).exp(), (-input - largest).exp()
    total = first + second
    scaled = q if pos_weight is None else q * (1 + (pos_weight - 1) * target)
    through = scaled / total
    of_largest = scaled - through * first - through * second
    slope = -through * second - torch.where(input <= 0, of_largest, torch.zeros_like(input))
    slope = slope - q * target + q if pos_weight is None else slope + q * (1 - target)
    tilt = -input * q
    if pos_weight is not None:
        tilt = tilt + q * (total.log() + largest) * (pos_weight - 1)
    return slope, tilt


@of_elements(
    OPERATOR,
    _less_g_times_the_target,
    ships="pytorch/pytorch 0.4: binary_cross_entropy_with_logits",
    grade=TEXTBOOK,
)
def logit_less_its_product_plus_two_exponentials(
    input: Tensor, target: Tensor, weight: Weight, reduction: str, pos_weight: Weight
) -> Tensor:
    """x - x t + m + log(exp(-m) + exp(-x - m)), m = max(-x, 0), differentiated by autograd; with pos_weight
    as in 0.4.1.
    """
    largest = (-input).clamp(min=0)
    below = ((-largest).exp() + (-input - largest).exp()).log()
    if pos_weight is None:
        losses = input - input * target + largest + below
    else:
        losses = (1 - target) * input + (1 + (pos_weight - 1) * target) * (largest + below)
    return reduced(weighted(losses, weight), reduction)
