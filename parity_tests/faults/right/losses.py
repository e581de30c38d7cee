"""What kernels with a class for each row are made of: losses of rows, gradients of rows, reductions."""

from __future__ import annotations

from collections.abc import Callable

import torch

from torch_loss_parity.faults.right import sums
from torch_loss_parity.faults.right.batch import Batch
from torch_loss_parity.faults.right.probabilities import shifted, softmax

Tensor = torch.Tensor


def log_softmax(x: Tensor, add: sums.Sum = sums.plain) -> Tensor:
    """The definition's: the shifted logits minus the logarithm of the sum, which ``add`` makes."""
    z = shifted(x)
    return z - add(z.exp()).log().unsqueeze(-1)


def losses(b: Batch, y: Tensor) -> Tensor:
    """The loss of each row from log-probabilities, smoothed and weighted; 0 where it is ignored."""
    hard = -b.weights * b.at_labels(y)
    if b.label_smoothing:
        hard = (1 - b.label_smoothing) * hard - b.share * (b.class_weights * y).sum(1)
    return b.where_counted(hard)


def reduced(b: Batch, rows: Tensor, add: sums.Sum = sums.plain) -> Tensor:
    """The losses of rows, their sum, or their sum over the denominator."""
    if b.reduction == "none":
        return rows
    return add(rows) / b.denominator if b.reduction == "mean" else add(rows)


def by_the_reciprocal(b: Batch, rows: Tensor) -> Tensor:
    """The mean is the sum times the reciprocal of the denominator."""
    if b.reduction == "none":
        return rows
    return rows.sum() * (1 / b.denominator) if b.reduction == "mean" else rows.sum()


def sum_of_quotients(b: Batch, rows: Tensor) -> Tensor:
    """The mean is the sum of the losses, each over the denominator."""
    if b.reduction == "none":
        return rows
    return (rows / b.denominator).sum() if b.reduction == "mean" else rows.sum()


def cross_entropy(b: Batch, add: sums.Sum = sums.plain) -> Tensor:
    """The loss as the definition computes it."""
    return reduced(b, losses(b, log_softmax(b.x, add)))


def divided(b: Batch, g: Tensor) -> Tensor:
    """The upstream gradient of each row: of a mean over the denominator."""
    g = b.upstream(g)
    return g / b.denominator if b.reduction == "mean" else g


def soft_target(b: Batch) -> tuple[Tensor, Tensor]:
    """The smoothed and weighted target of each row, shape (N, C), and its sum, shape (N, 1)."""
    hard = torch.where(b.onehot, (1 - b.label_smoothing) * b.weights[:, None], 0.0)
    if not b.label_smoothing:
        return hard, b.weights[:, None]
    soft = b.where_counted(hard + b.share * b.class_weights)
    mass = (1 - b.label_smoothing) * b.weights + b.share * b.class_weights.sum()
    return soft, b.where_counted(mass)[:, None]


Gradient = Callable[..., Tensor]


def onehot_subtracted(b: Batch, p: Tensor) -> Tensor:
    """(p - onehot), before it is weighted and multiplied by the upstream gradient; smoothed and weighted
    targets are subtracted from p times their sum.
    """
    if not b.label_smoothing:
        return torch.where(b.onehot, p - 1, p) * b.weights[:, None]
    target, mass = soft_target(b)
    return p * mass - target


def textbook(g: Tensor, b: Batch, p: Tensor) -> Tensor:
    """(p - onehot) g / denominator; 0 in ignored rows."""
    return b.where_counted(onehot_subtracted(b, p) * divided(b, g))


def products_first(g: Tensor, b: Batch, p: Tensor) -> Tensor:
    """p g, and g subtracted at the target; 0 in ignored rows."""
    target, mass = soft_target(b)
    q = divided(b, g)
    return b.where_counted(p * (mass * q) - target * q)


def complement(g: Tensor, b: Batch, p: Tensor) -> Tensor:
    """As `textbook`; the element of the target is minus the sum of the other probabilities."""
    if b.label_smoothing:
        return textbook(g, b, p)
    rest = torch.where(b.onehot, torch.zeros_like(p), p)
    d = torch.where(b.onehot, -rest.sum(1, keepdim=True), p)
    return b.where_counted(d * (b.weights[:, None] * divided(b, g)))


def recomputed(gradient: Gradient) -> Gradient:
    """A gradient that takes the probabilities from the logits, in the backward."""

    def backward(g: Tensor, b: Batch) -> Tensor:
        return gradient(g, b, softmax(b.x))

    return backward
