"""DEN: what the mean divides by."""

from __future__ import annotations

from typing import Any

import torch

from torch_loss_parity import reference
from torch_loss_parity.faults.components import (
    Tensor,
    along_classes,
    binary_cross_entropy_with_logits,
    cross_entropy,
    holds_probabilities,
    log_probabilities,
    nll_loss,
    reduced,
    rows,
)
from torch_loss_parity.faults.record import backward, composed, forward
from torch_loss_parity.reference.arguments import class_dim


@composed("cross_entropy", "DEN", "PaddlePaddle/Paddle#48663", "forward", "gradients")
def the_mean_counts_ignored_rows(input: Tensor, target: Tensor, weight: Any, **options: Any) -> Tensor:
    """The mean divides by all rows, those ignored among them."""
    return cross_entropy(
        input, target, weight, **options, denominator=target.numel() if weight is None else None
    )


@composed("cross_entropy", "DEN", "pytorch/pytorch#25571", "forward", "gradients")
def the_weighted_mean_divides_by_the_number_of_rows(
    input: Tensor, target: Tensor, ignore_index: int, **options: Any
) -> Tensor:
    """The weighted mean divides by the number of rows that count, not by their weights."""
    return cross_entropy(
        input, target, ignore_index=ignore_index, **options, denominator=(target != ignore_index).sum()
    )


@composed("nll_loss", "DEN", "pytorch/pytorch#31295", "semantics")
def a_negative_total_weight_is_taken_for_none(
    input: Tensor, target: Tensor, weight: Any, ignore_index: int, reduction: str
) -> Tensor:
    """The mean is 0 unless the weights add up to something positive."""
    negative = rows(input, target, weight, ignore_index).used.sum() < 0
    result = nll_loss(input, target, weight, ignore_index, reduction)
    return result * 0 if reduction == "mean" and negative else result


@backward("nll_loss", "DEN", "pytorch/pytorch#64275", "semantics")
def rows_of_negative_weight_have_no_gradient(
    grad_output: Tensor, input: Tensor, target: Tensor, weight: Any, **options: Any
) -> Any:
    """The backward skips rows whose weight is not positive."""
    result = reference.nll_loss_backward(grad_output, input, target, weight, **options)
    return (
        result if weight is None else result._replace(input=result.input * (along_classes(weight, input) > 0))
    )


@composed("cross_entropy", "DEN", "huggingface/transformers#34191", "forward", "gradients")
def the_mean_of_micro_batch_means(
    input: Tensor, target: Tensor, ignore_index: int, reduction: str, **options: Any
) -> Tensor:
    """The mean over the batch is the mean of the means of its two halves, whatever they count."""
    options |= {"ignore_index": ignore_index, "reduction": reduction}
    half = input.shape[0] // 2
    if reduction != "mean" or input.ndim == 1 or not half or bool((target[:half] == ignore_index).all()):
        return cross_entropy(input, target, **options)
    return (
        cross_entropy(input[:half], target[:half], **options)
        + cross_entropy(input[half:], target[half:], **options)
    ) / 2


@backward("cross_entropy", "DEN", "unslothai/unsloth-zoo#1023", "gradients")
def the_gradient_of_the_mean_divides_twice(
    grad_output: Tensor, input: Tensor, target: Tensor, **options: Any
) -> Any:
    """Where rows are ignored, the gradient of the mean is divided by the number of the others once more."""
    result = reference.cross_entropy_backward(grad_output, input, target, **options)
    counted = target != options["ignore_index"]
    if options["reduction"] != "mean" or holds_probabilities(input, target) or bool(counted.all()):
        return result
    return result._replace(input=result.input / counted.sum().clamp(min=1))


@composed("cross_entropy", "DEN", "PaddlePaddle/Paddle#76033", "semantics")
def ignored_rows_count_where_ignore_index_is_negative(
    input: Tensor, target: Tensor, weight: Any, ignore_index: int, **options: Any
) -> Tensor:
    """With a negative ignore_index, the default among them, the mean divides by all rows."""
    below = target.numel() if ignore_index < 0 and weight is None else None
    return cross_entropy(input, target, weight, ignore_index, **options, denominator=below)


