"""The ways of linear_cross_entropy: those of cross_entropy, of logits as they are and as half precision keeps
them; and the gradient in the order of those who never hold that of the logits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from torch_loss_parity.reference.arguments import class_dim, namespace
from torch_loss_parity.reference.cross_entropy import cross_entropy as definition
from torch_loss_parity.reference.cross_entropy import cross_entropy_backward as derivative
from torch_loss_parity.reference.linear_cross_entropy import (
    NO_INDEX,
    LinearCrossEntropyGradients,
    linear,
    linear_backward,
)
from torch_loss_parity.reference.nll_loss import classes_along, target_weights
from torch_loss_parity.reference.reduction import reduce_backward
from torch_loss_parity.reference.softmax import softmax
from torch_loss_parity.reference.ways import cross_entropy
from torch_loss_parity.reference.ways.counted_rows import linear_cross_entropy_of_counted_rows_backward
from torch_loss_parity.reference.ways.rows import LOST_GRADIENT, OFFSET
from torch_loss_parity.reference.ways.way import Way, stored

STORED = "half precision: logits are rounded before the softmax, by up to half an ulp of the largest"
STORED_GRADIENT = "half precision: so is their gradient, before it is multiplied"


# Logits have the dtype of the layer's input, whatever that of the loss.
_as_logits = partial(stored, like="input")


def _kept(array: Any) -> Any:
    """As it is."""
    return array


def cross_entropy_of_logits(
    input: Any,
    linear_weight: Any,
    target: Any,
    *,
    linear_bias: Any = None,
    weight: Any = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    softcap: float | None = None,
    form: Callable[..., Any],
    keep: Callable[[Any], Any] = _kept,
) -> Any:
    """A form of cross_entropy, of the logits as they are kept."""
    logits = keep(linear(input, linear_weight, linear_bias))
    options = (weight, _index(ignore_index), reduction, label_smoothing)
    return form(logits, target, *options, z_loss=z_loss, softcap=softcap)


def cross_entropy_of_logits_backward(
    grad_output: Any,
    input: Any,
    linear_weight: Any,
    target: Any,
    *,
    linear_bias: Any = None,
    weight: Any = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    softcap: float | None = None,
    form: Callable[..., Any],
    keep: Callable[[Any], Any] = _kept,
    keep_gradient: Callable[[Any], Any] = _kept,
) -> LinearCrossEntropyGradients:
    """A form of the gradient of cross_entropy, of the logits as they are kept; that of the logits too."""
    logits = keep(linear(input, linear_weight, linear_bias))
    options = (weight, _index(ignore_index), reduction, label_smoothing)
    gradients = form(grad_output, logits, target, *options, z_loss=z_loss, softcap=softcap)
    of_factors = linear_backward(keep_gradient(gradients.input), input, linear_weight, linear_bias)
    return LinearCrossEntropyGradients(*of_factors, gradients.target, gradients.weight)


def products_of_probabilities_backward(
    grad_output: Any,
    input: Any,
    linear_weight: Any,
    target: Any,
    *,
    linear_bias: Any = None,
    weight: Any = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    softcap: float | None = None,
) -> LinearCrossEntropyGradients:
    """(g p) W less g W_t, and likewise of the layer: what the classes have and what the target has, apart."""
    logits = linear(input, linear_weight, linear_bias)
    given = (grad_output, logits, target, weight, _index(ignore_index), reduction, label_smoothing)
    if tuple(target.shape) == tuple(logits.shape) or label_smoothing or z_loss or softcap:
        gradients = derivative(*given, z_loss=z_loss, softcap=softcap)
        of_factors = linear_backward(gradients.input, input, linear_weight, linear_bias)
        return LinearCrossEntropyGradients(*of_factors, gradients.target, gradients.weight)
    xp, dim = namespace(input=input), class_dim(logits)
    index = _index(ignore_index)
    target = xp.reshape(target, tuple(n for axis, n in enumerate(logits.shape) if axis != dim))
    weights = target_weights(xp, logits, target, weight, index)
    g = xp.expand_dims(weights * reduce_backward(grad_output, reduction, xp.sum(weights)), axis=dim)
    zeros = xp.zeros_like(logits)
    counted = xp.expand_dims(target != index, axis=dim) & (zeros == 0)
    hit = (xp.expand_dims(target, axis=dim) == classes_along(xp, logits, dim)) & counted
    parts = [
        linear_backward(part, input, linear_weight, linear_bias)
        for part in (
            xp.where(counted, softmax(logits, dim) * g, zeros),
            xp.where(hit, g + zeros, zeros),
        )
    ]
    return LinearCrossEntropyGradients(
        *(a if a is None or b is None else a - b for a, b in zip(*parts, strict=True))
    )


def _index(ignore_index: int | None) -> int:
    return NO_INDEX if ignore_index is None else ignore_index


# Those of cross_entropy that people evaluate on logits which half precision has kept.
_ON_STORED = (
    "nll of x - m - log(sum)",
    "nll of x - lse",
    "sum(l / D)",
    "(p - onehot) g",
    "(p - onehot) g, p = exp(x - lse)",
    "G - p sum(G), p = exp(x - m - log(sum))",
    "gradient for 1 from memory, times g",
)


def _of_way(way: Way) -> tuple[Way, ...]:
    """A way of cross_entropy on the logits as they are, and on those that are stored."""
    function: Callable[..., Any] = (
        cross_entropy_of_logits if way.gives == "result" else cross_entropy_of_logits_backward
    )
    plain = replace(way, operator="linear_cross_entropy", function=partial(function, form=way.function))
    if way.name not in _ON_STORED:
        return (plain,)
    kept: dict[str, Any] = {"keep": _as_logits}
    loses = f"{way.loses}; {STORED}"
    if way.gives == "gradients":
        kept["keep_gradient"] = partial(stored, like="gradient")
        loses = f"{loses}; {STORED_GRADIENT}"
    return plain, replace(
        plain,
        name=f"{way.name}, of stored logits",
        function=partial(function, form=way.function, **kept),
        loses=loses,
        ships="torch without options, Liger",
        by_autograd=False,
        in_half_precision=True,
    )


_OWN = (
    Way(
        name="of stored logits",
        operator="linear_cross_entropy",
        gives="result",
        function=partial(cross_entropy_of_logits, form=definition, keep=_as_logits),
        grade="textbook",
        loses=STORED,
        ships="torch without options, Liger",
        in_half_precision=True,
    ),
    Way(
        name="of stored logits and their stored gradient",
        operator="linear_cross_entropy",
        gives="gradients",
        function=partial(
            cross_entropy_of_logits_backward,
            form=derivative,
            keep=_as_logits,
            keep_gradient=partial(stored, like="gradient"),
        ),
        grade="textbook",
        loses=f"{STORED}; {STORED_GRADIENT}",
        ships="torch without options, Liger",
        in_half_precision=True,
    ),
    Way(
        name="(g p) W less g W_t",
        operator="linear_cross_entropy",
        gives="gradients",
        function=products_of_probabilities_backward,
        grade="textbook",
        loses=LOST_GRADIENT,
        ships="torch in chunks",
    ),
    Way(
        name="of the rows that count alone, p = exp(x - lse)",
        operator="linear_cross_entropy",
        gives="gradients",
        function=linear_cross_entropy_of_counted_rows_backward,
        grade="textbook",
        loses=f"{LOST_GRADIENT}; {OFFSET}",
        ships="cut-cross-entropy: ignored rows are left out before the layer",
    ),
)
WAYS = (*_OWN, *(each for way in cross_entropy.WAYS for each in _of_way(way)))
