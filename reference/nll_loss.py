r"""The negative log-likelihood loss.

.. math::

    \ell_n = -w_{t_n}\, x_{n, t_n} \cdot [t_n \ne \text{ignore\_index}]
    \qquad
    \text{mean} = \frac{\sum_n \ell_n}{\sum_n w_{t_n} [t_n \ne \text{ignore\_index}]}
"""

from __future__ import annotations

from typing import Any, NamedTuple

from torch_loss_parity.reference.arguments import (
    check_class_weight,
    check_ignore_index,
    check_real,
    check_reduction,
    class_dim,
    class_indices,
    namespace,
)
from torch_loss_parity.reference.reduction import reduce, reduce_backward


class NllLossGradients(NamedTuple):
    """The gradient with respect to each argument, None where there is none."""

    input: Any
    target: Any = None
    weight: Any = None


def nll_loss(
    input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
) -> Any:
    """Minus the log-probability of each target, weighted by class.

    Parameters
    ----------
    input : array, shape (C), (N, C) or (N, C, d1, ..., dk)
        Log-probabilities; any real numbers are accepted.
    target : array of integers, shape (), (N) or (N, d1, ..., dk)
        The class of each row. Every integer dtype is accepted.
    weight : array, shape (C), optional
        Weight of each class; 1 unless given.
    ignore_index : int
        A row with this target contributes neither to the loss nor to the denominator of the mean.
    reduction : {"mean", "sum", "none"}
        The mean divides by the sum of the targets' weights: it is nan when every row is ignored.

    Returns
    -------
    array, shape () or, for "none", the shape of ``target``

    Raises
    ------
    ValueError
        If ``reduction`` is unknown, ``input`` is 0-d, the batch sizes differ, or 64 bits do not hold
        ``ignore_index``.
    TypeError
        If ``ignore_index`` is no integer.
    IndexError
        If a target is neither a class nor ``ignore_index``.
    RuntimeError
        If ``target`` is not integral, or a shape or the dtype of ``weight`` does not fit.
    NotImplementedError
        If ``input`` is not real-valued.

    References
    ----------
    torch.nn.functional.nll_loss

    Examples
    --------
    >>> import numpy as np
    >>> print(f"{nll_loss(np.log([[0.5, 0.5], [0.25, 0.75]]), np.asarray([0, 1]), reduction='sum'):.12f}")
    0.980829253012
    """
    xp, dim, target = _check(input, target, weight, ignore_index, reduction)
    picked, weights = _pick(xp, input, target, weight, ignore_index, dim)
    ignored = target == ignore_index
    losses = xp.where(ignored, xp.zeros_like(picked), -picked if weight is None else -weights * picked)
    return reduce(xp, losses, reduction, xp.sum(weights))


def nll_loss_backward(
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> NllLossGradients:
    """The gradient of `nll_loss`: minus the weight at each row's target, zero elsewhere and in ignored rows.

    Parameters
    ----------
    grad_output : array, the shape of the loss
        Upstream gradient.
    input, target, weight, ignore_index, reduction
        As given to `nll_loss`.

    Returns
    -------
    NllLossGradients
        ``input`` of its own shape; torch differentiates neither ``target`` nor ``weight``.
    """
    xp, dim, target = _check(input, target, weight, ignore_index, reduction)
    _, weights = _pick(xp, input, target, weight, ignore_index, dim)
    per_row = -weights * reduce_backward(grad_output, reduction, xp.sum(weights))
    hit = (xp.expand_dims(target, axis=dim) == classes_along(xp, input, dim)) & xp.expand_dims(
        target != ignore_index, axis=dim
    )
    return NllLossGradients(xp.where(hit, xp.expand_dims(per_row, axis=dim), xp.zeros_like(input)))


def classes_along(xp: Any, input: Any, dim: int) -> Any:
    """0, 1, ..., C - 1 along dimension ``dim`` of ``input``."""
    return xp.arange(input.shape[dim], device=device_of(input))[(...,) + (None,) * (input.ndim - dim - 1)]


def device_of(array: Any) -> Any:
    return getattr(array, "device", None)


def target_weights(xp: Any, input: Any, target: Any, weight: Any, ignore_index: int) -> Any:
    """The weight of each row: that of its target's class, or 1; 0 where the row is ignored."""
    ignored = target == ignore_index
    if weight is None:
        return xp.astype(~ignored, input.dtype)
    classes = xp.reshape(_inside(xp, target, ignored), (-1,))
    weights = xp.reshape(xp.take(weight, classes, axis=0), target.shape)
    return xp.where(ignored, xp.zeros_like(weights), weights)


def _pick(xp: Any, input: Any, target: Any, weight: Any, ignore_index: int, dim: int) -> tuple[Any, Any]:
    """The element of each row at its target, and the row's weight."""
    inside = _inside(xp, target, target == ignore_index)
    if input.shape[dim] == 0:  # every row is ignored, and what is picked is an empty sum
        picked = xp.sum(input, axis=dim)
    else:
        picked = xp.squeeze(xp.take_along_axis(input, xp.expand_dims(inside, axis=dim), axis=dim), axis=dim)
    return picked, target_weights(xp, input, target, weight, ignore_index)


def _inside(xp: Any, target: Any, ignored: Any) -> Any:
    """The targets as indices, with a class that exists in place of an ignored one."""
    return xp.where(ignored, xp.zeros_like(target), target)


def _check(input: Any, target: Any, weight: Any, ignore_index: int, reduction: str) -> tuple[Any, int, Any]:
    xp = namespace(input=input, target=target, weight=weight)
    check_reduction(reduction)
    check_ignore_index(ignore_index)
    check_real(xp, "input", input)
    dim = class_dim(input)
    check_class_weight(xp, weight, input)
    return xp, dim, class_indices(xp, input, target, ignore_index)
