"""The second-order formulas that torch in fact evaluates, where they are weaker than the derivative of the definition.

Read from torch's source (tools/autograd/derivatives.yaml, torch/csrc/autograd/FunctionsManual.cpp, torch/_decomp, version 2.13). As in
`parity_tests.torch_formulas` they are only evaluated in the rounding arithmetic. Each takes the claim, the direction, the upstream
gradient and the arguments of the call, and returns the value of the claim.
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any

from parity_tests.second_order import Claim, gradient_along, jvp
from reference.arguments import class_dim, namespace
from reference.binary_cross_entropy import SMALLEST_VARIANCE
from reference.binary_cross_entropy_with_logits import sigmoid, softplus
from reference.nll_loss import nll_loss_backward, target_weights
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
    """With p = exp(y) as in `log_softmax_double_backward`; what does not depend on p, or not on it alone, as the definition."""
    options = {"weight": weight, "ignore_index": ignore_index, "reduction": reduction, "label_smoothing": label_smoothing}
    if claim.along != "input" or not claim.of:
        arguments = {"input": input, "target": target, **options}
        if claim.of:
            return gradient_along("cross_entropy", claim, direction, grad_output, arguments)
        return jvp("cross_entropy", claim.along, direction, arguments)
    xp, dim = namespace(input=input), class_dim(input)
    p = xp.exp(log_softmax(input, dim))
    if claim.of == "input":
        grad_y = _grad_log_probabilities(xp, dim, grad_output, input, target, **options)
        c = -(xp.sum(grad_y, axis=dim, keepdims=True) * p) * direction
        return c - p * xp.sum(c, axis=dim, keepdims=True)
    tangent = direction - xp.sum(direction * p, axis=dim, keepdims=True)
    g = reduce_backward(grad_output, reduction, prod(input.shape) // input.shape[dim])
    g = xp.expand_dims(g, axis=dim) if reduction == "none" else g
    if claim.of == "target":
        weights = 1 if weight is None else xp.reshape(weight, (-1,) + (1,) * (input.ndim - dim - 1))
        return (1 - label_smoothing) * (-g * (tangent * weights))
    smoothed = target if label_smoothing == 0 else target * (1 - label_smoothing) + label_smoothing / input.shape[dim]
    axes = tuple(i for i in range(input.ndim) if i != dim)
    products = -g * (smoothed * tangent)
    return xp.sum(products, axis=axes) if axes else products


def _grad_log_probabilities(
    xp: Any, dim: int, grad_output: Any, y: Any, target: Any, weight: Any, ignore_index: int, reduction: str, label_smoothing: float
) -> Any:
    """The gradient of the loss with respect to the log-probabilities, in which it is linear."""
    share = label_smoothing / y.shape[dim]
    weights = 1 if weight is None else xp.reshape(weight, (-1,) + (1,) * (y.ndim - dim - 1))
    if tuple(target.shape) == tuple(y.shape):
        g = reduce_backward(grad_output, reduction, prod(y.shape) // y.shape[dim])
        smoothed = target if label_smoothing == 0 else target * (1 - label_smoothing) + share
        return -(xp.expand_dims(g, axis=dim) if reduction == "none" else g) * (smoothed * weights)
    grad_y = nll_loss_backward(grad_output, y, target, weight, ignore_index, reduction).input
    if label_smoothing == 0:
        return grad_y
    g = reduce_backward(grad_output, reduction, xp.sum(target_weights(xp, y, target, weight, ignore_index)))
    g = xp.expand_dims(g, axis=dim) if reduction == "none" else g
    counted = xp.expand_dims(target != ignore_index, axis=dim)
    uniform = xp.where(counted, -g * (xp.ones_like(y) * weights), xp.zeros_like(y))
    return (1 - label_smoothing) * grad_y + share * uniform


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
        if claim == Claim("input", "target"):
            return -(cotangent / (1 - input)) - cotangent / input
        return _from_cotangent(xp, claim, slope * cotangent, reduction)
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
        value = (-(direction / (1 - input)) - direction / input) * grad_output
    else:
        value = _bce_slope(xp, claim, input, target, epsilon) * (direction * grad_output)
    if claim == Claim("input", "input"):
        value = value + _bce_slope(xp, Claim("target", "input"), input, target, epsilon) * (0 * direction * grad_output)
    return _weighted_last(xp, claim, value, input, weight, reduction)


bce_jvp_of_backward_in_float16 = partial(bce_jvp_of_backward, epsilon=0.0)  # likewise


def _bce_slope(xp: Any, claim: Claim, input: Any, target: Any, epsilon: float) -> Any:
    left, right = input + epsilon, 1 - input + epsilon
    if claim == Claim("input", "input"):
        return (input * input - 2 * input * target + target) / (left * left * (right * right))
    if claim == Claim("target", "input"):
        return -1 / xp.maximum(input * (1 - input), xp.zeros_like(input) + epsilon)
    if claim == Claim("input"):
        return (input - target) / (left * right)
    return xp.log(1 - input) - xp.log(input) if claim == Claim("target") else xp.zeros_like(input)


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


def bce_with_logits_decomposed(
    claim: Claim,
    direction: Any,
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Any:
    """torch.func differentiates (1 - t) x + (1 + (p - 1) t) (m + log(exp(-m) + exp(-x - m))), m = max(-x, 0), term by term."""
    xp = namespace(input=input)
    p = xp.ones_like(input) if pos_weight is None else pos_weight
    factor = (p - 1) * target + 1
    m = xp.maximum(-input, xp.zeros_like(input))
    first, second = xp.exp(-m), xp.exp(-input - m)
    grad = reduce_backward(grad_output, reduction, prod(input.shape))
    grad = grad if weight is None else grad * weight
    if claim == Claim("input", "input"):
        share = second / (first + second)
        return direction * grad * factor * ((1 - share) * share)
    if claim in (Claim("target", "input"), Claim("input", "target")):
        through_log = grad * ((p - 1) * direction)
        through_first, through_second = through_log / (first + second) * first, through_log / (first + second) * second
        through_m = through_log - through_first - through_second
        return -direction * grad - through_second - xp.where(input <= 0, through_m, xp.zeros_like(input))
    if claim == Claim("input"):
        m_tangent = xp.where(input <= 0, -direction, xp.zeros_like(direction))
        log_tangent = (first * -m_tangent + second * (-direction - m_tangent)) / (first + second)
        value = (1 - target) * direction
        value = value + m_tangent + log_tangent if pos_weight is None else value + factor * (log_tangent + m_tangent)
    elif claim == Claim("target"):
        value = -input * direction + (p - 1) * (m + xp.log(first + second)) * direction
    else:
        return xp.zeros_like(input)
    return _weighted_last(xp, claim, value, input, weight, reduction)
