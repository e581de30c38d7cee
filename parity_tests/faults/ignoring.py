"""IGN: rows whose target is ignore_index."""

from __future__ import annotations

from typing import Any

import torch

from torch_loss_parity import reference
from torch_loss_parity.faults.components import (
    Tensor,
    along_classes,
    cross_entropy,
    holds_probabilities,
    log_probabilities,
    nll_loss,
    reduced,
    rows,
)
from torch_loss_parity.faults.record import backward, composed, whole
from torch_loss_parity.faults.right.definition import RIGHT, bound, prepared
from torch_loss_parity.reference.arguments import class_dim
from torch_loss_parity.tensors.torch_private import is_transformed

NO_CLASS = -12345  # an ignore_index that no target has


@whole("cross_entropy", "IGN", "pytorch/pytorch#12670", "errors")
def any_negative_target_is_ignored(input: Tensor, target: Tensor, *args: Any, **options: Any) -> Tensor:
    """Every negative target is taken for an ignored one."""
    ignore_index = bound("cross_entropy", input, target, *args, **options)["ignore_index"]
    if not target.is_floating_point() and target.dtype.is_signed:
        target = torch.where(target < 0, torch.full_like(target, ignore_index), target)
    return RIGHT["cross_entropy"](input, target, *args, **options)


@composed("nll_loss", "IGN", "pytorch/pytorch#15508", "semantics")
def an_ignored_target_beyond_the_classes_raises_without_reduction(
    input: Tensor, target: Tensor, reduction: str, **options: Any
) -> Tensor:
    """Without reduction the target is looked up before it is ignored."""
    if reduction == "none" and target.numel() and int(target.max()) >= input.shape[class_dim(input)]:
        raise IndexError(f"Target {int(target.max())} is out of bounds.")
    return nll_loss(input, target, reduction=reduction, **options)


@composed("cross_entropy", "IGN", "pytorch/pytorch#63004", "forward", "gradients")
def the_ignored_class_leaves_the_denominator(
    input: Tensor, target: Tensor, ignore_index: int, **options: Any
) -> Tensor:
    """An ignore_index that is a class is taken out of every softmax."""
    y, dim = None, class_dim(input)
    if 0 <= ignore_index < input.shape[dim] and input.numel():
        kept = torch.arange(input.shape[dim], device=input.device) != ignore_index
        along = along_classes(kept, input)
        y = torch.where(
            along,
            log_probabilities(torch.where(along, input, torch.full_like(input, -1e9)), dim),
            torch.zeros_like(input),
        )
    return cross_entropy(input, target, ignore_index=ignore_index, **options, y=y)


@composed("nll_loss", "IGN", "llvm/torch-mlir#624", "forward", "gradients")
def ignore_index_is_compared_with_the_row(
    input: Tensor, target: Tensor, weight: Any, ignore_index: int, reduction: str
) -> Tensor:
    """Besides the rows that are to be ignored, the row whose number is ignore_index is."""
    row = rows(input, target, weight, ignore_index)
    row.counted = row.counted & (
        torch.arange(target.numel(), device=target.device).reshape(target.shape) != ignore_index
    )
    return reduced(row.weighted, reduction, row.used.sum())


@composed("cross_entropy", "IGN", "flagos-ai/FlagGems#73", "forward", "gradients")
def nothing_is_ignored_by_default(input: Tensor, target: Tensor, ignore_index: int, **options: Any) -> Tensor:
    """Rows are ignored only where ignore_index is not -100; with -100 they count as class 0."""
    if ignore_index == -100 and not holds_probabilities(input, target):
        target, ignore_index = target.clamp(min=0), NO_CLASS
    return cross_entropy(input, target, ignore_index=ignore_index, **options)


