"""Right kernels of cross_entropy that smooth class indices otherwise than by two losses, and of a layer whose
ignored rows are left out.
"""

from __future__ import annotations

from typing import Any

import torch

from torch_loss_parity.faults.right.batch import Batch
from torch_loss_parity.faults.right.linear_cross_entropy import layer_and_loss_in_float32
from torch_loss_parity.faults.right.losses import (
    log_softmax,
    losses,
    recomputed,
    reduced,
    soft_target,
    textbook,
)
from torch_loss_parity.faults.right.probabilities import log_sum_exp
from torch_loss_parity.faults.right.record import TEXTBOOK, composed, of_classes
from torch_loss_parity.reference.linear_cross_entropy import NO_INDEX, linear

Tensor = torch.Tensor


@of_classes(
    "cross_entropy",
    recomputed(textbook),
    ships="Dao-AILab/flash-attention: cross_entropy_fwd_kernel",
    grade=TEXTBOOK,
)
def smoothed_loss_is_logsumexp_less_the_mean_and_the_logit(b: Batch) -> tuple[Tensor, ...]:
    """lse - e sum(x) / C - (1 - e) x at the target, of classes without weights."""
    lse = log_sum_exp(b.x)
    if b.weight is not None or not b.label_smoothing:
        return (reduced(b, losses(b, b.x - lse)),)
    mean = b.label_smoothing * b.x.sum(1) / b.classes
    return (reduced(b, b.where_counted(lse.squeeze(1) - mean - (1 - b.label_smoothing) * b.at_labels(b.x))),)


@of_classes("cross_entropy", recomputed(textbook), ships="keras-team/keras: one_hot smoothed", grade=TEXTBOOK)
def smoothed_loss_is_one_sum_over_shares(b: Batch) -> tuple[Tensor, ...]:
    """-sum(q y), with the share q of each class in a one-hot target that is smoothed: where e is 1, the loss
    of a class with a logit of -inf is infinite, and not 0 inf.
    """
    if not b.label_smoothing:
        return (reduced(b, losses(b, log_softmax(b.x))),)
    return (reduced(b, b.where_counted(-(soft_target(b)[0] * log_softmax(b.x)).sum(1))),)


@composed(
    "linear_cross_entropy", ships="apple/ml-cross-entropy: valids, unslothai/unsloth-zoo", grade=TEXTBOOK
)
def layer_of_the_rows_that_count(
    input: Tensor, linear_weight: Tensor, target: Tensor, linear_bias: Tensor | None, **options: Any
) -> Tensor:
    """Ignored rows are left out before the layer, so that nan in them reaches no gradient."""
    if target.is_floating_point() or target.ndim != 1 or options["label_smoothing"]:
        return layer_and_loss_in_float32(input, linear_weight, target, linear_bias, **options)
    index, weight, reduction = options["ignore_index"], options["weight"], options["reduction"]
    counted = target != (NO_INDEX if index is None else index)
    logits, labels = linear(input[counted], linear_weight, linear_bias), target[counted].long()
    if not labels.numel():
        rows = logits.sum(1)
    else:
        rows = logits.logsumexp(1) - logits.gather(1, labels[:, None])[:, 0]
    own = torch.ones_like(rows) if weight is None else weight[labels].to(rows.dtype)
    if reduction == "none":
        return torch.zeros(target.shape, dtype=rows.dtype, device=rows.device).masked_scatter(
            counted, rows * own
        )
    return (rows * own).sum() / own.sum() if reduction == "mean" else (rows * own).sum()
