r"""Binary cross-entropy of logits.

.. math::

    \ell = w \left[ p\, t\, \operatorname{softplus}(-x) + (1 - t) \operatorname{softplus}(x) \right],
    \qquad
    \operatorname{softplus}(x) = \log(1 + e^x) = \max(x, 0) + \log(1 + e^{-|x|})

For targets in [0, 1] both terms are positive, so nothing cancels: the relative error is a few roundings
everywhere, also where the loss is tiny. ``p`` is ``pos_weight``.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

from torch_loss_parity.reference.arguments import (
    check_broadcasts,
    check_real,
    check_reduction,
    check_same_shape,
    namespace,
)
from torch_loss_parity.reference.reduction import reduce_backward, reduce_elements


class BinaryCrossEntropyWithLogitsGradients(NamedTuple):
    """The gradient with respect to each argument, None where there is none."""

    input: Any
    target: Any = None
    weight: Any = None
    pos_weight: Any = None


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """Binary cross-entropy between logits and targets.

    Parameters
    ----------
    input : array, any shape
        Logits.
    target : array, the shape of ``input``
        Targets, usually in [0, 1]; any real numbers are accepted.
    weight : array that broadcasts to ``input``, optional
        Weight of each element; the mean still divides by the number of elements.
    reduction : {"mean", "sum", "none"}
    pos_weight : array that broadcasts to ``input``, optional
        Weight of the positive term, usually one for each class (the last dimension).

    Returns
    -------
    array, shape () or, for "none", the shape of ``input``

    Raises
    ------
    ValueError
        If ``reduction`` is unknown or the shapes differ.
    RuntimeError
        If ``target`` is not real-valued, or ``weight`` or ``pos_weight`` does not broadcast.
    NotImplementedError
        If ``input`` is not real-valued.

    References
    ----------
    torch.nn.functional.binary_cross_entropy_with_logits

    Examples
    --------
    >>> import numpy as np
    >>> binary_cross_entropy_with_logits(np.asarray([0.0, -40.0]), np.asarray([1.0, 0.0]), reduction="none")
    array([6.93147181e-01, 4.24835426e-18])
    """
    xp = _check(input, target, weight, reduction, pos_weight)
    positive = target * softplus(xp, -input)
    if pos_weight is not None:
        positive = pos_weight * positive
    losses = positive + (1 - target) * softplus(xp, input)
    return reduce_elements(xp, losses, weight, reduction, prod(input.shape))


def binary_cross_entropy_with_logits_backward(
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> BinaryCrossEntropyWithLogitsGradients:
    r"""The gradient of `binary_cross_entropy_with_logits`.

    .. math::

        \frac{\partial \ell}{\partial x} = w \left[ (1 - t)\, \sigma(x) - p\, t\, \sigma(-x) \right] \qquad
        \frac{\partial \ell}{\partial t} = w \left[ p \operatorname{softplus}(-x) - \operatorname{softplus}(x)
        \right]

    Parameters
    ----------
    grad_output : array, the shape of the loss
        Upstream gradient.
    input, target, weight, reduction, pos_weight
        As given to `binary_cross_entropy_with_logits`.

    Returns
    -------
    BinaryCrossEntropyWithLogitsGradients
        ``input`` and ``target``; torch differentiates neither weight.
    """
    xp = _check(input, target, weight, reduction, pos_weight)
    positive = target * sigmoid(xp, -input)
    if pos_weight is not None:
        positive = pos_weight * positive
    slope = (1 - target) * sigmoid(xp, input) - positive
    # softplus(-x) - softplus(x) is -x: exact, where the difference would cancel.
    tilt = -input if pos_weight is None else pos_weight * softplus(xp, -input) - softplus(xp, input)
    if weight is not None:
        slope, tilt = slope * weight, tilt * weight
    g = reduce_backward(grad_output, reduction, prod(input.shape))
    return BinaryCrossEntropyWithLogitsGradients(g * slope, g * tilt)


def softplus(xp: Any, x: Any) -> Any:
    """log(1 + exp(x)), which neither overflows nor loses a small result."""
    return xp.maximum(x, xp.zeros_like(x)) + xp.log1p(xp.exp(-abs(x)))


def sigmoid(xp: Any, x: Any) -> Any:
    """1 / (1 + exp(-x)), with a relative error of a few roundings on both sides."""
    small = xp.exp(-abs(x))
    return xp.where(x >= 0, xp.ones_like(x), small) / (1 + small)


def _check(input: Any, target: Any, weight: Any, reduction: str, pos_weight: Any) -> Any:
    xp = namespace(input=input, target=target, weight=weight, pos_weight=pos_weight)
    check_reduction(reduction)
    check_real(xp, "input", input)
    check_same_shape(input, target)
    if xp.isdtype(target.dtype, ("bool", "integral", "complex floating")):
        raise RuntimeError(f"target has dtype {target.dtype}; it must be real floating point")
    check_broadcasts(xp, "weight", weight, tuple(input.shape))
    check_broadcasts(xp, "pos_weight", pos_weight, tuple(input.shape))
    return xp
