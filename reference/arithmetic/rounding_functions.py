"""The array-API functions on `Rounded` arrays: the namespace that ``Rounded.__array_namespace__`` returns.

Only what the definitions need. Structural functions move values and bounds together; elementary functions and
reductions add their own rounding, see the notes in `torch_loss_parity.reference.arithmetic.error`,
`torch_loss_parity.reference.arithmetic.round_once` and
`torch_loss_parity.reference.arithmetic.kinds_of_value`.
"""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from torch_loss_parity.reference.arithmetic import rounding_products, rounding_sums
from torch_loss_parity.reference.arithmetic.associations import Chosen
from torch_loss_parity.reference.arithmetic.error import Error, is_exact
from torch_loss_parity.reference.arithmetic.formats import Arithmetic
from torch_loss_parity.reference.arithmetic.kinds_of_value import in_doubt, overflows
from torch_loss_parity.reference.arithmetic.round_once import round_result
from torch_loss_parity.reference.arithmetic.rounding import Rounded, coerce, evaluated_once
from torch_loss_parity.reference.arithmetic.rounding_operations import absolute_form, largest_of

inf = np.inf
nan = np.nan
int64 = np.dtype(np.int64)


# --- what arrays are ----------------------------------------------------------------------------------------


def isdtype(dtype: Any, kind: str | tuple[str, ...]) -> bool:
    return bool(np.isdtype(np.dtype(dtype), kind))


def astype(x: Rounded, dtype: Any) -> Rounded:
    """A change of kind only (bool or integer to real); the real format is the arithmetic's."""
    if np.dtype(dtype).kind == x.value.dtype.kind:
        return x
    return Rounded(x.value.astype(dtype), x.arithmetic)


def arange(n: int, *, dtype: Any = None, device: Any = None) -> np.ndarray:
    return np.arange(n, dtype=dtype)


def zeros_like(x: Rounded) -> Rounded:
    return Rounded(np.zeros_like(x.value), x.arithmetic)


def ones_like(x: Rounded) -> Rounded:
    return Rounded(np.ones_like(x.value), x.arithmetic)


# --- structure ----------------------------------------------------------------------------------------------


def reshape(x: Rounded, shape: Any) -> Rounded:
    return x.restructured(lambda a: np.reshape(a, shape), keep_shared=False)


def expand_dims(x: Rounded, *, axis: int = 0) -> Rounded:
    return x.restructured(lambda a: np.expand_dims(a, axis), keep_shared=False)


def squeeze(x: Rounded, axis: int) -> Rounded:
    return x.restructured(lambda a: np.squeeze(a, axis), keep_shared=False)


def broadcast_to(x: Rounded, shape: Any) -> Rounded:
    return x.restructured(lambda a: np.broadcast_to(a, shape), keep_shared=len(shape) == x.ndim)


def take(x: Rounded, indices: Any, *, axis: int = 0) -> Rounded:
    where_ = coerce(indices, x.arithmetic).value
    return x.restructured(lambda a: np.take(a, where_, axis=axis), keep_shared=False)


def take_along_axis(x: Rounded, indices: Any, *, axis: int = -1) -> Rounded:
    where_ = coerce(indices, x.arithmetic).value
    # Elements stay in the rows of their unknown.
    same_rows = builtins.all(k.axis % x.ndim == axis % x.ndim for k in x.error.shared)
    return x.restructured(lambda a: np.take_along_axis(a, where_, axis=axis), keep_shared=same_rows)


def where(condition: Any, x: Any, y: Any) -> Rounded:
    arithmetic = next(a.arithmetic for a in (x, y, condition) if isinstance(a, Rounded))
    chosen, x, y = coerce(condition, arithmetic).value, coerce(x, arithmetic), coerce(y, arithmetic)
    value = np.where(chosen, x.value, y.value)
    if value.dtype.kind != "f" or (is_exact(x.error) and is_exact(y.error)):
        return Rounded(value, arithmetic)
    shared = {}
    for unknown in x.error.shared | y.error.shared:
        in_x, in_y = x.error.shared.get(unknown, (0.0, 0.0)), y.error.shared.get(unknown, (0.0, 0.0))
        shared[unknown] = (np.where(chosen, in_x[0], in_y[0]), np.where(chosen, in_x[1], in_y[1]))
    relative = np.where(chosen, x.error.relative, y.error.relative)
    absolute = np.where(chosen, x.error.absolute, y.error.absolute)
    product = Chosen(chosen, x, y) if x.product or y.product else None
    return Rounded(value, arithmetic, Error(relative, absolute, shared)).as_product(product)


matmul = rounding_products.matmul
matrix_transpose = rounding_products.matrix_transpose


# --- decisions ----------------------------------------------------------------------------------------------


def all(x: Rounded) -> Rounded:
    return Rounded(np.all(x.value), x.arithmetic)


def any(x: Rounded) -> Rounded:
    return Rounded(np.any(x.value), x.arithmetic)


def maximum(x: Any, y: Any) -> Rounded:
    """The larger of two: 1-Lipschitz in both, and exactly one of them where the bounds keep them apart."""
    arithmetic = x.arithmetic if isinstance(x, Rounded) else y.arithmetic
    x, y = coerce(x, arithmetic), coerce(y, arithmetic)
    with np.errstate(all="ignore"):
        error_x, error_y = x.total_error(), y.total_error()
        value = np.maximum(x.value, y.value)
        apart_x, apart_y = x.value - error_x > y.value + error_y, y.value - error_y > x.value + error_x
        error = np.where(apart_x, error_x, np.where(apart_y, error_y, np.maximum(error_x, error_y)))
        decided = ~np.isfinite(value) & np.isfinite(error)
        return Rounded(value, arithmetic, Error(0.0, np.where(decided, 0.0, error)))


