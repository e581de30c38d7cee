"""The formulas of second order that torch evaluates, and that are right for others too, are the derivative.

Shown in balls, of every formula that an operator's record names, in every quantity that is a derivative in a
direction: its enclosure meets that of the definition's derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import prod
from typing import Any

import flint
import numpy as np
import pytest

from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation import second_order
from torch_loss_parity.expectation.expectation import upstream_gradient
from torch_loss_parity.expectation.formulas import torch_second_order
from torch_loss_parity.expectation.quantity import Quantity
from torch_loss_parity.meta.ball_arrays import in_balls
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.operators.facets import each
from torch_loss_parity.operators.sampling import EFFORTS, grid
from torch_loss_parity.reference.arithmetic import balls

BITS = 256
# Where nothing is clamped; else "normal".
SMOOTH = {"binary_cross_entropy": "uniform_probabilities", "linear_cross_entropy": "products"}
NAMES = [name for name, operator in OPERATORS.items() if each(operator.second_order)]


def formula_of(name: str) -> Callable[..., Any]:
    """The formula, of exact arithmetic: 1e-12 keeps a quotient of rounded numbers from vanishing."""
    formula = getattr(torch_second_order, name)
    return partial(formula, epsilon=0.0) if name.startswith("bce_") and "logits" not in name else formula


def calls_of(name: str) -> Iterator[tuple[Call, np.ndarray, str, np.ndarray]]:
    """Small calls in which every pair of options meets, with upstream gradients; an argument, and a direction
    of it.
    """
    operator = OPERATORS[name]
    smooth = {"dtype": None, "ignored": "some"} | ({"target": "soft"} if operator.acts_on_elements else {})
    for case in grid(operator, "float32", EFFORTS["quick"], 5):
        shape = case.shape if 0 < prod(case.shape) < 128 else (2,) * len(case.shape)
        option = {k: smooth.get(k, v) for k, v in case.option.items()}
        drawn = operator.case("float32", shape, SMOOTH.get(name, "normal"), option, case.seed)
        call = operator.call(drawn)
        with np.errstate(all="ignore"):
            if not np.all(np.isfinite(operator.forward(**call.arguments))):  # a mean over no rows
                continue
        for along in call.differentiable:
            yield call, upstream_gradient(call, drawn), along, second_order.direction_of(call, drawn, along)


def meet(one: Any, other: Any) -> bool:
    """Whether two arrays of balls may hold the same numbers."""
    pairs = np.broadcast_arrays(np.asarray(one, dtype=object), np.asarray(other, dtype=object))
    flat = (array.reshape(-1) for array in pairs)
    return all(flint.arb(a).overlaps(flint.arb(b)) for a, b in zip(*flat, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_formula_of_second_order_is_the_derivative(name: str) -> None:
    compared = 0
    for call, grad_output, along, direction in calls_of(name):
        arguments = {k: in_balls(a) if isinstance(a, np.ndarray) else a for k, a in call.arguments.items()}
        arguments.pop("dtype", None)
        given = in_balls(direction), in_balls(grad_output)
        for of in ("", *call.differentiable):
            quantity = Quantity(along, of) if of else Quantity(along)
            with balls.precision(BITS):
                right = second_order.derivative(name, quantity, *given, arguments)
                for formula in each(OPERATORS[name].second_order):
                    other = formula_of(formula)(quantity, *given, **arguments)
                    assert meet(right, other), f"{formula}, {quantity} of {call}"
                    compared += 1
    assert compared > 10
