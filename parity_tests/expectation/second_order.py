"""Derivatives in a direction, of an operator's result and of its gradients, in any arithmetic.

Each is the tangent of an unchanged definition on dual numbers, see
`torch_loss_parity.reference.arithmetic.dual`, or follows from the gradient that the operator's record has.

Note [One Hessian]
    Second derivatives are symmetric: double backward, the gradient of <v, grad_A> with respect to B, is the
    tangent of grad_B along A, and its gradient with respect to the upstream gradient is the jvp along A. One
    evaluation serves forward mode, forward over reverse and reverse over reverse.

    A loss that acts on each element alone has a diagonal Jacobian, so its jvp is the closed-form gradient
    times v: element by element where nothing is reduced, and the sum of these products where the result is
    one number, however it was reduced. It is evaluated so: the gradient is in a better form than the line by
    line derivative of the forward, and at the clamps, which are no part of the derivative, only the closed
    form says what the derivative is. There the Hessian is not symmetric either: the derivative of <v, grad_A>
    with respect to B is that of grad_A along B, `double_backward` says which.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.expectation.quantity import Quantity
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.reference.arguments import namespace
from torch_loss_parity.reference.arithmetic.dual import Dual, tangent_of
from torch_loss_parity.reference.arithmetic.formats import FORMATS
from torch_loss_parity.reference.ways import Way


def direction_of(call: Call, case: Case, along: str) -> np.ndarray:
    """A random direction for the argument ``along``."""
    shape = call.arguments[along].shape
    return FORMATS[call.dtype].round(np.asarray(case.generator(f"direction {along}").normal(0, 1, shape)))


def double_backward(operator: str, along: str, by: str) -> Quantity:
    """What the gradient of <v, grad of ``along``> with respect to ``by`` is, see Note [One Hessian]."""
    if by == "grad_output":
        return Quantity(along)
    return Quantity(by, along) if OPERATORS[operator].acts_on_elements else Quantity(along, by)


def derivative(
    operator: str, quantity: Quantity, direction: Any, grad_output: Any, arguments: Mapping[str, Any]
) -> Any:
    """The value of a quantity that is a derivative along ``direction`` of one argument."""
    if quantity.of:
        return gradient_along(operator, quantity, direction, grad_output, arguments)
    return jvp(operator, quantity.along, direction, arguments)


def function_of_way(way: Way, quantity: Quantity) -> Callable[..., Any] | None:
    """What evaluates a quantity by a way, as `torch_loss_parity.expectation.expectation.expected` takes it;
    None where the way does not give it.

    The derivative of a result along an argument comes from the way of a result where the operator adds up
    rows, that of an operator that acts on elements from the way of its gradients, see Note [One Hessian].
    """
    of_gradients = bool(quantity.of) or bool(quantity.along and OPERATORS[way.operator].acts_on_elements)
    if of_gradients != (way.gives == "gradients"):
        return None
    return partial(derivative_of_way, way) if quantity.along else way.function


def derivative_of_way(
    way: Way, quantity: Quantity, direction: Any, grad_output: Any, **arguments: Any
) -> Any:
    """`derivative` of the expression that a way evaluates."""
    duals = _on_duals(arguments, quantity.along, direction)
    if way.gives == "result":
        return tangent_of(way.function(**duals))
    if quantity.of:
        return tangent_of(gradient_of(way.function(Dual(grad_output), **duals), quantity.of))
    return _product(way.operator, way.function, quantity.along, direction, arguments)


def jvp(operator: str, along: str, direction: Any, arguments: Mapping[str, Any]) -> Any:
    """The derivative of the result along ``direction`` of one argument."""
    record = OPERATORS[operator]
    if not record.acts_on_elements:
        return tangent_of(record.forward(**_on_duals(arguments, along, direction)))
    return _product(operator, record.backward, along, direction, arguments)


def _product(
    operator: str,
    backward: Callable[..., Any],
    along: str,
    direction: Any,
    arguments: Mapping[str, Any],
) -> Any:
    """The gradient for an upstream gradient of 1, times the direction, of a loss that acts on elements."""
    xp = namespace(input=arguments["input"])
    ones = xp.ones_like(OPERATORS[operator].forward(**arguments))
    # Ones of the arithmetic: those like an array of balls are integers, whose quotients would be rounded.
    upstream = ones + xp.sum(0 * direction)
    products = gradient_of(backward(upstream, **arguments), along) * direction
    return products if ones.shape == direction.shape else xp.sum(products)


def gradient_along(
    operator: str, quantity: Quantity, direction: Any, grad_output: Any, arguments: Mapping[str, Any]
) -> Any:
    """The derivative of the gradient with respect to one argument along ``direction`` of one argument."""
    duals = _on_duals(arguments, quantity.along, direction)
    return tangent_of(gradient_of(OPERATORS[operator].backward(Dual(grad_output), **duals), quantity.of))


def gradient_of(gradients: Any, name: str) -> Any:
    """One of the gradients that a derivative returns: several by name, or a single one."""
    return getattr(gradients, name) if isinstance(gradients, tuple) else gradients


def _on_duals(arguments: Mapping[str, Any], along: str, direction: Any) -> dict[str, Any]:
    """Every array as a `Dual`; all but the argument ``along`` are constants."""
    return {
        name: Dual(value, direction if name == along else None) if hasattr(value, "shape") else value
        for name, value in arguments.items()
    }
