"""Second derivatives of binary_cross_entropy as torch evaluates them."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch_loss_parity.expectation.formulas.torch_second_order.elements import Elements, of_elements
from torch_loss_parity.expectation.quantity import Quantity
from torch_loss_parity.reference.binary_cross_entropy import SMALLEST_VARIANCE

EPSILON = 1e-12


@of_elements
def bce_double_backward(at: Elements, epsilon: float = EPSILON) -> Any:
    """x + 1e-12 and 1 - x + 1e-12 where the backward has max(x (1 - x), 1e-12)."""
    slope = _slope(at, epsilon)
    if at.quantity == Quantity("input", "target"):  # autograd through composed operations: of logit(x)
        return -(at.cotangent() / (at.input * (1 - at.input)))
    if at.quantity == Quantity("target"):  # likewise
        return at.from_cotangent(slope * at.cotangent())
    if at.quantity == Quantity("target", "input"):
        return _input_along_target(at, at.direction * at.grad_output, epsilon)
    return at.weighted_last(slope * at.product())


# 1e-12 is 0: what it should keep from vanishing is 0/0 or infinite.
bce_double_backward_in_float16 = partial(bce_double_backward, epsilon=0.0)


@of_elements
def bce_jvp_of_backward(at: Elements, epsilon: float = EPSILON) -> Any:
    """As `bce_double_backward`, with the term of the target's missing tangent; weight and 1/N come last."""
    if at.quantity == Quantity("input", "target"):
        value = -(at.direction / (at.input * (1 - at.input))) * at.grad_output
    elif at.quantity == Quantity("target", "input"):
        return _input_along_target(at, at.direction * at.grad_output, epsilon)
    else:
        value = _slope(at, epsilon) * at.product()
    value = at.weighted_last(value)
    if at.quantity == Quantity("input", "input"):
        value = value + _input_along_target(at, 0 * at.direction * at.grad_output, epsilon)
    return value


bce_jvp_of_backward_in_float16 = partial(bce_jvp_of_backward, epsilon=0.0)  # likewise


def _slope(at: Elements, epsilon: float) -> Any:
    xp, x, t = at.xp, at.input, at.target
    left, right = x + epsilon, 1 - x + epsilon
    if at.quantity == Quantity("input", "input"):
        return (x * x - 2 * x * t + t) / (left * left * (right * right))
    if at.quantity == Quantity("input"):
        return (x - t) / (left * right)
    return xp.log(1 - x) - xp.log(x) if at.quantity == Quantity("target") else at.zeros


def _input_along_target(at: Elements, cotangent: Any, epsilon: float) -> Any:
    """The product of all the others, which may be subnormal or 0, over max(x (1 - x), 1e-12)."""
    return at.averaged(at.weighted(-cotangent) / _variance(at, epsilon))


def _variance(at: Elements, smallest: float) -> Any:
    return at.xp.maximum(at.input * (1 - at.input), at.zeros + smallest)


@of_elements
def bce_jvp_with_a_zero_tangent(at: Elements, smallest: float = SMALLEST_VARIANCE) -> Any:
    """Both derivatives are added up, the tangent that is not there as zeros: 0 times log(1 - x) - log(x) is
    nan at 0 and 1.
    """
    xp, x = at.xp, at.input
    tangents = (at.direction, at.zeros)
    by_input, by_target = tangents if at.quantity.along == "input" else reversed(tangents)
    value = by_input * (x - at.target) / _variance(at, smallest) + (xp.log(1 - x) - xp.log(x)) * by_target
    return at.weighted_last(value)


# Likewise, so that a tangent of the target alone is nan at 0 and 1 too.
bce_jvp_in_float16 = partial(bce_jvp_with_a_zero_tangent, smallest=0.0)


@of_elements
def bce_jvp_of_input_in_float16(at: Elements) -> Any:
    """The kernel of the backward with the direction for an upstream gradient: v (x - t) first, which may be
    subnormal, then / x (1 - x).
    """
    return at.weighted_last(at.direction * (at.input - at.target) / (at.input * (1 - at.input)))
