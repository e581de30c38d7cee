"""A fast arithmetic: values in float64, and at least how much of an error rounding allows to each element.

The definitions run on its arrays unchanged, as on those of the rounding arithmetic, whose bound it stays
below.

Note [Below the bound]
    What an element may be off by itself, in the rounding arithmetic, is at least what is charged here: of
    each operation the first-order term. A charge that the rounding arithmetic may not make, since a result
    fits the format or an operand is a power of two, is not made here either. Of what a row shares, each sum
    has an unknown, at most as large as the rounding arithmetic's; of more than a few, the last are taken for
    one, which explains no more than they do. Where the rounding arithmetic folds
    a shared error into own ones, it may be folded here, and nowhere else.

    So a result whose every element is within these errors is within the bound. One that is not is judged by
    the rounding arithmetic: nothing is decided here but that something is right.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Any

import numpy as np

from torch_loss_parity.expectation import low_errors as errors
from torch_loss_parity.expectation.low_errors import NONE, Own, Shared
from torch_loss_parity.expectation.lower_products import matmul as matmul
from torch_loss_parity.expectation.lower_products import matrix_transpose as matrix_transpose
from torch_loss_parity.reference.arithmetic.formats import Arithmetic, Format

inf, nan, int64 = np.inf, np.nan, np.dtype(np.int64)
LOOKED_AT = 8  # addends of a row: if these are multiples of a quantum, all may be
CLOSE_BITS = 1 << 14  # in units of float64: nearer to a number of float32, a result counts as one


def _kept(operation: Callable[..., Any]) -> Callable[..., Any]:
    """An operation whose result is kept beside its first operand: a derivative begins with its definition."""

    @wraps(operation)
    def look_up(x: Any, *others: Any, **options: Any) -> Any:
        if not isinstance(x, Low) or builtins.any(isinstance(other, np.ndarray) for other in others):
            return operation(x, *others, **options)
        ids = (id(other) if isinstance(other, Low) else other for other in others)
        key = (operation, *ids, *options.items())
        entry = x.results.get(key)
        if entry is None:
            entry = x.results[key] = (operation(x, *others, **options), others)  # which keep their ids
        return entry[0]

    return look_up


class Low:
    """Values, and at least how far each may be off."""

    __array_priority__ = 1000.0
    __array_ufunc__ = None
    device = "cpu"

    def __init__(self, value: Any, arithmetic: Arithmetic, own: Own = None, shared: Shared = NONE) -> None:
        self.value, self.arithmetic, self.own, self.shared = np.asarray(value), arithmetic, own, shared
        self.results: dict[Any, Any] = {}

    def __array_namespace__(self, api_version: str | None = None) -> ModuleType:
        return sys.modules[__name__]

    dtype = property(lambda self: self.value.dtype)
    shape = property(lambda self: self.value.shape)
    ndim = property(lambda self: self.value.ndim)
    size = property(lambda self: self.value.size)

    def like(self, value: Any, own: Own = None, shared: Shared = NONE) -> Low:
        return Low(value, self.arithmetic, own, shared)

    @property
    def total(self) -> Own:
        """The own error with the shared ones folded in."""
        own = self.own
        for each in self.shared.values():
            own = errors.plus(own, np.abs(each))
        return own

    @_kept
    def __add__(self, other: Any) -> Low:
        y = _low(other, self)
        own, shared = errors.plus(self.own, y.own), errors.both(self.shared, y.shared)
        return _charged_if_it_does_not_fit(self, self.value + y.value, own, shared)

    @_kept
    def __sub__(self, other: Any) -> Low:
        y = _low(other, self)
        own, shared = (
            errors.plus(self.own, y.own),
            errors.both(self.shared, errors.each(np.negative, y.shared)),
        )
        return _charged_if_it_does_not_fit(self, self.value - y.value, own, shared)

    def __rsub__(self, other: Any) -> Low:
        return _low(other, self) - self

    @_kept
    def __neg__(self) -> Low:
        return self.like(-self.value, self.own, errors.each(np.negative, self.shared))

    @_kept
    def __abs__(self) -> Low:
        sign = np.copysign(1.0, self.value) if self.shared else None
        return self.like(np.abs(self.value), self.own, errors.scaled(self.shared, sign))

    @_kept
    def __mul__(self, other: Any) -> Low:
        y = _low(other, self)
        own = errors.plus(errors.times(self.own, np.abs(y.value)), errors.times(y.own, np.abs(self.value)))
        shared = errors.both(errors.scaled(self.shared, y.value), errors.scaled(y.shared, self.value))
        return _charged_unless_a_power(self, self.value * y.value, own, shared, 1.0, self.value, y.value)

    @_kept
    def __truediv__(self, other: Any) -> Low:
        y = _low(other, self)
        value, size = self.value / y.value, np.abs(y.value)
        own = None if self.own is None else self.own / size
        if y.own is not None:
            own = errors.plus(own, np.abs(value) * (y.own / size))
        shared = errors.each(lambda error: error / y.value, self.shared)
        shared = errors.both(shared, errors.each(lambda error: -value * (error / y.value), y.shared))
        # It may be a reciprocal and a product, and so round twice.
        units = 2 * self.arithmetic.division_ulps + 1
        return _charged_unless_a_power(self, value, own, shared, units, y.value)

    def __rtruediv__(self, other: Any) -> Low:
        return _low(other, self) / self

    __radd__ = __add__
    __rmul__ = __mul__

    def __getitem__(self, key: Any) -> Low:
        return _moved(self, lambda array: array[key])

    def __lt__(self, other: Any) -> Low:
        return self.like(self.value < _low(other, self).value)

    def __le__(self, other: Any) -> Low:
        return self.like(self.value <= _low(other, self).value)

    def __gt__(self, other: Any) -> Low:
        return self.like(self.value > _low(other, self).value)

    def __ge__(self, other: Any) -> Low:
        return self.like(self.value >= _low(other, self).value)

    @_kept
    def __eq__(self, other: Any) -> Low:
        return self.like(self.value == _low(other, self).value)

    def __ne__(self, other: Any) -> Low:  # type: ignore[override]
        return self.like(self.value != _low(other, self).value)

    __hash__ = None  # type: ignore[assignment]

    def __and__(self, other: Any) -> Low:
        return self.like(np.logical_and(self.value, _low(other, self).value))

    def __or__(self, other: Any) -> Low:
        return self.like(np.logical_or(self.value, _low(other, self).value))

    def __invert__(self) -> Low:
        return self.like(~self.value)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __float__(self) -> float:
        return float(self.value)


def _low(x: Any, like: Low) -> Low:
    return x if isinstance(x, Low) else like.like(x)


# --- errors -------------------------------------------------------------------------------------------------


def _charged(x: Low, value: Any, own: Own, units: float, shared: Shared = NONE) -> Low:
    """A result that is off by so many units of roundoff, wherever it is."""
    charge = np.asarray(np.abs(value))
    charge *= units * x.arithmetic.compute.unit_roundoff
    return x.like(value, charge if own is None else charge + own, shared)


def _charged_if_it_does_not_fit(x: Low, value: Any, own: Own, shared: Shared) -> Low:
    """A sum, which is exact where the format holds it."""
    if value.dtype.kind != "f":
        return x.like(value)
    charge = np.asarray(np.abs(value))
    charge *= x.arithmetic.compute.unit_roundoff
    charge *= errors.bits_about(value, 29, CLOSE_BITS) > 2 * CLOSE_BITS
    return x.like(value, charge if own is None else charge + own, shared)


def _charged_unless_a_power(x: Low, value: Any, own: Own, shared: Shared, units: float, *factors: Any) -> Low:
    """A product or a quotient, which is exact where a factor is a power of two and it fits."""
    if value.dtype.kind != "f":
        return x.like(value)
    charge = np.asarray(np.abs(value))
    charge *= units * x.arithmetic.compute.unit_roundoff
    for factor in factors:
        if factor.dtype.kind != "f":
            charge *= 0  # a number of elements, or such
        else:
            charge *= _is_no_power(factor)
    return x.like(value, charge if own is None else charge + own, shared)


def _is_no_power(factor: np.ndarray) -> Any:
    """Where a factor is no power of two, nor next to one."""
    return errors.bits_about(factor, 52, 1 << 28) >= 1 << 29


def stored(x: Low, format: Format) -> Low:
    """As it is written to memory in a format: rounded once, unless it fits."""
    if format.precision >= x.arithmetic.compute.precision:
        return x
    spacing = format.spacing(x.value)
    away = np.abs(format.round(x.value) - x.value)
    charge = np.where(away > 2.0**-15 * spacing, spacing / 2, 0.0)
    return x.like(x.value, errors.plus(x.own, charge), x.shared)


# --- the functions that definitions use ---------------------------------------------------------------------


def _moved(x: Low, move: Callable[[Any], Any], *, keep_shared: bool = False) -> Low:
    """Elements in other places; the shared error is folded in unless they stay in their rows."""
    own, shared = (x.own, x.shared) if keep_shared else (x.total, NONE)

    def moved(error: Any) -> Any:
        return move(np.broadcast_to(error, x.shape))

    return x.like(move(x.value), None if own is None else moved(own), errors.each(moved, shared))


def isdtype(dtype: Any, kind: Any) -> bool:
    return bool(np.isdtype(np.dtype(dtype), kind))


def astype(x: Low, dtype: Any) -> Low:
    return x if np.dtype(dtype) == x.dtype else x.like(x.value.astype(dtype))


def arange(n: int, *, dtype: Any = None, device: Any = None) -> np.ndarray:
    return np.arange(n, dtype=dtype)


def zeros_like(x: Low) -> Low:
    return x.like(np.zeros_like(x.value))


def ones_like(x: Low) -> Low:
    return x.like(np.ones_like(x.value))


def reshape(x: Low, shape: Any) -> Low:
    return _moved(x, lambda array: np.reshape(array, shape))


def expand_dims(x: Low, *, axis: int = 0) -> Low:
    return _moved(x, lambda array: np.expand_dims(array, axis))


def squeeze(x: Low, axis: int) -> Low:
    return _moved(x, lambda array: np.squeeze(array, axis))


def broadcast_to(x: Low, shape: Any) -> Low:
    return _moved(x, lambda array: np.broadcast_to(array, shape), keep_shared=len(shape) == x.ndim)


def take(x: Low, indices: Any, *, axis: int = 0) -> Low:
    at = _low(indices, x).value
    return _moved(x, lambda array: np.take(array, at, axis=axis))


def take_along_axis(x: Low, indices: Any, *, axis: int = -1) -> Low:
    at = _low(indices, x).value
    return _moved(x, lambda array: np.take_along_axis(array, at, axis=axis), keep_shared=True)


def where(condition: Any, x: Any, y: Any) -> Low:
    like = next(each for each in (x, y, condition) if isinstance(each, Low))
    chosen, x, y = _low(condition, like).value, _low(x, like), _low(y, like)
    if y.shape == np.broadcast_shapes(chosen.shape, x.shape, y.shape) and not chosen.any():
        return y
    value = np.where(chosen, x.value, y.value)
    shared = {
        unknown: errors.chosen(chosen, x.shared.get(unknown), y.shared.get(unknown))
        for unknown in {**x.shared, **y.shared}
    }
    return like.like(value, errors.chosen(chosen, x.own, y.own), errors.limited(shared))


def all(x: Low) -> Low:
    return x.like(np.all(x.value))


def any(x: Low) -> Low:
    return x.like(np.any(x.value))


def maximum(x: Any, y: Any) -> Low:
    like = x if isinstance(x, Low) else y
    x, y = _low(x, like), _low(y, like)
    own = None if x.own is None or y.own is None else np.minimum(x.own, y.own)
    return like.like(np.maximum(x.value, y.value), own)


@_kept
def max(x: Low, *, axis: int, keepdims: bool = False) -> Low:
    return x.like(np.max(x.value, axis=axis, keepdims=keepdims))


@_kept
def exp(x: Low) -> Low:
    value = np.exp(x.value)
    charge = np.asarray(value * (2 * x.arithmetic.exp_ulps * x.arithmetic.compute.unit_roundoff))
    charge *= value != 1.0  # exp(0)
    return x.like(value, charge if x.own is None else charge + value * x.own, errors.scaled(x.shared, value))


@_kept
def log(x: Low) -> Low:
    near = x.arithmetic.log_error_near_one
    own = None if x.own is None else x.own / np.abs(x.value)
    shared = errors.each(lambda error: error / x.value, x.shared)
    return _charged(x, np.log(x.value), own, 0.0 if near else 2 * x.arithmetic.log_ulps, shared)


@_kept
def log1p(x: Low) -> Low:
    own = None if x.total is None else x.total / (1 + x.value)
    return _charged(x, np.log1p(x.value), own, 2 * x.arithmetic.log1p_ulps)


@_kept
def tanh(x: Low) -> Low:
    value, finite = np.tanh(x.value), np.isfinite(x.value)
    e = np.exp(-2 * np.abs(x.value))
    slope = 4 * e / (1 + e) ** 2 * (1 - 2.0**-40)
    own = None if x.total is None else np.where(finite, x.total * slope, 0.0)
    charge = np.where(finite, np.abs(value), 0.0) * (
        2 * x.arithmetic.tanh_ulps * x.arithmetic.compute.unit_roundoff
    )
    return x.like(value, errors.plus(own, charge))


@_kept
def sum(x: Low, *, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Low:
    """The error of a sum over one axis that keeps its place is the row's."""
    value = np.sum(x.value, axis=axis, keepdims=keepdims)

    def added(error: Own) -> Own:
        if error is None:
            return None
        return np.sum(np.broadcast_to(error, x.shape), axis=axis, keepdims=keepdims)

    if axis is None or value.dtype.kind != "f" or not x.size:
        return x.like(value, added(x.total))
    axes = (axis,) if isinstance(axis, int) else axis
    rounded = _rounded_in_a_sum(x, axes)
    if not keepdims:
        return x.like(value, errors.plus(added(x.total), np.squeeze(rounded, axes)))
    if len(axes) > 1:
        return x.like(value, errors.plus(added(x.total), rounded))
    return x.like(value, None, {**errors.each(added, x.shared), object(): errors.plus(added(x.own), rounded)})


def _rounded_in_a_sum(x: Low, axes: tuple[int, ...]) -> Any:
    """What the additions of each row round, the small addends and the last one left out; nothing where all
    may be multiples of a quantum so coarse that every partial sum is a number.
    """
    magnitude, unit = np.abs(x.value), x.arithmetic.compute.unit_roundoff
    size = np.sum(magnitude, axis=axes, keepdims=True)
    terms = np.sum(magnitude >= 2 * unit * size, axis=axes, keepdims=True)
    quantum = np.ldexp(1.0, np.frexp(size * unit)[1] - 1)
    some = x.value[(builtins.slice(None),) * (axes[0] % x.ndim) + (builtins.slice(0, LOOKED_AT),)]
    quanta = some / quantum
    exact = np.all(quanta == np.rint(quanta), axis=axes, keepdims=True)
    charge = np.maximum(terms - 1, 0) * (unit * size)
    return np.where(np.isfinite(charge) & ~exact, charge, 0.0)
