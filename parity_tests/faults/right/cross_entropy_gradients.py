"""Right kernels of cross_entropy: orders of the products in its gradient."""

from __future__ import annotations

import torch

from torch_loss_parity.faults.right.batch import Batch
from torch_loss_parity.faults.right.losses import (
    complement,
    cross_entropy,
    divided,
    onehot_subtracted,
    products_first,
    recomputed,
    soft_target,
    textbook,
)
from torch_loss_parity.faults.right.probabilities import softmax
from torch_loss_parity.faults.right.record import SHARP, TEXTBOOK, of_classes

Tensor = torch.Tensor


@of_classes("cross_entropy", textbook, ships="karpathy/llm.c: crossentropy_softmax_backward", grade=TEXTBOOK)
def onehot_is_subtracted_first(b: Batch) -> tuple[Tensor, ...]:
    """(p - onehot) w g / denominator, with the probabilities that the forward kept."""
    return cross_entropy(b), softmax(b.x)


@of_classes(
    "cross_entropy",
    recomputed(products_first),
    ships="pytorch/pytorch: nll_loss behind log_softmax",
    grade=TEXTBOOK,
)
def products_come_first_and_g_is_subtracted_at_the_target(b: Batch) -> tuple[Tensor, ...]:
    """p g, then -g at the target, with the probabilities computed again."""
    return (cross_entropy(b),)


def _in_place(g: Tensor, b: Batch) -> Tensor:
    target, mass = soft_target(b)
    d = softmax(b.x)
    d.mul_(mass)
    d.sub_(target)
    d.mul_(divided(b, g))
    return d.masked_fill_(~b.counted[:, None], 0)


@of_classes("cross_entropy", _in_place, ships="NVIDIA/Megatron-LM: VocabParallelCrossEntropy", grade=TEXTBOOK)
def gradient_is_made_in_the_memory_of_the_probabilities(b: Batch) -> tuple[Tensor, ...]:
    """The probabilities are overwritten: times the weight, minus the target, times g."""
    return (cross_entropy(b),)


def _scaled(g: Tensor, b: Batch, kept: Tensor) -> Tensor:
    return kept * b.upstream(g)


def _made_in_the_forward(b: Batch) -> Tensor:
    one = b.x.new_ones(len(b.input)) if b.reduction == "none" else b.x.new_ones(())
    return textbook(one, b, softmax(b.x))


@of_classes("cross_entropy", _scaled, ships="Dao-AILab/quack: cross_entropy_fwd_out with dx", grade=TEXTBOOK)
def gradient_is_made_in_the_forward(b: Batch) -> tuple[Tensor, ...]:
    """For an upstream gradient of 1, and multiplied by the true one in the backward."""
    return cross_entropy(b), _made_in_the_forward(b)


def _stored_and_scaled(g: Tensor, b: Batch, kept: Tensor) -> Tensor:
    return kept.to(b.x.dtype) * b.upstream(g)


@of_classes("cross_entropy", _stored_and_scaled, ships="NVIDIA/TransformerEngine: cross_entropy", grade=None)
def gradient_is_made_in_the_forward_and_stored_as_the_input_is(b: Batch) -> tuple[Tensor, ...]:
    """For an upstream gradient of 1, rounded to the dtype of the logits, and multiplied in the backward."""
    return cross_entropy(b), _made_in_the_forward(b).to(b.input.dtype)


@of_classes("cross_entropy", _scaled, ships="linkedin/Liger-Kernel: cross_entropy of 2024", grade=None)
def quotients_are_subtracted(b: Batch) -> tuple[Tensor, ...]:
    """p / N, and minus 1 / N at the target: both are divided first; made in the forward."""
    target, mass = soft_target(b)
    below = b.denominator if b.reduction == "mean" else b.x.new_ones(())
    return cross_entropy(b), b.where_counted(softmax(b.x) * mass / below - target / below)


def _by_the_reciprocal(g: Tensor, b: Batch) -> Tensor:
    scale = b.upstream(g) * (1 / b.denominator) if b.reduction == "mean" else b.upstream(g)
    return b.where_counted(scale * onehot_subtracted(b, softmax(b.x)))


@of_classes("cross_entropy", _by_the_reciprocal, ships="karpathy/llm.c: dloss is 1 / (B T)", grade=TEXTBOOK)
def mean_and_its_gradient_are_products_with_the_reciprocal(b: Batch) -> tuple[Tensor, ...]:
    """The mean multiplies by the reciprocal of the denominator, in both passes."""
    total = cross_entropy(Batch(b.input, b.target, b.weight, b.ignore_index, "sum", b.label_smoothing))
    return (total * (1 / b.denominator) if b.reduction == "mean" else cross_entropy(b),)


@of_classes(
    "cross_entropy", recomputed(complement), ships="this project: nobody is known to ship it", grade=SHARP
)
def gradient_of_the_target_is_minus_the_other_probabilities(b: Batch) -> tuple[Tensor, ...]:
    """-(sum of the others) at the target, where p - 1 would cancel."""
    return (cross_entropy(b),)


def _weights_last(g: Tensor, b: Batch) -> Tensor:
    if b.label_smoothing:
        return textbook(g, b, softmax(b.x))
    d = torch.where(b.onehot, softmax(b.x) - 1, softmax(b.x)) * b.upstream(g)
    d = d / b.denominator if b.reduction == "mean" else d
    return b.where_counted(d * b.weights[:, None])


@of_classes("cross_entropy", _weights_last, ships="linkedin/Liger-Kernel: class weights", grade=TEXTBOOK)
def weights_and_denominator_come_last(b: Batch) -> tuple[Tensor, ...]:
    """((p - onehot) g / denominator) w."""
    return (cross_entropy(b),)


def _rows_left_out(g: Tensor, b: Batch) -> Tensor:
    gradient = torch.zeros_like(b.x)
    g = b.upstream(g)
    rows = b.counted.nonzero().squeeze(1)
    kept = Batch(b.input[rows], b.target[rows], b.weight, b.ignore_index, b.reduction, b.label_smoothing)
    g = (g.expand(len(b.input), 1) if g.ndim == 0 else g)[rows]
    d = onehot_subtracted(kept, softmax(kept.x))
    gradient[rows] = d * (g / b.denominator if b.reduction == "mean" else g)
    return gradient


@of_classes(
    "cross_entropy", _rows_left_out, ships="apple/ml-cross-entropy: filters ignored rows", grade=TEXTBOOK
)
def ignored_rows_are_left_out_by_index(b: Batch) -> tuple[Tensor, ...]:
    """Ignored rows are not computed at all; their gradient is 0 whatever they hold."""
    return (cross_entropy(b),)


def _masked_by_a_product(g: Tensor, b: Batch) -> Tensor:
    target, mass = soft_target(b)
    return (softmax(b.x) * mass - target) * torch.where(b.counted[:, None], divided(b, g), 0.0)


@of_classes(
    "cross_entropy",
    _masked_by_a_product,
    ships="well known: the loss of each row times its mask",
    grade=TEXTBOOK,
)
def ignored_rows_are_multiplied_by_zero(b: Batch) -> tuple[Tensor, ...]:
    """The gradient of an ignored row is 0 times what was computed, as in torch: nan where that is nan."""
    return (cross_entropy(b),)
