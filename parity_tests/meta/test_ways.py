"""Every way is the function that its definition is, and has the grade that it says.

That it is the same function is shown in balls: the way's enclosure meets the definition's. Its grade is
measured: the largest ratio of its bound to the definition's, over the whole of the domain.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from functools import cache
from typing import Any

import flint
import numpy as np
import pytest

from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.quantity import FORWARD
from torch_loss_parity.meta.ball_arrays import in_balls
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.reference.arithmetic import balls
from torch_loss_parity.reference.ways import SHARP, Way
from torch_loss_parity.reports.ways import calls, costs, every_way, extended_calls

BITS = 320
CONSTANT = flint.arb(0, 2.0**-24)  # by which a constant that is written in float32 differs from a way's
# A lossy way may be another function: of another constant, of a size that was rounded.
SAME = [way for way in every_way() if way.grade != "lossy"]


def arguments_of(call: Call) -> Mapping[str, Any]:
    return {
        name: in_balls(value) if isinstance(value, np.ndarray) else value
        for name, value in call.arguments.items()
        if name != "dtype"
    }


@cache
def drawn(operator: str) -> tuple[tuple[Call, Mapping[str, Any], Any], ...]:
    """The calls of an operator, their arguments in balls, and their upstream gradients in balls."""
    every = (*calls(operator), *extended_calls(operator))
    return tuple((call, arguments_of(call), in_balls(upstream)) for call, upstream in every)


def value_of(function: Any, gives: str, call: Call, arguments: Mapping[str, Any], upstream: Any) -> Any:
    """The result, or the gradients by name, in balls."""
    if gives == "result":
        return {FORWARD: function(**arguments)}
    gradients = function(upstream, **arguments)
    return {
        name: getattr(gradients, name) if isinstance(gradients, tuple) else gradients
        for name in call.differentiable
    }


def meet(one: Any, other: Any, slack: flint.arb | int = 0) -> bool:
    """Whether balls may hold the same numbers, the first times 1 + ``slack``, and do hold numbers in the same
    places.
    """
    one, other = np.broadcast_arrays(np.asarray(one, dtype=object), np.asarray(other, dtype=object))
    for a, b in zip(one.reshape(-1), other.reshape(-1), strict=True):
        a, b = flint.arb(a) * (1 + slack), flint.arb(b)
        if a.is_finite() and b.is_finite() and not a.overlaps(b):
            return False
    return True


@cache
def by_definition(operator: str, gives: str) -> tuple[Mapping[str, Any], ...]:
    """The definition's values of each call; none of a mean over nothing, an integer that no ball divides."""
    record = OPERATORS[operator]
    definition = record.forward if gives == "result" else record.backward
    values: list[Mapping[str, Any]] = []
    for given in drawn(operator):
        with balls.precision(BITS), np.errstate(all="ignore"), contextlib.suppress(ZeroDivisionError):
            values.append(value_of(definition, gives, *given))
            continue
        values.append({})
    return tuple(values)


@pytest.mark.parametrize("way", SAME, ids=lambda way: f"{way.operator}: {way.name}")
def test_a_way_is_the_same_function(way: Way) -> None:
    compared = 0
    for given, right in zip(drawn(way.operator), by_definition(way.operator, way.gives), strict=True):
        call, *_ = given
        if not right:
            continue
        other: Mapping[str, Any] = {}
        with balls.precision(BITS), np.errstate(all="ignore"), contextlib.suppress(ZeroDivisionError):
            other = value_of(way.function, way.gives, *given)
        for quantity in right if other else ():
            assert np.shape(right[quantity]) == np.shape(other[quantity]), (call, quantity)
            slack = CONSTANT if way.open else 0
            assert meet(right[quantity], other[quantity], slack), (call, quantity, right, other)
            compared += 1
    assert compared > 10


# A lossy way may lose what no bound says: a number that becomes nan.
@pytest.mark.parametrize("way", SAME, ids=lambda way: f"{way.operator}: {way.name}")
def test_a_way_has_the_grade_that_it_says(way: Way) -> None:
    """A sharp way stays near the definition in every call; a textbook way leaves it in some call."""
    ratios = (factors.of_an_element for factors in costs(way))
    above = next((ratio for ratio in ratios if ratio > SHARP), None)
    assert (above is None) == (way.grade == "sharp"), f"its bound is {above or 0:.3g} times the definition's"
