"""The array-API functions on `Rounded` arrays: the namespace that ``Rounded.__array_namespace__`` returns.

Only what the definitions need. Structural functions move values and bounds together; elementary functions and
reductions add their own rounding, see the notes in `torch_loss_parity.reference.arithmetic.error`,
`torch_loss_parity.reference.arithmetic.round_once` and
`torch_loss_parity.reference.arithmetic.kinds_of_value`.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import numpy as np

from torch_loss_parity.reference.arithmetic import rounding_products
from torch_loss_parity.reference.arithmetic.associations import Chosen, Moved
from torch_loss_parity.reference.arithmetic.double_double import DoubleDouble, nearest
from torch_loss_parity.reference.arithmetic.error import Error, Unknown, is_exact, sum_of_magnitudes
from torch_loss_parity.reference.arithmetic.formats import Arithmetic
from torch_loss_parity.reference.arithmetic.kinds_of_value import in_doubt, is_nan, overflows
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


def restructure(x: Rounded, move: Callable[[Any], Any], *, keep_shared: bool) -> Rounded:
    """Apply ``move`` to the value and to every bound; without ``keep_shared``, shared errors are folded into
    own ones.
    """

    def full(bound: Any) -> Any:
        if isinstance(bound, float):  # of every element, wherever it goes
            return bound
        return move(bound if bound.shape == x.shape else np.broadcast_to(bound, x.shape))

    if keep_shared:
        shared = {k: (full(r), full(a)) for k, (r, a) in x.error.shared.items()}
        error = Error(full(x.error.relative), full(x.error.absolute), shared)
    else:
        error = Error(full(x.error.total_relative), full(x.error.total_absolute))
    product = Moved(x.product, move, x.shape) if x.product else None
    return x.carrying(move(x.value), error).as_product(product)


def reshape(x: Rounded, shape: Any) -> Rounded:
    return restructure(x, lambda a: np.reshape(a, shape), keep_shared=False)


def expand_dims(x: Rounded, *, axis: int = 0) -> Rounded:
    return restructure(x, lambda a: np.expand_dims(a, axis), keep_shared=False)


def squeeze(x: Rounded, axis: int) -> Rounded:
    return restructure(x, lambda a: np.squeeze(a, axis), keep_shared=False)


def broadcast_to(x: Rounded, shape: Any) -> Rounded:
    return restructure(x, lambda a: np.broadcast_to(a, shape), keep_shared=len(shape) == x.ndim)


def take(x: Rounded, indices: Any, *, axis: int = 0) -> Rounded:
    where_ = coerce(indices, x.arithmetic).value
    return restructure(x, lambda a: np.take(a, where_, axis=axis), keep_shared=False)


def take_along_axis(x: Rounded, indices: Any, *, axis: int = -1) -> Rounded:
    where_ = coerce(indices, x.arithmetic).value
    # Elements stay in the rows of their unknown.
    same_rows = builtins.all(k.axis % x.ndim == axis % x.ndim for k in x.error.shared)
    return restructure(x, lambda a: np.take_along_axis(a, where_, axis=axis), keep_shared=same_rows)


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
        if exact.any():
            exact = exact & (x.total_error() == 0)
        doubtful: Any = 0.0
        if not (all_finite := finite.all()):
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


# --- sums ---------------------------------------------------------------------------------------------------


@evaluated_once
def sum(x: Rounded, *, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Rounded:
    """A sum in any order that the arithmetic allows.

    Its error is one unknown for each row (one axis, ``keepdims``).
    """
    if x.value.dtype.kind != "f":
        return Rounded(np.sum(x.value, axis=axis, keepdims=keepdims), x.arithmetic)
    axes = tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else axis
    terms = prod(x.shape[a] for a in axes)
    if terms == 1:  # nothing is added
        return x if keepdims else restructure(x, lambda a: np.squeeze(a, axes), keep_shared=False)
    add = partial(np.add.reduce, axis=axes, keepdims=keepdims)
    along: dict[str, Any] = {"axis": axes, "keepdims": keepdims}
    with np.errstate(all="ignore"):
        finite = np.isfinite(x.nearest)
        all_finite = finite.all()

        def where_finite(bound: Any) -> Any:
            full = bound if np.shape(bound) == x.shape else np.broadcast_to(bound, x.shape)
            return full if all_finite else np.where(finite, full, 0.0)

        magnitude = where_finite(x.magnitude)
        own, coefficients = absolute_form(x)
        unknown = Unknown(axes[0] % x.ndim - x.ndim) if keepdims and len(axes) == 1 else None
        kept = {k: a for k, a in coefficients.items() if unknown is not None and k.axis == unknown.axis}
        own = own + sum_of_magnitudes(a for k, a in coefficients.items() if k not in kept)
        errors = where_finite(own + sum_of_magnitudes(kept.values()))
        at_most = magnitude + errors
        carried = add(where_finite(own))
        kept = {k: add(where_finite(a)) for k, a in kept.items()}

        size = add(magnitude)
        roundoff = x.arithmetic.evaluation_roundoff_of_sums
        over_losses = axis is None
        kept_in = (
            x.arithmetic.total if over_losses and x.arithmetic.total is not None else x.arithmetic.compute
        )
        unit = kept_in.unit_roundoff
        clear, value, absorbed = x.value, add(x.value), add(errors)
        noise: Any = False
        if over_losses and (negligible := magnitude * terms < size * unit * unit / 4).any():
            # A loss far below the others is absorbed by them, as errors are: exp(-256) among integers.
            noise, clear = np.any(negligible & (magnitude > 0)), np.where(negligible, 0.0, x.value)
            value = np.sum(clear, **along) + np.sum(np.where(negligible, x.value, 0.0), **along)
            absorbed = absorbed + np.sum(np.where(negligible, magnitude, 0.0), **along) * (1 + terms * unit)
        smallest = kept_in.smallest_normal if x.arithmetic.flushes_subnormals else 0.0
        exact = _adds_exactly(clear, size, absorbed, unit, smallest, along)
        height = x.arithmetic.total_height if over_losses else None
        rounding = _summation_error(at_most, unit, roundoff, along, height)
        if exact is not None:
            # Rounded back to its value, a partial sum moves with no unknown.
            carried = np.where(exact, absorbed, carried)
            rounding = np.where(exact, noise * size * roundoff, rounding)
        if x.arithmetic.flushes_subnormals and (underflows := size < kept_in.smallest_normal / unit).any():
            lost = terms * kept_in.smallest_normal
            rounding = rounding + np.where(underflows if exact is None else underflows & ~exact, lost, 0.0)
        overflow = np.where(size + carried + rounding >= kept_in.overflow_threshold, np.inf, 0.0)
        error = np.where(np.isfinite(value), carried + rounding + overflow, 0.0)

        shared: dict[Unknown, tuple[Any, Any]] = {
            k: (0.0, a if exact is None else np.where(exact, 0.0, a)) for k, a in kept.items()
        }
        if unknown is not None:
            # Of one sign, the error is relative, and stays so through quotients and logarithms.
            total = np.abs(nearest(value))
            relative = -np.log1p(-error / total)
            one_sign = (total >= size * (1 - unit)) & (error < total)
            shared[unknown] = (np.where(one_sign, relative, 0.0), np.where(one_sign, 0.0, error))
            bound = Error(0.0, 0.0, shared)
        else:
            bound = Error(0.0, error, shared)
        # The total is rounded to the intermediate format, where that is narrower than the one sums are kept
        # in.

        def doubt() -> Any:
            unknown = np.any(np.broadcast_to(in_doubt(x), x.shape), **along) & ~np.any(is_nan(x), **along)
            return unknown | overflows(value, np.where(np.all(finite, **along), 0.0, np.inf))

        return round_result(x, value, bound, 0.0, exact_if_it_fits=True, evaluated_exactly=True, doubt=doubt)


def _summation_error(
    magnitude: Any,
    unit: float,
    roundoff: float,
    along: dict[str, Any],
    height: Callable[[Any], Any] | None = None,
) -> Any:
    """Bound on the roundings of a sum of addends that are at most ``magnitude`` large, ``size`` together; the
    evaluation's own too.

    An addition errs by at most ``unit`` times its result, and by at most either operand. With every addend
    below ``unit * size`` called small, n_large addends take part in at most n_large - 1 additions that cost
    ``unit * size``, and the small ones cost at most what they are (a row stagnates: they are lost). Where the
    order is known, each addend passes through at most ``height(terms)`` additions. The evaluation adds in an
    order of its own, with ``roundoff`` in place of ``unit``.
    """
    add = partial(np.add.reduce, **along)
    positive, size = magnitude > 0, np.add.reduce(magnitude, axis=along["axis"], keepdims=True)
    terms, sizes = (
        add(positive, dtype=np.int64),
        size if along["keepdims"] else np.squeeze(size, along["axis"]),
    )

    def by_size(unit: float) -> Any:
        small, n_small, lost = magnitude < unit * size, 0, 0.0
        if small.any() and (small := small & positive).any():
            n_small, lost = add(small, dtype=np.int64), add(np.where(small, magnitude, 0.0))
        growth = 1 / (1 - np.minimum(terms * unit, 1.0))  # second order: the partial sums carry their errors
        return (np.maximum(terms - n_small - 1, 0) * (unit * sizes) + lost * (1 + n_small * unit)) * growth

    evaluation = by_size(roundoff)
    if height is None:
        return by_size(unit) + evaluation
    additions = height(terms)
    by_height = additions * unit / (1 - np.minimum(additions * unit, 1.0)) * sizes
    return np.minimum(by_size(unit), by_height) + evaluation


def _adds_exactly(
    value: Any, size: Any, carried: Any, unit: float, smallest: float, along: dict[str, Any]
) -> Any:
    """Where the addends are multiples of a quantum so coarse that every partial sum, in every order, is a
    number.

    The errors that the addends carry must be below the resolution of the smallest partial sum, one quantum.
    None where no row can be.
    """
    if value.size == 0 or np.all(carried > size * unit / 2):  # a quantum is at most the sum: no need to look
        return None
    high = nearest(value)
    mantissa, exponent = np.frexp(np.where(np.isfinite(high), high, 0.0))
    units = np.ldexp(mantissa, 53)
    whole = units == np.rint(units)
    if isinstance(value, DoubleDouble):
        whole = whole & (value.low == 0)
    integers = np.where(whole, units, 1.0).astype(np.int64)
    # Lowest set bit.
    quantum = np.where(high == 0, np.inf, np.ldexp((integers & -integers).astype(np.float64), exponent - 53))
    coarsest = np.min(quantum, **along)
    return (
        np.all(whole, **along)
        & (size * unit <= coarsest)
        & (coarsest >= smallest)
        & (carried <= coarsest * unit / 2)
    )


__all__ = [name for name in dir() if not name.startswith("_")]
