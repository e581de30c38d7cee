"""Losses of one sample, input of shape (C) and target (), as CUDA's kernel for it evaluates their mean: 0 where
the target is ignored.
"""

from __future__ import annotations

from typing import Any

from torch_loss_parity.expectation.quantity import Quantity
from torch_loss_parity.reference.arguments import namespace
from torch_loss_parity.reference.cross_entropy import cross_entropy
from torch_loss_parity.reference.nll_loss import nll_loss


def nll_loss_of_one_sample(
    input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
) -> Any:
    """nll_loss, and 0 for one sample that is ignored."""
    return _of_one_sample(nll_loss(input, target, weight, ignore_index, reduction), input, target, ignore_index)


def nll_loss_jvp_of_one_sample(
    quantity: Quantity, direction: Any, grad_output: Any, input: Any, **arguments: Any
) -> Any:
    """nll_loss is linear: it is that of the direction."""
    return nll_loss_of_one_sample(direction, **arguments)


def cross_entropy_of_one_sample(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """cross_entropy, and 0 for one sample that is ignored, unless it is smoothed."""
    loss = cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing)
    return loss if label_smoothing else _of_one_sample(loss, input, target, ignore_index)


def _of_one_sample(loss: Any, input: Any, target: Any, ignore_index: int) -> Any:
    if input.ndim != 1:
        return loss
    xp = namespace(input=input)
    return xp.where(target == ignore_index, xp.zeros_like(loss), loss)
