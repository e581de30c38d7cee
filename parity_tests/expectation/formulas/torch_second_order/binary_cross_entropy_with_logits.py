"""Second derivatives of binary_cross_entropy_with_logits as torch evaluates them."""

from __future__ import annotations

from typing import Any

from torch_loss_parity.expectation.formulas.torch_second_order.elements import Elements, of_elements
from torch_loss_parity.expectation.quantity import Quantity
from torch_loss_parity.reference.binary_cross_entropy_with_logits import sigmoid, softplus
from torch_loss_parity.reference.ways.two_exponentials import two_exponentials


@of_elements
def bce_with_logits_double_backward(at: Elements) -> Any:
    """The derivative of sigmoid(x) (1 + p t - t) - p t: sigmoid (1 - sigmoid) loses exp(-x) below the
    roundoff of 1, for x >> 0.

    Of the target's gradient it is that of logsigmoid(-x) - p logsigmoid(x), and where both depend on the
    target, p t reaches it by two ways: term by term, each product rounded where torch rounds it.
    """
    cotangent = at.cotangent()
    if at.quantity == Quantity("input", "target") and at.pos_weight is not None:
        through_log = at.pos_weight * cotangent
        return -(sigmoid(at.xp, at.input) * cotangent) - sigmoid(at.xp, -at.input) * through_log
    if at.quantity == Quantity("target", "input") and at.pos_weight is not None:
        through_factor = sigmoid(at.xp, at.input) * cotangent
        return at.pos_weight * (through_factor - cotangent) - through_factor
    return at.from_cotangent(_slope(at) * cotangent)


@of_elements
def bce_with_logits_logsigmoid_double_backward(at: Elements) -> Any:
    """That of -(p t logsigmoid(x) + (1 - t) logsigmoid(-x)): torch differentiates logsigmoid(z) twice to
    (sigmoid(z) - 1) sigmoid(z), which loses exp(-z) below the roundoff of 1, for z >> 0: on both sides.
    """
    t, cotangent = at.target, at.cotangent()
    s, r = sigmoid(at.xp, at.input), sigmoid(at.xp, -at.input)
    positive = t if at.pos_weight is None else at.pos_weight * t
    if at.quantity == Quantity("input", "input"):
        curvature = positive * ((1 - s) * s) + (1 - t) * ((1 - r) * r)
        return at.from_cotangent(curvature * cotangent)
    if at.quantity == Quantity("input"):
        return at.from_cotangent(((1 - t) * s - positive * r) * cotangent)
    return at.from_cotangent(_slope(at) * cotangent)


@of_elements
def bce_with_logits_jvp(at: Elements) -> Any:
    """The gradient in the form of `bce_with_logits_double_backward`, times v; weight and 1/N come last."""
    return at.weighted_last(_slope(at) * at.product())


def _slope(at: Elements) -> Any:
    xp, x, t = at.xp, at.input, at.target
    s = sigmoid(xp, x)
    p = xp.ones_like(x) if at.pos_weight is None else at.pos_weight
    factor = p * t + 1 - t
    if at.quantity == Quantity("input", "input"):
        return factor * ((1 - s) * s)
    if at.quantity == Quantity("input"):
        return s * factor - p * t
    if at.quantity == Quantity("target", "input"):
        return s * (p - 1) - p
    if at.quantity == Quantity("input", "target"):
        return -(s + p * sigmoid(xp, -x))
    return p * softplus(xp, -x) - softplus(xp, x) if at.quantity == Quantity("target") else at.zeros


