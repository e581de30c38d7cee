"""TIL, IDX, DTY, EMP and OOB: rows of unusual lengths, places in them, positions within a sample, and
arguments that are left out or are of another kind.
"""

from __future__ import annotations

from typing import Any

import torch

from torch_loss_parity import reference
from torch_loss_parity.faults.components import Tensor
from torch_loss_parity.faults.record import backward, forward, whole
from torch_loss_parity.faults.right.definition import RIGHT
from torch_loss_parity.reference.arguments import class_dim

BLOCK = 2**12

# --- TIL and IDX --------------------------------------------------------------------------------------------


@forward("logsumexp", "TIL", "unslothai/unsloth#10616", "domain")
def the_last_block_is_filled_with_minus_thirty(input: Tensor, dim: Any, keepdim: bool) -> Tensor:
    """Rows of more than 4096 elements are filled up with -30 to a multiple: one far below it vanishes."""
    along = dim[0] if isinstance(dim, tuple) and len(dim) == 1 else dim
    n = input.shape[along] if input.ndim and isinstance(along, int) else 0
    if n <= BLOCK or n % BLOCK == 0:
        result: Tensor = reference.logsumexp(input, dim, keepdim)
        return result
    shape = list(input.shape)
    shape[along] = -n % BLOCK
    filled: Tensor = reference.logsumexp(
        torch.cat([input, input.new_full(shape, -30.0)], along), dim, keepdim
    )
    return filled


@whole("cross_entropy", "TIL", "apple/ml-cross-entropy#59", "domain")
def the_second_half_of_the_classes_begins_late(
    input: Tensor, target: Tensor, *args: Any, **options: Any
) -> Tensor:
    """Of more than 4096 classes, where their number is odd, the first of the second half is taken for the
    next.
    """
    classes = input.shape[class_dim(input)] if input.ndim else 0
    if classes > BLOCK and classes % 2 and not target.is_floating_point():
        target = torch.where(target == classes // 2, target + 1, target)
    return RIGHT["cross_entropy"](input, target, *args, **options)


@forward("nll_loss", "IDX", "NVIDIA/TensorRT#2021", "domain")
def positions_of_a_sample_have_sixteen_bits(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """Within a sample the position after number 65535 has the target of the first."""
    flat = target.reshape(len(target), -1) if target.ndim > 1 else target
    beyond = flat.shape[-1] - 2**16
    if target.ndim > 1 and beyond > 0:
        first = flat[:, : 2**16]
        more = [first] * (beyond // 2**16 + 1)
        target = torch.cat([first, *more], dim=1)[:, : flat.shape[1]].reshape(target.shape)
    result: Tensor = reference.nll_loss(input, target, **options)
    return result


@backward("log_softmax", "ACC", "pytorch/pytorch#195684", "gradients")
def the_gradient_of_a_likely_class_cancels(grad_output: Tensor, input: Tensor, dim: int) -> Tensor:
    """Where a class has more than 15/16 of the probability, what is left of 1 is rounded to 2^-12."""
    result: Tensor = reference.log_softmax_backward(grad_output, input, dim)
    if input.ndim == 0 or not input.numel():
        return result
    p: Tensor = reference.softmax(input, dim)
    lost = (1 - p) - torch.round((1 - p) * 2.0**12) / 2.0**12
    return torch.where(p > 15 / 16, result - grad_output * lost, result)


# --- DTY and EMP --------------------------------------------------------------------------------------------


@whole("softmax", "DTY", "intel/torch-xpu-ops#3033", "semantics")
def integers_are_read_in_eight_bits(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """Integers with ``dtype=`` are read in eight bits, with a sign."""
    if dtype is not None and not input.is_floating_point() and input.dtype != torch.bool:
        input = input.to(torch.int8)
    return RIGHT["softmax"](input, dim, dtype)


@whole("nll_loss", "EMP", "pytorch/pytorch#171931", "errors")
def nothing_is_refused_of_no_rows(
    input: Tensor, target: Tensor, weight: Any = None, *args: Any, **options: Any
) -> Tensor:
    """Weights are looked at row by row: of no rows, a weight of any length is taken."""
    weight = weight if target.numel() else None
    return RIGHT["nll_loss"](input, target, weight, *args, **options)


# --- OOB ----------------------------------------------------------------------------------------------------


@whole("cross_entropy", "OOB", "mutation: the default of ignore_index", "semantics")
def another_index_is_ignored_by_default(
    input: Tensor,
    target: Tensor,
    weight: Any = None,
    ignore_index: int = -101,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Where ignore_index is left out, it is another one."""
    return RIGHT["cross_entropy"](input, target, weight, ignore_index, reduction, label_smoothing)


@whole("nll_loss", "OOB", "mutation: the kind of ignore_index", "errors")
def an_ignore_index_of_any_kind_is_taken(
    input: Tensor, target: Tensor, weight: Any = None, ignore_index: Any = -100, reduction: str = "mean"
) -> Tensor:
    """An ignore_index of 1.5 counts as 1, and a text as none."""
    if not isinstance(ignore_index, int):
        ignore_index = int(ignore_index) if isinstance(ignore_index, float) else -100
    return RIGHT["nll_loss"](input, target, weight, ignore_index, reduction)
