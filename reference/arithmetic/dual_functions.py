"""The array-API functions on `Dual` arrays: the namespace that ``Dual.__array_namespace__`` returns.

Each function calls its namesake of the inner arithmetic on the primal, and the rule of its derivative on the
tangent. Only what the definitions need.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from torch_loss_parity.reference.arithmetic.dual import MULTIPLIES, Dual, coerce, dual_of, tangent_of

inf = np.inf
nan = np.nan
int64 = np.dtype(np.int64)


# --- what arrays are ----------------------------------------------------------------------------------------


def isdtype(dtype: Any, kind: str | tuple[str, ...]) -> bool:
    return bool(np.isdtype(np.dtype(dtype), kind))


def astype(x: Dual, dtype: Any) -> Dual:
    """A change of kind makes a constant; the real format is the inner arithmetic's."""
    return x if x.dtype == dtype else Dual(x.inner.astype(x.primal, dtype))


def arange(n: int, *, dtype: Any = None, device: Any = None) -> Dual:
    return Dual(np.arange(n, dtype=dtype))


def zeros_like(x: Dual) -> Dual:
    return Dual(x.inner.zeros_like(x.primal))


def ones_like(x: Dual) -> Dual:
    return Dual(x.inner.ones_like(x.primal))


# --- linear functions: the same for both parts --------------------------------------------------------------


def _both(x: Dual, move: Callable[[Any, Any], Any]) -> Dual:
    """Apply ``move``, given the inner namespace, to both parts."""
    return Dual(move(x.inner, x.primal), None if x.tangent is None else move(x.inner, x.tangent))


def reshape(x: Dual, shape: Any) -> Dual:
    return _both(x, lambda xp, a: xp.reshape(a, shape))


def expand_dims(x: Dual, *, axis: int = 0) -> Dual:
    return _both(x, lambda xp, a: xp.expand_dims(a, axis=axis))


def squeeze(x: Dual, axis: int) -> Dual:
    return _both(x, lambda xp, a: xp.squeeze(a, axis=axis))


def broadcast_to(x: Dual, shape: Any) -> Dual:
    return _both(x, lambda xp, a: xp.broadcast_to(a, shape))


def take(x: Dual, indices: Any, *, axis: int = 0) -> Dual:
    chosen = coerce(indices).primal
    return _both(x, lambda xp, a: xp.take(a, chosen, axis=axis))


def take_along_axis(x: Dual, indices: Any, *, axis: int = -1) -> Dual:
    chosen = coerce(indices).primal
    return _both(x, lambda xp, a: xp.take_along_axis(a, chosen, axis=axis))


def sum(x: Dual, *, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Dual:
    return _both(x, lambda xp, a: xp.sum(a, axis=axis, keepdims=keepdims))


def matrix_transpose(x: Dual) -> Dual:
    return _both(x, lambda xp, a: xp.matrix_transpose(a))


def matmul(x: Any, y: Any) -> Dual:
    x, y = coerce(x), coerce(y)
    xp = x.inner
    parts = [] if x.tangent is None else [xp.matmul(x.tangent, y.primal)]
    parts += [] if y.tangent is None else [xp.matmul(x.primal, y.tangent)]
    tangent = None if not parts else parts[0] if len(parts) == 1 else parts[0] + parts[1]
    return Dual(xp.matmul(x.primal, y.primal), tangent)


# --- decisions ----------------------------------------------------------------------------------------------


def all(x: Dual) -> Dual:
    return Dual(x.inner.all(x.primal))


def any(x: Dual) -> Dual:
    return Dual(x.inner.any(x.primal))


def where(condition: Any, x: Any, y: Any) -> Dual:
    condition, x, y = coerce(condition), coerce(x), coerce(y)
    xp = x.inner
    primal = xp.where(condition.primal, x.primal, y.primal)
    if x.tangent is None and y.tangent is None:
        return Dual(primal)
    return dual_of(primal, xp.where(condition.primal, tangent_of(x), tangent_of(y)))


def maximum(x: Any, y: Any) -> Dual:
    """The larger of two; of equals the derivative is the first one's, see Note [Kinks] in
    `torch_loss_parity.reference.arithmetic.dual`.
    """
    x, y = coerce(x), coerce(y)
    primal = x.inner.maximum(x.primal, y.primal)
    if x.tangent is None and y.tangent is None:
        return Dual(primal)
    xp, along_x, along_y = x.inner, tangent_of(x), tangent_of(y)
    if MULTIPLIES.get():
        zeros = xp.zeros_like(primal)
        share = xp.where(x.primal > y.primal, zeros + 1, xp.where(x.primal == y.primal, zeros + 0.5, zeros))
        return dual_of(primal, along_y + share * (along_x - along_y))
    return dual_of(primal, xp.where(x.primal >= y.primal, along_x, along_y))


def max(x: Dual, *, axis: int, keepdims: bool = False) -> Dual:
    """The shift of a softmax, taken for a constant.

    Softmax and its logarithm do not depend on the shift: its derivative is multiplied by zero, in the end.
    Carried along as that of the largest element it would be subtracted from the tangent and cancel again,
    which costs roundings of the size of a common offset that no implementation needs to make. A definition
    whose result depended on ``max`` would have another derivative than this says, which the mean value
    theorem on balls would show.
    """
    return Dual(x.inner.max(x.primal, axis=axis, keepdims=keepdims))


# --- elementary functions -----------------------------------------------------------------------------------


def exp(x: Dual) -> Dual:
    value = x.inner.exp(x.primal)
    return Dual(value) if x.tangent is None else Dual(value, value * x.tangent, x.tangent)


def log(x: Dual) -> Dual:
    return Dual(x.inner.log(x.primal), None if x.tangent is None else x.tangent / x.primal)


def log1p(x: Dual) -> Dual:
    return Dual(x.inner.log1p(x.primal), None if x.tangent is None else x.tangent / (1 + x.primal))


def tanh(x: Dual) -> Dual:
    """Its slope as a quotient of exponentials: 1 - tanh^2 cancels."""
    value = x.inner.tanh(x.primal)
    if x.tangent is None:
        return Dual(value)
    e = x.inner.exp(-2 * abs(x.primal))
    return Dual(value, 4 * e / ((1 + e) * (1 + e)) * x.tangent)


__all__ = [name for name in dir() if not name.startswith("_")]
