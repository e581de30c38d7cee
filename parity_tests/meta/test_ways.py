"""Every way is the function that its definition is, and has the grade that it says.

That it is the same function is shown in balls: the way's enclosure meets the definition's. Its grade is
measured: the largest ratio of its bound to the definition's, over the whole of the domain.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flint
import numpy as np
import pytest

from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.quantity import FORWARD
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.reference.arithmetic import balls
from torch_loss_parity.reference.ways import SHARP, Way
from torch_loss_parity.reports.ways import calls, cost, every_way

BITS = 320
EVERY = every_way()
# A lossy way may be another function: of another constant, of a size that was rounded.
SAME = [way for way in EVERY if way.grade != "lossy"]


class Balls(np.ndarray):
    """Balls whose zeros and ones are balls too: those of NumPy are integers, which have no exponential."""

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        result = super().__array_function__(function, types, args, kwargs)
        made = function in (np.zeros_like, np.ones_like) and result.dtype == object
        return result * flint.arb(1) if made else result


def in_balls(array: np.ndarray) -> np.ndarray:
    made = balls.balls(array)
    return made.view(Balls) if made.dtype == object else made


def arguments_of(call: Call) -> Mapping[str, Any]:
    return {
        name: in_balls(value) if isinstance(value, np.ndarray) else value
        for name, value in call.arguments.items()
        if name != "dtype"
    }


def value_of(function: Any, way: Way, call: Call, grad_output: np.ndarray) -> Any:
    """The result, or the gradients by name, in balls."""
    if way.gives == "result":
        return {FORWARD: function(**arguments_of(call))}
    gradients = function(in_balls(grad_output), **arguments_of(call))
    return {
        name: getattr(gradients, name) if isinstance(gradients, tuple) else gradients
        for name in call.differentiable
    }


def meet(one: Any, other: Any) -> bool:
    """Whether balls may hold the same numbers, and do hold numbers in the same places."""
    one, other = np.broadcast_arrays(np.asarray(one, dtype=object), np.asarray(other, dtype=object))
    for a, b in zip(one.reshape(-1), other.reshape(-1), strict=True):
        a, b = flint.arb(a), flint.arb(b)
        if a.is_finite() and b.is_finite() and not a.overlaps(b):
            return False
    return True


@pytest.mark.parametrize("way", SAME, ids=lambda way: f"{way.operator}: {way.name}")
def test_a_way_is_the_same_function(way: Way) -> None:
    operator = OPERATORS[way.operator]
    definition = operator.forward if way.gives == "result" else operator.backward
    compared = 0
    for call, grad_output in calls(way.operator):
        with balls.precision(BITS), np.errstate(all="ignore"):
            try:
                right = value_of(definition, way, call, grad_output)
            except ZeroDivisionError:  # a mean over nothing: integers, that balls do not divide
                continue
            other = value_of(way.function, way, call, grad_output)
        for quantity in right:
            assert np.shape(right[quantity]) == np.shape(other[quantity]), (call, quantity)
            assert meet(right[quantity], other[quantity]), (call, quantity, right, other)
            compared += 1
    assert compared > 10


@pytest.mark.parametrize("way", EVERY, ids=lambda way: f"{way.operator}: {way.name}")
def test_a_way_has_the_grade_that_it_says(way: Way) -> None:
    ratio = cost(way).of_an_element
    if way.grade != "lossy":  # of which many lose what no bound says: a number that becomes nan
        assert (ratio <= SHARP) == (way.grade == "sharp"), f"its bound is {ratio:.3g} times the definition's"
