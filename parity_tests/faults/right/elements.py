"""What kernels of elements are made of: reductions, weights."""

from __future__ import annotations

from typing import Any

import torch

from torch_loss_parity.faults.right import sums

Tensor = torch.Tensor


def weighted(losses: Tensor, weight: Tensor | None) -> Tensor:
    """The losses times their weights, if there are any."""
    return losses if weight is None else losses * weight


def reduced(losses: Tensor, reduction: str, add: sums.Sum = sums.plain) -> Tensor:
    """The losses, their sum, or their sum over their number."""
    if reduction == "none":
        return losses
    total = add(losses.reshape(-1))
    return total / losses.numel() if reduction == "mean" else total


def by_the_reciprocal(losses: Tensor, reduction: str) -> Tensor:
    """The mean is the sum times the reciprocal of the number."""
    total = reduced(losses, "none" if reduction == "none" else "sum")
    return total * (1 / losses.numel()) if reduction == "mean" else total


def sum_of_quotients(losses: Tensor, reduction: str) -> Tensor:
    """The mean is the sum of the losses, each over the number."""
    return reduced(losses / losses.numel(), "sum") if reduction == "mean" else reduced(losses, reduction)


def divided(g: Tensor, input: Tensor, reduction: str) -> Tensor:
    """The upstream gradient of each element: of a mean over their number."""
    return g / input.numel() if reduction == "mean" else g


Gradients = tuple[Any, Any]  # of the input and of the target
