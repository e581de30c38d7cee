r"""Cross-entropy of logits against class indices or class probabilities.

With :math:`y = \operatorname{log\,softmax}(x)`, smoothing :math:`\varepsilon` and C classes,

.. math::

    \text{indices:}\quad \ell_n = -(1-\varepsilon)\, w_{t_n} y_{n,t_n} - \frac{\varepsilon}{C} \sum_c w_c\,
    y_{n,c} \qquad \text{probabilities:}\quad \ell_n = -\sum_c w_c\, q'_{n,c}\, y_{n,c}, \quad q' =
    (1-\varepsilon)\, q + \frac{\varepsilon}{C}

The mean over index targets divides by the sum of the targets' weights, the mean over probabilities by the
number of rows.
"""

from __future__ import annotations

from math import inf, prod
from typing import Any, NamedTuple

from torch_loss_parity.reference.arguments import (
    check_class_weight,
    check_ignore_index,
    check_label_smoothing,
    check_real,
    check_reduction,
    check_softcap,
    check_z_loss,
    class_dim,
    class_indices,
    namespace,
)
from torch_loss_parity.reference.nll_loss import nll_loss, nll_loss_backward, target_weights
from torch_loss_parity.reference.reduction import reduce, reduce_backward
from torch_loss_parity.reference.softcap import softcap_slope, softcapped
from torch_loss_parity.reference.softmax import log_softmax, log_softmax_backward
from torch_loss_parity.reference.z_loss import z_losses, z_losses_backward


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
    *,
    z_loss: float = 0.0,
    softcap: float | None = None,
) -> Any:
    """Cross-entropy between logits and targets.

    Parameters
    ----------
    input : array, shape (C), (N, C) or (N, C, d1, ..., dk)
        Logits.
    target : array
        Class indices, integers of shape (), (N) or (N, d1, ..., dk); or class probabilities, real numbers of
        the shape of ``input``.
    weight : array, shape (C), optional
        Weight of each class; 1 unless given.
    ignore_index : int
        A row with this target contributes neither to the loss nor to the denominator of the mean. Only for
        indices.
    reduction : {"mean", "sum", "none"}
        See the module.
    label_smoothing : float
        The share, in [0, 1], of a target that is spread over all classes evenly.
    z_loss : float
        The weight of each row's z-loss, see `torch_loss_parity.reference.z_loss`. torch has none; kernels do.
    softcap : float, optional
        Where logits are capped before anything else, see `torch_loss_parity.reference.softcap`. The same.

    Returns
    -------
    array, shape () or, for "none", the shape of ``input`` without its classes

    Raises
    ------
    ValueError, NotImplementedError
        As `nll_loss`.
    TypeError
        As `nll_loss`; also if ``label_smoothing``, ``z_loss`` or ``softcap`` is no number.
    IndexError
        As `nll_loss`; also if ``input`` is 0-d.
    RuntimeError
        As `nll_loss`; also if ``label_smoothing`` is outside [0, 1], ``z_loss`` is negative or infinite,
        ``softcap`` is not above 0, or ``ignore_index`` is not negative with probabilities.

    References
    ----------
    torch.nn.functional.cross_entropy; C. Szegedy et al., "Rethinking the Inception Architecture", sec. 7
    (smoothing).

    Examples
    --------
    >>> import numpy as np
    >>> logits = np.asarray([[2.0, 0.0], [0.0, 0.0]])
    >>> print(f"{cross_entropy(logits, np.asarray([0, 1])):.12f}")
    0.410037595801
    >>> print(f"{cross_entropy(logits, np.asarray([[1.0, 0.0], [0.0, 1.0]])):.12f}")
    0.410037595801
    """
    check_z_loss(z_loss)
    check_softcap(softcap)
    if softcap is not None:
        options = (weight, ignore_index, reduction, label_smoothing)
        return cross_entropy(softcapped(input, softcap), target, *options, z_loss=z_loss)
    if z_loss:
        loss = cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing)
        return loss + z_loss * z_losses(input, target, ignore_index, reduction)
    xp, dim, target = _check(input, target, weight, ignore_index, reduction, label_smoothing)
    y = log_softmax(input, dim)
    if _holds_probabilities(input, target):
        smoothed = _smooth(target, label_smoothing, input.shape[dim])
        losses = -xp.sum(y * _weighted(xp, smoothed, weight, dim), axis=dim)
        return reduce(xp, losses, reduction, _rows(input, dim))
    loss = nll_loss(y, target, weight, ignore_index, reduction)
    if label_smoothing == 0:
        return loss
    uniform = -xp.sum(_weighted(xp, y, weight, dim), axis=dim)
    uniform = xp.where(target == ignore_index, xp.zeros_like(uniform), uniform)
    spread = reduce(xp, uniform, reduction, xp.sum(target_weights(xp, input, target, weight, ignore_index)))
    return (1 - label_smoothing) * loss + _share(label_smoothing, input.shape[dim]) * spread


