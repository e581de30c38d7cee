"""Right kernels of linear_cross_entropy: chunks of rows and of classes, sums in other orders, gradients that
are made in the forward.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from torch_loss_parity.faults.right import definition, sums
from torch_loss_parity.faults.right.compositions import of_rows
from torch_loss_parity.faults.right.record import SHARP, TEXTBOOK, Written, built, composed
from torch_loss_parity.reference.linear_cross_entropy import NO_INDEX, linear, linear_backward
from torch_loss_parity.reference.linear_cross_entropy import linear_cross_entropy as defined
from torch_loss_parity.reference.linear_cross_entropy import linear_cross_entropy_backward as derivative

NAME = "linear_cross_entropy"
Tensor = torch.Tensor


def of_a_layer(
    logits: Callable[..., Tensor], through: Callable[..., tuple[Tensor, ...]], **described: Any
) -> Callable[[Written], Written]:
    """Records the losses of rows of logits, (N, C) with class indices, and what they are computed from.

    Parameters
    ----------
    logits : callable
        Takes the input, the layer and the bias; returns the logits.
    through : callable
        Takes the gradient of the logits and the same; returns the three gradients.
    """

    def build(losses: Written) -> Written:
        def forward(input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any) -> Tensor:
            if not plain(input, linear_weight, target, options):
                return defined(input, linear_weight, target, **options)
            x = logits(input, linear_weight, options["linear_bias"])
            rows, own, inside = counts(x, target, options)
            each = torch.where(rows, own * losses(x, inside), torch.zeros_like(own))
            if options["reduction"] == "none":
                return each
            return each.sum() / own.sum() if options["reduction"] == "mean" else each.sum()

        def backward(g: Tensor, input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any) -> Any:
            gradients = derivative(g, input, linear_weight, target, **options)
            if not plain(input, linear_weight, target, options):
                return gradients
            x = logits(input, linear_weight, options["linear_bias"])
            rows, own, inside = counts(x, target, options)
            scale = own * (g / own.sum() if options["reduction"] == "mean" else g)
            e = (x - x.amax(1, keepdim=True)).exp()
            hit = torch.nn.functional.one_hot(inside, x.shape[1]).to(x.dtype)
            of_logits = (e / e.sum(1, keepdim=True) - hit) * scale[:, None]
            of_logits = torch.where(rows[:, None], of_logits, torch.zeros_like(of_logits))
            of_layer = through(of_logits, input, linear_weight, options["linear_bias"])
            return gradients._replace(input=of_layer[0], linear_weight=of_layer[1], linear_bias=of_layer[2])

        return definition.kernel(NAME, forward, backward)

    return built(NAME, build, **described)


def plain(input: Tensor, linear_weight: Tensor, target: Tensor, options: dict[str, Any]) -> bool:
    """What such a kernel computes itself: class indices of finite rows, not smoothed; all else is the
    definition's.
    """
    usual = input.ndim == 2 and linear_weight.ndim == 2 and not target.is_floating_point()
    if not usual or options["label_smoothing"] or not (input.numel() and linear_weight.numel()):
        return False
    return bool(linear(input, linear_weight, options["linear_bias"]).isfinite().all())


def counts(x: Tensor, target: Tensor, options: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """The rows that count, their weights, and their classes; 0 for one that does not."""
    index, weight = options["ignore_index"], options["weight"]
    rows = target != (NO_INDEX if index is None else index)
    inside = torch.where(rows, target, torch.zeros_like(target)).long()
    own = torch.ones_like(x[:, 0]) if weight is None else weight[inside].to(x.dtype)
    return rows, torch.where(rows, own, torch.zeros_like(own)), inside


def picked(x: Tensor, inside: Tensor) -> Tensor:
    return x.gather(1, inside[:, None])[:, 0]


def in_blocks(size: int, input: Tensor, linear_weight: Tensor, linear_bias: Tensor | None) -> Tensor:
    """Logits whose products are added up in blocks of features."""
    parts = zip(input.split(size, 1), linear_weight.split(size, 1), strict=True)
    total = sum((a @ w.T for a, w in parts), torch.zeros_like(input[:, :1]))
    return total if linear_bias is None else total + linear_bias


def one_by_one(input: Tensor, linear_weight: Tensor, linear_bias: Tensor | None) -> Tensor:
    """Logits that begin with the bias, one feature after the other added to it."""
    start = torch.zeros_like(linear_weight[:, 0]) if linear_bias is None else linear_bias
    total = start.expand(len(input), -1)
    for feature in range(input.shape[1]):
        total = torch.addcmul(total, input[:, feature, None], linear_weight[None, :, feature])
    return total


def compensated(input: Tensor, linear_weight: Tensor, linear_bias: Tensor | None) -> Tensor:
    """Logits by Kahan's sum."""
    total = sums.compensated(input[:, None] * linear_weight[None])
    total = total.reshape(len(input), len(linear_weight))
    return total if linear_bias is None else total + linear_bias


