"""The bound that the rounding arithmetic carries from operation to operation.

Note [Running error analysis]
    A `Rounded` array holds the value of each element, evaluated in a format wider than the one that is
    modelled, and a bound on how far an implementation in the modelled `Arithmetic` may be from it. Every
    operation adds its own rounding to what its operands carry (Wilkinson; Higham, *Accuracy and Stability of
    Numerical Algorithms*, 2nd ed., sec. 3.3). An element that an implementation computes is

        value * exp(rho + sum_k r_k tau_k)  +  alpha + sum_k a_k tau_k,
        |rho| <= relative,  |alpha| <= absolute,  |tau_k| <= 1

    Relative errors live in the exponent, so products and quotients add them, exp turns an absolute error into
    a relative one and log back, all without second-order terms. Absolute errors take what has no relative
    bound: cancellation and underflow.

Note [Shared errors]
    The error of a sum over a row is *one* unknown for the whole row. `Unknown` keeps it apart from each
    element's own error, as affine arithmetic does, with a relative and an absolute coefficient for every
    element (``r_k``, ``a_k`` above). At a vocabulary of 131072 the sum may be off by a per cent in float32;
    every probability is then off by the *same* per cent, and one that is off by two parts in a million from
    its neighbours is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


class ComputedOnce:
    """An attribute that is computed when it is first asked for, and found without a call from then on:
    functools.cached_property takes a lock before Python 3.12.
    """

    def __init__(self, compute: Callable[[Any], Any]) -> None:
        self.compute, self.name, self.__doc__ = compute, compute.__name__, compute.__doc__

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        value = instance.__dict__[self.name] = self.compute(instance)
        return value


@dataclass(frozen=True, eq=False)
class Unknown:
    """One unknown number in [-1, 1] for each row along ``axis`` (negative, counted from the last)."""

    axis: int


@dataclass(eq=False)
class Error:
    """The bound that a `Rounded` array carries; see Note [Running error analysis]. It is never changed (a
    frozen dataclass says so too, but takes three times as long to make).

    Arrays broadcast against the value.
    """

    relative: Any = 0.0
    absolute: Any = 0.0
    shared: Mapping[Unknown, tuple[Any, Any]] = field(default_factory=dict)

    @ComputedOnce
    def total_relative(self) -> Any:
        if not self.shared:
            return self.relative
        return self.relative + sum_of_magnitudes(r for r, _ in self.shared.values())

    @ComputedOnce
    def growth(self) -> Any:
        """The largest relative change that `total_relative` stands for."""
        return np.expm1(self.total_relative)

    @ComputedOnce
    def total_absolute(self) -> Any:
        if not self.shared:
            return self.absolute
        return self.absolute + sum_of_magnitudes(a for _, a in self.shared.values())


def sum_of_magnitudes(coefficients: Iterable[Any]) -> Any:
    """Of arrays and, where every element has the same, numbers."""
    total: Any = 0.0
    for coefficient in coefficients:
        if not isinstance(coefficient, float):
            total = total + np.abs(coefficient)
        elif coefficient:
            total = total + abs(coefficient)
    return total


EXACT = Error()


def merge(parts: Iterable[Mapping[Unknown, Any]]) -> dict[Unknown, Any]:
    """Add up coefficients of the same unknowns."""
    merged: dict[Unknown, Any] = {}
    for part in parts:
        for unknown, coefficient in part.items():
            merged[unknown] = merged.get(unknown, 0.0) + coefficient
    return merged


def is_exact(error: Error) -> bool:
    """Whether nothing at all is charged, known without a look at any element."""
    return is_zero(error.relative) and is_zero(error.absolute) and not error.shared


def is_zero(bound: Any) -> bool:
    """Whether a bound is the number 0: known without a look at any element."""
    return isinstance(bound, float) and bound == 0.0
