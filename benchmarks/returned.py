"""What is judged of what a path returned: all of it, or the rows that are picked, as numbers."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch

from torch_loss_parity.benchmarks.buffers import Dataset
from torch_loss_parity.benchmarks.paths import RESULT
from torch_loss_parity.tensors.arrays import widen

WHOLE = 2**16  # elements: up to so many are judged of any result


class Returned(NamedTuple):
    """A result, of whose numbers there are those that are judged, widened exactly; ``kind`` is its class, if
    it is neither a tensor nor an array, and there are no numbers then.
    """

    numbers: np.ndarray
    shape: tuple[int, ...]
    dtype: str
    kind: str = ""

    @classmethod
    def of(cls, value: Any, rows: np.ndarray | None) -> Returned:
        """What a path returned; ``rows`` are those that are judged, None for all."""
        if isinstance(value, Returned):
            return value
        if not isinstance(value, torch.Tensor | np.ndarray | np.generic):
            return cls(np.zeros(0), (), "", type(value).__name__)
        shape, dtype = tuple(value.shape), str(value.dtype)
        if rows is not None and (not shape or shape[0] <= rows[-1]):
            return cls(np.zeros(0), shape, dtype)  # which is wrong, whatever its numbers are
        if isinstance(value, torch.Tensor):
            if rows is not None:
                value = value.detach()[torch.from_numpy(rows).to(value.device)]
            return cls(widen(value), shape, dtype)
        array = np.asarray(value)
        return cls(np.asarray(array if rows is None else array[rows], dtype=np.float64), shape, dtype)

    def wrong(self, shape: tuple[int, ...], dtype: str) -> str:
        """What cannot be compared: another type, shape or dtype than expected; empty where it can be."""
        if self.kind:
            return f"it is a {self.kind}, expected a tensor or an array"
        expected = f"torch.{dtype}" if self.dtype.startswith("torch.") else dtype
        if self.dtype != expected:
            return f"it has dtype {self.dtype}, expected {expected}"
        return "" if self.shape == shape else f"it has shape {self.shape}, expected {shape}"


def picked_rows(dataset: Dataset) -> np.ndarray | None:
    """The rows that are judged of a result as large as the input; None for all, and where the gradient of a
    layer adds up all rows. Their share is a power of two.
    """
    if len(dataset.call.differentiable) > 1:
        return None
    shape = dataset.call.arguments["input"].shape
    count = shape[0]
    while count > 1 and count % 2 == 0 and count * prod(shape[1:]) > WHOLE:
        count //= 2
    if count == shape[0]:
        return None
    return np.sort(dataset.case.generator("rows that are judged").permutation(shape[0])[:count])


def is_as_large(dataset: Dataset, quantity: str) -> bool:
    """Whether a quantity is as large as the input, so that rows of it may be picked."""
    return quantity != RESULT or "reduction" not in dataset.call.arguments
