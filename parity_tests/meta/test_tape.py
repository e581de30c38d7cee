"""Reverse mode through the definitions is the gradient: on balls it meets the closed form, and twice the
derivative of that.

A derivative that is wrong is proved wrong: two narrow enclosures do not meet. At clamps and ties autograd has
another derivative than the closed form; the cases keep away from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import flint
import numpy as np
import pytest

from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation import second_order
from torch_loss_parity.expectation.expectation import upstream_gradient
from torch_loss_parity.expectation.formulas import autograd_formulas
from torch_loss_parity.expectation.quantity import Quantity
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.operators.sampling import EFFORTS, grid
from torch_loss_parity.reference.arithmetic import tape, tape_functions
from torch_loss_parity.reference.arithmetic.balls import balls, precision
from torch_loss_parity.reference.arithmetic.tape import Taped

BITS = 256
NARROW = flint.arb(2) ** -100
# Away from clamps; else "normal".
SMOOTH = {
    "binary_cross_entropy": "uniform_probabilities",
    "nll_loss": "log_probabilities",
    "linear_cross_entropy": "products",
}
operators = pytest.mark.parametrize("name", OPERATORS)


def calls(name: str) -> Iterator[tuple[str, Call, np.ndarray]]:
    """Small calls in which every pair of options meets, with upstream gradients; a mean over no row is left
    out.
    """
    operator = OPERATORS[name]
    for case in grid(operator, "float32", EFFORTS["quick"], 3):
        shape = case.shape if 0 < prod(case.shape) < 64 else (2,) * len(case.shape)
        options = {**case.option, "dtype": None} if "dtype" in case.option else {**case.option}
        options |= {"ignored": "some"} if "ignored" in options else {}
        options |= {"target": "soft"} if operator.acts_on_elements else {}
        drawn = operator.case("float32", shape, SMOOTH.get(name, "normal"), options, case.seed)
        call = operator.call(drawn)
        with np.errstate(all="ignore"):
            if np.all(np.isfinite(operator.forward(**call.arguments))):
                yield str(drawn), call, upstream_gradient(call, drawn)


def on_balls(call: Call) -> dict[str, Any]:
    return {
        name: balls(a) if isinstance(a, np.ndarray) else a
        for name, a in call.arguments.items()
        if name != "dtype"
    }


def meet(one: Any, other: Any) -> bool:
    """Whether enclosures are narrow, and have a number in common."""
    pairs = zip(
        np.asarray(one, dtype=object).reshape(-1), np.asarray(other, dtype=object).reshape(-1), strict=True
    )
    return all(
        flint.arb(a).rad() < NARROW and flint.arb(b).rad() < NARROW and flint.arb(a).overlaps(flint.arb(b))
        for a, b in pairs
    )


def gradients_meet(name: str) -> bool:
    """Whether reverse mode through the definition gives every gradient of the closed form, in every call."""
    backward = getattr(autograd_formulas, f"{name}_by_autograd_backward")
    results = []
    for _, call, grad_output in calls(name):
        with precision(BITS):
            closed = OPERATORS[name].backward(balls(grad_output), **on_balls(call))
            closed = closed if isinstance(closed, tuple) else autograd_formulas.Gradients(closed)
            gradients = backward(balls(grad_output), **on_balls(call))
            results += [meet(getattr(gradients, each), getattr(closed, each)) for each in call.differentiable]
    assert results
    return all(results)


@operators
def test_reverse_mode_gives_the_gradient_of_the_closed_form(name: str) -> None:
    assert gradients_meet(name)


@operators
@pytest.mark.parametrize("way", ["twice", "along"])
def test_what_is_differentiated_again_gives_the_directional_derivative(name: str, way: str) -> None:
    formula = getattr(autograd_formulas, f"{name}_by_autograd_{way}")
    for described, call, grad_output in list(calls(name))[:4]:
        for along in call.differentiable:
            direction = np.random.default_rng(1).standard_normal(call.arguments[along].shape)
            for quantity in (Quantity(along), *(Quantity(along, of) for of in call.differentiable)):
                with precision(BITS):
                    v, g, arguments = balls(direction), balls(grad_output), on_balls(call)
                    derivative = formula(quantity, v, g, **arguments)
                    closed = second_order.derivative(name, quantity, v, g, arguments)
                    derivative = np.broadcast_to(derivative, np.shape(closed))
                    assert meet(derivative, closed), f"{quantity} of {described}"


WRONG = {
    "exp": ("softmax", lambda x: Taped(x.inner.exp(x.value), (x, lambda g: g))),
    "log": ("binary_cross_entropy", lambda x: Taped(x.inner.log(x.value), (x, lambda g: g * x.value))),
    "log1p": (
        "binary_cross_entropy_with_logits",
        lambda x: Taped(x.inner.log1p(x.value), (x, lambda g: g / x.value)),
    ),
    "squeeze": (
        "nll_loss",
        lambda x, axis: Taped(
            x.inner.squeeze(x.value, axis=axis), (x, lambda g: -x.inner.expand_dims(g, axis=axis))
        ),
    ),
}


@pytest.mark.parametrize("function", WRONG)
def test_a_wrong_rule_is_seen(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, rule = WRONG[function]
    monkeypatch.setattr(tape_functions, function, rule)
    assert not gradients_meet(name)


def test_the_gradient_of_what_was_broadcast_is_the_sum() -> None:
    x, y = Taped(np.asarray([1.0, 2.0, 4.0]), variable=True), Taped(np.asarray([[3.0], [5.0]]), variable=True)
    gradients = tape.pull_back(x * y / 2 - y, np.ones((2, 3)), {"x": x, "y": y})
    np.testing.assert_array_equal(gradients["x"], [4.0, 4.0, 4.0])
    np.testing.assert_array_equal(gradients["y"], [[0.5], [0.5]])


def test_equals_share_a_gradient_but_for_the_shift_of_a_row() -> None:
    x, zero = Taped(np.asarray([0.0, 2.0, 2.0]), variable=True), Taped(np.zeros(3))
    assert tape.pull_back(tape_functions.maximum(x, zero), np.ones(3), {"x": x})["x"].tolist() == [
        0.5,
        1.0,
        1.0,
    ]
    assert tape.pull_back(tape_functions.max(x, axis=0, keepdims=True), np.ones(1), {"x": x})[
        "x"
    ].tolist() == [0.0, 1.0, 1.0]


def test_what_no_definition_needs_is_refused() -> None:
    x = Taped(np.zeros((2, 3)), variable=True)
    for ask, message in (
        (lambda: x[0], "not differentiated"),
        (lambda: tape_functions.take(x, np.asarray([0])), "not differentiated"),
        (
            lambda: tape_functions.take_along_axis(x, np.zeros((2, 2), dtype=int), axis=1),
            "2 elements along the axis",
        ),
        (lambda: tape_functions.max(x, axis=1), "the axis is kept"),
    ):
        with pytest.raises(TypeError, match=message):
            ask()
