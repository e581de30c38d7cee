"""The formulas that torch.compile evaluates: torch's decompositions of operators and derivatives, and what
inductor makes of them.

Read from torch/_decomp/decompositions.py and from the code that inductor writes for the CPU, version 2.13.
They are only evaluated in the rounding arithmetic, as those of `torch_loss_parity.formulas.torch_formulas`
are.
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any

from torch_loss_parity.formulas.torch_formulas import (
    bce_divided_last_backward,
    bce_with_logits_subtracted_backward,
    cross_entropy_in_order,
    cross_entropy_in_order_backward,
    nll_loss_multiplied_backward,
)
from torch_loss_parity.reference.arguments import namespace
from torch_loss_parity.reference.binary_cross_entropy import BinaryCrossEntropyGradients
from torch_loss_parity.reference.reduction import reduce_backward
from torch_loss_parity.reference.softmax import softmax


def converted(array: Any, count: int) -> Any:
    """A size that the compiler does not know, in the dtype of the input: 261 is 260 in bfloat16, 65520
    infinite in float16.
    """
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
    """The smallest variance is 1e-12 in float64, not 1e-12 in float32 as in the kernels; the gradient of the
    target is as it is.
    """
    xp = namespace(input=input)
    variance = xp.maximum(input * (1 - input), xp.zeros_like(input) + 1e-12)
    grad_input = grad_output * (input - target) / variance
    if weight is not None:
        grad_input = grad_input * weight
    return BinaryCrossEntropyGradients(reduce_backward(grad_input, reduction, prod(input.shape)))


# The weight of each class times 0 reaches its logit.
cross_entropy_multiplied_backward = partial(
    cross_entropy_in_order_backward, through_nll_loss=nll_loss_multiplied_backward
)

# What plain calls evaluate too, but that a mean divides by a converted size.
bce_of_a_converted_size_backward = partial(bce_divided_last_backward, size=converted)
bce_with_logits_of_a_converted_size_backward = partial(bce_with_logits_subtracted_backward, size=converted)
cross_entropy_of_a_converted_size = partial(cross_entropy_in_order, size=converted)
cross_entropy_of_a_converted_size_backward = partial(cross_entropy_multiplied_backward, size=converted)
