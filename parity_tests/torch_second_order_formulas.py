"""The second-order formulas that torch in fact evaluates, where they are weaker than the derivative of the definition.

Read from torch's source (tools/autograd/derivatives.yaml, torch/csrc/autograd/FunctionsManual.cpp, torch/_decomp, version 2.13). As in
`parity_tests.torch_formulas` they are only evaluated in the rounding arithmetic. Each takes the claim, the direction, the upstream
gradient and the arguments of the call, and returns the value of the claim.
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any

from parity_tests.second_order import Claim
from parity_tests.torch_formulas import (
    cross_entropy_of_log_probabilities,
    cross_entropy_of_log_probabilities_backward,
    through_log_softmax,
)
from reference.arguments import class_dim, namespace
from reference.arithmetic.dual import Dual, tangent_of
from reference.binary_cross_entropy import SMALLEST_VARIANCE
from reference.binary_cross_entropy_with_logits import sigmoid, softplus
from reference.reduction import reduce, reduce_backward
from reference.softmax import log_softmax, softmax

# --- softmax -----------------------------------------------------------------------------------------------------------


def softmax_double_backward(claim: Claim, direction: Any, grad_output: Any, input: Any, dim: int) -> Any:
    """The gradient with respect to p, g v - v sum(g p) - g sum(v p), goes through p (G - sum(G p)): the products cancel."""
    xp, p, v, g, axis = _rows(softmax, input, dim, direction, grad_output)
    if claim.of:
        v = g * v - xp.sum(p * g, axis=axis, keepdims=True) * v - g * xp.sum(p * v, axis=axis, keepdims=True)
    return xp.reshape(p * (v - xp.sum(v * p, axis=axis, keepdims=True)), input.shape)


def softmax_jvp(claim: Claim, direction: Any, grad_output: Any, input: Any, dim: int) -> Any:
    """p (v - sum(e v) / sum(e)); and the derivative of g p - p sum(g p), a difference of products."""
    xp, p, v, g, axis = _rows(softmax, input, dim, direction, grad_output)
    tangent = p * (v - _logsumexp_jvp(xp, input, v, axis))
    if claim.of:
        product = g * tangent
        tangent = product - (tangent * xp.sum(g * p, axis=axis, keepdims=True) + p * xp.sum(product, axis=axis, keepdims=True))
    return xp.reshape(tangent, input.shape)


def log_softmax_double_backward(claim: Claim, direction: Any, grad_output: Any, input: Any, dim: int) -> Any:
    """p = exp(y), |log p| units of roundoff off: v - sum(p v); and c - p sum(c) with c = -p v sum(g), whose products cancel."""
    xp, y, v, g, axis = _rows(log_softmax, input, dim, direction, grad_output)
    p = xp.exp(y)
    if not claim.of:
        return xp.reshape(v - xp.sum(v * p, axis=axis, keepdims=True), input.shape)
    c = -xp.sum(g, axis=axis, keepdims=True) * p * v
    return xp.reshape(c - p * xp.sum(c, axis=axis, keepdims=True), input.shape)


def log_softmax_jvp(claim: Claim, direction: Any, grad_output: Any, input: Any, dim: int) -> Any:
    """y' = v - sum(e v) / sum(e); and -exp(y) y' sum(g)."""
    xp, y, v, g, axis = _rows(log_softmax, input, dim, direction, grad_output)
    tangent = v - _logsumexp_jvp(xp, input, v, axis)
    if claim.of:
        tangent = -(xp.exp(y) * tangent * xp.sum(g, axis=axis, keepdims=True))
    return xp.reshape(tangent, input.shape)


def _logsumexp_jvp(xp: Any, input: Any, v: Any, axis: int) -> Any:
    x = xp.reshape(input, v.shape)
    e = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
    return xp.sum(e * v, axis=axis, keepdims=True) / xp.sum(e, axis=axis, keepdims=True)


def _rows(function: Any, input: Any, dim: int, direction: Any, grad_output: Any) -> tuple[Any, Any, Any, Any, int]:
    """The output, the direction and the upstream gradient with at least one dimension."""
    xp = namespace(input=input)
    output = function(input, dim)
    if input.ndim:
        return xp, output, direction, grad_output, dim % input.ndim
    return xp, *(xp.reshape(a, (1,)) for a in (output, direction, grad_output)), 0


# --- cross_entropy -------------------------------------------------------------------------------------------------------


def cross_entropy_double_backward(
    claim: Claim,
    direction: Any,
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """The log-probabilities as in `log_softmax_double_backward`; what is linear in them in torch's order, `cross_entropy_in_order`."""
    xp, dim = namespace(input=input), class_dim(input)
    y = log_softmax(input, dim)
    options = (ignore_index, reduction, label_smoothing)
    if claim.along != "input":
        return _cross_entropy_along(claim, direction, grad_output, Dual(y), target, weight, *options)
    p = xp.exp(y)
    if claim.of == "input":
        grad_y = cross_entropy_of_log_probabilities_backward(grad_output, y, target, weight, *options).input
        c = -xp.sum(grad_y, axis=dim, keepdims=True) * p * direction
        return c - p * xp.sum(c, axis=dim, keepdims=True)
    tangent = direction - xp.sum(direction * p, axis=dim, keepdims=True)
    return _cross_entropy_along(claim, direction, grad_output, Dual(y, tangent), target, weight, *options)


