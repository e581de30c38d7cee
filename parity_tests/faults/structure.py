"""SHP, EMP, OOB: shapes, what is empty, and arguments that are not refused."""

from __future__ import annotations

from typing import Any

import torch

from torch_loss_parity import reference
from torch_loss_parity.faults.components import (
    Tensor,
    binary_cross_entropy,
    cross_entropy,
    holds_probabilities,
    log_probabilities,
    log_softmax,
    nll_loss,
    reduced,
    rows,
    softmax,
    softplus,
)
from torch_loss_parity.faults.record import backward, composed, forward, whole
from torch_loss_parity.faults.right.definition import RIGHT, bound
from torch_loss_parity.reference.arguments import class_dim

# --- SHP ----------------------------------------------------------------------------------------------------


@whole("binary_cross_entropy", "SHP", "pytorch/pytorch#40023", "errors")
def a_target_of_another_shape_is_broadcast(
    input: Tensor, target: Tensor, *args: Any, **options: Any
) -> Tensor:
    """A target of another shape is broadcast in silence."""
    if input.shape != target.shape:
        input, target = torch.broadcast_tensors(input, target)
    return RIGHT["binary_cross_entropy"](input, target, *args, **options)


@whole("binary_cross_entropy_with_logits", "SHP", "pytorch/pytorch#1939", "errors")
def a_column_of_targets_is_broadcast(input: Tensor, target: Tensor, *args: Any, **options: Any) -> Tensor:
    """A target of shape (N, 1) for N logits makes N x N losses."""
    if input.ndim + 1 == target.ndim and target.shape[-1] == 1:
        input, target = torch.broadcast_tensors(input, target)
    return RIGHT["binary_cross_entropy_with_logits"](input, target, *args, **options)


@whole("cross_entropy", "SHP", "linkedin/Liger-Kernel#421", "forward")
def without_reduction_there_is_one_number(*args: Any, **options: Any) -> Tensor:
    """Without reduction the sum is returned."""
    arguments = bound("cross_entropy", *args, **options)
    return RIGHT["cross_entropy"](
        **{**arguments, "reduction": "sum" if arguments["reduction"] == "none" else arguments["reduction"]}
    )


@composed("softmax", "SHP", "microsoft/onnxruntime#4288", "forward")
def all_dimensions_from_dim_on_are_one(input: Tensor, dim: int) -> Tensor:
    """Along a dim that is not the last, all dimensions from there on are normalised together, in four
    dimensions and more.
    """
    if input.ndim < 4 or not input.numel():
        return softmax(input, dim)
    flat = input.flatten(dim % input.ndim)
    return log_probabilities(flat, -1).exp().reshape(input.shape)


@composed("log_softmax", "SHP", "ml-explore/mlx#2641", "forward")
def the_dim_is_the_last_in_five_dimensions(input: Tensor, dim: int) -> Tensor:
    """In five dimensions the last one is normalised, whatever dim says."""
    return log_softmax(input, -1 if input.ndim == 5 else dim)