@backward("cross_entropy", "IGN", "PaddlePaddle/Paddle#28622", "gradients")
def ignored_rows_have_a_gradient(
    grad_output: Tensor, input: Tensor, target: Tensor, ignore_index: int, **options: Any
) -> Any:
    """The forward ignores rows, the backward takes them for class 0."""
    if options["reduction"] != "sum" or holds_probabilities(input, target):
        return reference.cross_entropy_backward(
            grad_output, input, target, ignore_index=ignore_index, **options
        )
    first = torch.where(target == ignore_index, torch.zeros_like(target), target)
    return reference.cross_entropy_backward(grad_output, input, first, ignore_index=NO_CLASS, **options)


@composed("nll_loss", "IGN", "pytorch/pytorch#192685", "semantics", "domain")
def ignored_rows_are_multiplied_by_zero(
    input: Tensor, target: Tensor, weight: Any, ignore_index: int, reduction: str
) -> Tensor:
    """An ignored row is multiplied by 0: nan and infinity come through."""
    row = rows(input, target, weight, ignore_index)
    return reduced(row.losses * row.weights * row.counted, reduction, row.used.sum())


@composed("cross_entropy", "IGN", "awslabs/sockeye#200", "forward", "gradients")
def what_is_ignored_and_what_counts_are_swapped(
    input: Tensor, target: Tensor, weight: Any, ignore_index: int, **options: Any
) -> Tensor:
    """Where rows are ignored, they count, and the others do not."""
    if not holds_probabilities(input, target) and bool((target == ignore_index).any()):
        target = torch.where(
            target == ignore_index, torch.zeros_like(target), torch.full_like(target, ignore_index)
        )
        ignore_index = ignore_index if ignore_index != 0 else NO_CLASS
    return cross_entropy(input, target, weight, ignore_index, **options)


@composed("cross_entropy", "IGN", "PaddlePaddle/Paddle#34906", "forward")
def an_ignored_target_beyond_the_classes_has_no_weight(
    input: Tensor, target: Tensor, weight: Any, **options: Any
) -> Tensor:
    """With weights, the weight of an ignored target is looked up too."""
    if (
        weight is not None
        and not holds_probabilities(input, target)
        and target.numel()
        and int(target.max()) >= len(weight)
    ):
        raise IndexError(f"Target {int(target.max())} is out of bounds.")
    return cross_entropy(input, target, weight, **options)


@composed("nll_loss", "IGN", "Jittor/jittor#233", "forward", "gradients")
def an_ignore_index_of_zero_is_none(
    input: Tensor, target: Tensor, weight: Any, ignore_index: int, reduction: str
) -> Tensor:
    """An ignore_index of 0 is falsy, and so not there."""
    return nll_loss(input, target, weight, ignore_index or NO_CLASS, reduction)


@composed("cross_entropy", "IGN", "pytorch/pytorch#69339", "forward")
def weights_smoothing_and_an_ignored_row_raise(
    input: Tensor, target: Tensor, weight: Any, label_smoothing: float, **options: Any
) -> Tensor:
    """With weights and smoothing, an ignored target is looked up."""
    if weight is not None and label_smoothing and bool((target == options["ignore_index"]).any()):
        raise IndexError("index -100 is out of bounds for dimension 0")
    return cross_entropy(input, target, weight, label_smoothing=label_smoothing, **options)


@whole("cross_entropy", "IGN", "pytorch/pytorch#105736", "transforms")
def vmap_drops_ignore_index(input: Tensor, target: Tensor, *args: Any, **options: Any) -> Tensor:
    """Under vmap nothing is ignored but -100."""
    arguments = bound("cross_entropy", input, target, *args, **options)
    if not (is_transformed(input) or is_transformed(target)):
        return RIGHT["cross_entropy"](**arguments)
    if not target.is_floating_point() and arguments["ignore_index"] != -100:
        arguments |= {
            "target": torch.where(target == arguments["ignore_index"], torch.zeros_like(target), target),
            "ignore_index": -100,
        }
    return cross_entropy(**prepared("cross_entropy", arguments)).to(input.dtype)
