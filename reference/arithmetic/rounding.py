"""Rounding arithmetic: an array that carries a bound on what evaluating the same lines in finite precision
may cost.

What is carried, and why, is in the notes of `torch_loss_parity.reference.arithmetic.error`; what an operation
makes of it in `torch_loss_parity.reference.arithmetic.rounding_operations`; what a rounding adds in
`torch_loss_parity.reference.arithmetic.round_once`.

Note [What is evaluated once]
    The same operation on the same arrays gives the same array, not an equal one: a derivative begins with
    what its definition computed, and each is evaluated once. Arrays are never changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, wraps
from types import ModuleType
from typing import Any

import numpy as np

from torch_loss_parity.reference.arithmetic.associations import Moved, Product
from torch_loss_parity.reference.arithmetic.double_double import DoubleDouble
from torch_loss_parity.reference.arithmetic.error import EXACT, ComputedOnce, Error
from torch_loss_parity.reference.arithmetic.formats import Arithmetic, StoredLike
from torch_loss_parity.reference.arithmetic.kinds_of_value import settled
from torch_loss_parity.reference.arithmetic.round_once import fold_where, store
from torch_loss_parity.reference.arithmetic.rounding_operations import (
    add,
    divide,
    less_its_largest,
    multiply,
)


def evaluated_once(operation: Callable[..., Any]) -> Callable[..., Any]:
    """An operation whose result is kept beside its first operand, see Note [What is evaluated once]."""

    @wraps(operation)
    def look_up(x: Any, *others: Any, **options: Any) -> Any:
        if not isinstance(x, Rounded) or any(
            isinstance(other, np.ndarray | DoubleDouble) for other in others
        ):
            return operation(x, *others, **options)
        key = (
            operation,
            *(id(other) if isinstance(other, Rounded) else other for other in others),
            *options.items(),
        )
        entry = x.results.get(key)
        if entry is None:
            # Held, an operand keeps its id.
            entry = x.results[key] = (operation(x, *others, **options), others)
        return entry[0]

    return look_up


class Rounded:
    """An array of values with a running bound on their rounding errors.

    Parameters
    ----------
    value : array_like
        Exact inputs. Real values are held in ``arithmetic.evaluation_type``; integers and booleans as they
        are.
    arithmetic : Arithmetic
        What is modelled.
    error : Error, optional
        The bound so far; none for exact inputs.
    """

    __array_priority__ = 1000.0
    __array_ufunc__ = None

    product: Product | None = None
    at_most: float | None = None
    largest_along: tuple[Rounded, int] | None = None  # of what it is the largest, and where

    def __init__(self, value: Any, arithmetic: Arithmetic, error: Error = EXACT) -> None:
        if not isinstance(value, DoubleDouble):
            value = np.asarray(value)
            if value.dtype.kind == "f" and arithmetic.evaluation_type is DoubleDouble:
                value = DoubleDouble.of(value)
            elif value.dtype.kind == "f" and value.dtype != np.float64:
                value = DoubleDouble.of(value) if value.dtype.itemsize > 8 else value.astype(np.float64)
        self.value: Any = value
        self.arithmetic = arithmetic
        self.error = error

    def carrying(self, value: Any, error: Error) -> Rounded:
        """Another value with another error, in the same arithmetic."""
        return Rounded(value, self.arithmetic, error)

    def within(self, error: Error) -> Rounded:
        """The same value with another error."""
        result = object.__new__(Rounded)
        result.value, result.arithmetic, result.error = self.value, self.arithmetic, error
        if (magnitude := self.__dict__.get("magnitude")) is not None:
            result.__dict__["magnitude"] = magnitude
        return result

    def as_product(self, product: Product | None) -> Rounded:
        """This array, new and not yet seen by anybody, as a product, see Note [Products in any association]
        of `torch_loss_parity.reference.arithmetic.associations`.
        """
        self.product = product
        return self

    @ComputedOnce
    def results(self) -> dict[Any, Any]:
        """What operations made of it, see Note [What is evaluated once]."""
        return {}

    @property
    def largest(self) -> float:
        """At least the largest magnitude; 0 where there is no element."""
        if self.at_most is None:
            self.at_most = float(np.maximum.reduce(self.magnitude, axis=None, initial=0.0))
        return self.at_most

    @ComputedOnce
    def smallest(self) -> float:
        """The smallest magnitude that is not 0; infinite where there is none."""
        magnitude = np.asarray(self.magnitude, dtype=np.float64)
        return float(np.minimum.reduce(magnitude, axis=None, initial=np.inf, where=magnitude > 0))

    def __array_namespace__(self, api_version: str | None = None) -> ModuleType:
        from torch_loss_parity.reference.arithmetic import rounding_functions

        return rounding_functions

    dtype = property(lambda self: self.value.dtype)
    shape = property(lambda self: self.value.shape)
    ndim = property(lambda self: self.value.ndim)
    size = property(lambda self: self.value.size)
    device = "cpu"

    @property
    def nearest(self) -> Any:
        """The value in float64, which is plenty for a bound."""
        value = self.value
        return value.high if isinstance(value, DoubleDouble) else value

    @ComputedOnce
    def magnitude(self) -> Any:
        return np.abs(self.nearest)

    def __repr__(self) -> str:
        return f"Rounded({self.value!r}, +-{self.total_error()!r})"

    def stored(self, like: StoredLike = "result") -> Rounded:
        """As it comes back from memory: rounded to the format of the result, of the input, or to that of what
        is computed.
        """
        format = self.arithmetic.format_stored(like)
        if format == self.arithmetic.storage:
            return store(self)
        as_stored = Rounded(self.value, replace(self.arithmetic, storage=format), self.error)
        return Rounded(as_stored.value, self.arithmetic, store(as_stored).error)

    def total_error(self) -> Any:
        """Largest distance of a computed element from its value, shared errors folded in; where that is not
        finite, 0, or infinite if its kind is not known, see Note [Kinds of value]."""
        return self._total_error

    @ComputedOnce
    def _total_error(self) -> Any:
        with np.errstate(all="ignore"):
            magnitude = self.magnitude
            total = self.error.growth * magnitude + self.error.total_absolute
            if np.isfinite(np.maximum.reduce(total, axis=None, initial=0.0)):
                return total
            return np.where(np.isfinite(magnitude) | ~np.isinf(self.error.absolute), settled(self), np.inf)

    @evaluated_once
    def __add__(self, other: Any) -> Rounded:
        other = coerce(other, self.arithmetic)
        return add(self, other, other.value, 1.0)

    @evaluated_once
    def __sub__(self, other: Any) -> Rounded:
        other = coerce(other, self.arithmetic)
        difference = add(self, other, -other.value, -1.0)
        along = other.largest_along
        if along is None or along[0] is not self:
            return difference
        return less_its_largest(difference, self, along[1])

    def __rsub__(self, other: Any) -> Rounded:
        return coerce(other, self.arithmetic) - self

    @evaluated_once
    def __neg__(self) -> Rounded:
        shared = {k: (r, -a) for k, (r, a) in self.error.shared.items()}
        error = Error(self.error.relative, self.error.absolute, shared)
        return self.carrying(-self.value, error).as_product(self.product)

    @evaluated_once
    def __abs__(self) -> Rounded:
        total = self.total_error()
        # Where the sign may be the other one.
        x = fold_where(self, np.asarray(total >= self.magnitude), total)
        sign = np.where(np.signbit(x.nearest), -1.0, 1.0)
        shared = {k: (r, a * sign) for k, (r, a) in x.error.shared.items()}
        return Rounded(np.abs(x.value), x.arithmetic, Error(x.error.relative, x.error.absolute, shared))

    @evaluated_once
    def __mul__(self, other: Any) -> Rounded:
        return multiply(self, coerce(other, self.arithmetic))

    @evaluated_once
    def __truediv__(self, other: Any) -> Rounded:
        return divide(self, coerce(other, self.arithmetic))

    def __rtruediv__(self, other: Any) -> Rounded:
        return divide(coerce(other, self.arithmetic), self)

    __radd__ = __add__
    __rmul__ = __mul__

    def __getitem__(self, key: Any) -> Rounded:
        """Elements or new dimensions; shared errors are folded into own ones, as their rows may
        have moved.
        """
        return self.restructured(lambda a: a[key], keep_shared=False)

    def restructured(self, move: Callable[[Any], Any], *, keep_shared: bool) -> Rounded:
        """What ``move`` does to an array, done to the value and to every bound; without ``keep_shared``,
        shared errors are folded into own ones.
        """

        def full(bound: Any) -> Any:
            if isinstance(bound, float):  # of every element, wherever it goes
                return bound
            return move(bound if bound.shape == self.shape else np.broadcast_to(bound, self.shape))

        if keep_shared:
            shared = {k: (full(r), full(a)) for k, (r, a) in self.error.shared.items()}
            error = Error(full(self.error.relative), full(self.error.absolute), shared)
        else:
            error = Error(full(self.error.total_relative), full(self.error.total_absolute))
        product = Moved(self.product, move, self.shape) if self.product else None
        return self.carrying(move(self.value), error).as_product(product)

    # Decisions are taken on the values: the definitions only ask about exact inputs.
    def __lt__(self, other: Any) -> Rounded:
        return self._compare(np.less, other)

    def __le__(self, other: Any) -> Rounded:
        return self._compare(np.less_equal, other)

    def __gt__(self, other: Any) -> Rounded:
        return self._compare(np.greater, other)

    def __ge__(self, other: Any) -> Rounded:
        return self._compare(np.greater_equal, other)

    def __eq__(self, other: Any) -> Rounded:  # type: ignore[override]
        return self._compare(np.equal, other)

    def __ne__(self, other: Any) -> Rounded:  # type: ignore[override]
        return self._compare(np.not_equal, other)

    __hash__ = None  # type: ignore[assignment]

    def __and__(self, other: Any) -> Rounded:
        return self._compare(np.logical_and, other)

    def __or__(self, other: Any) -> Rounded:
        return self._compare(np.logical_or, other)

    def __invert__(self) -> Rounded:
        return Rounded(~self.value, self.arithmetic)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __int__(self) -> int:
        return int(self.nearest)

    def __float__(self) -> float:
        return float(self.nearest)

    def _compare(self, ufunc: Any, other: Any) -> Rounded:
        if isinstance(other, Rounded):
            other = other.value
        elif isinstance(self.value, DoubleDouble) and not isinstance(other, DoubleDouble):
            other = DoubleDouble.of(other)
        with np.errstate(invalid="ignore"):
            return Rounded(ufunc(self.value, other), self.arithmetic)


def coerce(x: Any, arithmetic: Arithmetic) -> Rounded:
    """``x`` as a `Rounded` array; a number that the compute format does not hold is rounded to it first."""
    if isinstance(x, Rounded):
        return x
    if isinstance(x, float):
        error = EXACT if _holds(arithmetic, x) else Error(np.asarray(arithmetic.compute.unit_roundoff))
        return Rounded(np.asarray(x), arithmetic, error)
    value = x if isinstance(x, DoubleDouble) else np.asarray(x)
    if value.dtype.kind != "f" or (exact := arithmetic.compute.holds(value)).all():
        return Rounded(value, arithmetic)
    return Rounded(value, arithmetic, Error(np.where(exact, 0.0, arithmetic.compute.unit_roundoff)))


@cache
def _holds(arithmetic: Arithmetic, number: float) -> bool:
    return bool(arithmetic.compute.holds(np.asarray(number)))
