"""A batch of rows with a class each, as kernels of cross_entropy and nll_loss take it: everything flat."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from torch_loss_parity.faults.right.definition import wide

Tensor = torch.Tensor


@dataclass(frozen=True)
class Batch:
    """Rows of numbers, one for each class, and the class of each row.

    Attributes
    ----------
    input : tensor, shape (N, C)
        Logits, or log-probabilities, in the dtype of the caller.
    target : tensor of int64, shape (N)
    weight : tensor, shape (C), or None
    ignore_index, reduction, label_smoothing, z_loss
        As the caller gave them.
    """

    input: Tensor
    target: Tensor
    weight: Tensor | None
    ignore_index: int
    reduction: str
    label_smoothing: float = 0.0
    z_loss: float = 0.0

    @cached_property
    def x(self) -> Tensor:
        """The input in float32 or wider."""
        return wide(self.input)

    @property
    def classes(self) -> int:
        """The number of classes, C."""
        return self.input.shape[1]

    @cached_property
    def counted(self) -> Tensor:
        """Which rows are not ignored, shape (N)."""
        return self.target != self.ignore_index

    @cached_property
    def labels(self) -> Tensor:
        """The class of each row, 0 where it is ignored, shape (N)."""
        return torch.where(self.counted, self.target, torch.zeros_like(self.target))

    @cached_property
    def onehot(self) -> Tensor:
        """Where the class of a row is, shape (N, C); nowhere in an ignored row."""
        along = torch.arange(self.classes, device=self.input.device)
        return (self.labels[:, None] == along) & self.counted[:, None]

    @cached_property
    def class_weights(self) -> Tensor:
        """The weight of each class, 1 unless given, shape (C)."""
        return self.x.new_ones(self.classes) if self.weight is None else wide(self.weight)

    @cached_property
    def weights(self) -> Tensor:
        """The weight of each row's class, 0 where it is ignored, shape (N)."""
        weights = self.class_weights[self.labels]
        return torch.where(self.counted, weights, torch.zeros_like(weights))

    @cached_property
    def denominator(self) -> Tensor:
        """What the mean divides by: the sum of the rows' weights."""
        return self.weights.sum()

    @cached_property
    def rows(self) -> Tensor:
        """The number of rows that are not ignored."""
        return self.counted.sum().to(self.x.dtype)

    @property
    def share(self) -> float:
        """What smoothing gives to each class."""
        return self.label_smoothing / self.classes

    def at_labels(self, array: Tensor) -> Tensor:
        """The element of each row at its class, shape (N)."""
        return array.gather(1, self.labels[:, None]).squeeze(1)

    def where_counted(self, rows: Tensor) -> Tensor:
        """What rows hold, and 0 where they are ignored; shape (N) or (N, C)."""
        counted = self.counted if rows.ndim == 1 else self.counted[:, None]
        return torch.where(counted, rows, torch.zeros_like(rows))

    def upstream(self, grad_output: Tensor) -> Tensor:
        """The upstream gradient of each row, not yet divided by the denominator of a mean: shape (N, 1), or
        a number that all have.
        """
        return grad_output[:, None] if self.reduction == "none" else grad_output