@of_elements
def bce_with_logits_decomposed_jvp(at: Elements) -> Any:
    """torch.func differentiates (1 - t) x + (1 + (p - 1) t) (m + log(exp(-m) + exp(-x - m))), m = max(-x, 0),
    term by term.

    Here forward, the formula itself or its gradient; `bce_with_logits_decomposed_double_backward` is the
    other way. Each operation is one of torch's, in torch's order: a product of many factors may pass through
    numbers below the smallest normal one.
    """
    xp, direction, pos_weight, zeros = at.xp, at.direction, at.pos_weight, at.zeros
    first, second, total, m = two_exponentials(xp, at.input)
    left = at.input <= 0  # where m is not constant
    grad = at.grad_losses()
    if at.quantity == Quantity("target"):
        value = -direction * at.input
        return at.weighted_last(
            value if pos_weight is None else value + (pos_weight - 1) * direction * (xp.log(total) + m)
        )
    if at.quantity.along == "target":
        return _input_along_target(at, grad) if at.quantity.of == "input" else zeros
    m_tangent = xp.where(left, -direction, zeros)
    first_tangent, second_tangent = -m_tangent * first, (-direction - m_tangent) * second
    total_tangent = first_tangent + second_tangent
    log_tangent = total_tangent / total
    if at.quantity == Quantity("input"):
        value = (1 - at.target) * direction
        if pos_weight is None:
            value = value + m_tangent + log_tangent
        else:
            value = value + ((pos_weight - 1) * at.target + 1) * (log_tangent + m_tangent)
        return at.weighted_last(value)
    if at.quantity == Quantity("input", "target"):
        value = -(grad * direction)
        return value if pos_weight is None else value + grad * (log_tangent + m_tangent) * (pos_weight - 1)
    quotient = _through_log(at, grad) / total
    quotient_tangent = -(total_tangent * quotient) / total
    through_first = quotient_tangent * first + quotient * first_tangent
    through_second = quotient_tangent * second + quotient * second_tangent
    return -through_second - xp.where(left, -through_second - through_first, zeros)


@of_elements
def bce_with_logits_decomposed_double_backward(at: Elements) -> Any:
    """As `bce_with_logits_decomposed_jvp`, backward through the gradient: 1/N comes first, for the jvp before
    the sum.
    """
    xp, direction, pos_weight, zeros = at.xp, at.direction, at.pos_weight, at.zeros
    first, second, total, m = two_exponentials(xp, at.input)
    left = at.input <= 0  # where m is not constant
    if at.quantity == Quantity("target"):
        value = -direction * at.input
        return at.to_upstream(
            value if pos_weight is None else value + direction * (pos_weight - 1) * (xp.log(total) + m)
        )
    grad = at.grad_losses()
    if at.quantity == Quantity("input", "target"):
        return _input_along_target(at, grad)
    if at.quantity == Quantity("target", "target"):
        return zeros
    # What reaches m's gradient, the products with exp(-m) and exp(-x - m), their quotient by the sum, and the
    # logarithm's gradient.
    to_m = xp.where(left, -direction, zeros)
    to_first, to_second = -to_m, -direction - to_m
    to_quotient = to_first * first + to_second * second
    if at.quantity == Quantity("input"):
        value = direction * (1 - at.target)
        if pos_weight is None:
            value = value + to_m + to_quotient / total
        else:
            value = value + (to_m + to_quotient / total) * ((pos_weight - 1) * at.target + 1)
        return at.to_upstream(value)
    if at.quantity == Quantity("target", "input"):
        value = -(direction * grad)
        return value if pos_weight is None else value + (to_m + to_quotient / total) * grad * (pos_weight - 1)
    quotient = _through_log(at, grad) / total
    to_total = -to_quotient * (quotient / total)
    through_first, through_second = (
        (to_first * quotient + to_total) * first,
        (to_second * quotient + to_total) * second,
    )
    return -through_second - xp.where(left, -through_second - through_first, zeros)


def _through_log(at: Elements, grad: Any) -> Any:
    return grad if at.pos_weight is None else grad * ((at.pos_weight - 1) * at.target + 1)


def _input_along_target(at: Elements, grad: Any) -> Any:
    """The gradient of the input is linear in the target, and forward and backward are the same."""
    value = -at.direction * grad
    if at.pos_weight is None:
        return value
    first, second, total, _ = two_exponentials(at.xp, at.input)
    through_log = grad * ((at.pos_weight - 1) * at.direction)
    through_first, through_second = through_log / total * first, through_log / total * second
    return (
        value
        - through_second
        - at.xp.where(at.input <= 0, through_log - through_second - through_first, at.zeros)
    )
