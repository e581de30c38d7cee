"""Dual numbers over any other arithmetic: the unchanged definitions on them give directional derivatives.

A `Dual` array holds a primal and a tangent, two arrays of one inner arithmetic: NumPy floats, Arb balls or
`Rounded` arrays. Each operation computes its result and the derivative of its result in the direction of the
tangents (Griewank & Walther, *Evaluating Derivatives*, 2nd ed., ch. 3). A definition on Duals is its own jvp;
a closed-form backward on Duals is the derivative of the gradient, a Hessian-vector product. On `Rounded`
parts each comes with the error that evaluating it may cost, on balls with certainty.

Note [Constants]
    A missing tangent (None) is that of a constant. It is left out of every sum and product, so what does not
    depend on the direction is charged with no rounding, and a masked -inf is not multiplied by zero.

Note [Kinks]
    At a kink, ``abs`` of 0 and ``maximum`` of equals, the derivative is the one from the right: of ``x``
    itself, of the first argument. The definitions use kinked functions as two branches of one smooth function
    (softplus, sigmoid). The branches agree where they meet, as long as every kinked function of a formula
    takes the same side; so does ``x >= 0`` in sigmoid. Within `multiplied_at_kinks`, the derivative of
    ``maximum`` is what libraries of automatic differentiation compute: that of either argument times 0, 1 or,
    of equals, a half. A derivative that is infinite and not wanted is then nan.

Note [Quotients of exponentials]
    The derivative of e^x / s is the quotient times x' - s'/s. Written with the derivative of e^x itself it
    would be a difference of two products, which loses what the two have in common.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import Any

import numpy as np

from torch_loss_parity.reference.arithmetic.formats import StoredLike
from torch_loss_parity.reference.namespaces import array_namespace

MULTIPLIES = ContextVar("MULTIPLIES", default=False)  # at kinks, in place of choosing


@contextmanager
def multiplied_at_kinks() -> Iterator[None]:
    """See Note [Kinks]."""
    token = MULTIPLIES.set(True)
    try:
        yield
    finally:
        MULTIPLIES.reset(token)


class Dual:
    """An array and its derivative in one direction.

    Parameters
    ----------
    primal : array
        Of the inner arithmetic. Integers and booleans are constants.
    tangent : array, optional
        The derivative, of the shape of ``primal``; None for a constant.
    of_logarithm : array, optional
        Of an exponential: the derivative of its logarithm, see Note [Quotients of exponentials].
    """

    __array_priority__ = 2000.0
    __array_ufunc__ = None

    def __init__(self, primal: Any, tangent: Any = None, of_logarithm: Any = None) -> None:
        self.primal = as_array(primal)
        self.tangent = tangent if tangent is None else as_array(tangent)
        self.of_logarithm = of_logarithm

    def __array_namespace__(self, api_version: str | None = None) -> ModuleType:
        from torch_loss_parity.reference.arithmetic import dual_functions

        return dual_functions

    dtype = property(lambda self: self.primal.dtype)
    shape = property(lambda self: self.primal.shape)
    ndim = property(lambda self: self.primal.ndim)
    size = property(lambda self: self.primal.size)
    device = "cpu"

    @property
    def inner(self) -> Any:
        """The namespace of the inner arithmetic."""
        return array_namespace(self.primal)

    def stored(self, like: StoredLike = "result") -> Dual:
        """Both parts as they come back from memory."""
        store = getattr(self.primal, "stored", None)
        if store is None:
            return self
        tangent = None if self.tangent is None else self.tangent.stored(like)
        return Dual(store(like), tangent)

    def __repr__(self) -> str:
        return f"Dual({self.primal!r}, {self.tangent!r})"

    def __add__(self, other: Any) -> Dual:
        other = coerce(other)
        primal = self.primal + other.primal
        return dual_of(primal, _sum(self.tangent, other.tangent))

    def __sub__(self, other: Any) -> Dual:
        other = coerce(other)
        primal = self.primal - other.primal
        return dual_of(primal, _difference(self.tangent, other.tangent))

    def __rsub__(self, other: Any) -> Dual:
        return coerce(other) - self

    def __neg__(self) -> Dual:
        return Dual(-self.primal, None if self.tangent is None else -self.tangent)

    def __abs__(self) -> Dual:
        if self.tangent is None:
            return Dual(abs(self.primal))
        return Dual(abs(self.primal), self.inner.where(self.primal >= 0, self.tangent, -self.tangent))

    def __mul__(self, other: Any) -> Dual:
        other = coerce(other)
        left = None if self.tangent is None else self.tangent * other.primal
        right = None if other.tangent is None else self.primal * other.tangent
        return dual_of(self.primal * other.primal, _sum(left, right))

    def __truediv__(self, other: Any) -> Dual:
        """(dx - q dy) / y with the quotient q: no square of y, which may underflow or overflow."""
        other = coerce(other)
        quotient = self.primal / other.primal
        if self.of_logarithm is not None and other.tangent is not None:
            return dual_of(quotient, quotient * (self.of_logarithm - other.tangent / other.primal))
        carried = None if other.tangent is None else quotient * other.tangent
        numerator = _difference(self.tangent, carried)
        return dual_of(quotient, None if numerator is None else numerator / other.primal)

    def __rtruediv__(self, other: Any) -> Dual:
        return coerce(other) / self

    __radd__ = __add__
    __rmul__ = __mul__

    def __getitem__(self, key: Any) -> Dual:
        return Dual(self.primal[key], None if self.tangent is None else self.tangent[key])

    # Decisions are taken on the primal, and are constants.
    def __lt__(self, other: Any) -> Dual:
        return Dual(self.primal < coerce(other).primal)

    def __le__(self, other: Any) -> Dual:
        return Dual(self.primal <= coerce(other).primal)

    def __gt__(self, other: Any) -> Dual:
        return Dual(self.primal > coerce(other).primal)

    def __ge__(self, other: Any) -> Dual:
        return Dual(self.primal >= coerce(other).primal)

    def __eq__(self, other: Any) -> Dual:  # type: ignore[override]
        return Dual(self.primal == coerce(other).primal)

    def __ne__(self, other: Any) -> Dual:  # type: ignore[override]
        return Dual(self.primal != coerce(other).primal)

    __hash__ = None  # type: ignore[assignment]

    def __and__(self, other: Any) -> Dual:
        return Dual(self.primal & coerce(other).primal)

    def __or__(self, other: Any) -> Dual:
        return Dual(self.primal | coerce(other).primal)

    def __invert__(self) -> Dual:
        return Dual(~self.primal)

    def __bool__(self) -> bool:
        return bool(self.primal)


def coerce(x: Any) -> Dual:
    """``x`` as a `Dual`: a number or an array of the inner arithmetic is a constant."""
    if isinstance(x, Dual):
        return x
    constant = Dual(x)
    if type(x) in (int, float):
        constant.primal = x  # a number has no dtype to impose on an array
    return constant


def tangent_of(x: Dual) -> Any:
    """The tangent of ``x``, zeros where it is missing."""
    return x.inner.zeros_like(x.primal) if x.tangent is None else x.tangent


def dual_of(primal: Any, tangent: Any) -> Dual:
    """A result whose tangent, where an operand is a constant, may have a smaller shape than the primal."""
    result = Dual(primal, tangent)
    if result.tangent is not None and result.tangent.shape != result.shape:
        result.tangent = result.inner.broadcast_to(result.tangent, result.shape)
    return result


def as_array(x: Any) -> Any:
    """NumPy gives a scalar, or one ball, for an array of no dimensions."""
    return x if hasattr(x, "__array_namespace__") and not isinstance(x, np.generic) else np.asarray(x)


def _sum(x: Any, y: Any) -> Any:
    return y if x is None else x if y is None else x + y


def _difference(x: Any, y: Any) -> Any:
    return x if y is None else -y if x is None else x - y