@composed("cross_entropy", "DEN", "PaddlePaddle/Paddle#30180", "forward", "gradients")
def the_weights_of_ignored_rows_count(
    input: Tensor, target: Tensor, weight: Any, ignore_index: int, **options: Any
) -> Tensor:
    """The weighted mean divides by the weights of all rows, an ignored one having that of class 0."""
    below = None
    if weight is not None and not holds_probabilities(input, target):
        below = rows(input, target, weight, ignore_index).weights.sum()
    return cross_entropy(input, target, weight, ignore_index, **options, denominator=below)


@composed("cross_entropy", "DEN", "pytorch/pytorch#107680", "forward", "gradients")
def the_mean_over_probabilities_divides_by_their_weights(
    input: Tensor, target: Tensor, weight: Any, **options: Any
) -> Tensor:
    """With probability targets the weighted mean divides by the weights of the targets, as with indices."""
    result = cross_entropy(input, target, weight, **options)
    if weight is None or options["reduction"] != "mean" or not holds_probabilities(input, target):
        return result
    return (
        result
        * (target.numel() / input.shape[class_dim(input)])
        / (target * along_classes(weight, input)).sum()
    )


@forward("binary_cross_entropy", "DEN", "qubvel-org/segmentation_models.pytorch#852", "forward")
def the_mean_divides_by_the_weights(input: Tensor, target: Tensor, weight: Any, reduction: str) -> Tensor:
    """The weighted mean divides by the sum of the weights, not by the number of elements."""
    result: Tensor = reference.binary_cross_entropy(input, target, weight, reduction)
    return (
        result
        if weight is None or reduction != "mean"
        else result * input.numel() / weight.expand(input.shape).sum()
    )


@composed("binary_cross_entropy_with_logits", "DEN", "paiml/aprender#2182", "forward", "gradients")
def the_mean_divides_by_the_batch(input: Tensor, target: Tensor, reduction: str, **options: Any) -> Tensor:
    """The mean divides by the first dimension, not by the number of elements."""
    result = binary_cross_entropy_with_logits(input, target, reduction=reduction, **options)
    return result * input[0].numel() if reduction == "mean" and input.ndim > 1 and len(input) else result


@backward("nll_loss", "DEN", "ROCm/TransformerEngine#336", "gradients")
def the_gradient_without_reduction_is_divided(
    grad_output: Tensor, input: Tensor, target: Tensor, reduction: str, **options: Any
) -> Any:
    """The gradient of unreduced losses is divided by the number of rows."""
    grad = grad_output / max(target.numel(), 1) if reduction == "none" else grad_output
    return reference.nll_loss_backward(grad, input, target, reduction=reduction, **options)


@composed("nll_loss", "DEN", "pytorch/xla#896", "forward", "gradients")
def the_mean_over_pixels_divides_by_the_batch(
    input: Tensor, target: Tensor, weight: Any, ignore_index: int, reduction: str
) -> Tensor:
    """For images the mean divides by the weights of one image, on average."""
    pixels = target[0].numel() if target.ndim > 1 and len(target) else 1
    total = rows(input, target, weight, ignore_index).used.sum()
    return nll_loss(
        input,
        target,
        weight,
        ignore_index,
        reduction,
        denominator=total * len(target) / target.numel() if pixels > 1 else None,
    )


@composed("cross_entropy", "DEN", "tracel-ai/burn#5568", "forward", "gradients")
def the_smoothed_part_of_the_mean_counts_ignored_rows(
    input: Tensor, target: Tensor, weight: Any, ignore_index: int, reduction: str, label_smoothing: float
) -> Tensor:
    """The mean is right, but for the smoothed part, which divides by all rows."""
    result = cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing)
    if holds_probabilities(input, target) or reduction != "mean" or not label_smoothing or weight is not None:
        return result
    counted, dim = target != ignore_index, class_dim(input)
    uniform = -log_probabilities(input, dim).sum(dim)
    total = reduced(torch.where(counted, uniform, torch.zeros_like(uniform)), "sum", None)
    return result + label_smoothing / input.shape[dim] * total * (1 / target.numel() - 1 / counted.sum())
