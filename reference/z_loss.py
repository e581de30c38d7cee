r"""The z-loss of rows of logits: the square of the logarithm of the sum of their exponentials.

.. math::

    z_n = \Bigl( \log \sum_c e^{x_{n,c}} \Bigr)^2, \qquad
    \frac{\partial z_n}{\partial x_{n,c}} = 2 \log \Bigl( \sum_j e^{x_{n,j}} \Bigr)\, p_{n,c}

Added to a loss with a small weight it keeps the logits near those of normalized probabilities (A. Chowdhery
et al., "PaLM", sec. 5; B. Zoph et al., "ST-MoE", sec. 3.3). Classes have no weights in it: the mean divides
by the number of rows that count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch_loss_parity.reference.arguments import class_dim, class_indices, namespace
from torch_loss_parity.reference.logsumexp import logsumexp
from torch_loss_parity.reference.nll_loss import target_weights
from torch_loss_parity.reference.reduction import reduce, reduce_backward
from torch_loss_parity.reference.softmax import softmax

Form = Callable[..., Any]


def z_losses(input: Any, target: Any, ignore_index: int, reduction: str, *, log_sum: Form = logsumexp) -> Any:
    """The z-loss of each row that counts, 0 of the others; or their sum, or their mean.

    Parameters
    ----------
    input, target, ignore_index, reduction
        As `cross_entropy` takes them.
    log_sum : callable
        What makes the logarithms of the sums, of ``input`` and the dimension of the classes.
    """
    xp, dim = namespace(input=input, target=target), class_dim(input)
    counted = counted_rows(xp, input, target, ignore_index)
    lse = log_sum(input, dim)
    squares = xp.where(counted > 0, lse * lse, xp.zeros_like(lse))
    return reduce(xp, squares, reduction, xp.sum(counted))


def z_losses_backward(
    grad_output: Any,
    input: Any,
    target: Any,
    ignore_index: int,
    reduction: str,
    *,
    log_sum: Form = logsumexp,
    probabilities: Form = softmax,
) -> Any:
    """The gradient of `z_losses` with respect to ``input``: 2 lse p for each row that counts.

    Parameters
    ----------
    grad_output : array, the shape of the result
        Upstream gradient.
    input, target, ignore_index, reduction, log_sum
        As given to `z_losses`.
    probabilities : callable
        What makes the probabilities, of ``input`` and the dimension of the classes.
    """
    xp, dim = namespace(input=input, target=target), class_dim(input)
    counted = counted_rows(xp, input, target, ignore_index)
    g = reduce_backward(grad_output, reduction, xp.sum(counted))
    slope = xp.expand_dims(2 * log_sum(input, dim) * g, axis=dim) * probabilities(input, dim)
    return xp.where(xp.expand_dims(counted > 0, axis=dim), slope, xp.zeros_like(slope))


def counted_rows(xp: Any, input: Any, target: Any, ignore_index: int) -> Any:
    """1 for each row that counts, and 0 for one that is ignored; rows of probabilities all count."""
    if tuple(target.shape) == tuple(input.shape):
        return xp.ones_like(xp.sum(input, axis=class_dim(input)))
    target = class_indices(xp, input, target, ignore_index)
    return target_weights(xp, input, target, None, ignore_index)
