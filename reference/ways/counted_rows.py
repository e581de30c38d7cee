"""The gradient of linear_cross_entropy of those who leave ignored rows out before the layer: no product with
them is made, so that nan or an infinity in them meets no zero.
"""

from __future__ import annotations

from functools import reduce
from math import prod
from operator import or_
from typing import Any

from torch_loss_parity.reference.arguments import namespace
from torch_loss_parity.reference.linear_cross_entropy import (
    NO_INDEX,
    LinearCrossEntropyGradients,
    linear,
    linear_backward,
)
from torch_loss_parity.reference.ways import rows
from torch_loss_parity.reference.ways.cross_entropy import cross_entropy_textbook_backward
from torch_loss_parity.reference.ways.extended import extended_backward


def linear_cross_entropy_of_counted_rows_backward(
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
    """(p - onehot) g of the rows that count, with p = exp(x - lse), times these rows of the input; 0 of those
    that are ignored.
    """
    xp, index = namespace(input=input), NO_INDEX if ignore_index is None else ignore_index
    logits = linear(input, linear_weight, linear_bias)
    gradients = extended_backward(
        cross_entropy_textbook_backward,
        *(grad_output, logits, target, weight, index, reduction, label_smoothing),
        z_loss=z_loss,
        softcap=softcap,
        log_sum=rows.logsumexp_textbook,
        probabilities=rows.softmax_from_log_sum,
    )
    counted = xp.ones_like(input) == 1
    if tuple(target.shape) != tuple(logits.shape) and 0 not in logits.shape:
        counted = counted & xp.expand_dims(_counted_rows(xp, target != index, logits, input), axis=-1)
    zeros = xp.zeros_like(input)
    of_input, of_layer, of_bias = linear_backward(
        gradients.input, xp.where(counted, input, zeros), linear_weight, linear_bias
    )
    return LinearCrossEntropyGradients(
        xp.where(counted, of_input, zeros), of_layer, of_bias, gradients.target, gradients.weight
    )


def _counted_rows(xp: Any, counted: Any, logits: Any, input: Any) -> Any:
    """Which rows of the input have a target that counts; of several targets of a row one is enough."""
    if input.ndim == 1:
        return xp.reshape(counted, ())
    of_rows = xp.reshape(counted, (input.shape[0], prod(logits.shape[2:])))
    columns = (of_rows[:, place] for place in range(of_rows.shape[1]))
    return reduce(or_, columns)
