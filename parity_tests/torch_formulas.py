"""The formulas that torch in fact evaluates, where they are weaker than the definition's.

Read from torch's source (aten/src/ATen/native/Loss.cpp, torch/csrc/autograd/FunctionsManual.cpp, version 2.13). They are only
evaluated in the rounding arithmetic, to say what error torch may make; the expected value stays that of the definition.
"""

from __future__ import annotations

from math import prod
from typing import Any

from reference.arguments import namespace
from reference.binary_cross_entropy import SMALLEST_VARIANCE, BinaryCrossEntropyGradients
from reference.binary_cross_entropy_with_logits import BinaryCrossEntropyWithLogitsGradients, sigmoid, softplus
from reference.reduction import reduce, reduce_backward


def bce_with_logits_subtracted(input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None) -> Any:
    """(1 - t) x - (1 + (p - 1) t) logsigmoid(x): cancels for x << 0, where the loss is exp(x)."""
    xp = namespace(input=input)
    zeros = xp.zeros_like(input)
    log_sigmoid = -xp.maximum(-input, zeros) - xp.log1p(xp.exp(-abs(input)))
    if pos_weight is not None:
        log_sigmoid = log_sigmoid * ((pos_weight - 1) * target + 1)
    losses = (1 - target) * input - log_sigmoid
    if weight is not None:
        losses = losses * weight
    return reduce(xp, losses, reduction, prod(input.shape))


def bce_with_logits_subtracted_backward(
    grad_output: Any, input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> BinaryCrossEntropyWithLogitsGradients:
    """sigmoid(x) (1 + p t - t) - p t: cancels for t = 1 and x >> 0. Each product with the upstream gradient and weight is last."""
    xp = namespace(input=input)
    if pos_weight is None:
        slope, tilt = sigmoid(xp, input) - target, -input
    else:
        weighted = pos_weight * target
        slope = sigmoid(xp, input) * (weighted + 1 - target) - weighted
        tilt = pos_weight * softplus(xp, -input) - softplus(xp, input)
    slope, tilt = slope * grad_output, tilt * grad_output
    if weight is not None:
        slope, tilt = slope * weight, tilt * weight
    denominator = prod(input.shape)
    return BinaryCrossEntropyWithLogitsGradients(
        reduce_backward(slope, reduction, denominator), reduce_backward(tilt, reduction, denominator)
    )


def bce_divided_last_backward(
    grad_output: Any, input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> BinaryCrossEntropyGradients:
    """The mean's 1/N comes last, so a quotient may overflow before; and log(1 - x) stands where log1p(-x) would not round."""
    xp = namespace(input=input)
    variance = xp.maximum(input * (1 - input), xp.zeros_like(input) + SMALLEST_VARIANCE)
    grad_input = grad_output * (input - target) / variance
    grad_target = (xp.log(1 - input) - xp.log(input)) * grad_output
    if weight is not None:
        grad_input, grad_target = grad_input * weight, grad_target * weight
    denominator = prod(input.shape)
    return BinaryCrossEntropyGradients(
        reduce_backward(grad_input, reduction, denominator), reduce_backward(grad_target, reduction, denominator)
    )
