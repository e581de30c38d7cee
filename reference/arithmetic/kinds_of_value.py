"""Kinds of value: which results are finite, infinite or nan, and where that is not known.

Note [Kinds of value]
    Non-finite values carry no error: they are compared by kind (finite, infinite, nan). An intermediate
    result that may overflow carries an infinite error: such an element is not decided, and whoever judges
    must say so. What is made of it is not decided either, nor is a non-finite value that an implementation
    may miss: infinity over a sum that may overflow may be nan, and so may a number that may underflow over 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch_loss_parity.reference.arithmetic.rounding import Rounded


def overflows(value: Any, *operands: Any) -> Any:
    """Where numbers give none: what the evaluation does not hold is not known."""
    finite = True
    for operand in operands:
        finite = finite & np.isfinite(operand)
    return finite & ~np.isfinite(value)


def in_doubt(x: Rounded) -> Any:
    """Where it is not known whether an element is finite, infinite or nan."""
    return np.isinf(x.total_error())


def is_nan(x: Rounded) -> Any:
    """Where an element is nan, whatever else is not known."""
    return np.isnan(x.nearest) & ~in_doubt(x)


def either_in_doubt(x: Rounded, y: Rounded, because: Any = False) -> Any:
    """Where the kind of a result is not known, as that of an operand is not, or ``because``; what is made of
    a nan is nan.
    """
    return (in_doubt(x) | in_doubt(y) | because) & ~(is_nan(x) | is_nan(y))


def may_vanish(x: Rounded) -> Any:
    """Where an element that is not 0 for sure may be, and may have either sign."""
    total = x.total_error()
    return (total > 0) & (total >= x.magnitude)


def settled(x: Rounded) -> Any:
    """The total error where a value or a bound is not finite: 0 of every value that is not."""
    magnitude = x.magnitude
    relative = np.where(magnitude == 0, 0.0, x.error.growth * magnitude)
    return np.where(np.isfinite(magnitude), relative + x.error.total_absolute, 0.0)
