"""NumPy's functions on `DoubleDouble` arrays: what ``numpy.exp``, ``numpy.sum``, ``numpy.where`` and the
others call.

Only what the rounding arithmetic, the verdict and the audit need.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import numpy as np

from torch_loss_parity.reference.arithmetic import elementary
from torch_loss_parity.reference.arithmetic.double_double import (
    DoubleDouble,
    holds_float64s,
    moved,
    normal,
    quietly,
)
from torch_loss_parity.reference.arithmetic.error_free import two_sum


@quietly
def exp(x: Any) -> DoubleDouble:
    x = DoubleDouble.of(x)
    high, low = elementary.exp(x.high, x.low)
    return normal(high, np.where(np.isinf(high), 0.0, low))


@quietly
def log(x: Any) -> DoubleDouble:
    x = DoubleDouble.of(x)
    return _usual(elementary.log(x.high, x.low), x.high > 0, x.high, np.log)


@quietly
def log1p(x: Any) -> DoubleDouble:
    x = DoubleDouble.of(x)
    return _usual(elementary.log1p(x.high, x.low), x.high > -1, x.high, np.log1p)


@quietly
def tanh(x: Any) -> DoubleDouble:
    """(1 - e) / (1 + e) with e = exp(-2|x|); near 0, where that cancels, the continued fraction of Lambert,
    x / (1 + x^2 / (3 + x^2 / (5 + ...))), which 11 of its terms determine to 107 bits below 1/4.
    """
    x = DoubleDouble.of(x)
    size = abs(x)
    little = size.high < 0.25
    e = exp(-2 * size)
    far = (1 - e) / (1 + e)
    near = where(little, x, 0.0)
    square = near * near
    fraction: Any = 23.0
    for odd in range(21, 0, -2):
        fraction = odd + square / fraction
    result = where(little, near / fraction, where(x.high < 0, -far, far))
    return DoubleDouble(result.high, np.where(np.isnan(result.high), 0.0, result.low))


def _usual(pair: elementary.Pair, inside: Any, x: Any, function: Any) -> DoubleDouble:
    """A logarithm; outside of where it is a number, and of infinity, what NumPy says: an infinity, or nan."""
    usual = inside & (x < np.inf)
    logarithm = normal(*pair)
    if usual.all():
        return logarithm
    high = np.where(usual, logarithm.high, function(np.where(usual, 1.0, x)))
    return DoubleDouble(high, np.where(usual, logarithm.low, 0.0))


# --- reductions and structure -------------------------------------------------------------------------------


def _along(x: DoubleDouble, axis: Any, keepdims: bool) -> tuple[DoubleDouble, tuple[int, ...]]:
    """The elements that are reduced, along the last axis; and the shape of the result."""
    given = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    axes = tuple(a % x.ndim for a in given)
    others = [a for a in range(x.ndim) if a not in axes]
    count = int(np.prod([x.shape[a] for a in axes]))
    lines = moved(
        lambda half: np.transpose(half, (*others, *axes)).reshape(*(x.shape[a] for a in others), count), x
    )
    return lines, tuple(1 if a in axes else n for a, n in enumerate(x.shape) if keepdims or a in others)


@quietly
def sum(x: Any, axis: Any = None, keepdims: bool = False) -> DoubleDouble:
    """By halves, what each addition misses being added up in float64.

    Of n numbers the error is n log2(n) 2^-106 of the sum of their magnitudes.
    """
    lines, shape = _along(DoubleDouble.of(x), axis, keepdims)
    count = lines.shape[-1]
    if count == 0:
        return DoubleDouble(np.zeros(shape))
    length = 1 << (count - 1).bit_length()
    if length > count:
        zeros = np.zeros((*lines.shape[:-1], length - count))
        lines = moved(lambda half: np.concatenate((half, zeros), axis=-1), lines)
    high, low = lines.high, lines.low
    while length > 1:
        length //= 2
        high, missed = two_sum(high[..., :length], high[..., length:])
        low = missed if isinstance(low, float) else missed + (low[..., :length] + low[..., length:])
    high = high.reshape(shape)
    return DoubleDouble(high) if isinstance(low, float) else normal(high, low.reshape(shape))


BLOCK = 2**18  # products that are held at once


@quietly
def matmul(x: Any, y: Any) -> DoubleDouble:
    """The product of two matrices, the products of a block added up as `sum` does."""
    x, y = DoubleDouble.of(x), DoubleDouble.of(y)
    (rows, terms), columns = x.shape, y.shape[1]
    total = DoubleDouble(np.zeros((rows, columns)))
    step = builtins.max(1, BLOCK // builtins.max(1, rows * columns))
    for start in range(0, terms, step):
        part = slice(start, start + step)
        total = total + sum(x[:, None, part] * np.transpose(y[part])[None], axis=-1)
    return total


def max(x: Any, axis: Any = None, keepdims: bool = False) -> DoubleDouble:
    lines, shape = _along(DoubleDouble.of(x), axis, keepdims)
    high = np.max(lines.high, axis=-1, keepdims=True)
    if holds_float64s(lines):
        return DoubleDouble(high.reshape(shape))
    low = np.max(np.where(lines.high == high, lines.low, -np.inf), axis=-1)
    return DoubleDouble(high.reshape(shape), np.where(np.isfinite(low), low, 0.0).reshape(shape))


def maximum(x: Any, y: Any) -> DoubleDouble:
    x, y = DoubleDouble.of(x), DoubleDouble.of(y)
    return where((x > y) | np.isnan(x.high), x, y)


def where(condition: Any, x: Any, y: Any) -> DoubleDouble:
    x, y = DoubleDouble.of(x), DoubleDouble.of(y)
    exact = holds_float64s(x) and holds_float64s(y)
    return DoubleDouble(
        np.where(condition, x.high, y.high), 0.0 if exact else np.where(condition, x.low, y.low)
    )


def stack(parts: Any, axis: int = 0) -> DoubleDouble:
    return concatenate([np.expand_dims(DoubleDouble.of(part), axis) for part in parts], axis)


def concatenate(parts: Any, axis: int = 0) -> DoubleDouble:
    parts = [DoubleDouble.of(part) for part in parts]
    lows = [np.broadcast_to(part.low, part.shape) for part in parts]
    return DoubleDouble(np.concatenate([part.high for part in parts], axis), np.concatenate(lows, axis))


def _moves(function: Callable[..., Any]) -> Callable[..., DoubleDouble]:
    """A function of NumPy's that only moves elements."""

    def move(x: Any, *arguments: Any, **options: Any) -> DoubleDouble:
        return moved(lambda half: function(half, *arguments, **options), DoubleDouble.of(x))

    return move


