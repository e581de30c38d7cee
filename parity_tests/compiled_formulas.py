"""The formulas that torch.compile evaluates: torch's decompositions of operators and derivatives, and what inductor makes of them.

Read from torch/_decomp/decompositions.py and from the code that inductor writes for the CPU, version 2.13. They are only evaluated in
the rounding arithmetic, as those of `parity_tests.torch_formulas` are.
"""

from __future__ import annotations

from math import prod
from typing import Any

from parity_tests.torch_formulas import (
    bce_divided_last_backward,
    bce_with_logits_subtracted_backward,
    cross_entropy_of_log_probabilities,
    cross_entropy_of_log_probabilities_backward,
    nll_loss_multiplied_backward,
    through_log_softmax,
)
from reference.arguments import class_dim, namespace
from reference.binary_cross_entropy import BinaryCrossEntropyGradients
from reference.binary_cross_entropy_with_logits import BinaryCrossEntropyWithLogitsGradients
from reference.cross_entropy import CrossEntropyGradients
from reference.reduction import reduce_backward
from reference.softmax import log_softmax, softmax


def converted(array: Any, count: int) -> Any:
    """A size that the compiler does not know, in the dtype of the input: 261 is 260 in bfloat16, 65520 infinite in float16."""
    xp = namespace(array=array)
    return xp.zeros_like(xp.sum(array)) + count


def softmax_backward_expanded(grad_output: Any, input: Any, dim: int) -> Any:
    """p g - p sum(p g), as torch.compile decomposes p (g - sum(p g)): the two products cancel."""
    xp = namespace(input=input)
    p = softmax(input, dim)
    product = grad_output * p
    return product - p * (xp.sum(product, axis=dim, keepdims=True) if input.shape else product)


def bce_backward_with_another_constant(
    grad_output: Any, input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> BinaryCrossEntropyGradients:
    """The smallest variance is 1e-12 in float64, not 1e-12 in float32 as in the kernels; the gradient of the target is as it is."""
    xp = namespace(input=input)
    variance = xp.maximum(input * (1 - input), xp.zeros_like(input) + 1e-12)
    grad_input = grad_output * (input - target) / variance
    if weight is not None:
        grad_input = grad_input * weight
    return BinaryCrossEntropyGradients(reduce_backward(grad_input, reduction, prod(input.shape)))


def cross_entropy_multiplied_backward(
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> CrossEntropyGradients:
    """Through log_softmax and `nll_loss_multiplied_backward`: the weight of each class times 0 reaches its logit."""
    y = log_softmax(input, class_dim(input))
    options = (weight, ignore_index, reduction, label_smoothing)
    gradients = cross_entropy_of_log_probabilities_backward(grad_output, y, target, *options, nll_loss_multiplied_backward)
    return gradients._replace(input=through_log_softmax(y, gradients.input))


def bce_with_logits_of_a_converted_size_backward(
    grad_output: Any, input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> BinaryCrossEntropyWithLogitsGradients:
    """`bce_with_logits_subtracted_backward`, whose mean divides by a `converted` size."""
    return bce_with_logits_subtracted_backward(grad_output, input, target, weight, reduction, pos_weight, converted)


def bce_of_a_converted_size_backward(
    grad_output: Any, input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> BinaryCrossEntropyGradients:
    """`bce_divided_last_backward`, whose mean divides by a `converted` size."""
    return bce_divided_last_backward(grad_output, input, target, weight, reduction, converted)


def cross_entropy_of_a_converted_size(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """`parity_tests.torch_formulas.cross_entropy_in_order`, whose mean divides by a `converted` size."""
    y = log_softmax(input, class_dim(input))
    return cross_entropy_of_log_probabilities(y, target, weight, ignore_index, reduction, label_smoothing, converted)


def cross_entropy_of_a_converted_size_backward(
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> CrossEntropyGradients:
    """`cross_entropy_multiplied_backward`, whose mean divides by a `converted` size."""
    y = log_softmax(input, class_dim(input))
    options = (weight, ignore_index, reduction, label_smoothing)
    gradients = cross_entropy_of_log_probabilities_backward(grad_output, y, target, *options, nll_loss_multiplied_backward, converted)
    return gradients._replace(input=through_log_softmax(y, gradients.input))