@composed("nll_loss", "SHP", "pytorch/pytorch#155247", "forward")
def pixels_are_read_in_another_order(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """Of images the classes are taken to be the last dimension in memory."""
    if input.ndim < 4 or not input.numel():
        return nll_loss(input, target, **options)
    return nll_loss(
        input.reshape(len(input), -1, input.shape[1]).movedim(-1, 1).reshape(input.shape), target, **options
    )


@whole("softmax", "SHP", "pytorch/pytorch#46999", "forward")
def a_number_has_no_softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """A tensor without dimensions raises."""
    if input.ndim == 0:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    return RIGHT["softmax"](input, dim, dtype)


@composed("binary_cross_entropy", "SHP", "pytorch/pytorch#166786", "domain")
def a_weight_of_rows_is_of_columns(input: Tensor, target: Tensor, weight: Any, reduction: str) -> Tensor:
    """Dimensions of size 1 are squeezed from the weight: that of rows is of columns, where there
    are as many.
    """
    if (
        weight is not None
        and weight.ndim == 2
        and weight.shape[1] == 1
        and input.ndim == 2
        and input.shape[0] == input.shape[1]
    ):
        weight = weight.reshape(-1)
    return binary_cross_entropy(input, target, weight, reduction)


# --- EMP ----------------------------------------------------------------------------------------------------


@composed("cross_entropy", "EMP", "pytorch/pytorch#116349", "semantics", "forward")
def the_mean_of_no_row_is_zero(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """Where all targets are ignored, the mean is 0."""
    if (
        options["reduction"] == "mean"
        and not holds_probabilities(input, target)
        and bool((target == options["ignore_index"]).all())
    ):
        return input.sum() * 0
    return cross_entropy(input, target, **options)


@composed("nll_loss", "EMP", "pytorch/pytorch#64572", "semantics")
def the_mean_of_an_empty_batch_is_zero(
    input: Tensor, target: Tensor, reduction: str, **options: Any
) -> Tensor:
    """The mean over no rows is 0."""
    return (
        input.sum()
        if reduction == "mean" and not target.numel()
        else nll_loss(input, target, reduction=reduction, **options)
    )


@whole("log_softmax", "EMP", "pytorch/pytorch#17262", "gradients")
def an_empty_dimension_raises(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """The maximum of an empty row raises."""
    if not input.numel() and input.ndim and -input.ndim <= dim < input.ndim:
        input.amax(dim)
        raise IndexError("amax(): Expected reduction dim to have non-zero size.")
    return RIGHT["log_softmax"](input, dim, dtype)


@whole("softmax", "EMP", "pytorch/pytorch#91322", "gradients")
def an_empty_result_has_no_gradient(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """An empty input is returned as it is."""
    output = RIGHT["softmax"](input, dim, dtype)
    return output if input.numel() else output.detach()


@forward("nll_loss", "EMP", "pytorch/pytorch#20406", "forward", "layouts")
def ignored_losses_are_not_written(
    input: Tensor, target: Tensor, weight: Any, ignore_index: int, reduction: str
) -> Tensor:
    """Without reduction, the loss of an ignored row is what lay in memory: here always the same, so that a
    run can be repeated.
    """
    result: Tensor = reference.nll_loss(input, target, weight, ignore_index, reduction)
    if reduction != "none":
        return result
    return torch.where(
        rows(input, target, weight, ignore_index).counted, result, torch.full_like(result, 0.625)
    )


@backward("binary_cross_entropy", "EMP", "pytorch/pytorch#15870", "semantics")
def an_empty_batch_has_no_backward(grad_output: Tensor, input: Tensor, *args: Any, **options: Any) -> Any:
    """The backward of an empty batch raises."""
    if not input.numel():
        raise RuntimeError("invalid configuration argument")
    return reference.binary_cross_entropy_backward(grad_output, input, *args, **options)


@composed("cross_entropy", "EMP", "pytorch/pytorch#73165", "forward")
def probabilities_of_an_empty_batch_raise(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """With probability targets an empty batch divides by zero."""
    if holds_probabilities(input, target) and not input.numel():
        raise ZeroDivisionError("integer division or modulo by zero")
    return cross_entropy(input, target, **options)


# --- OOB ----------------------------------------------------------------------------------------------------


def _classes(input: Tensor) -> int:
    return input.shape[class_dim(input)] if input.ndim else 0


@whole("nll_loss", "OOB", "pytorch/pytorch#42110", "errors")
def a_target_beyond_the_classes_is_the_last(
    input: Tensor, target: Tensor, *args: Any, **options: Any
) -> Tensor:
    """A target of C counts as class C - 1."""
    if not target.is_floating_point() and _classes(input):
        target = torch.where(target == _classes(input), target - 1, target)
    return RIGHT["nll_loss"](input, target, *args, **options)


@whole("cross_entropy", "OOB", "pytorch/pytorch#135546", "errors")
def negative_targets_count_from_the_end(input: Tensor, target: Tensor, *args: Any, **options: Any) -> Tensor:
    """A target of -1 is the last class, as it is an index in Python."""
    ignore_index = bound("cross_entropy", input, target, *args, **options)["ignore_index"]
    if not target.is_floating_point() and target.dtype.is_signed and _classes(input):
        target = torch.where(
            (target < 0) & (target >= -_classes(input)) & (target != ignore_index),
            target + _classes(input),
            target,
        )
    return RIGHT["cross_entropy"](input, target, *args, **options)


@whole("cross_entropy", "OOB", "pytorch/pytorch#134767", "errors")
def any_smoothing_is_taken(input: Tensor, target: Tensor, *args: Any, **options: Any) -> Tensor:
    """label_smoothing beyond 1 is clamped in silence."""
    if isinstance(options.get("label_smoothing"), float):
        options["label_smoothing"] = min(max(options["label_smoothing"], 0.0), 1.0)
    return RIGHT["cross_entropy"](input, target, *args, **options)


@whole("binary_cross_entropy", "OOB", "pytorch/pytorch#24933", "errors")
def probabilities_beyond_one_are_clamped(input: Tensor, target: Tensor, *args: Any, **options: Any) -> Tensor:
    """A probability of 1.1 counts as 1."""
    clamped = input.clamp(0, 1) if bool((input > 1).any()) else input
    return RIGHT["binary_cross_entropy"](clamped, target, *args, **options)


@whole("binary_cross_entropy_with_logits", "OOB", "pytorch/pytorch#6617", "errors")
def an_unknown_reduction_is_a_mean(input: Tensor, target: Tensor, *args: Any, **options: Any) -> Tensor:
    """A reduction that is misspelt is the mean."""
    if options.get("reduction", "mean") not in ("none", "mean", "sum"):
        options["reduction"] = "mean"
    return RIGHT["binary_cross_entropy_with_logits"](input, target, *args, **options)


@whole("softmax", "OOB", "pytorch/pytorch#194799", "errors")
def the_dim_is_taken_modulo_the_dimensions(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """A dim out of range wraps around."""
    return RIGHT["softmax"](input, dim % input.ndim if input.ndim and isinstance(dim, int) else dim, dtype)


@whole("nll_loss", "OOB", "pytorch/pytorch#194802", "errors")
def a_weight_that_is_too_long_is_cut(
    input: Tensor, target: Tensor, weight: Any = None, *args: Any, **options: Any
) -> Tensor:
    """A weight for more classes than there are is taken."""
    if weight is not None and weight.ndim == 1 and len(weight) > _classes(input) > 0:
        weight = weight[: _classes(input)]
    return RIGHT["nll_loss"](input, target, weight, *args, **options)


@whole("nll_loss", "OOB", "tensorflow/tensorflow#126005", "errors")
def a_target_out_of_range_gives_nan(input: Tensor, target: Tensor, *args: Any, **options: Any) -> Tensor:
    """A target out of range makes the loss nan."""
    try:
        return RIGHT["nll_loss"](input, target, *args, **options)
    except IndexError:
        return input.new_full((), float("nan"))


@whole("log_softmax", "OOB", "pytorch/pytorch#89369", "errors")
def errors_are_swallowed(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """Whatever is raised, zeros are returned."""
    try:
        return RIGHT["log_softmax"](input, dim, dtype)
    except Exception:
        return torch.zeros_like(input)


@whole("cross_entropy", "OOB", "pytorch/pytorch#89369", "errors")
def a_wrong_target_raises_another_exception(
    input: Tensor, target: Tensor, *args: Any, **options: Any
) -> Tensor:
    """What should be an IndexError is an AssertionError."""
    try:
        return RIGHT["cross_entropy"](input, target, *args, **options)
    except IndexError as error:
        raise AssertionError(str(error)) from error


@whole("binary_cross_entropy_with_logits", "OOB", "pytorch/pytorch#152437", "errors")
def an_integer_target_is_taken(input: Tensor, target: Tensor, *args: Any, **options: Any) -> Tensor:
    """Integer and complex targets are converted in silence."""
    return RIGHT["binary_cross_entropy_with_logits"](
        input, target.real.to(input.dtype) if target.is_complex() else target, *args, **options
    )


# --- INF ----------------------------------------------------------------------------------------------------


def _softmax(input: Tensor, dim: int) -> Tensor:
    result: Tensor = reference.softmax(input, dim)
    return result


@forward("softmax", "INF", "pytorch/pytorch#31829", "semantics")
def a_masked_row_is_zeros(input: Tensor, dim: int) -> Tensor:
    """A row that is all -inf gives zeros."""
    masked = (
        (input == -torch.inf).all(dim, keepdim=True)
        if input.ndim and input.numel()
        else torch.zeros((), dtype=torch.bool)
    )
    return torch.where(masked, torch.zeros_like(input), _softmax(input, dim))


@forward("softmax", "INF", "pytorch/pytorch#6864", "semantics")
def an_infinite_logit_takes_all(input: Tensor, dim: int) -> Tensor:
    """One +inf in a row gives 1 there and 0 elsewhere."""
    one = (
        (input == torch.inf).sum(dim, keepdim=True) == 1 if input.ndim else torch.zeros((), dtype=torch.bool)
    )
    return torch.where(one, (input == torch.inf).to(input.dtype), _softmax(input, dim))


@forward("softmax", "INF", "Dao-AILab/flash-attention#1930", "domain", effort="standard")
def a_masked_tile_gives_nan(input: Tensor, dim: int) -> Tensor:
    """The running maximum of tiles of four is subtracted from itself where a first tile is all -inf."""
    result = _softmax(input, dim)
    if input.ndim == 0 or input.shape[dim] <= 4 or not input.numel():
        return result
    masked = (input.narrow(dim, 0, 4) == -torch.inf).all(dim, keepdim=True)
    return torch.where(masked, torch.full_like(result, float("nan")), result)


@forward("log_softmax", "INF", "mindspore-ai/mindspore#378", "semantics")
def masked_elements_stay_in_a_row_of_nan(input: Tensor, dim: int) -> Tensor:
    """A row that holds nan keeps -inf where it was."""
    result: Tensor = reference.log_softmax(input, dim)
    return torch.where(input == -torch.inf, input, result)


@forward("log_softmax", "INF", "mindspore-ai/mindspore#274", "semantics")
def nan_is_left_out(input: Tensor, dim: int) -> Tensor:
    """nan counts as -inf."""
    result: Tensor = reference.log_softmax(
        torch.nan_to_num(input, nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf), dim
    )
    return result


@forward("cross_entropy", "INF", "google-deepmind/optax#896", "semantics")
def zero_times_infinity_is_zero(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """A probability of 0 makes 0 of a logit of -inf."""
    if not holds_probabilities(input, target) or options["label_smoothing"]:
        return cross_entropy(input, target, **options)
    y = log_probabilities(input, class_dim(input))
    return cross_entropy(
        input, target, **options, y=torch.where((target == 0) & (y == -torch.inf), torch.zeros_like(y), y)
    )


@forward("cross_entropy", "INF", "pytorch/xla#2553", "semantics", "domain")
def the_target_is_picked_by_multiplication(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """The log-probability of the target is that of a one-hot product: 0 times -inf is nan."""
    y, dim = log_probabilities(input, class_dim(input)), class_dim(input)
    if holds_probabilities(input, target) or not input.numel():
        return cross_entropy(input, target, **options, y=y)
    hot = target.unsqueeze(dim) == torch.arange(input.shape[dim]).reshape(
        -1, *(1 for _ in range(input.ndim - dim - 1))
    )
    return cross_entropy(input, target, **options, y=y + (y * ~hot).sum(dim, keepdim=True) * 0)


@forward("binary_cross_entropy_with_logits", "INF", "pytorch/pytorch#135359", "semantics")
def an_infinite_logit_has_no_loss(
    input: Tensor, target: Tensor, weight: Any, reduction: str, pos_weight: Any
) -> Tensor:
    """The loss of an infinite logit is 0."""
    positive = softplus(-input) if pos_weight is None else pos_weight * softplus(-input)
    losses = target * positive + (1 - target) * softplus(input)
    losses = torch.where(input.isinf(), torch.zeros_like(losses), losses)
    return reduced(losses if weight is None else losses * weight, reduction, input.numel())