@evaluated_once
def max(x: Rounded, *, axis: int, keepdims: bool = False) -> Rounded:
    """The largest; it moves no further than the farthest of those that it may be."""
    value = np.max(x.value, axis=axis, keepdims=keepdims)
    if is_exact(x.error):
        return Rounded(value, x.arithmetic)
    return largest_of(x, value, axis, keepdims)


# --- elementary functions -----------------------------------------------------------------------------------


@evaluated_once
def exp(x: Rounded) -> Rounded:
    """An absolute error of the argument is a relative error of the result."""
    with np.errstate(all="ignore"):
        own, shared = absolute_form(x)
        value = np.exp(x.value)
        exact, finite = x.nearest == 0, np.isfinite(x.nearest)
        if np.count_nonzero(exact):
            exact = exact & (x.total_error() == 0)
        doubtful: Any = 0.0
        if not (all_finite := np.count_nonzero(finite) == finite.size):
            own, shared = np.where(finite, own, 0.0), {k: np.where(finite, a, 0.0) for k, a in shared.items()}
            doubtful = np.where(in_doubt(x) & ~finite, np.inf, 0.0)  # absolute: 0 knows no relative error
        own = own + np.where(exact, 0.0, _own_error(x, x.arithmetic.exp_ulps, Arithmetic.exp_ulps))
        error = Error(own, doubtful, {k: (a, 0.0) for k, a in shared.items()})
        if not all_finite:
            exact = exact | ~finite
        charge = 2 * _exp_ulps(x) * x.arithmetic.compute.unit_roundoff

        def doubt() -> Any:
            return in_doubt(x) | overflows(value, x.nearest)

        return round_result(x, value, error, charge, exact=exact, doubt=doubt)


def _own_error(x: Rounded, ulps: float, demanded: float) -> float:
    """The relative error of the evaluation itself: its functions are as accurate as is demanded of everybody,
    whatever a profile promises.
    """
    return 2 * builtins.max(ulps, demanded) * x.arithmetic.evaluation_roundoff_of_functions


def _exp_ulps(x: Rounded) -> Any:
    """How many ulps exp may be off: one number, or one of each element where they grow with the argument."""
    arithmetic, format = x.arithmetic, x.arithmetic.compute
    if not arithmetic.exp_ulps_per_unit:
        return arithmetic.exp_ulps
    # Beyond this, exp is 0 or infinite in the format.
    farthest = np.log(2.0) * (format.max_exponent + format.precision + 1)
    size = np.fmin(x.magnitude + x.total_error(), farthest)
    return arithmetic.exp_ulps + np.floor(arithmetic.exp_ulps_per_unit * size)


@evaluated_once
def log(x: Rounded) -> Rounded:
    """A relative error of the argument is an absolute error of the result."""
    with np.errstate(all="ignore"):
        value = np.log(x.value)
        least = x.magnitude * np.exp(-x.error.total_relative)
        own = x.error.relative - np.log1p(-np.minimum(x.error.total_absolute / least, 1.0))
        exact: Any = ~np.isfinite(value)
        charge: Any = 2 * x.arithmetic.log_ulps * x.arithmetic.compute.unit_roundoff
        if near := x.arithmetic.log_error_near_one:
            total = x.total_error()
            close = (x.nearest + total >= 0.5) & (x.nearest - total <= 2)
            own, charge = own + np.where(close, near, 0.0), np.where(close, 0.0, charge)
        error = Error(
            _own_error(x, x.arithmetic.log_ulps, Arithmetic.log_ulps),
            own,
            {k: (0.0, r) for k, (r, _) in x.error.shared.items()},
        )

        def doubt() -> Any:  # what is 0 within its error has a logarithm that is finite, infinite or nan
            return in_doubt(x) | ((x.nearest == 0) & (x.total_error() > 0))

        return round_result(x, value, error, charge, exact=exact, doubt=doubt)


@evaluated_once
def log1p(x: Rounded) -> Rounded:
    with np.errstate(all="ignore"):
        value = np.log1p(x.value)
        own = -np.log1p(-np.minimum(x.total_error() / (1 + x.nearest), 1.0))
        error = Error(
            _own_error(x, x.arithmetic.log1p_ulps, Arithmetic.log1p_ulps),
            np.where(np.isfinite(value), own, 0.0),
        )
        exact = ~np.isfinite(value) | (x.nearest == 0)
        charge = 2 * x.arithmetic.log1p_ulps * x.arithmetic.compute.unit_roundoff
        return round_result(x, value, error, charge, exact=exact, doubt=lambda: in_doubt(x))


@evaluated_once
def tanh(x: Rounded) -> Rounded:
    """An error of the argument, times the largest slope within it: that of the argument nearest to 0."""
    with np.errstate(all="ignore"):
        value, total, finite = np.tanh(x.value), x.total_error(), np.isfinite(x.nearest)
        e = np.exp(-2 * np.maximum(x.magnitude - total, 0.0))
        slope = 4 * e / (1 + e) ** 2 * (1 + 2.0**-40)  # the magnitude, too, is a float64
        own = np.where(finite, slope * total, np.where(in_doubt(x), np.inf, 0.0))
        error = Error(_own_error(x, x.arithmetic.tanh_ulps, Arithmetic.tanh_ulps), own)
        exact = ~finite | ((x.nearest == 0) & (total == 0))
        charge = 2 * x.arithmetic.tanh_ulps * x.arithmetic.compute.unit_roundoff
        return round_result(x, value, error, charge, exact=exact, doubt=lambda: in_doubt(x))


sum = rounding_sums.sum

__all__ = [name for name in dir() if not name.startswith("_")]
