"""What losses are made of, for faults that get one part wrong: log-probabilities, losses and weights of rows,
reductions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from torch_loss_parity.faults.right.definition import HALVES
from torch_loss_parity.reference.arguments import class_dim
from torch_loss_parity.tensors.torch_private import is_transformed

Tensor = torch.Tensor


def log_probabilities(x: Tensor, dim: int) -> Tensor:
    """log_softmax, shifted by the maximum of each row."""
    if x.numel() == 0:
        return x
    shifted = x - x.amax(dim, keepdim=True)
    return shifted - shifted.exp().sum(dim, keepdim=True).log()


def is_plain_in_rows(input: Tensor, dim: Any, dtype: Any) -> bool:
    """Whether a call of softmax or log_softmax is an eager one of plain numbers, and has a gradient."""
    return (
        input.requires_grad
        and torch.is_grad_enabled()
        and not is_transformed(input)
        and dtype in (None, input.dtype)
        and input.dtype not in HALVES
        and isinstance(dim, int)
        and -input.ndim <= dim < max(input.ndim, 1)
    )


def along_classes(weight: Tensor | None, x: Tensor) -> Tensor:
    """The weight of each class, to broadcast against x."""
    dim = class_dim(x)
    return x.new_ones(()) if weight is None else weight.reshape(-1, *(1 for _ in range(x.ndim - dim - 1)))


@dataclass
class Rows:
    """Index targets: of each row the loss before its weight, the class (0 where ignored), whether it counts,
    and its weight.
    """

    losses: Tensor
    classes: Tensor
    counted: Tensor
    weights: Tensor

    @property
    def weighted(self) -> Tensor:
        """The losses, 0 where ignored."""
        return torch.where(self.counted, self.losses * self.weights, torch.zeros_like(self.losses))

    @property
    def used(self) -> Tensor:
        """The weights, 0 where ignored."""
        return torch.where(self.counted, self.weights, torch.zeros_like(self.weights))


def rows(y: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int) -> Rows:
    """The rows of log-probabilities with class indices."""
    counted = target != ignore_index
    classes = torch.where(counted, target, torch.zeros_like(target)).long()
    if y.shape[class_dim(y)] == 0:
        losses = y.new_zeros(target.shape)
        return Rows(losses, classes, counted, torch.ones_like(losses))
    picked = y.gather(class_dim(y), classes.unsqueeze(class_dim(y))).squeeze(class_dim(y))
    return Rows(-picked, classes, counted, torch.ones_like(picked) if weight is None else weight[classes])


def reduced(losses: Tensor, reduction: str, denominator: Any) -> Tensor:
    """The losses, their sum, or their sum over a denominator."""
    if reduction == "none":
        return losses
    return losses.sum() / denominator if reduction == "mean" else losses.sum()


def holds_probabilities(x: Tensor, target: Tensor) -> bool:
    return x.shape == target.shape


def smoothed(target: Tensor, label_smoothing: float, classes: int) -> Tensor:
    """Probability targets with smoothing."""
    return target * (1 - label_smoothing) + label_smoothing / classes


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
    *,
    denominator: Any = None,
    y: Tensor | None = None,
) -> Tensor:
    """Cross-entropy; with another denominator of the mean over indices, or other log-probabilities, where
    they are given.
    """
    dim = class_dim(input)
    y = log_probabilities(input, dim) if y is None else y
    if holds_probabilities(input, target):
        q = smoothed(target, label_smoothing, input.shape[dim]) * along_classes(weight, input)
        losses = -(y * q).sum(dim)
        return reduced(losses, reduction, losses.numel())
    row = rows(y, target, weight, ignore_index)
    below = row.used.sum() if denominator is None else denominator
    loss = reduced(row.weighted, reduction, below)
    if label_smoothing == 0:
        return loss
    uniform = -(y * along_classes(weight, input)).sum(dim)
    uniform = torch.where(row.counted, uniform, torch.zeros_like(uniform))
    return (1 - label_smoothing) * loss + label_smoothing / input.shape[dim] * reduced(
        uniform, reduction, below
    )


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
    *,
    denominator: Any = None,
) -> Tensor:
    """nll_loss; with another denominator of the mean where it is given."""
    row = rows(input, target, weight, ignore_index)
    return reduced(row.weighted, reduction, row.used.sum() if denominator is None else denominator)


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x))."""
    return x.clamp(min=0) + torch.log1p(torch.exp(-x.abs()))


def weighted(losses: Tensor, weight: Tensor | None) -> Tensor:
    return losses if weight is None else losses * weight


def binary(x: Tensor, target: Tensor, clamp: float = -100.0) -> Tensor:
    """Binary cross-entropy of each element."""
    return -(target * torch.log(x).clamp(min=clamp) + (1 - target) * torch.log1p(-x).clamp(min=clamp))


def softmax(input: Tensor, dim: int) -> Tensor:
    """Softmax, through its logarithm."""
    return log_softmax(input, dim).exp()


def log_softmax(input: Tensor, dim: int) -> Tensor:
    """log_softmax; of a number, 0."""
    return log_probabilities(input, dim) if input.ndim else input - input


def binary_cross_entropy(input: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """binary_cross_entropy."""
    return reduced(weighted(binary(input, target), weight), reduction, input.numel())


def binary_cross_entropy_with_logits(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, pos_weight: Tensor | None
) -> Tensor:
    """binary_cross_entropy_with_logits."""
    losses = weighted(target * softplus(-input), pos_weight) + (1 - target) * softplus(input)
    return reduced(weighted(losses, weight), reduction, input.numel())


WITHOUT_A_FAULT: Mapping[str, Callable[..., Tensor]] = {
    "softmax": softmax,
    "log_softmax": log_softmax,
    "nll_loss": nll_loss,
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "binary_cross_entropy_with_logits": binary_cross_entropy_with_logits,
}
"""The compositions of these parts that are right but for rounding, and for what infinities do to a gradient
of autograd's.
"""
