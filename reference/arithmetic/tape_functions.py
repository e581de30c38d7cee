"""The array-API functions on `Taped` arrays: the namespace that ``Taped.__array_namespace__`` returns.

Each function calls its namesake of the inner arithmetic, and says how a gradient is pulled back. Only what
the definitions need.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from torch_loss_parity.reference.arithmetic.tape import Taped, coerce, constant, sum_to

inf = np.inf
nan = np.nan
int64 = np.dtype(np.int64)


# --- what arrays are ----------------------------------------------------------------------------------------


def isdtype(dtype: Any, kind: str | tuple[str, ...]) -> bool:
    return bool(np.isdtype(np.dtype(dtype), kind))


def astype(x: Taped, dtype: Any) -> Taped:
    """The real format is the inner arithmetic's."""
    return x if x.dtype == dtype else Taped(x.inner.astype(constant(x), dtype))


def arange(n: int, *, dtype: Any = None, device: Any = None) -> Taped:
    return Taped(np.arange(n, dtype=dtype))


def zeros_like(x: Taped) -> Taped:
    return Taped(x.inner.zeros_like(x.value))


def ones_like(x: Taped) -> Taped:
    return Taped(x.inner.ones_like(x.value))


# --- linear functions ---------------------------------------------------------------------------------------


def reshape(x: Taped, shape: Any) -> Taped:
    return Taped(x.inner.reshape(x.value, shape), (x, lambda g: x.inner.reshape(g, x.shape)))


def expand_dims(x: Taped, *, axis: int = 0) -> Taped:
    return Taped(x.inner.expand_dims(x.value, axis=axis), (x, lambda g: x.inner.squeeze(g, axis=axis)))


def squeeze(x: Taped, axis: int) -> Taped:
    return Taped(x.inner.squeeze(x.value, axis=axis), (x, lambda g: x.inner.expand_dims(g, axis=axis)))


def broadcast_to(x: Taped, shape: Any) -> Taped:
    return Taped(x.inner.broadcast_to(x.value, shape), (x, lambda g: sum_to(g, x.shape)))


def take(x: Taped, indices: Any, *, axis: int = 0) -> Taped:
    return Taped(x.inner.take(constant(x), constant(coerce(indices)), axis=axis))


def take_along_axis(x: Taped, indices: Any, *, axis: int = -1) -> Taped:
    """One element along ``axis``: the gradient goes there, and zeros everywhere else."""
    chosen, xp = constant(coerce(indices)), x.inner
    if chosen.shape[axis] != 1:
        raise TypeError(
            f"{chosen.shape[axis]} elements along the axis; one is differentiated: no definition takes more"
        )

    def pull(g: Any) -> Any:
        zeros = xp.zeros_like(x.value)
        places = np.reshape(np.arange(x.shape[axis]), (-1,) + (1,) * (x.ndim - axis % x.ndim - 1))
        return xp.where(chosen == places, g + zeros, zeros)

    return Taped(xp.take_along_axis(x.value, chosen, axis=axis), (x, pull))


def sum(x: Taped, *, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Taped:
    xp = x.inner
    axes = tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else axis
    kept = tuple(1 if i in {a % x.ndim for a in axes} else n for i, n in enumerate(x.shape))
    return Taped(
        xp.sum(x.value, axis=axis, keepdims=keepdims),
        (x, lambda g: xp.broadcast_to(xp.reshape(g, kept), x.shape)),
    )


def matrix_transpose(x: Taped) -> Taped:
    return Taped(x.inner.matrix_transpose(x.value), (x, lambda g: x.inner.matrix_transpose(g)))


def matmul(x: Any, y: Any) -> Taped:
    x, y = coerce(x), coerce(y)
    xp = x.inner
    return Taped(
        xp.matmul(x.value, y.value),
        (x, lambda g: xp.matmul(g, xp.matrix_transpose(y.value))),
        (y, lambda g: xp.matmul(xp.matrix_transpose(x.value), g)),
    )


# --- decisions ----------------------------------------------------------------------------------------------


def all(x: Taped) -> Taped:
    return Taped(x.inner.all(x.value))


def any(x: Taped) -> Taped:
    return Taped(x.inner.any(x.value))


def where(condition: Any, x: Any, y: Any) -> Taped:
    chosen, x, y = constant(coerce(condition)), coerce(x), coerce(y)
    xp = x.inner

    def to_x(g: Any) -> Any:
        return sum_to(xp.where(chosen, g, xp.zeros_like(g)), x.shape)

    def to_y(g: Any) -> Any:
        return sum_to(xp.where(chosen, xp.zeros_like(g), g), y.shape)

    return Taped(xp.where(chosen, x.value, y.value), (x, to_x), (y, to_y))


def maximum(x: Any, y: Any) -> Taped:
    """The larger of two; of equals each gets a half."""
    x, y = coerce(x), coerce(y)
    xp = x.inner

    def to(one: Any, other: Any, g: Any) -> Any:
        return xp.where(one < other, xp.zeros_like(g), xp.where(one == other, g / 2, g))

    return Taped(
        xp.maximum(x.value, y.value),
        (x, lambda g: to(x.value, y.value, g)),
        (y, lambda g: to(y.value, x.value, g)),
    )


def max(x: Taped, *, axis: int, keepdims: bool = False) -> Taped:
    """The largest along an axis, kept, as the shift of a row: no function depends on it, so that what a
    derivative leaves here is 0 but for rounding. Of equals any one may be given all of it, as torch.max does,
    or each its share, as torch.amax does: each is given the whole.
    """
    xp = x.inner
    largest = xp.max(x.value, axis=axis, keepdims=True)
    if not keepdims:
        raise TypeError("max is differentiated where the axis is kept: no definition drops it")

    def pull(g: Any) -> Any:
        zeros = xp.zeros_like(x.value)
        return xp.where(x.value == largest, g + zeros, zeros)

    return Taped(largest, (x, pull))


# --- elementary functions -----------------------------------------------------------------------------------


def exp(x: Taped) -> Taped:
    value = x.inner.exp(x.value)
    return Taped(value, (x, lambda g: g * value))


def log(x: Taped) -> Taped:
    return Taped(x.inner.log(x.value), (x, lambda g: g / x.value))


def log1p(x: Taped) -> Taped:
    return Taped(x.inner.log1p(x.value), (x, lambda g: g / (x.value + 1)))


def tanh(x: Taped) -> Taped:
    value = x.inner.tanh(x.value)
    return Taped(value, (x, lambda g: g * (1 - value * value)))


__all__ = [name for name in dir() if not name.startswith("_")]
