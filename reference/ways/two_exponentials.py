"""A sigmoid and its logarithm by two exponentials, as torch.func has them: ways of
binary_cross_entropy_with_logits.
"""

from __future__ import annotations

from math import prod
from typing import Any

from torch_loss_parity.reference.arguments import namespace
from torch_loss_parity.reference.binary_cross_entropy_with_logits import (
    BinaryCrossEntropyWithLogitsGradients,
)
from torch_loss_parity.reference.reduction import reduce_backward, reduce_elements
from torch_loss_parity.reference.ways.any_order import in_any_order


def of_two_exponentials(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """(1 - t) x + m + log(exp(-m) + exp(-x - m)), m = max(-x, 0): a logarithm near 1 loses what
    log1p keeps.
    """
    xp = namespace(input=input)
    _, _, total, m = two_exponentials(xp, input)
    if pos_weight is None:
        losses = (1 - target) * input + m + xp.log(total)
    else:
        losses = (1 - target) * input + ((pos_weight - 1) * target + 1) * (xp.log(total) + m)
    return reduce_elements(xp, losses, weight, reduction, prod(input.shape))


def of_two_exponentials_less_the_product(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """x - x t + m + log(exp(-m) + exp(-x - m)), of elements without pos_weight."""
    if pos_weight is not None:
        return of_two_exponentials(input, target, weight, reduction, pos_weight)
    xp = namespace(input=input)
    _, _, total, m = two_exponentials(xp, input)
    losses = input - input * target + m + xp.log(total)
    return reduce_elements(xp, losses, weight, reduction, prod(input.shape))


def of_two_exponentials_backward(
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> BinaryCrossEntropyWithLogitsGradients:
    """The derivative of `of_two_exponentials`, term by term: what flows through m is 0, and
    cancels.
    """
    xp = namespace(input=input)
    first, second, total, m = two_exponentials(xp, input)
    grad = _of_each_loss(xp, grad_output, input, weight, reduction)
    through_log = grad if pos_weight is None else grad * ((pos_weight - 1) * target + 1)
    through_first, through_second = through_log / total * first, through_log / total * second
    through_m = through_log - through_first - through_second
    grad_input = (1 - target) * grad - through_second - xp.where(input <= 0, through_m, xp.zeros_like(input))
    grad_target = -(input * grad)
    if pos_weight is not None:
        grad_target = grad_target + grad * (xp.log(total) + m) * (pos_weight - 1)
    return BinaryCrossEntropyWithLogitsGradients(grad_input, grad_target)


def of_two_exponentials_less_the_product_backward(
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> BinaryCrossEntropyWithLogitsGradients:
    """The derivative of `of_two_exponentials_less_the_product`, term by term: g and -g t are two of them, and
    all are added in any order.
    """
    if pos_weight is not None:
        return of_two_exponentials_backward(grad_output, input, target, weight, reduction, pos_weight)
    xp = namespace(input=input)
    first, second, total, _ = two_exponentials(xp, input)
    grad = _of_each_loss(xp, grad_output, input, weight, reduction)
    through_first, through_second = grad / total * first, grad / total * second
    through_m = in_any_order(xp, (grad, -through_first, -through_second))
    through_m = xp.where(input <= 0, through_m, xp.zeros_like(input))
    grad_input = in_any_order(xp, (grad, -(grad * target), -through_second, -through_m))
    return BinaryCrossEntropyWithLogitsGradients(grad_input, -(input * grad))


def two_exponentials(xp: Any, input: Any) -> tuple[Any, Any, Any, Any]:
    """exp(-m), exp(-x - m), their sum, and m = max(-x, 0)."""
    m = xp.maximum(-input, xp.zeros_like(input))
    first, second = xp.exp(-m), xp.exp(-input - m)
    return first, second, first + second, m


def _of_each_loss(xp: Any, grad_output: Any, input: Any, weight: Any, reduction: str) -> Any:
    """The upstream gradient of each element's loss before its weight."""
    grad = reduce_backward(grad_output, reduction, prod(input.shape)) + xp.zeros_like(input)
    return grad if weight is None else grad * weight
