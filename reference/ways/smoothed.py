"""Ways of cross_entropy that smooth class indices otherwise: the shares of a row's classes as one
distribution, and the logits apart from the logarithm of their sum.
"""

from __future__ import annotations

from typing import Any

from torch_loss_parity.reference.arguments import class_dim, namespace
from torch_loss_parity.reference.nll_loss import classes_along, nll_loss, target_weights
from torch_loss_parity.reference.reduction import reduce
from torch_loss_parity.reference.ways import row_forms, rows
from torch_loss_parity.reference.ways.any_order import in_any_order
from torch_loss_parity.reference.ways.class_products import cross_entropy_in_order
from torch_loss_parity.reference.ways.nll_loss import along_classes
from torch_loss_parity.reference.ways.row_forms import Form


def cross_entropy_of_shares(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    log_probabilities: Form = rows.log_softmax_textbook,
) -> Any:
    """-sum(q y w): each class has its share of a row, 1 - e + e / C or e / C, so that the target's own loss
    is not multiplied by 1 - e = 0.
    """
    given = (input, target, weight, ignore_index)
    if label_smoothing == 0 or tuple(target.shape) == tuple(input.shape) or 0 in input.shape:
        return cross_entropy_in_order(*given, reduction, label_smoothing, log_probabilities=log_probabilities)
    xp, dim = namespace(input=input), class_dim(input)
    y = log_probabilities(input, dim)
    share = xp.zeros_like(y) + label_smoothing / input.shape[dim]
    shares = xp.where(_is_target(xp, input, target, dim), share + (1 - label_smoothing), share)
    products = shares * y if weight is None else shares * y * along_classes(xp, weight, input)
    return _counted(xp, -xp.sum(products, axis=dim), *given, reduction)


def cross_entropy_less_shares(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """lse - e mean(x) - (1 - e) x_t, in any order, of classes without weights."""
    given = (input, target, weight, ignore_index)
    if label_smoothing == 0 or weight is not None or tuple(target.shape) == tuple(input.shape):
        return cross_entropy_in_order(
            *given, reduction, label_smoothing, log_probabilities=rows.log_softmax_from_log_sum
        )
    if 0 in input.shape:
        return cross_entropy_in_order(*given, reduction, label_smoothing)
    xp, dim = namespace(input=input), class_dim(input)
    lse = xp.squeeze(row_forms.log_sum(input, dim), axis=dim)
    spread = xp.sum(input, axis=dim) * (label_smoothing / input.shape[dim])
    less_own = (1 - label_smoothing) * nll_loss(input, target, None, ignore_index, "none")
    return _counted(xp, in_any_order(xp, (lse, -spread, less_own)), *given, reduction)


def _is_target(xp: Any, input: Any, target: Any, dim: int) -> Any:
    target = xp.reshape(target, tuple(n for axis, n in enumerate(input.shape) if axis != dim))
    return xp.expand_dims(target, axis=dim) == classes_along(xp, input, dim)


def _counted(
    xp: Any, losses: Any, input: Any, target: Any, weight: Any, ignore_index: int, reduction: str
) -> Any:
    """The losses of rows, reduced over those that count."""
    losses = xp.where(target == ignore_index, xp.zeros_like(losses), losses)
    return reduce(xp, losses, reduction, xp.sum(target_weights(xp, input, target, weight, ignore_index)))
