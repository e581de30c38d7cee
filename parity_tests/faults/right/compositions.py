"""Right kernels that are compositions of torch's own functions, and differentiated by autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from torch_loss_parity.faults.right.definition import bound, prepared, refuse
from torch_loss_parity.faults.right.record import TEXTBOOK, composed, whole
from torch_loss_parity.reference.arguments import class_dim

Tensor = torch.Tensor


def of_rows(loss: Callable[..., Tensor], input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """torch's loss, given what it takes: of a single row a target of shape (), as of shape (1,) it does not
    smooth; of more than two dimensions logits.view(-1, C) where it takes neither bytes nor no classes.
    """
    if target.is_floating_point():
        return loss(input, target, **options)
    if input.ndim < 3 or (input.numel() and target.dtype == torch.int64):
        return loss(input, target.reshape(()) if input.ndim == 1 else target, **options)
    rows = input.movedim(1, -1).reshape(target.numel(), input.shape[1])
    result = loss(rows, target.reshape(-1), **options)
    return result.reshape(target.shape) if options["reduction"] == "none" else result


@composed("softmax", ships="well known: F.log_softmax(x).exp()", grade=TEXTBOOK)
def softmax_is_exp_of_log_softmax(input: Tensor, dim: int) -> Tensor:
    """exp(log_softmax(x)), differentiated by autograd."""
    return F.log_softmax(input, dim).exp()


@composed("softmax", ships="well known: e = exp(x - x.max()); e / e.sum()", grade=TEXTBOOK)
def softmax_is_differentiated_through_its_largest(input: Tensor, dim: int) -> Tensor:
    """Exponentials over their sum; autograd goes through the maximum too, whose gradient is 0 but for
    rounding.
    """
    if not input.numel():
        return input.clone()
    e = (input - input.max(dim, keepdim=True).values).exp()
    return e / e.sum(dim, keepdim=True)


@composed("log_softmax", ships="well known: z = x - x.max(); z - z.exp().sum().log()", grade=TEXTBOOK)
def log_softmax_is_differentiated_through_its_largest(input: Tensor, dim: int) -> Tensor:
    """z - log(sum(exp(z))) of z = x - m; what autograd leaves of the maximum goes to one of equals."""
    if not input.numel():
        return input.clone()
    z = input - input.max(dim, keepdim=True).values
    return z - z.exp().sum(dim, keepdim=True).log()


@composed("log_softmax", ships="pytorch/pytorch: torch.distributions.Categorical", grade=None)
def log_softmax_is_x_minus_torch_logsumexp(input: Tensor, dim: int) -> Tensor:
    """x - torch.logsumexp(x), differentiated by autograd."""
    if not input.numel():
        return input.clone()
    return input - torch.logsumexp(input, dim, keepdim=input.ndim > 0)


@composed(
    "cross_entropy", ships="huggingface/transformers: logits.float(), then F.cross_entropy", grade=TEXTBOOK
)
def cross_entropy_is_torch_in_float32(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """F.cross_entropy of logits that were widened to float32."""
    return of_rows(F.cross_entropy, input, target, **options)


@whole(
    "cross_entropy",
    ships="Dao-AILab/flash-attention: cross_entropy_loss returns float32",
    grade=TEXTBOOK,
    dtypes=("float32", "float64"),
)
def loss_of_half_precision_is_float32(*positional: Any, **named: Any) -> Tensor:
    """The loss of half precision is not rounded to it: another result than torch's, which a kernel has to
    promise, so that it is put under test in float32 and float64 alone.
    """
    arguments = bound("cross_entropy", *positional, **named)
    refuse("cross_entropy", arguments)
    ready = prepared("cross_entropy", arguments)
    return of_rows(F.cross_entropy, **ready)


@composed("cross_entropy", ships="pytorch/pytorch: nll_loss of log_softmax, as documented", grade=TEXTBOOK)
def cross_entropy_is_nll_loss_of_log_softmax(
    input: Tensor, target: Tensor, label_smoothing: float, **options: Any
) -> Tensor:
    """F.nll_loss(F.log_softmax(x)), where there is neither smoothing nor a probability."""
    if label_smoothing or target.is_floating_point():
        return of_rows(F.cross_entropy, input, target, label_smoothing=label_smoothing, **options)
    return of_rows(F.nll_loss, F.log_softmax(input, class_dim(input)), target, **options)


@composed("logsumexp", ships="well known: the largest, detached", grade=TEXTBOOK)
def logsumexp_is_composed_with_the_largest_detached(input: Tensor, dim: Any, keepdim: bool) -> Tensor:
    """m + log of the sum of exp(x - m), with m detached, differentiated by autograd."""
    if not input.numel():
        return torch.logsumexp(input, dim, keepdim)
    largest = input.detach().amax(dim, keepdim=True)
    largest = torch.where(largest.isinf(), torch.zeros_like(largest), largest)
    result = (input - largest).exp().sum(dim, keepdim=True).log() + largest
    return result if keepdim else result.sum(dim)  # sums of one element each


@composed(
    "binary_cross_entropy_with_logits",
    ships="well known: F.softplus of both signs",
    grade=TEXTBOOK,
    dtypes=("float16", "bfloat16", "float32"),
)
def logits_by_torch_softplus(
    input: Tensor, target: Tensor, weight: Any, reduction: str, pos_weight: Any
) -> Tensor:
    """t softplus(-x) + (1 - t) softplus(x), differentiated by autograd. F.softplus(x) is x from 20 on, which
    float32 does not tell from the truth, and float64 does.
    """
    positive = target * F.softplus(-input)
    positive = positive if pos_weight is None else pos_weight * positive
    losses = positive + (1 - target) * F.softplus(input)
    losses = losses if weight is None else losses * weight
    return losses if reduction == "none" else losses.mean() if reduction == "mean" else losses.sum()


@composed("binary_cross_entropy_with_logits", ships="well known: F.logsigmoid of both signs", grade=TEXTBOOK)
def logits_by_torch_logsigmoid(
    input: Tensor, target: Tensor, weight: Any, reduction: str, pos_weight: Any
) -> Tensor:
    """-t logsigmoid(x) - (1 - t) logsigmoid(-x), differentiated by autograd, as often as is asked."""
    positive = target * F.logsigmoid(input)
    positive = positive if pos_weight is None else pos_weight * positive
    losses = -positive - (1 - target) * F.logsigmoid(-input)
    losses = losses if weight is None else losses * weight
    return losses if reduction == "none" else losses.mean() if reduction == "mean" else losses.sum()
