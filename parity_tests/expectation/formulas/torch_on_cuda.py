"""nll_loss and cross_entropy as CUDA evaluates them, where that is another function than documented.

Read from aten/src/ATen/native/cuda/NLLLoss.cu and NLLLoss2d.cu.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from torch_loss_parity.expectation.quantity import Quantity
from torch_loss_parity.reference.arguments import class_dim, namespace
from torch_loss_parity.reference.arithmetic.rounding import Rounded
from torch_loss_parity.reference.cross_entropy import CrossEntropyGradients, cross_entropy
from torch_loss_parity.reference.nll_loss import (
    NllLossGradients,
    nll_loss,
    nll_loss_backward,
    target_weights,
)
from torch_loss_parity.reference.ways.class_products import (
    cross_entropy_of_log_probabilities,
    cross_entropy_of_log_probabilities_backward,
    through_log_softmax,
)
from torch_loss_parity.reference.ways.rows import log_softmax_textbook


def nll_loss_of_one_sample(
    input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
) -> Any:
    """0 for the mean of one sample, input of shape (C), that is ignored."""
    loss = nll_loss(input, target, weight, ignore_index, reduction)
    return _of_one_sample(loss, input, target, ignore_index)


def nll_loss_jvp_of_one_sample(
    quantity: Quantity, direction: Any, grad_output: Any, input: Any, **arguments: Any
) -> Any:
    """nll_loss is linear: it is that of the direction."""
    return nll_loss_of_one_sample(direction, **arguments)


def cross_entropy_of_one_sample(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """0 for the mean of one sample that is ignored, unless it is smoothed."""
    loss = cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing)
    return loss if label_smoothing else _of_one_sample(loss, input, target, ignore_index)


def _of_one_sample(loss: Any, input: Any, target: Any, ignore_index: int) -> Any:
    if input.ndim != 1:
        return loss
    xp = namespace(input=input)
    return xp.where(target == ignore_index, xp.zeros_like(loss), loss)


def nll_loss_of_32_bit_targets(
    input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
) -> Any:
    """Of targets whose upper 32 bits are lost, so that they are no longer the ignore_index."""
    return nll_loss(input, _in_32_bits(input, target), weight, ignore_index, reduction)


def nll_loss_of_32_bit_targets_backward(
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> NllLossGradients:
    """The gradient as documented, but for a mean over the sum of the weights that
    `nll_loss_of_32_bit_targets` has counted.
    """
    if reduction == "mean":
        xp = namespace(input=input)
        counted = target_weights(xp, input, _in_32_bits(input, target), weight, ignore_index)
        grad_output, reduction = grad_output / xp.sum(counted), "sum"
    return nll_loss_backward(grad_output, input, target, weight, ignore_index, reduction)


def cross_entropy_of_32_bit_targets(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """`nll_loss_of_32_bit_targets` of log-probabilities and, as documented, what smoothing adds."""
    y, options = log_softmax_textbook(input, class_dim(input)), (weight, ignore_index, reduction)
    loss = nll_loss_of_32_bit_targets(y, target, *options)
    if not label_smoothing:
        return loss
    smoothed = cross_entropy_of_log_probabilities(y, target, *options, label_smoothing)
    return _smoothed(loss, smoothed, nll_loss(y, target, *options), label_smoothing)


def cross_entropy_of_32_bit_targets_backward(
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> CrossEntropyGradients:
    """The gradient of the same sum."""
    y, options = log_softmax_textbook(input, class_dim(input)), (weight, ignore_index, reduction)
    gradient = nll_loss_of_32_bit_targets_backward(grad_output, y, target, *options).input
    if label_smoothing:
        given = (grad_output, y, target, *options)
        smoothed = cross_entropy_of_log_probabilities_backward(*given, label_smoothing).input
        gradient = _smoothed(gradient, smoothed, nll_loss_backward(*given).input, label_smoothing)
    return CrossEntropyGradients(through_log_softmax(namespace(input=input).exp(y), gradient))


def _smoothed(own: Any, smoothed: Any, documented: Any, label_smoothing: float) -> Any:
    """What is CUDA's own in place of the documented part of what is smoothed."""
    kept = 1 - label_smoothing
    return own * kept + (smoothed - documented * kept)


def _in_32_bits(input: Rounded, target: Rounded) -> Rounded:
    """The targets that the kernel for inputs of three dimensions and more sees."""
    if input.ndim < 3:
        return target
    return Rounded(target.value.astype(np.int32).astype(np.int64), target.arithmetic)
