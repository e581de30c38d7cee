"""The ways of a loss with what kernels add to it: those of the loss, of logits that are capped, each with its
own form of the logarithm of the sum and of the probabilities for a z-loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch_loss_parity.reference.arguments import namespace
from torch_loss_parity.reference.cross_entropy import CrossEntropyGradients
from torch_loss_parity.reference.nll_loss import target_weights
from torch_loss_parity.reference.reduction import reduce
from torch_loss_parity.reference.softcap import softcapped
from torch_loss_parity.reference.softmax import softmax
from torch_loss_parity.reference.ways.row_forms import Form
from torch_loss_parity.reference.ways.rows import logsumexp_textbook
from torch_loss_parity.reference.z_loss import counted_rows, z_losses, z_losses_backward


def extended(
    form: Callable[..., Any],
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    z_loss: float = 0.0,
    softcap: float | None = None,
    log_sum: Form = logsumexp_textbook,
) -> Any:
    """A form of the loss of capped logits, and the z-loss."""
    input = input if softcap is None else softcapped(input, softcap)
    loss = form(input, target, weight, ignore_index, reduction, label_smoothing)
    if not z_loss:
        return loss
    return loss + z_loss * z_losses(input, target, ignore_index, reduction, log_sum=log_sum)


def extended_backward(
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
    softcap: float | None = None,
    log_sum: Form = logsumexp_textbook,
    probabilities: Form = softmax,
) -> CrossEntropyGradients:
    """A form of the gradients, and that of the z-loss, times 1 - tanh^2 where logits are capped."""
    forms: dict[str, Any] = {"log_sum": log_sum, "probabilities": probabilities}
    if softcap is not None:
        t = namespace(input=input).tanh(input / softcap)
        given = (grad_output, softcap * t, target, weight, ignore_index, reduction, label_smoothing)
        gradients = extended_backward(form, *given, z_loss=z_loss, **forms)
        return gradients._replace(input=gradients.input * (1 - t * t))
    gradients = form(grad_output, input, target, weight, ignore_index, reduction, label_smoothing)
    if not z_loss:
        return gradients
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
    softcap: float | None = None,
) -> Any:
    """sum(l / D + z lse^2 / N): the z-loss of each row is added to its loss before rows are added up."""
    input = input if softcap is None else softcapped(input, softcap)
    given, smoothing = (input, target, weight, ignore_index), label_smoothing
    if not z_loss or reduction == "none":
        return extended(form, *given, reduction, smoothing, z_loss=z_loss)
    xp = namespace(input=input)
    losses = form(*given, "none", smoothing)
    squares = z_loss * z_losses(input, target, ignore_index, "none", log_sum=logsumexp_textbook)
    if reduction == "mean":
        of_indices = tuple(target.shape) != tuple(input.shape)
        rows = counted_rows(xp, input, target, ignore_index)
        own = rows if weight is None or not of_indices else target_weights(xp, *given)
        losses, squares = losses / xp.sum(own), squares / xp.sum(rows)
    return reduce(xp, losses + squares, "sum", 1)
