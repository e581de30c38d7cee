"""The ways of a loss with a z-loss: those of the loss, each with its own form of the logarithm of the sum and
of the probabilities.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch_loss_parity.reference.arguments import namespace
from torch_loss_parity.reference.cross_entropy import CrossEntropyGradients
from torch_loss_parity.reference.nll_loss import target_weights
from torch_loss_parity.reference.reduction import reduce
from torch_loss_parity.reference.softmax import softmax
from torch_loss_parity.reference.ways.row_forms import Form
from torch_loss_parity.reference.ways.rows import logsumexp_textbook
from torch_loss_parity.reference.z_loss import z_losses, z_losses_backward


def with_z_loss(
    form: Callable[..., Any],
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    z_loss: float = 0.0,
    log_sum: Form = logsumexp_textbook,
) -> Any:
    """A form of the loss, and the z-loss."""
    loss = form(input, target, weight, ignore_index, reduction, label_smoothing)
    if not z_loss:
        return loss
    return loss + z_loss * z_losses(input, target, ignore_index, reduction, log_sum=log_sum)


def with_z_loss_backward(
    form: Callable[..., CrossEntropyGradients],
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    z_loss: float = 0.0,
    log_sum: Form = logsumexp_textbook,
    probabilities: Form = softmax,
) -> CrossEntropyGradients:
    """A form of the gradients, and that of the z-loss."""
    gradients = form(grad_output, input, target, weight, ignore_index, reduction, label_smoothing)
    if not z_loss:
        return gradients
    forms = {"log_sum": log_sum, "probabilities": probabilities}
    more = z_loss * z_losses_backward(grad_output, input, target, ignore_index, reduction, **forms)
    return gradients._replace(input=gradients.input + more)


def in_each_row(
    form: Callable[..., Any],
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    z_loss: float = 0.0,
) -> Any:
    """sum(l / D + z lse^2 / N): the z-loss of each row is added to its loss before rows are added up."""
    given, smoothing = (input, target, weight, ignore_index), label_smoothing
    if not z_loss or reduction == "none":
        return with_z_loss(form, *given, reduction, smoothing, z_loss=z_loss)
    xp = namespace(input=input)
    losses = form(*given, "none", smoothing)
    squares = z_loss * z_losses(input, target, ignore_index, "none", log_sum=logsumexp_textbook)
    if reduction == "mean":
        of_indices = tuple(target.shape) != tuple(input.shape)
        rows = target_weights(xp, input, target, None, ignore_index) if of_indices else xp.ones_like(squares)
        own = rows if weight is None or not of_indices else target_weights(xp, *given)
        losses, squares = losses / xp.sum(own), squares / xp.sum(rows)
    return reduce(xp, losses + squares, "sum", 1)
