"""Right kernels of cross_entropy that see a part of the batch, or of the vocabulary, at a time; and how
smoothing is written.
"""

from __future__ import annotations

import torch

from torch_loss_parity.faults.right.batch import Batch
from torch_loss_parity.faults.right.losses import (
    divided,
    log_softmax,
    losses,
    onehot_subtracted,
    recomputed,
    reduced,
    textbook,
)
from torch_loss_parity.faults.right.probabilities import of_shards, softmax
from torch_loss_parity.faults.right.record import TEXTBOOK, of_classes

Tensor = torch.Tensor
CHUNK = 64  # rows


def _chunks(b: Batch) -> list[Batch]:
    rows = zip(b.input.split(CHUNK), b.target.split(CHUNK), strict=True)
    return [Batch(x, t, b.weight, b.ignore_index, b.reduction, b.label_smoothing) for x, t in rows]


def _gradient_in_chunks(g: Tensor, b: Batch) -> Tensor:
    g = divided(b, g)
    parts = g.split(CHUNK) if g.ndim else [g] * -(-len(b.input) // CHUNK)
    return torch.cat(
        [
            part.where_counted(onehot_subtracted(part, softmax(part.x)) * upstream)
            for part, upstream in zip(_chunks(b), parts, strict=True)
        ]
    )


@of_classes(
    "cross_entropy", _gradient_in_chunks, ships="pytorch/torchtune: CEWithChunkedOutputLoss", grade=TEXTBOOK
)
def losses_are_summed_in_chunks_of_rows(b: Batch) -> tuple[Tensor, ...]:
    """64 rows at a time: their losses are summed, the sums are added, and the total is divided at the end."""
    rows = [losses(part, log_softmax(part.x)) for part in _chunks(b)]
    if b.reduction == "none":
        return (torch.cat(rows),)
    total = b.x.new_zeros(())
    for chunk in rows:
        total = total + chunk.sum()
    return (total / b.denominator if b.reduction == "mean" else total,)


def _scaled(g: Tensor, b: Batch, kept: Tensor) -> Tensor:
    return kept * b.upstream(g)


@of_classes(
    "cross_entropy", _scaled, ships="linkedin/Liger-Kernel: fused_linear_cross_entropy", grade=TEXTBOOK
)
def chunks_of_rows_are_divided_before_they_are_summed(b: Batch) -> tuple[Tensor, ...]:
    """64 rows at a time: each loss, and each gradient for an upstream gradient of 1, is divided by the
    denominator of the whole batch.
    """
    below = b.denominator if b.reduction == "mean" else b.x.new_ones(())
    rows = torch.cat([losses(part, log_softmax(part.x)) / below for part in _chunks(b)])
    gradients = [part.where_counted(onehot_subtracted(part, softmax(part.x)) / below) for part in _chunks(b)]
    return rows if b.reduction == "none" else rows.sum(), torch.cat(gradients)


def _of_shards(g: Tensor, b: Batch, largest: Tensor, sum: Tensor) -> Tensor:
    return textbook(g, b, (b.x - largest).exp() / sum)


def _sharded(b: Batch, shards: int) -> tuple[Tensor, ...]:
    largest, sum = of_shards(b.x, shards)
    return reduced(b, losses(b, (b.x - largest) - sum.log())), largest, sum


@of_classes(
    "cross_entropy", _of_shards, ships="NVIDIA/Megatron-LM: vocab_parallel_cross_entropy", grade=TEXTBOOK
)
def vocabulary_in_two_shards(b: Batch) -> tuple[Tensor, ...]:
    """Two devices have half of the classes each: maxima are merged, sums are added."""
    return _sharded(b, 2)


@of_classes("cross_entropy", _of_shards, ships="pytorch/pytorch: DTensor, loss_parallel", grade=TEXTBOOK)
def vocabulary_in_four_shards(b: Batch) -> tuple[Tensor, ...]:
    """Four devices have a quarter of the classes each: maxima are merged, sums are added."""
    return _sharded(b, 4)


def _rescaled_shards(b: Batch, shards: int) -> tuple[Tensor, Tensor]:
    """Each shard has a largest and a sum of its own; sums are rescaled to the largest of all."""
    parts = b.x.tensor_split(min(shards, b.classes), -1)
    maxima = torch.stack([part.amax(-1, keepdim=True) for part in parts])
    own = torch.stack([(part - m).exp().sum(-1, keepdim=True) for part, m in zip(parts, maxima, strict=True)])
    largest = maxima.amax(0)
    # A shard of -inf alone has a sum of nan, and nothing to add.
    scaled = torch.where(maxima == -torch.inf, torch.zeros_like(own), own * (maxima - largest).exp())
    return largest, torch.where(largest.isinf(), torch.full_like(largest, torch.nan), scaled.sum(0))


@of_classes(
    "cross_entropy",
    _of_shards,
    ships="Dao-AILab/flash-attention: cross_entropy of a process group",
    grade=TEXTBOOK,
)
def shards_with_maxima_of_their_own(b: Batch) -> tuple[Tensor, ...]:
    """Each of four shards has a largest of its own; their sums are rescaled and added."""
    largest, sum = _rescaled_shards(b, 4)
    return reduced(b, losses(b, (b.x - largest) - sum.log())), largest, sum


@of_classes(
    "cross_entropy",
    recomputed(textbook),
    ships="facebookresearch/fairseq: label_smoothed_nll_loss",
    grade=TEXTBOOK,
)
def smoothing_is_a_share_of_the_sum(b: Batch) -> tuple[Tensor, ...]:
    """(1 - eps) of the loss of the target minus eps / C times the sum of all log-probabilities."""
    y = log_softmax(b.x)
    return (reduced(b, losses(b, y)),) if b.weight is not None else (reduced(b, _fairseq(b, y)),)


def _fairseq(b: Batch, y: Tensor) -> Tensor:
    rows = -(1 - b.label_smoothing) * b.at_labels(y)
    return b.where_counted(rows - y.sum(1) * b.share if b.label_smoothing else rows)


@of_classes(
    "cross_entropy",
    recomputed(textbook),
    ships="huggingface/pytorch-image-models: LabelSmoothingCrossEntropy",
    grade=TEXTBOOK,
)
def smoothing_is_a_mean_over_classes(b: Batch) -> tuple[Tensor, ...]:
    """eps times the mean of all losses, and (1 - eps) of the target's."""
    y = log_softmax(b.x)
    weighted = b.class_weights * y
    rows = (1 - b.label_smoothing) * -b.at_labels(weighted)
    if b.label_smoothing:
        rows = rows + b.label_smoothing * -weighted.mean(1)
    return (reduced(b, b.where_counted(rows)),)
