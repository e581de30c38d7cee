"""The three reductions of a loss, and what they pass back."""

from __future__ import annotations

from typing import Any


def reduce(xp: Any, losses: Any, reduction: str, denominator: Any) -> Any:
    """``losses`` as they are, their sum, or their sum over ``denominator``.

    The denominator is the operator's own: the number of elements, or the sum of the weights of the targets.
    """
    if reduction == "none":
        return losses
    total = xp.sum(losses)
    return total / denominator if reduction == "mean" else total


def reduce_elements(xp: Any, losses: Any, weight: Any, reduction: str, count: int) -> Any:
    """`reduce` of the ``count`` losses of elements, each times its weight where there is one."""
    return reduce(xp, losses if weight is None else losses * weight, reduction, count)


def reduce_backward(grad_output: Any, reduction: str, denominator: Any) -> Any:
    """The gradient that reaches each loss; a scalar where all get the same."""
    return grad_output / denominator if reduction == "mean" else grad_output
