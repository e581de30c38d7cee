"""The ways of binary_cross_entropy and of its gradients."""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any

from torch_loss_parity.reference.arguments import namespace
from torch_loss_parity.reference.binary_cross_entropy import (
    SMALLEST_VARIANCE,
    BinaryCrossEntropyGradients,
    binary_cross_entropy,
)
from torch_loss_parity.reference.reduction import reduce_backward
from torch_loss_parity.reference.ways.nll_loss import MIXED_SIGNS
from torch_loss_parity.reference.ways.sizes import Size, converted, exactly
from torch_loss_parity.reference.ways.way import Way


def binary_cross_entropy_divided_first(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> Any:
    """sum(l / N): each loss is divided before they are added up."""
    if reduction != "mean":
        return binary_cross_entropy(input, target, weight, reduction)
    losses = binary_cross_entropy(input, target, weight, "none")
    return namespace(input=input).sum(losses / prod(input.shape))


def binary_cross_entropy_divided_last_backward(
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    size: Size = exactly,
) -> BinaryCrossEntropyGradients:
    """The mean's 1/N comes last, so a quotient may overflow before; and log(1 - x) stands where log1p(-x)
    would not round.
    """
    xp = namespace(input=input)
    variance = xp.maximum(input * (1 - input), xp.zeros_like(input) + SMALLEST_VARIANCE)
    grad_input = grad_output * (input - target) / variance
    grad_target = (xp.log(1 - input) - xp.log(input)) * grad_output
    if weight is not None:
        grad_input, grad_target = grad_input * weight, grad_target * weight
    denominator = size(input, prod(input.shape))
    return BinaryCrossEntropyGradients(
        reduce_backward(grad_input, reduction, denominator),
        reduce_backward(grad_target, reduction, denominator),
    )


def binary_cross_entropy_quotients_backward(
    grad_output: Any, input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> BinaryCrossEntropyGradients:
    """(1 - t) / (1 - x) - t / x where the variance is not clamped: two quotients that cancel where x is near
    t.
    """
    xp = namespace(input=input)
    clamped = input * (1 - input) < SMALLEST_VARIANCE
    inside = xp.where(clamped, xp.zeros_like(input) + 0.5, input)
    slope = xp.where(
        clamped,
        (input - target) / SMALLEST_VARIANCE,
        (1 - target) / (1 - inside) - target / inside,
    )
    tilt = xp.log1p(-input) - xp.log(input)
    if weight is not None:
        slope, tilt = slope * weight, tilt * weight
    g = reduce_backward(grad_output, reduction, prod(input.shape))
    return BinaryCrossEntropyGradients(slope * g, tilt * g)


def binary_cross_entropy_other_constant_backward(
    grad_output: Any, input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> BinaryCrossEntropyGradients:
    """The smallest variance is 1e-12 in float64, not 1e-12 in float32 as in the kernels; the gradient of the
    target is as it is.
    """
    xp = namespace(input=input)
    variance = xp.maximum(input * (1 - input), xp.zeros_like(input) + 1e-12)
    grad_input = grad_output * (input - target) / variance
    grad_target = grad_output * (xp.log1p(-input) - xp.log(input))
    if weight is not None:
        grad_input, grad_target = grad_input * weight, grad_target * weight
    size = prod(input.shape)
    return BinaryCrossEntropyGradients(
        reduce_backward(grad_input, reduction, size), reduce_backward(grad_target, reduction, size)
    )


binary_cross_entropy_of_a_converted_size_backward = partial(
    binary_cross_entropy_divided_last_backward, size=converted
)
CONVERTED = "half precision: the number of elements is rounded to it before a mean divides"

WAYS = (
    Way(
        name="sum(l / N)",
        operator="binary_cross_entropy",
        gives="result",
        function=binary_cross_entropy_divided_first,
        grade="textbook",
        loses=MIXED_SIGNS,
        ships="kernels that scale each element's loss",
    ),
    Way(
        name="(x - t) g w / v / N, and log(1 - x) - log x",
        operator="binary_cross_entropy",
        gives="gradients",
        function=binary_cross_entropy_divided_last_backward,
        grade="sharp",
        loses="",
        ships="torch",
    ),
    Way(
        name="(1 - t) / (1 - x) - t / x",
        operator="binary_cross_entropy",
        gives="gradients",
        function=binary_cross_entropy_quotients_backward,
        grade="textbook",
        loses="probabilities near their target: two quotients cancel",
        ships="textbooks, autograd of composed losses",
    ),
    Way(
        name="another smallest variance, 1e-12 in float64",
        operator="binary_cross_entropy",
        gives="gradients",
        function=binary_cross_entropy_other_constant_backward,
        grade="sharp",
        loses="",
        ships="torch.compile; who writes 1e-12 in a language of float64",
        open="nothing says in which format the smallest variance, 1e-12, is written: torch's kernels hold "
        "it in float32, torch.compile in float64",
    ),
    Way(
        name="mean over a converted number of elements",
        operator="binary_cross_entropy",
        gives="gradients",
        function=binary_cross_entropy_of_a_converted_size_backward,
        grade="lossy",
        loses=CONVERTED,
        ships="torch.compile with dynamic shapes",
    ),
)
