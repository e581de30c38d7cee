"""The ways of nll_loss and of its gradient."""

from __future__ import annotations

from typing import Any

from torch_loss_parity.reference.arguments import class_dim, namespace
from torch_loss_parity.reference.nll_loss import (
    NllLossGradients,
    classes_along,
    nll_loss,
    nll_loss_backward,
    target_weights,
)
from torch_loss_parity.reference.reduction import reduce_backward
from torch_loss_parity.reference.ways.way import Way


def nll_loss_divided_first(
    input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
) -> Any:
    """sum(l / D): each loss is divided by the denominator before they are added up."""
    if reduction != "mean":
        return nll_loss(input, target, weight, ignore_index, reduction)
    xp = namespace(input=input)
    losses = nll_loss(input, target, weight, ignore_index, "none")
    return xp.sum(losses / xp.sum(target_weights(xp, input, target, weight, ignore_index)))


def nll_loss_multiplied_backward(
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> NllLossGradients:
    """The upstream gradient times the class weight, times -1 at the target and 0 elsewhere: 0 times 0/0 is
    nan.
    """
    xp = namespace(input=input)
    dim = class_dim(input)
    g = reduce_backward(
        grad_output, reduction, xp.sum(target_weights(xp, input, target, weight, ignore_index))
    )
    g = (xp.expand_dims(g, axis=dim) if reduction == "none" else g) + xp.zeros_like(input)
    if weight is not None:
        g = g * along_classes(xp, weight, input)
    counted = xp.expand_dims(target != ignore_index, axis=dim) & (xp.zeros_like(input) == 0)
    hit = xp.expand_dims(target, axis=dim) == classes_along(xp, input, dim)
    zeros = xp.zeros_like(input)
    return NllLossGradients(xp.where(hit & counted, zeros - 1, zeros) * xp.where(counted, g, zeros))


def nll_loss_of_means_backward(
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> NllLossGradients:
    """The gradient of a mean of chunks' means, each times its share c / D: (g c / D) / c. Here c is 3 in
    place of the sizes of the chunks, which nobody knows: two roundings more are charged.
    """
    if reduction == "mean":
        grad_output = grad_output / 3 * 3
    return nll_loss_backward(grad_output, input, target, weight, ignore_index, reduction)


def along_classes(xp: Any, weight: Any, x: Any) -> Any:
    """The weight of each class, to broadcast against ``x``."""
    return xp.reshape(weight, tuple(weight.shape) + (1,) * (x.ndim - class_dim(x) - 1))


MIXED_SIGNS = "losses of both signs, and losses that are integers: each is rounded when it is divided"
TIMES_ZERO = "infinite and nan numbers: times 0 they are nan, where the definition chooses"

WAYS = (
    Way(
        name="sum(l / D)",
        operator="nll_loss",
        gives="result",
        function=nll_loss_divided_first,
        grade="textbook",
        loses=MIXED_SIGNS,
        ships="kernels that scale each row's loss (Liger, chunked losses)",
    ),
    Way(
        name="(g c / D) / c of chunks of c",
        operator="nll_loss",
        gives="gradients",
        function=nll_loss_of_means_backward,
        grade="sharp",
        loses="",
        ships="means of the means of batches (gradient accumulation)",
    ),
    Way(
        name="g w times -1 or 0",
        operator="nll_loss",
        gives="gradients",
        function=nll_loss_multiplied_backward,
        grade="lossy",
        loses=TIMES_ZERO,
        ships="torch.compile",
    ),
)
