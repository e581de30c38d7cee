"""What is given, read as zero where it is subnormal: an arithmetic with ``flushes_inputs`` may do that.

That a result may be flushed is charged operation by operation, like a rounding. An input is another matter:
the logarithm of a subnormal number is finite and that of zero is not, so a running bound would be infinite,
and excuse anything. But a device reads every subnormal number as zero or none, so there are two results that
are right, and `either` is a bound that holds both.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from torch_loss_parity.reference.arithmetic.double_double import DoubleDouble, nearest
from torch_loss_parity.reference.arithmetic.error import Error
from torch_loss_parity.reference.arithmetic.formats import Format
from torch_loss_parity.reference.arithmetic.rounding import Rounded


def flushed(value: Any, format: Format) -> Any:
    """An array with a zero of the same sign in place of each number that is subnormal in ``format``; the same
    array where there is none.

    What is no array of real numbers is returned as it is. A `Rounded` number may be subnormal within its
    error.
    """
    array = value.value if isinstance(value, Rounded) else value
    if not isinstance(array, np.ndarray | DoubleDouble) or array.dtype.kind != "f":
        return value
    number = nearest(array)
    error = value.total_error() if isinstance(value, Rounded) else 0.0
    subnormal = (number != 0) & (np.abs(number) - error < format.smallest_normal)
    if not subnormal.any():
        return value
    zeros: Any = np.where(subnormal, np.copysign(0.0, number), array)
    return value.carrying(zeros, value.error) if isinstance(value, Rounded) else zeros


def either(bound: Rounded, other: Rounded) -> Rounded:
    """The value of ``bound``, with an error that covers whatever one of two bounds covers."""
    with np.errstate(all="ignore"):
        apart = np.asarray(np.abs(bound.value - other.value), dtype=np.float64)
        of_bound, of_other = bound.total_error(), other.total_error()
        same = (bound.nearest == other.nearest) | (np.isnan(bound.nearest) & np.isnan(other.nearest))
        # One of them is no number, and the other another thing: its kind is not known.
        apart = np.where(same & ~np.isfinite(bound.nearest), 0.0, np.where(np.isnan(apart), np.inf, apart))
        # The value may be put right later, within its own error; so that stays beside how far they are apart.
        more = np.where(apart > 0, apart + of_other, np.maximum(of_other - of_bound, 0.0))
        more = np.where(np.isnan(more), 0.0, more)  # the bound covers everything
        error = bound.error
        return bound.carrying(bound.value, Error(error.relative, error.absolute + more, error.shared))
