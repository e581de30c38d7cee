"""What a mean divides by: the number of elements, as it is or in the dtype of the input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch_loss_parity.reference.arguments import namespace

Size = Callable[[Any, int], Any]  # of an array and a number of its elements


def exactly(array: Any, count: int) -> Any:
    """The number, as it is."""
    return count


def converted(array: Any, count: int) -> Any:
    """A size that the compiler does not know, in the dtype of the input: 261 is 260 in bfloat16, 65520
    infinite in float16.
    """
    xp = namespace(array=array)
    return xp.zeros_like(xp.sum(array)) + count
