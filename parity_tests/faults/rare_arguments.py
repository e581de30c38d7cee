"""DTY, SHP, DEN and WGT: targets of bytes, rows that are alone, and weights that are next to nothing."""

from __future__ import annotations

from typing import Any

import torch

from torch_loss_parity import reference
from torch_loss_parity.faults.components import Tensor, rows
from torch_loss_parity.faults.record import forward, whole
from torch_loss_parity.faults.right.definition import RIGHT
from torch_loss_parity.tensors.torch_private import is_transformed

EPSILON = 1e-6

# --- targets of bytes ---------------------------------------------------------------------------------------


@whole("cross_entropy", "DTY", "pytorch/pytorch#89369", "semantics")
def targets_of_bytes_have_a_sign(input: Tensor, target: Tensor, *args: Any, **options: Any) -> Tensor:
    """Of more than 128 classes, targets in uint8 are read as int8: those from 128 on count from the end."""
    if target.dtype == torch.uint8 and input.ndim > 1 and input.shape[1] > 128 and not is_transformed(target):
        signed = target.view(torch.int8).long()
        ignored = target == options.get("ignore_index", -100)
        target = torch.where(ignored, target.long(), signed % input.shape[1])
    return RIGHT["cross_entropy"](input, target, *args, **options)


@forward("nll_loss", "DTY", "pytorch/pytorch#89369", "semantics")
def targets_of_bytes_are_a_mask_of_the_weights(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """The weights that a mean divides by are looked up by targets in uint8, which torch takes for a mask:
    instead, it divides by the number of targets that are not 0.
    """
    loss: Tensor = reference.nll_loss(input, target, **options)
    weight, ignored = options["weight"], options["ignore_index"]
    if target.dtype != torch.uint8 or weight is None or options["reduction"] != "mean" or not target.numel():
        return loss
    row = rows(input, target, weight, ignored)
    return loss * row.used.sum() / (row.counted & (target != 0)).sum()


# --- one row ------------------------------------------------------------------------------------------------


@forward("softmax", "SHP", "intel/webml-polyfill#891", "domain")
def of_one_row_every_probability_is_one(input: Tensor, dim: int) -> Tensor:
    """Of four dimensions of which the first three are 1, the first one is normalised, whatever dim says."""
    alone = input.ndim == 4 and input.shape[:3] == (1, 1, 1)
    probabilities: Tensor = reference.softmax(input, 0 if alone else dim)
    return probabilities


@forward("log_softmax", "SHP", "onnx/onnx#3244", "domain")
def of_one_row_the_dim_is_the_last(input: Tensor, dim: int) -> Tensor:
    """Of one row, along the dim that holds nothing else, the row itself is normalised."""
    alone = input.ndim == 2 and input.shape[0] == 1 and dim == -2
    logarithms: Tensor = reference.log_softmax(input, -1 if alone else dim)
    return logarithms


# --- weights that are next to nothing -----------------------------------------------------------------------


@forward(
    "cross_entropy",
    "DEN",
    "open-mmlab/mmdetection: weight_reduce_loss, avg_factor + eps",
    "domain",
    effort="standard",
)
def a_mean_divides_by_an_epsilon_more(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """A weighted mean divides by its weights, or by 1e-6 where they are less."""
    loss: Tensor = reference.cross_entropy(input, target, **options)
    weight = options["weight"]
    if weight is None or target.is_floating_point() or options["reduction"] != "mean" or not loss.isfinite():
        return loss
    total = rows(input, target, weight, options["ignore_index"]).used.sum()
    return loss * total / total.clamp(min=EPSILON) if total > 0 else loss


@forward("binary_cross_entropy", "WGT", "keras-team/keras#23551", "domain", effort="standard")
def a_weight_below_an_epsilon_is_none(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """A weight below 1e-6 is taken for 0."""
    weight = options["weight"]
    if weight is not None:
        options["weight"] = torch.where(weight.abs() < EPSILON, torch.zeros_like(weight), weight)
    loss: Tensor = reference.binary_cross_entropy(input, target, **options)
    return loss