def cross_entropy_jvp(
    claim: Claim,
    direction: Any,
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """The log-probabilities as in `log_softmax_jvp`; what is linear in them in torch's order, `cross_entropy_in_order`."""
    xp, dim = namespace(input=input), class_dim(input)
    y = Dual(log_softmax(input, dim), direction - _logsumexp_jvp(xp, input, direction, dim) if claim.along == "input" else None)
    return _cross_entropy_along(claim, direction, grad_output, y, target, weight, ignore_index, reduction, label_smoothing)


def _cross_entropy_along(claim: Claim, direction: Any, grad_output: Any, y: Dual, target: Any, weight: Any, *options: Any) -> Any:
    """The claim, once the log-probabilities and their derivative are known."""
    target = Dual(target, direction if claim.along == "target" else None)
    weight = weight if weight is None else Dual(weight, direction if claim.along == "weight" else None)
    if not claim.of:
        return tangent_of(cross_entropy_of_log_probabilities(y, target, weight, *options))
    gradients = cross_entropy_of_log_probabilities_backward(Dual(grad_output), y, target, weight, *options)
    if claim.of != "input":
        return tangent_of(getattr(gradients, claim.of))
    return tangent_of(through_log_softmax(y, gradients.input))


# --- binary_cross_entropy --------------------------------------------------------------------------------------------------

EPSILON = 1e-12


def bce_double_backward(
    claim: Claim,
    direction: Any,
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    epsilon: float = EPSILON,
) -> Any:
    """x + 1e-12 and 1 - x + 1e-12 where the backward has max(x (1 - x), 1e-12)."""
    xp = namespace(input=input)
    slope = _bce_slope(xp, claim, input, target, epsilon)
    if claim in (Claim("input", "target"), Claim("target")):  # autograd through composed operations
        cotangent = _cotangent(claim, direction, grad_output, input, weight, reduction)
        if claim == Claim("input", "target"):  # of logit(x)
            return -(cotangent / (input * (1 - input)))
        return _from_cotangent(xp, claim, slope * cotangent, reduction)
    if claim == Claim("target", "input"):
        return _bce_input_along_target(xp, direction * grad_output, input, weight, reduction, epsilon)
    return _weighted_last(xp, claim, slope * (direction * grad_output if claim.of else direction), input, weight, reduction)


bce_double_backward_in_float16 = partial(
    bce_double_backward, epsilon=0.0
)  # 1e-12 is 0: what it should keep from vanishing is 0/0 or infinite


def bce_jvp_of_backward(
    claim: Claim,
    direction: Any,
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    epsilon: float = EPSILON,
) -> Any:
    """As `bce_double_backward`, with the term of the target's missing tangent; weight and 1/N come last."""
    xp = namespace(input=input)
    if claim == Claim("input", "target"):
        value = -(direction / (input * (1 - input))) * grad_output
    elif claim == Claim("target", "input"):
        return _bce_input_along_target(xp, direction * grad_output, input, weight, reduction, epsilon)
    else:
        value = _bce_slope(xp, claim, input, target, epsilon) * (direction * grad_output)
    value = _weighted_last(xp, claim, value, input, weight, reduction)
    if claim == Claim("input", "input"):
        value = value + _bce_input_along_target(xp, 0 * direction * grad_output, input, weight, reduction, epsilon)
    return value


bce_jvp_of_backward_in_float16 = partial(bce_jvp_of_backward, epsilon=0.0)  # likewise


def _bce_slope(xp: Any, claim: Claim, input: Any, target: Any, epsilon: float) -> Any:
    left, right = input + epsilon, 1 - input + epsilon
    if claim == Claim("input", "input"):
        return (input * input - 2 * input * target + target) / (left * left * (right * right))
    if claim == Claim("input"):
        return (input - target) / (left * right)
    return xp.log(1 - input) - xp.log(input) if claim == Claim("target") else xp.zeros_like(input)


def _bce_input_along_target(xp: Any, cotangent: Any, input: Any, weight: Any, reduction: str, epsilon: float) -> Any:
    """The product of all the others, which may be subnormal or 0, over max(x (1 - x), 1e-12)."""
    value = -cotangent if weight is None else -cotangent * weight
    return reduce_backward(value / xp.maximum(input * (1 - input), xp.zeros_like(input) + epsilon), reduction, prod(input.shape))


def bce_jvp_with_a_zero_tangent(
    claim: Claim,
    direction: Any,
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    smallest: float = SMALLEST_VARIANCE,
) -> Any:
    """Both derivatives are added up, the tangent that is not there as zeros: 0 times log(1 - x) - log(x) is nan at 0 and 1."""
    xp = namespace(input=input)
    zeros = xp.zeros_like(input)
    by_input, by_target = (direction, zeros) if claim.along == "input" else (zeros, direction)
    variance = xp.maximum(input * (1 - input), zeros + smallest)
    value = by_input * (input - target) / variance + (xp.log(1 - input) - xp.log(input)) * by_target
    return _weighted_last(xp, claim, value, input, weight, reduction)


bce_jvp_in_float16 = partial(
    bce_jvp_with_a_zero_tangent, smallest=0.0
)  # likewise, so that a tangent of the target alone is nan at 0 and 1 too


def bce_jvp_of_input_in_float16(
    claim: Claim, direction: Any, grad_output: Any, input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> Any:
    """The kernel of the backward with the direction for an upstream gradient: v (x - t) first, which may be subnormal, then / x (1 - x)."""
    xp = namespace(input=input)
    return _weighted_last(xp, claim, direction * (input - target) / (input * (1 - input)), input, weight, reduction)


def _cotangent(claim: Claim, direction: Any, grad_output: Any, input: Any, weight: Any, reduction: str) -> Any:
    """What reverse mode multiplies each element's derivative with: 1/N and the weight come first."""
    cotangent = reduce_backward(direction, reduction, prod(input.shape))
    cotangent = cotangent if weight is None else cotangent * weight
    return cotangent * grad_output if claim.of else cotangent


def _from_cotangent(xp: Any, claim: Claim, value: Any, reduction: str) -> Any:
    return value if claim.of else reduce(xp, value, "none" if reduction == "none" else "sum", 1)


def _weighted_last(xp: Any, claim: Claim, value: Any, input: Any, weight: Any, reduction: str) -> Any:
    value = value if weight is None else value * weight
    return reduce_backward(value, reduction, prod(input.shape)) if claim.of else reduce(xp, value, reduction, prod(input.shape))


# --- binary_cross_entropy_with_logits --------------------------------------------------------------------------------------


def bce_with_logits_double_backward(
    claim: Claim,
    direction: Any,
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Any:
    """The derivative of sigmoid(x) (1 + p t - t) - p t: sigmoid (1 - sigmoid) loses exp(-x) below the roundoff of 1, for x >> 0."""
    xp = namespace(input=input)
    cotangent = _cotangent(claim, direction, grad_output, input, weight, reduction)
    return _from_cotangent(xp, claim, _logits_slope(xp, claim, input, target, pos_weight) * cotangent, reduction)


def bce_with_logits_jvp(
    claim: Claim,
    direction: Any,
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Any:
    """The gradient in the form of `bce_with_logits_double_backward`, times v; weight and 1/N come last."""
    xp = namespace(input=input)
    return _weighted_last(xp, claim, _logits_slope(xp, claim, input, target, pos_weight) * direction, input, weight, reduction)


def _logits_slope(xp: Any, claim: Claim, input: Any, target: Any, pos_weight: Any) -> Any:
    s = sigmoid(xp, input)
    p = xp.ones_like(input) if pos_weight is None else pos_weight
    factor = p * target + 1 - target
    if claim == Claim("input", "input"):
        return factor * ((1 - s) * s)
    if claim == Claim("input"):
        return s * factor - p * target
    if claim == Claim("target", "input"):
        return s * (p - 1) - p
    if claim == Claim("input", "target"):
        return -(s + p * sigmoid(xp, -input))
    return p * softplus(xp, -input) - softplus(xp, input) if claim == Claim("target") else xp.zeros_like(input)


def bce_with_logits_decomposed_jvp(
    claim: Claim,
    direction: Any,
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Any:
    """torch.func differentiates (1 - t) x + (1 + (p - 1) t) (m + log(exp(-m) + exp(-x - m))), m = max(-x, 0), term by term.

    Here forward, the formula itself or its gradient; `bce_with_logits_decomposed_double_backward` is the other way. Each operation is
    one of torch's, in torch's order: a product of many factors may pass through numbers below the smallest normal one.
    """
    xp = namespace(input=input)
    first, second, total, m, left, zeros = _two_exponentials(xp, input)
    grad = _grad_losses(grad_output, input, weight, reduction) + zeros
    if claim == Claim("target"):
        value = -direction * input
        value = value if pos_weight is None else value + (pos_weight - 1) * direction * (xp.log(total) + m)
        return _weighted_last(xp, claim, value, input, weight, reduction)
    if claim.along == "target":
        return _decomposed_input_along_target(xp, direction, grad, input, pos_weight) if claim.of == "input" else zeros
    m_tangent = xp.where(left, -direction, zeros)
    first_tangent, second_tangent = -m_tangent * first, (-direction - m_tangent) * second
    total_tangent = first_tangent + second_tangent
    log_tangent = total_tangent / total
    if claim == Claim("input"):
        value = (1 - target) * direction
        if pos_weight is None:
            value = value + m_tangent + log_tangent
        else:
            value = value + ((pos_weight - 1) * target + 1) * (log_tangent + m_tangent)
        return _weighted_last(xp, claim, value, input, weight, reduction)
    if claim == Claim("input", "target"):
        value = -(grad * direction)
        return value if pos_weight is None else value + grad * (log_tangent + m_tangent) * (pos_weight - 1)
    quotient = (grad if pos_weight is None else grad * ((pos_weight - 1) * target + 1)) / total
    quotient_tangent = -(total_tangent * quotient) / total
    through_first = quotient_tangent * first + quotient * first_tangent
    through_second = quotient_tangent * second + quotient * second_tangent
    return -through_second - xp.where(left, -through_second - through_first, zeros)


def bce_with_logits_decomposed_double_backward(
    claim: Claim,
    direction: Any,
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Any:
    """As `bce_with_logits_decomposed_jvp`, backward through the gradient: 1/N comes first, for the jvp before the sum."""
    xp = namespace(input=input)
    first, second, total, m, left, zeros = _two_exponentials(xp, input)
    if claim == Claim("target"):
        value = -direction * input
        value = value if pos_weight is None else value + direction * (pos_weight - 1) * (xp.log(total) + m)
        return _to_upstream(xp, value, input, weight, reduction)
    grad = _grad_losses(grad_output, input, weight, reduction) + zeros
    if claim == Claim("input", "target"):
        return _decomposed_input_along_target(xp, direction, grad, input, pos_weight)
    if claim == Claim("target", "target"):
        return zeros
    # What reaches m's gradient, the products with exp(-m) and exp(-x - m), their quotient by the sum, and the logarithm's gradient.
    to_m = xp.where(left, -direction, zeros)
    to_first, to_second = -to_m, -direction - to_m
    to_quotient = to_first * first + to_second * second
    if claim == Claim("input"):
        value = direction * (1 - target)
        if pos_weight is None:
            value = value + to_m + to_quotient / total
        else:
            value = value + (to_m + to_quotient / total) * ((pos_weight - 1) * target + 1)
        return _to_upstream(xp, value, input, weight, reduction)
    if claim == Claim("target", "input"):
        value = -(direction * grad)
        return value if pos_weight is None else value + (to_m + to_quotient / total) * grad * (pos_weight - 1)
    quotient = (grad if pos_weight is None else grad * ((pos_weight - 1) * target + 1)) / total
    to_total = -to_quotient * (quotient / total)
    through_first, through_second = (to_first * quotient + to_total) * first, (to_second * quotient + to_total) * second
    return -through_second - xp.where(left, -through_second - through_first, zeros)


def _two_exponentials(xp: Any, input: Any) -> tuple[Any, Any, Any, Any, Any, Any]:
    """exp(-m), exp(-x - m), their sum, m = max(-x, 0), where it is not constant, and zeros."""
    zeros = xp.zeros_like(input)
    m = xp.maximum(-input, zeros)
    first, second = xp.exp(-m), xp.exp(-input - m)
    return first, second, first + second, m, input <= 0, zeros


def _decomposed_input_along_target(xp: Any, direction: Any, grad: Any, input: Any, pos_weight: Any) -> Any:
    """The gradient of the input is linear in the target, and forward and backward are the same."""
    value = -direction * grad
    if pos_weight is None:
        return value
    first, second, total, _, left, zeros = _two_exponentials(xp, input)
    through_log = grad * ((pos_weight - 1) * direction)
    through_first, through_second = through_log / total * first, through_log / total * second
    return value - through_second - xp.where(left, through_log - through_second - through_first, zeros)


def _grad_losses(grad_output: Any, input: Any, weight: Any, reduction: str) -> Any:
    """The gradient that reaches each loss before it is weighted."""
    grad = reduce_backward(grad_output, reduction, prod(input.shape))
    return grad if weight is None else grad * weight


def _to_upstream(xp: Any, value: Any, input: Any, weight: Any, reduction: str) -> Any:
    """What reverse mode passes on to the upstream gradient: `_grad_losses` is linear in it."""
    value = reduce_backward(value if weight is None else value * weight, reduction, prod(input.shape))
    return value if reduction == "none" else xp.sum(value)
