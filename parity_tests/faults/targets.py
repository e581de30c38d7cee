"""SMO and WGT: label smoothing, weights, and targets that are probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from torch_loss_parity import reference
from torch_loss_parity.faults.components import (
    Tensor,
    along_classes,
    cross_entropy,
    holds_probabilities,
    log_probabilities,
    reduced,
    rows,
    softplus,
    weighted,
)
from torch_loss_parity.faults.record import backward, composed
from torch_loss_parity.reference.arguments import class_dim


def _smoothed_otherwise(
    input: Tensor,
    target: Tensor,
    weight: Any,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
    shares: Callable[[float, int], tuple[float, float]],
    *,
    masked: bool = True,
    heavy: bool = True,
) -> Tensor:
    """Index targets whose smoothing has other shares of the hard and the uniform part, or adds up the uniform
    one otherwise.
    """
    if holds_probabilities(input, target) or not label_smoothing:
        return cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing)
    dim = class_dim(input)
    hard, share = shares(label_smoothing, input.shape[dim])
    y = log_probabilities(input, dim)
    row = rows(y, target, weight, ignore_index)
    uniform = -(y * along_classes(weight if heavy else None, input)).sum(dim)
    if masked:
        uniform = torch.where(row.counted, uniform, torch.zeros_like(uniform))
    below = row.used.sum()
    return hard * reduced(row.weighted, reduction, below) + share * reduced(uniform, reduction, below)


def _right_shares(label_smoothing: float, classes: int) -> tuple[float, float]:
    return 1 - label_smoothing, label_smoothing / classes


@composed("cross_entropy", "SMO", "pytorch/pytorch#73205", "forward", "gradients")
def the_smoothed_part_counts_ignored_rows(**arguments: Any) -> Tensor:
    """The uniform part is added up over ignored rows too."""
    return _smoothed_otherwise(**arguments, shares=_right_shares, masked=False)


@composed("cross_entropy", "SMO", "pytorch/pytorch#148884", "forward", "gradients")
def smoothing_spreads_over_the_other_classes(**arguments: Any) -> Tensor:
    """Smoothing is spread over the C - 1 other classes."""

    def shares(smoothing: float, classes: int) -> tuple[float, float]:
        if classes < 2:
            return _right_shares(smoothing, classes)
        share = smoothing / (classes - 1)
        return 1 - smoothing - share, share

    return _smoothed_otherwise(**arguments, shares=shares)


@composed("cross_entropy", "SMO", "pytorch/pytorch#104776", "forward", "gradients")
def the_smoothed_part_has_no_weights(**arguments: Any) -> Tensor:
    """Class weights are left out of the uniform part."""
    return _smoothed_otherwise(**arguments, shares=_right_shares, heavy=False)


@composed("cross_entropy", "SMO", "paiml/aprender#2199", "forward", "gradients")
def the_smoothed_part_gets_the_other_share(**arguments: Any) -> Tensor:
    """Each class gets (1 - smoothing) / C."""
    return _smoothed_otherwise(
        **arguments, shares=lambda smoothing, classes: (1 - smoothing, (1 - smoothing) / classes)
    )


@composed("cross_entropy", "SMO", "ildoonet/pytorch-randaugment#30", "forward", "gradients")
def the_smoothed_target_sums_to_more_than_one(**arguments: Any) -> Tensor:
    """The hard part keeps 1 - smoothing / C."""
    return _smoothed_otherwise(
        **arguments, shares=lambda smoothing, classes: (1 - smoothing / classes, smoothing / classes)
    )


@composed("cross_entropy", "SMO", "TimDettmers/ConvE#55", "forward", "gradients")
def smoothing_of_probabilities_forgets_its_strength(
    input: Tensor, target: Tensor, label_smoothing: float, **options: Any
) -> Tensor:
    """A smoothed probability target is (1 - smoothing) q + 1 / C."""
    if not holds_probabilities(input, target) or not label_smoothing:
        return cross_entropy(input, target, label_smoothing=label_smoothing, **options)
    q = target * (1 - label_smoothing) + 1 / input.shape[class_dim(input)]
    return cross_entropy(input, q, label_smoothing=0.0, **options)


@composed("cross_entropy", "SMO", "tinygrad/tinygrad#3574", "forward", "gradients")
def probabilities_are_not_smoothed(
    input: Tensor, target: Tensor, label_smoothing: float, **options: Any
) -> Tensor:
    """label_smoothing has no effect on probability targets."""
    smoothing = 0.0 if holds_probabilities(input, target) else label_smoothing
    return cross_entropy(input, target, label_smoothing=smoothing, **options)


@backward("cross_entropy", "SMO", "linkedin/Liger-Kernel#968", "gradients")
def the_gradient_is_not_smoothed(
    grad_output: Tensor, input: Tensor, target: Tensor, label_smoothing: float, **options: Any
) -> Any:
    """The backward leaves out the smoothing of index targets."""
    smoothing = label_smoothing if holds_probabilities(input, target) else 0.0
    return reference.cross_entropy_backward(grad_output, input, target, label_smoothing=smoothing, **options)


# --- WGT ----------------------------------------------------------------------------------------------------


@composed("binary_cross_entropy_with_logits", "WGT", "tracel-ai/burn#772", "forward", "gradients")
def pos_weight_weighs_both_terms(
    input: Tensor, target: Tensor, weight: Any, reduction: str, pos_weight: Any
) -> Tensor:
    """pos_weight multiplies the loss of negatives too."""
    losses = target * softplus(-input) + (1 - target) * softplus(input)
    return reduced(weighted(weighted(losses, pos_weight), weight), reduction, input.numel())


@composed("binary_cross_entropy_with_logits", "WGT", "pytorch/pytorch#27936", "forward", "gradients")
def pos_weight_lies_along_the_first_dimension(
    input: Tensor, target: Tensor, weight: Any, reduction: str, pos_weight: Any
) -> Tensor:
    """Where the first dimension is as long as the last, a vector pos_weight is of the rows."""
    if (
        pos_weight is not None
        and pos_weight.ndim == 1
        and input.ndim > 1
        and input.shape[0] == len(pos_weight) > 1
    ):
        pos_weight = pos_weight.reshape(-1, *(1 for _ in input.shape[1:]))
    losses = weighted(target * softplus(-input), pos_weight) + (1 - target) * softplus(input)
    return reduced(weighted(losses, weight), reduction, input.numel())


@backward("binary_cross_entropy_with_logits", "WGT", "pytorch/pytorch#19254", "gradients")
def pos_weight_is_left_out_of_the_gradient(
    grad_output: Tensor, input: Tensor, target: Tensor, pos_weight: Any, **options: Any
) -> Any:
    """The backward knows no pos_weight."""
    return reference.binary_cross_entropy_with_logits_backward(
        grad_output, input, target, pos_weight=None, **options
    )


@composed("cross_entropy", "WGT", "AlexeyAB/darknet#5207", "forward", "gradients")
def a_probability_is_there_or_not(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """A soft target counts as 1 wherever it is not 0."""
    hard = (target != 0).to(target.dtype) if holds_probabilities(input, target) else target
    return cross_entropy(input, hard, **options)


@backward("cross_entropy", "WGT", "kvark/meganeura#102", "semantics")
def the_gradient_takes_probabilities_to_sum_to_one(
    grad_output: Tensor, input: Tensor, target: Tensor, **options: Any
) -> Any:
    """The gradient of the logits is p - t, whatever the targets of a row add up to."""
    result = reference.cross_entropy_backward(grad_output, input, target, **options)
    if not holds_probabilities(input, target) or options["weight"] is not None or options["label_smoothing"]:
        return result
    dim = class_dim(input)
    g = grad_output / (input.numel() / input.shape[dim]) if options["reduction"] == "mean" else grad_output
    g = g.unsqueeze(dim) if options["reduction"] == "none" else g
    return result._replace(input=g * (log_probabilities(input, dim).exp() - target))


@backward("cross_entropy", "WGT", "tensorflow/tensorflow#60314", "semantics")
def a_row_of_zero_targets_has_a_gradient(
    grad_output: Tensor, input: Tensor, target: Tensor, **options: Any
) -> Any:
    """Where all targets of a row are 0, the gradient is p."""
    result = reference.cross_entropy_backward(grad_output, input, target, **options)
    if not holds_probabilities(input, target) or not input.numel():
        return result
    dim = class_dim(input)
    empty = (target == 0).all(dim, keepdim=True)
    return result._replace(input=torch.where(empty, log_probabilities(input, dim).exp(), result.input))


@composed("cross_entropy", "WGT", "google-deepmind/optax#1335", "forward", "gradients")
def the_last_class_has_the_weight_of_the_first(
    input: Tensor, target: Tensor, weight: Any, **options: Any
) -> Tensor:
    """The weights of indices are shifted for the last class."""
    if weight is not None and not holds_probabilities(input, target) and len(weight):
        weight = torch.cat([weight[:-1], weight[:1]])
    return cross_entropy(input, target, weight, **options)


@backward("binary_cross_entropy", "WGT", "pytorch/pytorch#56683", "gradients")
def the_gradient_of_the_target_has_no_weight(
    grad_output: Tensor, input: Tensor, target: Tensor, weight: Any, reduction: str
) -> Any:
    """The weight is left out of the gradient of the target."""
    result = reference.binary_cross_entropy_backward(grad_output, input, target, weight, reduction)
    return result._replace(
        target=reference.binary_cross_entropy_backward(grad_output, input, target, None, reduction).target
    )


@composed("nll_loss", "WGT", "apple/ml-cross-entropy#52", "semantics")
def the_weight_of_a_class_is_looked_up_in_order(
    input: Tensor, target: Tensor, weight: Any, ignore_index: int, reduction: str
) -> Tensor:
    """The weight of a row is that of the class of its number, where there are as many rows as classes."""
    row = rows(input, target, weight, ignore_index)
    if weight is not None and target.shape == weight.shape:
        row.weights = weight.clone()
    return reduced(row.weighted, reduction, row.used.sum())