def _of_nearest(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of NumPy's that says the same of the nearest float64."""
    return lambda x: function(x.high)


UFUNCS: dict[Any, Callable[..., Any]] = {
    np.add: lambda x, y: DoubleDouble.of(x) + y,
    np.subtract: lambda x, y: DoubleDouble.of(x) - y,
    np.multiply: lambda x, y: DoubleDouble.of(x) * y,
    np.divide: lambda x, y: DoubleDouble.of(x) / y,
    np.less: lambda x, y: DoubleDouble.of(x) < y,
    np.less_equal: lambda x, y: DoubleDouble.of(x) <= y,
    np.greater: lambda x, y: DoubleDouble.of(x) > y,
    np.greater_equal: lambda x, y: DoubleDouble.of(x) >= y,
    np.equal: lambda x, y: DoubleDouble.of(x) == y,
    np.not_equal: lambda x, y: DoubleDouble.of(x) != y,
    np.negative: lambda x: -x,
    np.absolute: abs,
    np.maximum: maximum,
    np.exp: exp,
    np.log: log,
    np.log1p: log1p,
    np.tanh: tanh,
    np.matmul: matmul,
}
UFUNCS |= {ufunc: _of_nearest(ufunc) for ufunc in (np.isfinite, np.isinf, np.isnan, np.signbit, np.sign)}
_MOVING = (
    np.reshape,
    np.squeeze,
    np.expand_dims,
    np.broadcast_to,
    np.take,
    np.take_along_axis,
    np.transpose,
    np.matrix_transpose,
    np.moveaxis,
)
FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.sum: sum,
    np.max: max,
    np.where: where,
    np.concatenate: concatenate,
    np.stack: stack,
    np.zeros_like: lambda x: DoubleDouble(np.zeros_like(x.high)),
    np.ones_like: lambda x: DoubleDouble(np.ones_like(x.high)),
    np.shape: lambda x: x.shape,
    np.ndim: lambda x: x.ndim,
}
FUNCTIONS |= {function: _moves(function) for function in _MOVING}
METHODS: dict[str, dict[Any, Callable[..., Any]]] = {
    "__call__": UFUNCS,
    "reduce": {np.add: sum, np.maximum: max},
}