def in_rows(
    size: int, g: Tensor, input: Tensor, linear_weight: Tensor, linear_bias: Tensor | None
) -> tuple[Any, ...]:
    """Gradients of chunks of rows, those of the layer added up in the dtype that is computed in."""
    chunks = zip(g.split(size), input.split(size), strict=True)
    each = [linear_backward(of_logits, rows, linear_weight, linear_bias) for of_logits, rows in chunks]
    bias = None if linear_bias is None else torch.stack([part[2] for part in each]).sum(0)
    return torch.cat([part[0] for part in each]), torch.stack([part[1] for part in each]).sum(0), bias


def in_reverse(
    g: Tensor, input: Tensor, linear_weight: Tensor, linear_bias: Tensor | None
) -> tuple[Any, ...]:
    """Gradients summed from the last row and the last class to the first."""
    last_first = linear_backward(
        g.flip(0).flip(1),
        input.flip(0),
        linear_weight.flip(0),
        None if linear_bias is None else linear_bias.flip(0),
    )
    bias = None if last_first[2] is None else last_first[2].flip(0)
    return last_first[0].flip(0), last_first[1].flip(0), bias


@of_a_layer(
    linear, partial(in_rows, 8), ships="linkedin/Liger-Kernel: fused_linear_cross_entropy", grade=TEXTBOOK
)
def layer_in_chunks_of_eight_rows(x: Tensor, inside: Tensor) -> Tensor:
    """The logits of eight rows at a time; the gradient of the layer is the sum of the chunks'."""
    largest = x.amax(1)
    return (x - largest[:, None]).exp().sum(1).log() + largest - picked(x, inside)


@of_a_layer(linear, partial(in_rows, 1), ships="apple/ml-cross-entropy: the sum over rows", grade=TEXTBOOK)
def layer_row_by_row(x: Tensor, inside: Tensor) -> Tensor:
    """The gradient of the layer is added up row by row; the loss is (m - x_t) + log(sum)."""
    largest = x.amax(1)
    return (largest - picked(x, inside)) + (x - largest[:, None]).exp().sum(1).log()


@of_a_layer(
    partial(in_blocks, 4),
    linear_backward,
    ships="triton-lang/triton: tutorial 03, blocks of K",
    grade=TEXTBOOK,
)
def layer_with_blocks_of_features(x: Tensor, inside: Tensor) -> Tensor:
    """The products are added up in blocks of four features."""
    return -picked(x.log_softmax(1), inside)


@of_a_layer(one_by_one, linear_backward, ships="well known: addmm, from the bias on", grade=TEXTBOOK)
def layer_from_the_bias_on(x: Tensor, inside: Tensor) -> Tensor:
    """A logit begins with its bias, and feature after feature is added."""
    return -picked(x.log_softmax(1), inside)


@of_a_layer(compensated, linear_backward, ships="well known: Kahan 1965", grade=TEXTBOOK)
def layer_summed_with_compensation(x: Tensor, inside: Tensor) -> Tensor:
    """The products are added up with compensation."""
    return -picked(x.log_softmax(1), inside)


@of_a_layer(linear, in_reverse, ships="Dao-AILab/quack: linear_cross_entropy, split K", grade=TEXTBOOK)
def layer_with_gradients_in_reverse(x: Tensor, inside: Tensor) -> Tensor:
    """The sums of the gradients run from the last to the first."""
    return -picked(x.log_softmax(1), inside)


@of_a_layer(linear, linear_backward, ships="apple/ml-cross-entropy: blocks of the vocabulary", grade=TEXTBOOK)
def layer_with_an_online_sum_of_classes(x: Tensor, inside: Tensor) -> Tensor:
    """Blocks of four classes, their sums scaled to the largest so far."""
    largest, total = torch.full_like(x[:, 0], -torch.inf), torch.zeros_like(x[:, 0])
    for block in x.split(4, 1):
        above = torch.maximum(largest, block.amax(1))
        total = total * (largest - above).exp() + (block - above[:, None]).exp().sum(1)
        largest = above
    return total.log() + largest - picked(x, inside)


@of_a_layer(linear, linear_backward, ships="well known: log1p of the others", grade=SHARP)
def layer_by_log1p_of_the_others(x: Tensor, inside: Tensor) -> Tensor:
    """The exponentials of all classes but the largest, and log1p of their sum."""
    largest, at = x.max(1)
    shifted = x - largest[:, None]
    others = shifted.exp().scatter(1, at[:, None], 0.0).sum(1)
    return others.log1p() - picked(shifted, inside)


@composed(NAME, ships="pytorch/pytorch: F.linear and F.cross_entropy, as documented", grade=TEXTBOOK)
def layer_and_loss_in_float32(
    input: Tensor, linear_weight: Tensor, target: Tensor, linear_bias: Tensor | None, **options: Any
) -> Tensor:
    """Two functions of torch, one after the other, in float32 or wider."""
    index = options.pop("ignore_index")
    logits = linear(input, linear_weight, linear_bias)
    ignore_index = NO_INDEX if index is None else index
    return of_rows(torch.nn.functional.cross_entropy, logits, target, ignore_index=ignore_index, **options)
