"""Binary losses that break an identity, and little else."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from torch_loss_parity.meta.planted_function import EPSILON, Function

# --- binary losses ------------------------------------------------------------------------------------------


def _reduced(losses: torch.Tensor, weight: Any, reduction: str, *, by_weight: bool = False) -> torch.Tensor:
    losses = losses if weight is None else losses * weight
    if reduction == "mean" and by_weight and weight is not None:
        return losses.sum() / weight.expand(losses.shape).sum()
    return losses.mean() if reduction == "mean" else losses.sum() if reduction == "sum" else losses


def mean_over_weights(operator: str) -> Function:
    """The mean divides by the sum of the weights."""

    def function(
        input: torch.Tensor, target: torch.Tensor, weight: Any = None, reduction: str = "mean", **options: Any
    ) -> torch.Tensor:
        return _reduced(
            getattr(F, operator)(input, target, reduction="none", **options),
            weight,
            reduction,
            by_weight=True,
        )

    return function


def epsilon_in_the_logarithms(operator: str, of_one: float = EPSILON, of_zero: float = EPSILON) -> Function:
    def function(
        input: torch.Tensor,
        target: torch.Tensor,
        weight: Any = None,
        reduction: str = "mean",
        pos_weight: Any = 1.0,
    ) -> torch.Tensor:
        p = input.sigmoid() if operator == "binary_cross_entropy_with_logits" else input
        losses = -(pos_weight * target * (p + of_one).log() + (1 - target) * (1 - p + of_zero).log())
        return _reduced(losses, weight, reduction)

    return function


def epsilon_for_one(operator: str) -> Function:
    """Only the logarithm of positives has an epsilon."""
    return epsilon_in_the_logarithms(operator, of_zero=0.0)


def hard_targets(operator: str) -> Function:
    """Targets are rounded to 0 and 1."""
    return lambda input, target, **options: getattr(F, operator)(
        input, target + (target.round() - target).detach(), **options
    )


def one_weight_for_all(operator: str) -> Function:
    """A weight that broadcasts: its first element serves for all."""

    def function(
        input: torch.Tensor, target: torch.Tensor, weight: Any = None, **options: Any
    ) -> torch.Tensor:
        if weight is not None and weight.shape != input.shape:
            weight = weight.flatten()[0]
        return getattr(F, operator)(input, target, weight=weight, **options)

    return function


def pos_weight_added(
    input: torch.Tensor, target: torch.Tensor, pos_weight: Any = None, **options: Any
) -> torch.Tensor:
    """1 + p t in place of 1 + (p - 1) t."""
    pos_weight = None if pos_weight is None else pos_weight + 1
    return F.binary_cross_entropy_with_logits(input, target, pos_weight=pos_weight, **options)


def pos_weight_of_negatives(
    input: torch.Tensor,
    target: torch.Tensor,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> torch.Tensor:
    losses = F.binary_cross_entropy_with_logits(input, target, reduction="none")
    return _reduced(
        losses if pos_weight is None else losses * (1 + (pos_weight - 1) * (1 - target)), weight, reduction
    )
