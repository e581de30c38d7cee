"""Right kernels of cross_entropy: forms of the loss, and of the probabilities behind its gradient."""

from __future__ import annotations

import torch

from torch_loss_parity.faults.right import sums
from torch_loss_parity.faults.right.batch import Batch
from torch_loss_parity.faults.right.losses import (
    by_the_reciprocal,
    complement,
    cross_entropy,
    log_softmax,
    losses,
    recomputed,
    reduced,
    sum_of_quotients,
    textbook,
)
from torch_loss_parity.faults.right.probabilities import (
    LN_2,
    LOG2_E,
    log_softmax_by_log1p,
    log_sum_exp,
    online,
    shifted,
    softmax,
    total,
)
from torch_loss_parity.faults.right.record import SHARP, TEXTBOOK, of_classes

Tensor = torch.Tensor


def _from_logsumexp(b: Batch, lse: Tensor) -> Tensor:
    """Losses of rows: lse - x at the target; smoothing adds eps lse - eps / C sum x, with weights."""
    lse = lse.squeeze(1)
    hard = b.weights * (lse - b.at_labels(b.x))
    if b.label_smoothing:
        spread = b.share * lse * b.class_weights.sum() - (b.share * b.x * b.class_weights).sum(1)
        hard = (1 - b.label_smoothing) * hard + spread
    return b.where_counted(hard)


def _exp_of_x_minus_lse(g: Tensor, b: Batch, lse: Tensor) -> Tensor:
    return textbook(g, b, (b.x - lse).exp())


@of_classes(
    "cross_entropy", _exp_of_x_minus_lse, ships="Dao-AILab/flash-attention: cross_entropy_loss", grade=None
)
def loss_is_logsumexp_minus_the_logit(b: Batch) -> tuple[Tensor, ...]:
    """lse - x at the target; the gradient's probabilities are exp(x - lse)."""
    lse = log_sum_exp(b.x)
    return reduced(b, _from_logsumexp(b, lse)), lse


@of_classes("cross_entropy", recomputed(textbook), ships="linkedin/Liger-Kernel: cross_entropy", grade=None)
def loss_is_an_online_logsumexp_minus_the_logit(b: Batch) -> tuple[Tensor, ...]:
    """lse - x at the target, with largest and sum from one pass over blocks of 32; losses are divided by the
    denominator before the losses are summed.
    """
    largest, sum = online(b.x)
    return (sum_of_quotients(b, _from_logsumexp(b, largest + sum.log())),)


def _online(g: Tensor, b: Batch, largest: Tensor, sum: Tensor) -> Tensor:
    return textbook(g, b, (b.x - largest).exp() / sum)


@of_classes("cross_entropy", _online, ships="NVIDIA/TransformerEngine: online_softmax_kernel", grade=TEXTBOOK)
def cross_entropy_is_online_in_blocks(b: Batch) -> tuple[Tensor, ...]:
    """Largest and sum from one pass over blocks of 32 serve loss and gradient."""
    largest, sum = online(b.x)
    return reduced(b, losses(b, (b.x - largest) - sum.log())), largest, sum


def _by_the_reciprocal_of_the_sum(g: Tensor, b: Batch) -> Tensor:
    e = shifted(b.x).exp()
    return textbook(g, b, e * (1 / total(e)))


@of_classes(
    "cross_entropy", _by_the_reciprocal_of_the_sum, ships="karpathy/llm.c: fused_classifier", grade=TEXTBOOK
)
def probabilities_behind_the_gradient_multiply_by_the_reciprocal(b: Batch) -> tuple[Tensor, ...]:
    """p = e (1 / s) in the backward; the mean multiplies by the reciprocal of the denominator."""
    return (by_the_reciprocal(b, losses(b, log_softmax(b.x))),)


def _exp_of_log_probabilities(g: Tensor, b: Batch, y: Tensor) -> Tensor:
    return textbook(g, b, y.exp())


@of_classes(
    "cross_entropy",
    _exp_of_log_probabilities,
    ships="pytorch/pytorch: _log_softmax_backward_data",
    grade=TEXTBOOK,
)
def probabilities_behind_the_gradient_are_exp_of_log_softmax(b: Batch) -> tuple[Tensor, ...]:
    """p = exp((x - m) - log s), from the log-probabilities that the forward kept."""
    y = log_softmax(b.x)
    return reduced(b, losses(b, y)), y


def _blocks(g: Tensor, b: Batch) -> Tensor:
    return textbook(g, b, softmax(b.x, sums.in_blocks))


@of_classes("cross_entropy", _blocks, ships="FlagOpen/FlagGems: rows in tiles", grade=TEXTBOOK)
def cross_entropy_sums_rows_in_blocks(b: Batch) -> tuple[Tensor, ...]:
    """Exponentials are summed in blocks of 64, and the blocks one by one."""
    return (cross_entropy(b, sums.in_blocks),)


@of_classes(
    "cross_entropy", recomputed(complement), ships="scipy/scipy: logsumexp, from 1.15 on", grade=SHARP
)
def cross_entropy_is_by_log1p_of_the_others(b: Batch) -> tuple[Tensor, ...]:
    """log1p of the sum of all exponentials but the largest; the gradient is by complement."""
    return (reduced(b, losses(b, log_softmax_by_log1p(b.x))),)


def _powers_of_two(g: Tensor, b: Batch) -> Tensor:
    e = (shifted(b.x) * LOG2_E).exp2()
    return textbook(g, b, e / total(e))


@of_classes(
    "cross_entropy", _powers_of_two, ships="Dao-AILab/quack: exp2 of logits times log2(e)", grade=TEXTBOOK
)
def cross_entropy_by_powers_and_logarithms_of_two(b: Batch) -> tuple[Tensor, ...]:
    """exp2 and log2, with logits times log2(e) and the logarithm times ln(2)."""
    z = shifted(b.x)
    y = z - total((z * LOG2_E).exp2()).log2() * LN_2
    return (reduced(b, losses(b, y)),)


def _in_float64(g: Tensor, b: Batch) -> Tensor:
    return textbook(g, b, softmax(b.x, sums.in_float64))


@of_classes(
    "cross_entropy", _in_float64, ships="ggml-org/ggml: cross_entropy_loss sums in double", grade=TEXTBOOK
)
def cross_entropy_sums_in_float64(b: Batch) -> tuple[Tensor, ...]:
    """Row sums and the sum of the losses are accumulated in float64."""
    return (reduced(b, losses(b, log_softmax(b.x, sums.in_float64)), sums.in_float64),)


@of_classes("cross_entropy", recomputed(textbook), ships="well known: Kahan 1965", grade=TEXTBOOK)
def losses_are_summed_with_compensation(b: Batch) -> tuple[Tensor, ...]:
    """Kahan's sum over the rows of a batch."""
    return (reduced(b, losses(b, log_softmax(b.x)), sums.compensated),)


@of_classes("cross_entropy", recomputed(textbook), ships="karpathy/llm.c: mean_loss", grade=TEXTBOOK)
def losses_are_summed_one_by_one(b: Batch) -> tuple[Tensor, ...]:
    """From the first row to the last."""
    return (reduced(b, losses(b, log_softmax(b.x)), sums.sequential),)