def cross_entropy_backward(
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    z_loss: float = 0.0,
    softcap: float | None = None,
) -> CrossEntropyGradients:
    r"""The gradient of `cross_entropy`.

    The loss is linear in ``y``: its gradient there, ``grad_y``, goes through `log_softmax_backward`, which
    for index targets without smoothing is the familiar :math:`(p - \text{onehot}(t))\, w_t\, g / \sum w_t`.
    An ignored row does not contribute to it, as torch's documentation says, whatever its logits are.

    Parameters
    ----------
    grad_output : array, the shape of the loss
        Upstream gradient.
    input, target, weight, ignore_index, reduction, label_smoothing, z_loss, softcap
        As given to `cross_entropy`.

    Returns
    -------
    CrossEntropyGradients
        ``input``; with probabilities also ``target``, and ``weight`` where it is given.
    """
    check_z_loss(z_loss)
    check_softcap(softcap)
    options = (weight, ignore_index, reduction, label_smoothing)
    if softcap is not None:
        capped = softcapped(input, softcap)
        gradients = cross_entropy_backward(grad_output, capped, target, *options, z_loss=z_loss)
        return gradients._replace(input=gradients.input * softcap_slope(input, softcap))
    if z_loss:
        gradients = cross_entropy_backward(grad_output, input, target, *options)
        more = z_loss * z_losses_backward(grad_output, input, target, ignore_index, reduction)
        return gradients._replace(input=gradients.input + more)
    xp, dim, target = _check(input, target, weight, ignore_index, reduction, label_smoothing)
    y = log_softmax(input, dim)
    if _holds_probabilities(input, target):
        g = _to_rows(xp, reduce_backward(grad_output, reduction, _rows(input, dim)), reduction, dim)
        smoothed = _smooth(target, label_smoothing, input.shape[dim])
        grad_y = -g * _weighted(xp, smoothed, weight, dim)
        grad_target = (1 - label_smoothing) * (-g * _weighted(xp, y, weight, dim))
        grad_weight = None
        if weight is not None:
            axes = tuple(i for i in range(input.ndim) if i != dim)
            products = -g * (smoothed * y)
            grad_weight = xp.sum(products, axis=axes) if axes else products
        return CrossEntropyGradients(log_softmax_backward(grad_y, input, dim), grad_target, grad_weight)
    grad_y = nll_loss_backward(grad_output, y, target, weight, ignore_index, reduction).input
    counted = xp.expand_dims(target != ignore_index, axis=dim)
    if label_smoothing != 0:
        weights = target_weights(xp, input, target, weight, ignore_index)
        g = _to_rows(xp, reduce_backward(grad_output, reduction, xp.sum(weights)), reduction, dim)
        uniform = xp.where(counted, -g * _weighted(xp, xp.ones_like(y), weight, dim), xp.zeros_like(y))
        grad_y = (1 - label_smoothing) * grad_y + _share(label_smoothing, input.shape[dim]) * uniform
    gradient = log_softmax_backward(grad_y, input, dim)
    return CrossEntropyGradients(xp.where(counted, gradient, xp.zeros_like(gradient)))


def _smooth(target: Any, label_smoothing: float, classes: int) -> Any:
    return (
        target if label_smoothing == 0 else target * (1 - label_smoothing) + _share(label_smoothing, classes)
    )


def _share(label_smoothing: float, classes: int) -> float:
    """What smoothing gives to each class; as in torch, infinite where there is none."""
    return label_smoothing / classes if classes else inf


def _weighted(xp: Any, array: Any, weight: Any, dim: int) -> Any:
    """``array`` times the weight of each class, which lies along ``dim``."""
    return (
        array
        if weight is None
        else array * xp.reshape(weight, tuple(weight.shape) + (1,) * (array.ndim - dim - 1))
    )


def _to_rows(xp: Any, grad: Any, reduction: str, dim: int) -> Any:
    """The gradient that reaches each row, made to broadcast over the classes; that of a scalar loss stays as
    it is.
    """
    return xp.expand_dims(grad, axis=dim) if reduction == "none" else grad


def _rows(input: Any, dim: int) -> int:
    """The number of rows; as in torch there are none where there are no classes."""
    return prod(input.shape[:dim] + input.shape[dim + 1 :]) if input.shape[dim] else 0


def _holds_probabilities(input: Any, target: Any) -> bool:
    return tuple(input.shape) == tuple(target.shape)


def _check(
    input: Any, target: Any, weight: Any, ignore_index: int, reduction: str, label_smoothing: float
) -> tuple[Any, int, Any]:
    xp = namespace(input=input, target=target, weight=weight)
    check_reduction(reduction)
    check_label_smoothing(label_smoothing)
    check_ignore_index(ignore_index)
    check_real(xp, "input", input)
    probabilities = _holds_probabilities(input, target)
    if probabilities and xp.isdtype(target.dtype, ("bool", "integral", "complex floating")):
        raise RuntimeError(
            f"target has dtype {target.dtype}; class probabilities, of input's shape, must be "
            f"real floating point"
        )
    dim = class_dim(input, IndexError)
    if probabilities:
        if ignore_index >= 0:
            raise RuntimeError(
                f"ignore_index is {ignore_index}; with class probabilities it must be left at "
                f"a negative value"
            )
        check_class_weight(xp, weight, input, same_dtype=False)
        return xp, dim, target
    check_class_weight(xp, weight, input)
    return xp, dim, class_indices(xp, input, target, ignore_index)
