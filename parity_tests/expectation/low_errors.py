"""Errors of the fast arithmetic: what each element may be off by itself, and what it shares with its row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np

Own = Any  # the error of each element, an array that broadcasts against the values; None where there is none
# By the sum that a row shares: how far each element is off where that is off by as much as it may be.
Shared = Mapping[object, Any]
NONE: Shared = {}
MOST = 3  # sums that are told apart


def plus(a: Own, b: Own) -> Own:
    """The errors of a sum of two, where None is none."""
    return b if a is None else a if b is None else a + b


def times(error: Own, factor: Any) -> Own:
    """An error times a number."""
    return None if error is None else error * factor


def each(change: Callable[[Any], Any], shared: Shared) -> Shared:
    """What is changed alike for each sum."""
    return {unknown: change(error) for unknown, error in shared.items()} if shared else shared


def scaled(shared: Shared, factor: Any) -> Shared:
    """The errors of a product."""
    return each(lambda error: error * factor, shared)


def both(a: Shared, b: Shared) -> Shared:
    """The shared errors of a sum of two."""
    if not a or not b:
        return a or b
    return limited({unknown: plus(a.get(unknown), b.get(unknown)) for unknown in {**a, **b}})


def limited(shared: Shared) -> Shared:
    """The last ones as one, where there are more than `MOST`."""
    if len(shared) <= MOST:
        return shared
    unknowns = list(shared)
    kept, others = unknowns[: MOST - 1], unknowns[MOST - 1 :]
    return {
        **{each: shared[each] for each in kept},
        others[0]: reduce(plus, (shared[each] for each in others)),
    }


def chosen(first: Any, x: Own, y: Own) -> Own:
    """Those of x where the first is chosen, else those of y."""
    if x is None and y is None:
        return None
    return np.where(first, 0.0 if x is None else x, 0.0 if y is None else y)


def bits_about(value: np.ndarray, bits: int, about: int) -> Any:
    """The lowest bits of the significand of each float64, plus so many: small where they are all 0, or next
    to it on either side. Below the 29 lowest a float32 has its own.
    """
    lowest = np.asarray(value).view(np.int64) + about
    return lowest & ((1 << bits) - 1)
