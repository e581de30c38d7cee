"""cross_entropy in the order in which torch multiplies, of log-probabilities and probabilities in any form.

Below the smallest normal number, what a product loses depends on the order of its factors.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from torch_loss_parity.reference.arguments import class_dim, namespace
from torch_loss_parity.reference.cross_entropy import CrossEntropyGradients
from torch_loss_parity.reference.nll_loss import (
    NllLossGradients,
    nll_loss,
    nll_loss_backward,
    target_weights,
)
from torch_loss_parity.reference.reduction import reduce, reduce_backward
from torch_loss_parity.reference.ways import rows
from torch_loss_parity.reference.ways.nll_loss import along_classes
from torch_loss_parity.reference.ways.row_forms import Form
from torch_loss_parity.reference.ways.sizes import Size, exactly


def cross_entropy_in_order(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    size: Size = exactly,
    log_probabilities: Form = rows.log_softmax_textbook,
) -> Any:
    """(y t) w of the log-probabilities y, all added up at once."""
    y = log_probabilities(input, class_dim(input))
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
    log_probabilities: Form = rows.log_softmax_textbook,
    probabilities: Form = rows.softmax_of_logarithms,
) -> CrossEntropyGradients:
    """The derivative of `cross_entropy_in_order`, from the last product to the first: the upstream gradient
    times w, then times t or y.
    """
    dim = class_dim(input)
    y, p = log_probabilities(input, dim), probabilities(input, dim)
    options = (weight, ignore_index, reduction, label_smoothing)
    gradients = cross_entropy_of_log_probabilities_backward(
        grad_output, y, target, *options, through_nll_loss, size
    )
    return gradients._replace(input=through_log_softmax(p, gradients.input))


def through_log_softmax(p: Any, grad_y: Any) -> Any:
    """The gradient of the logits, from the probabilities and the gradient of their logarithms."""
    return grad_y - p * namespace(p=p).sum(grad_y, axis=class_dim(p), keepdims=True)


def smoothed_target(target: Any, label_smoothing: float, share: float) -> Any:
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
    weights = None if weight is None else along_classes(xp, weight, y)
    if tuple(target.shape) == tuple(y.shape):
        products = y * smoothed_target(target, label_smoothing, share)
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
    weights = None if weight is None else along_classes(xp, weight, y)

    def to_products(grad: Any, denominator: Any) -> tuple[Any, Any]:
        """What reaches the unweighted and the weighted products of each row."""
        grad = -reduce_backward(grad, reduction, denominator)
        grad = xp.expand_dims(grad, axis=dim) if reduction == "none" else grad
        return grad, grad if weights is None else grad * weights

    if tuple(target.shape) == tuple(y.shape):
        smoothed = smoothed_target(target, label_smoothing, share)
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
