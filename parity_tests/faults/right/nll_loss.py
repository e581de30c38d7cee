"""Right kernels of nll_loss."""

from __future__ import annotations

import torch

from torch_loss_parity.faults.right import sums
from torch_loss_parity.faults.right.batch import Batch
from torch_loss_parity.faults.right.losses import by_the_reciprocal, divided, reduced, sum_of_quotients
from torch_loss_parity.faults.right.record import SHARP, of_classes

Tensor = torch.Tensor


def _picked(b: Batch) -> Tensor:
    """Minus the weighted log-probability of each row's class; 0 where it is ignored."""
    return b.where_counted(-b.weights * b.at_labels(b.x))


def _minus_w_times_q(g: Tensor, b: Batch) -> Tensor:
    """-w (g / denominator), where the class is."""
    return torch.where(b.onehot, -b.weights[:, None] * divided(b, g), 0.0)


def _scattered(g: Tensor, b: Batch) -> Tensor:
    """-(w / denominator) g, written to zeros."""
    share = b.weights / b.denominator if b.reduction == "mean" else b.weights
    values = -(share * (g.expand(share.shape) if g.ndim == 0 else g))
    return torch.zeros_like(b.x).scatter(1, b.labels[:, None], b.where_counted(values)[:, None])


def _with_the_reciprocal(g: Tensor, b: Batch) -> Tensor:
    scale = (1 / b.denominator) * b.weights if b.reduction == "mean" else b.weights
    return torch.where(b.onehot, -(scale[:, None] * b.upstream(g)), 0.0)


@of_classes(
    "nll_loss", _with_the_reciprocal, ships="well known: the mean as a product with 1 / N", grade=SHARP
)
def mean_of_picked_rows_multiplies_by_the_reciprocal(b: Batch) -> tuple[Tensor, ...]:
    """The mean multiplies by the reciprocal of the denominator, in both passes."""
    return (by_the_reciprocal(b, _picked(b)),)


@of_classes("nll_loss", _scattered, ships="well known: a mean of losses that are divided first", grade=SHARP)
def picked_rows_are_divided_before_they_are_summed(b: Batch) -> tuple[Tensor, ...]:
    """Each loss is divided by the denominator; the gradient is written to zeros."""
    return (sum_of_quotients(b, _picked(b)),)


@of_classes(
    "nll_loss", _minus_w_times_q, ships="tinygrad/tinygrad: sparse_categorical_crossentropy", grade=SHARP
)
def class_is_found_by_a_mask_over_all(b: Batch) -> tuple[Tensor, ...]:
    """The row is summed where its class is, and 0 everywhere else."""
    weighted = b.class_weights * b.x
    return (reduced(b, -torch.where(b.onehot, weighted, 0.0).sum(1)),)


@of_classes("nll_loss", _scattered, ships="apple/ml-cross-entropy: filters ignored rows", grade=SHARP)
def ignored_rows_of_log_probabilities_are_left_out(b: Batch) -> tuple[Tensor, ...]:
    """Ignored rows are left out by index before anything is computed."""
    kept = b.counted.nonzero().squeeze(1)
    rows = -(b.weights[kept] * b.x[kept, b.labels[kept]])
    if b.reduction == "none":
        return (torch.zeros_like(b.weights).index_copy(0, kept, rows),)
    return (rows.sum() / b.weights[kept].sum() if b.reduction == "mean" else rows.sum(),)


CHUNK = 3


def _times_the_share(g: Tensor, b: Batch) -> Tensor:
    """-w g, times the share of the row's chunk, over the number of its rows."""
    q = b.weights[:, None] * b.upstream(g)
    if b.reduction == "mean":
        q = torch.cat([part * (len(part) / b.denominator) / len(part) for part in q.split(CHUNK)])
    return torch.where(b.onehot, -q, 0.0)


@of_classes("nll_loss", _times_the_share, ships="well known: gradients accumulated over batches", grade=SHARP)
def mean_of_picked_rows_is_a_mean_of_means(b: Batch) -> tuple[Tensor, ...]:
    """Chunks of 3 rows are averaged, and their means weighted with their shares."""
    if b.reduction != "mean":
        return (reduced(b, _picked(b)),)
    means = [part.mean() * (len(part) / b.denominator) for part in _picked(b).split(CHUNK)]
    return (torch.stack(means).sum(),)


@of_classes(
    "nll_loss", _minus_w_times_q, ships="pytorch/pytorch: nll_loss on CUDA, a block of threads", grade=SHARP
)
def picked_rows_are_summed_by_the_lanes_of_a_warp(b: Batch) -> tuple[Tensor, ...]:
    """32 lanes add a 32nd of the rows each, losses and weights."""
    rows = sums.by_lanes(_picked(b)) if b.reduction != "none" else _picked(b)
    return (rows / sums.by_lanes(b.weights) if b.reduction == "mean" else rows,)


@of_classes("nll_loss", _minus_w_times_q, ships="karpathy/llm.c: mean_loss", grade=SHARP)
def picked_rows_are_summed_one_by_one(b: Batch) -> tuple[Tensor, ...]:
    """From the first row to the last."""
    return (reduced(b, _picked(b), sums.sequential),)


@of_classes(
    "nll_loss", _minus_w_times_q, ships="well known: statistics of each class, index_add", grade=SHARP
)
def losses_are_added_up_by_class_and_then_weighted(b: Batch) -> tuple[Tensor, ...]:
    """The losses of each class are added up, and its rows counted; the weights come last."""
    if b.reduction == "none":
        return (_picked(b),)
    labels = b.labels[b.counted]
    picked = -b.at_labels(b.x)[b.counted]
    sums_of_classes = b.x.new_zeros(b.classes).index_add(0, labels, picked)
    counts = b.x.new_zeros(b.classes).index_add(0, labels, torch.ones_like(picked))
    met = counts > 0
    total = torch.where(met, sums_of_classes * b.class_weights, 0.0).sum()
    return (
        total / torch.where(met, counts * b.class_weights, 0.0).sum() if b.reduction == "mean" else total,
    )
