r"""Cross-entropy of logits against class indices or class probabilities.

With :math:`y = \operatorname{log\,softmax}(x)`, smoothing :math:`\varepsilon` and C classes,

.. math::

    \text{indices:}\quad \ell_n = -(1-\varepsilon)\, w_{t_n} y_{n,t_n} - \frac{\varepsilon}{C} \sum_c w_c\, y_{n,c}
    \qquad
    \text{probabilities:}\quad \ell_n = -\sum_c w_c\, q'_{n,c}\, y_{n,c},
    \quad q' = (1-\varepsilon)\, q + \frac{\varepsilon}{C}

The mean over index targets divides by the sum of the targets' weights, the mean over probabilities by the number of rows.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

from reference.arguments import (
    check_class_weight,
    check_label_smoothing,
    check_real,
    check_reduction,
    class_dim,
    namespace,
)
from reference.nll_loss import nll_loss, nll_loss_backward, target_weights
from reference.reduction import reduce, reduce_backward
from reference.softmax import log_softmax, log_softmax_backward


class CrossEntropyGradients(NamedTuple):
    """The gradient with respect to each argument, None where there is none."""

    input: Any
    target: Any = None
    weight: Any = None


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """Cross-entropy between logits and targets.

    Parameters
    ----------
    input : array, shape (C), (N, C) or (N, C, d1, ..., dk)
        Logits.
    target : array
        Class indices, integers of shape (), (N) or (N, d1, ..., dk); or class probabilities, real numbers of the shape of
        ``input``.
    weight : array, shape (C), optional
        Weight of each class; 1 unless given.
    ignore_index : int
        A row with this target contributes neither to the loss nor to the denominator of the mean. Only for indices.
    reduction : {"mean", "sum", "none"}
        See the module.
    label_smoothing : float
        The share, in [0, 1], of a target that is spread over all classes evenly.

    Returns
    -------
    array, shape () or, for "none", the shape of ``input`` without its classes

    Raises
    ------
    ValueError, IndexError, NotImplementedError
        As `nll_loss`.
    RuntimeError
        As `nll_loss`; also if ``label_smoothing`` is outside [0, 1], or if ``ignore_index`` is not negative with
        probabilities.

    References
    ----------
    torch.nn.functional.cross_entropy; C. Szegedy et al., "Rethinking the Inception Architecture", sec. 7 (smoothing).

    Examples
    --------
    >>> import numpy as np
    >>> logits = np.asarray([[2.0, 0.0], [0.0, 0.0]])
    >>> print(cross_entropy(logits, np.asarray([0, 1])))
    0.41003759579926674
    >>> print(cross_entropy(logits, np.asarray([[1.0, 0.0], [0.0, 1.0]])))
    0.41003759579926674
    """
    xp, dim = _check(input, target, weight, ignore_index, reduction, label_smoothing)
    y = log_softmax(input, dim)
    if _holds_probabilities(input, target):
        smoothed = _smooth(target, label_smoothing, input.shape[dim])
        losses = -xp.sum(y * _weighted(smoothed, weight, y, dim), axis=dim)
        return reduce(xp, losses, reduction, _rows(losses))
    loss = nll_loss(y, target, weight, ignore_index, reduction)
    if label_smoothing == 0:
        return loss
    target = xp.reshape(target, tuple(input.shape[:dim]) + tuple(input.shape[dim + 1 :]))
    uniform = -xp.sum(y if weight is None else y * _per_class(weight, y, dim), axis=dim)
    uniform = xp.where(target == ignore_index, xp.zeros_like(uniform), uniform)
    spread = reduce(xp, uniform, reduction, xp.sum(target_weights(xp, input, target, weight, ignore_index)))
    return (1 - label_smoothing) * loss + (label_smoothing / input.shape[dim]) * spread


def cross_entropy_backward(
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> CrossEntropyGradients:
    r"""The gradient of `cross_entropy`.

    The loss is linear in ``y``: its gradient there, ``grad_y``, goes through `log_softmax_backward`, which for index
    targets without smoothing is the familiar :math:`(p - \text{onehot}(t))\, w_t\, g / \sum w_t`.

    Parameters
    ----------
    grad_output : array, the shape of the loss
        Upstream gradient.
    input, target, weight, ignore_index, reduction, label_smoothing
        As given to `cross_entropy`.

    Returns
    -------
    CrossEntropyGradients
        ``input``; with probabilities also ``target``, and ``weight`` where it is given.
    """
    xp, dim = _check(input, target, weight, ignore_index, reduction, label_smoothing)
    y = log_softmax(input, dim)
    if _holds_probabilities(input, target):
        rows = prod(input.shape[:dim] + input.shape[dim + 1 :])
        g = _along_classes(xp, reduce_backward(grad_output, reduction, rows), dim)
        smoothed = _smooth(target, label_smoothing, input.shape[dim])
        grad_y = -g * _weighted(smoothed, weight, y, dim)
        grad_target = (1 - label_smoothing) * (-g * _weighted(y, weight, y, dim))
        grad_weight = None
        if weight is not None:
            axes = tuple(i for i in range(input.ndim) if i != dim)
            products = -g * (smoothed * y)
            grad_weight = xp.sum(products, axis=axes) if axes else products
        return CrossEntropyGradients(log_softmax_backward(grad_y, input, dim), grad_target, grad_weight)
    grad_y = nll_loss_backward(grad_output, y, target, weight, ignore_index, reduction).input
    if label_smoothing != 0:
        target = xp.reshape(target, tuple(input.shape[:dim]) + tuple(input.shape[dim + 1 :]))
        weights = target_weights(xp, input, target, weight, ignore_index)
        g = _along_classes(xp, reduce_backward(grad_output, reduction, xp.sum(weights)), dim)
        counted = xp.expand_dims(target != ignore_index, axis=dim)
        uniform = xp.where(counted, -g * _weighted(xp.ones_like(y), weight, y, dim), xp.zeros_like(y))
        grad_y = (1 - label_smoothing) * grad_y + (label_smoothing / input.shape[dim]) * uniform
    return CrossEntropyGradients(log_softmax_backward(grad_y, input, dim))


def _smooth(target: Any, label_smoothing: float, classes: int) -> Any:
    return target if label_smoothing == 0 else target * (1 - label_smoothing) + label_smoothing / classes


def _per_class(weight: Any, like: Any, dim: int) -> Any:
    """``weight`` along dimension ``dim`` of ``like``."""
    return weight[(...,) + (None,) * (like.ndim - dim - 1)]


def _weighted(array: Any, weight: Any, like: Any, dim: int) -> Any:
    return array if weight is None else array * _per_class(weight, like, dim)


def _along_classes(xp: Any, grad: Any, dim: int) -> Any:
    """A gradient for each row, made to broadcast over the classes; a scalar stays as it is."""
    return xp.expand_dims(grad, axis=dim) if grad.ndim else grad


def _rows(losses: Any) -> int:
    return prod(losses.shape)


def _holds_probabilities(input: Any, target: Any) -> bool:
    return tuple(input.shape) == tuple(target.shape)


def _check(
    input: Any, target: Any, weight: Any, ignore_index: int, reduction: str, label_smoothing: float
) -> tuple[Any, int]:
    xp = namespace(input=input, target=target, weight=weight)
    check_reduction(reduction)
    check_label_smoothing(label_smoothing)
    check_real(xp, "input", input)
    dim = class_dim(input)
    if _holds_probabilities(input, target):
        if xp.isdtype(target.dtype, ("bool", "integral", "complex floating")):
            raise RuntimeError(f"target has dtype {target.dtype}; class probabilities, of input's shape, must be real floating point")
        if ignore_index >= 0:
            raise RuntimeError(f"ignore_index is {ignore_index}; with class probabilities it must be left at a negative value")
        check_class_weight(xp, weight, input, same_dtype=False)
    return xp, dim
