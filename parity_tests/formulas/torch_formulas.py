"""The formulas that torch in fact evaluates, where they are weaker than the definition's.

Read from torch's source (aten/src/ATen/native/Loss.cpp, torch/csrc/autograd/FunctionsManual.cpp, version
2.13). They are only evaluated in the rounding arithmetic, to say what error torch may make; the expected
value stays that of the definition.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from torch_loss_parity.reference.arguments import class_dim, namespace
from torch_loss_parity.reference.binary_cross_entropy import SMALLEST_VARIANCE, BinaryCrossEntropyGradients
from torch_loss_parity.reference.binary_cross_entropy_with_logits import (
    BinaryCrossEntropyWithLogitsGradients,
    sigmoid,
    softplus,
)
from torch_loss_parity.reference.cross_entropy import CrossEntropyGradients
from torch_loss_parity.reference.logsumexp import logsumexp
from torch_loss_parity.reference.nll_loss import (
    NllLossGradients,
    classes_along,
    nll_loss,
    nll_loss_backward,
    target_weights,
)
from torch_loss_parity.reference.reduction import reduce, reduce_backward
from torch_loss_parity.reference.softmax import log_softmax

Size = Callable[[Any, int], Any]  # of an array and a number of its elements: what a mean divides by


def exactly(array: Any, count: int) -> Any:
    """The number, as it is."""
    return count


def bce_with_logits_subtracted(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Any:
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
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
    size: Size = exactly,
) -> BinaryCrossEntropyWithLogitsGradients:
    """sigmoid(x) (1 + p t - t) - p t: cancels for t = 1 and x >> 0.

    Each product with the upstream gradient and weight is last.
    """
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
    denominator = size(input, prod(input.shape))
    return BinaryCrossEntropyWithLogitsGradients(
        reduce_backward(slope, reduction, denominator), reduce_backward(tilt, reduction, denominator)
    )


def bce_divided_last_backward(
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    size: Size = exactly,
) -> BinaryCrossEntropyGradients:
    """The mean's 1/N comes last, so a quotient may overflow before; and log(1 - x) stands where log1p(-x)
    would not round.
    """
    xp = namespace(input=input)
    variance = xp.maximum(input * (1 - input), xp.zeros_like(input) + SMALLEST_VARIANCE)
    grad_input = grad_output * (input - target) / variance
    grad_target = (xp.log(1 - input) - xp.log(input)) * grad_output
    if weight is not None:
        grad_input, grad_target = grad_input * weight, grad_target * weight
    denominator = size(input, prod(input.shape))
    return BinaryCrossEntropyGradients(
        reduce_backward(grad_input, reduction, denominator),
        reduce_backward(grad_target, reduction, denominator),
    )


def bce_with_logits_under_functorch(
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
    if weight is not None:
        losses = losses * weight
    return reduce(xp, losses, reduction, prod(input.shape))


def bce_with_logits_under_functorch_backward(
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> BinaryCrossEntropyWithLogitsGradients:
    """The derivative of `bce_with_logits_under_functorch`, term by term: what flows through m is 0, and
    cancels.
    """
    xp = namespace(input=input)
    first, second, total, m = two_exponentials(xp, input)
    grad = reduce_backward(grad_output, reduction, prod(input.shape)) + xp.zeros_like(input)
    if weight is not None:
        grad = grad * weight
    through_log = grad if pos_weight is None else grad * ((pos_weight - 1) * target + 1)
    through_first, through_second = through_log / total * first, through_log / total * second
    through_m = through_log - through_first - through_second
    grad_input = (1 - target) * grad - through_second - xp.where(input <= 0, through_m, xp.zeros_like(input))
    grad_target = -(input * grad)
    if pos_weight is not None:
        grad_target = grad_target + grad * (xp.log(total) + m) * (pos_weight - 1)
    return BinaryCrossEntropyWithLogitsGradients(grad_input, grad_target)


def two_exponentials(xp: Any, input: Any) -> tuple[Any, Any, Any, Any]:
    """exp(-m), exp(-x - m), their sum, and m = max(-x, 0)."""
    m = xp.maximum(-input, xp.zeros_like(input))
    first, second = xp.exp(-m), xp.exp(-input - m)
    return first, second, first + second, m


def nll_loss_multiplied_backward(
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> NllLossGradients:
    """The upstream gradient times the class weight, times -1 at the target and 0 elsewhere: 0 times 0/0 is
    nan.
    """
    xp = namespace(input=input)
    dim = class_dim(input)
    g = reduce_backward(
        grad_output, reduction, xp.sum(target_weights(xp, input, target, weight, ignore_index))
    )
    g = (xp.expand_dims(g, axis=dim) if reduction == "none" else g) + xp.zeros_like(input)
    if weight is not None:
        g = g * _along_classes(xp, weight, input)
    counted = xp.expand_dims(target != ignore_index, axis=dim) & (xp.zeros_like(input) == 0)
    hit = xp.expand_dims(target, axis=dim) == classes_along(xp, input, dim)
    zeros = xp.zeros_like(input)
    return NllLossGradients(xp.where(hit & counted, zeros - 1, zeros) * xp.where(counted, g, zeros))


def logsumexp_kept(input: Any, dim: int | tuple[int, ...]) -> Any:
    """The result y of logsumexp, to broadcast against the input."""
    return logsumexp(input, dim, keepdim=True)


def logsumexp_from_result_backward(
    grad_output: Any, input: Any, dim: int | tuple[int, ...], keepdim: bool = False
) -> Any:
    """g exp(x - y) from the result y: its rounding error, |y| units of roundoff, becomes a relative error of
    the gradient.
    """
    xp, y = namespace(input=input), logsumexp_kept(input, dim)
    return xp.reshape(grad_output, y.shape) * xp.exp(input - y)


def cross_entropy_in_order(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    size: Size = exactly,
) -> Any:
    """(y t) w, all added up at once: below the smallest normal number what a product loses depends on the
    order of its factors.
    """
    y = log_softmax(input, class_dim(input))
    return cross_entropy_of_log_probabilities(
        y, target, weight, ignore_index, reduction, label_smoothing, size
    )


def cross_entropy_in_order_backward(
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    through_nll_loss: Callable[..., NllLossGradients] = nll_loss_backward,
    size: Size = exactly,
) -> CrossEntropyGradients:
    """The derivative of `cross_entropy_in_order`, from the last product to the first: the upstream gradient
    times w, then times t or y.
    """
    y = log_softmax(input, class_dim(input))
    options = (weight, ignore_index, reduction, label_smoothing)
    gradients = cross_entropy_of_log_probabilities_backward(
        grad_output, y, target, *options, through_nll_loss, size
    )
    return gradients._replace(input=through_log_softmax(y, gradients.input))


def through_log_softmax(y: Any, grad_y: Any) -> Any:
    """The gradient of the logits, from that of the log-probabilities ``y``."""
    xp, dim = namespace(y=y), class_dim(y)
    return grad_y - xp.exp(y) * xp.sum(grad_y, axis=dim, keepdims=True)


def _along_classes(xp: Any, weight: Any, x: Any) -> Any:
    """The weight of each class, to broadcast against ``x``."""
    return xp.reshape(weight, tuple(weight.shape) + (1,) * (x.ndim - class_dim(x) - 1))


def _smooth(target: Any, label_smoothing: float, share: float) -> Any:
    return target if label_smoothing == 0 else target * (1 - label_smoothing) + share


def cross_entropy_of_log_probabilities(
    y: Any,
    target: Any,
    weight: Any,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
    size: Size = exactly,
) -> Any:
    """`cross_entropy_in_order` of log-probabilities, in which it is linear."""
    xp, dim = namespace(y=y), class_dim(y)
    classes = max(y.shape[dim], 1)  # without classes there are no products to share or to count
    share = label_smoothing / classes
    weights = None if weight is None else _along_classes(xp, weight, y)
    if tuple(target.shape) == tuple(y.shape):
        products = y * _smooth(target, label_smoothing, share)
        products = products if weights is None else products * weights
        loss = -xp.sum(products, axis=dim if reduction == "none" else None)
        return loss / size(y, prod(y.shape) // classes) if reduction == "mean" else loss
    loss = nll_loss(y, target, weight, ignore_index, reduction)
    if label_smoothing == 0:
        return loss
    uniform = -xp.sum(y if weights is None else y * weights, axis=dim)
    uniform = xp.where(target == ignore_index, xp.zeros_like(uniform), uniform)
    spread = reduce(xp, uniform, reduction, xp.sum(target_weights(xp, y, target, weight, ignore_index)))
    return (1 - label_smoothing) * loss + share * spread


def cross_entropy_of_log_probabilities_backward(
    grad_output: Any,
    y: Any,
    target: Any,
    weight: Any,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
    through_nll_loss: Callable[..., NllLossGradients] = nll_loss_backward,
    size: Size = exactly,
) -> CrossEntropyGradients:
    """The derivative of `cross_entropy_of_log_probabilities`; ``input`` is the gradient with respect to the
    log-probabilities.
    """
    xp, dim = namespace(y=y), class_dim(y)
    classes = max(y.shape[dim], 1)  # without classes there are no products to share or to count
    share = label_smoothing / classes
    weights = None if weight is None else _along_classes(xp, weight, y)

    def to_products(grad: Any, denominator: Any) -> tuple[Any, Any]:
        """What reaches the unweighted and the weighted products of each row."""
        grad = -reduce_backward(grad, reduction, denominator)
        grad = xp.expand_dims(grad, axis=dim) if reduction == "none" else grad
        return grad, grad if weights is None else grad * weights

    if tuple(target.shape) == tuple(y.shape):
        smoothed = _smooth(target, label_smoothing, share)
        to_rows, to_classes = to_products(grad_output, size(y, prod(y.shape) // classes))
        grad_target = to_classes * y
        grad_weight = None
        if weight is not None:
            axes = tuple(i for i in range(y.ndim) if i != dim)
            grad_weight = to_rows * (y * smoothed)
            grad_weight = xp.sum(grad_weight, axis=axes) if axes else grad_weight
        return CrossEntropyGradients(
            to_classes * smoothed,
            grad_target if label_smoothing == 0 else grad_target * (1 - label_smoothing),
            grad_weight,
        )
    if label_smoothing == 0:
        return CrossEntropyGradients(
            through_nll_loss(grad_output, y, target, weight, ignore_index, reduction).input
        )
    grad_y = through_nll_loss(
        grad_output * (1 - label_smoothing), y, target, weight, ignore_index, reduction
    ).input
    _, to_classes = to_products(
        grad_output * share, xp.sum(target_weights(xp, y, target, weight, ignore_index))
    )
    zeros = xp.zeros_like(y)
    return CrossEntropyGradients(
        grad_y + xp.where(xp.expand_dims(target != ignore_index, axis=dim), to_classes + zeros, zeros)
    )
