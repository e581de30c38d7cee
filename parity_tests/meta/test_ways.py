"""Every way is the function that its definition is, and has the grade that it says.

That it is the same function is shown in balls: the way's enclosure meets the definition's. Its grade is
measured: the largest ratio of its bound to the definition's, over the whole of the domain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import flint
import numpy as np
import pytest

from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.expectation.expectation import expected, grad_output_of
from torch_loss_parity.expectation.quantity import FORWARD
from torch_loss_parity.operators import OPERATORS, Operator
from torch_loss_parity.operators.facets import Gap
from torch_loss_parity.reference.arithmetic import balls
from torch_loss_parity.reference.ways import SHARP, Way

BITS = 320
EVERY = [
    way for operator in OPERATORS.values() if not isinstance(operator.ways, Gap) for way in operator.ways
]
# A lossy way may be another function: of another constant, of a size that was rounded.
SAME = [way for way in EVERY if way.grade != "lossy"]


def small_cases(operator: Operator) -> Iterator[Case]:
    """Cases of every option's values, each distribution, small shapes, in float64."""
    shapes = [shape for shape in operator.shapes if 0 < np.prod(shape) <= 64]
    names = [*operator.values, *operator.domain.values]
    lists = [[(name, value) for value in values] for name, values in operator.options.items()]
    rng = np.random.default_rng(3)
    for number, values in enumerate(names * 3):
        options = dict(each[rng.integers(len(each))] for each in lists)
        yield operator.case("float32", shapes[number % len(shapes)], values, options, number)


def long_cases(operator: Operator) -> Iterator[Case]:
    """Long reductions, and many losses that are added up, integers among them."""
    for shape, options in operator.sizes:
        if np.prod(shape) <= (2**18 if "values" in options else 2**12):
            given = dict(options)
            values = given.pop("values", next(iter(operator.values)))
            yield operator.case("float32", shape, values, given, 7)
            if "values" in options:  # and a number that division does not leave integers of
                yield operator.case("float32", (1000, *shape[1:]), values, given, 7)


def confident(call: Call) -> Call:
    """The call with each row's largest class for its target, and a gap of 10 to the others: where a loss is
    small.
    """
    x, target = call.arguments["input"], call.arguments["target"]
    if target.dtype.kind == "f":
        return call
    dim = 0 if x.ndim == 1 else 1
    largest = np.argmax(x, axis=dim, keepdims=True)
    at_largest = np.arange(x.shape[dim]).reshape((-1,) + (1,) * (x.ndim - dim - 1)) == largest
    counted = target != call.arguments["ignore_index"]
    target = np.where(counted, np.squeeze(largest, axis=dim), target)
    return replace(call, arguments={**call.arguments, "input": x + 10.0 * at_largest, "target": target})


def quantities(way: Way, call: Call) -> tuple[str, ...]:
    return (FORWARD,) if way.gives == "result" else call.differentiable


@cache
def calls(name: str, *, long: bool = False) -> tuple[tuple[Call, np.ndarray], ...]:
    operator = OPERATORS[name]
    drawn = [operator.call(case) for case in (long_cases if long else small_cases)(operator)]
    drawn += [confident(call) for call in drawn if operator.targets_classes]
    rng = np.random.default_rng(5)
    return tuple(
        (call, grad_output_of(call, operator.result_shape(call.arguments), rng))
        for call in drawn
        if not call.arguments.get("dtype")
    )


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


def largest_ratio(way: Way) -> float:
    """The largest ratio of the way's bound to the definition's, where that is finite."""
    worst = 0.0
    for call, grad_output in (*calls(way.operator), *calls(way.operator, long=True)):
        upstream = None if way.gives == "result" else grad_output
        for quantity in quantities(way, call):
            best = expected(call, (quantity,), upstream)[quantity].total_error()
            weaker = expected(call, (quantity,), upstream, function=way.function)[quantity].total_error()
            with np.errstate(all="ignore"):
                ratio = np.where((best > 0) & np.isfinite(best), weaker / best, 0.0)
            worst = max(worst, float(np.max(ratio, initial=0.0)))
    return worst


@pytest.mark.parametrize("way", EVERY, ids=lambda way: f"{way.operator}: {way.name}")
def test_a_way_has_the_grade_that_it_says(way: Way) -> None:
    ratio = largest_ratio(way)
    print(f"{way.operator}: {way.name}: {ratio:.3g}")
    if way.grade != "lossy":  # of which many lose what no bound says: a number that becomes nan
        assert (ratio <= SHARP) == (way.grade == "sharp"), f"its bound is {ratio:.3g} times the definition's"
