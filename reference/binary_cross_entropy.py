r"""Binary cross-entropy of probabilities.

.. math::

    \ell = -w \left[ t \max(\log x, -100) + (1 - t) \max(\log(1 - x), -100) \right]

The clamp keeps the loss finite at x = 0 and x = 1. It is part of the loss, not of its derivative, which torch
gives as
:math:`w (x - t) / \max(x (1 - x), 10^{-12})`, and without a clamp for the target.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

from torch_loss_parity.reference.arguments import (
    check_broadcasts,
    check_probabilities,
    check_real,
    check_reduction,
    check_same_shape,
    namespace,
)
from torch_loss_parity.reference.reduction import reduce_backward, reduce_elements

LOG_CLAMP = -100.0
# 1e-12 in float32, the constant that torch's kernels hold, for every dtype.
SMALLEST_VARIANCE = 9.999999960041972e-13


class BinaryCrossEntropyGradients(NamedTuple):
    """The gradient with respect to each argument, None where there is none."""

    input: Any
    target: Any = None
    weight: Any = None


def binary_cross_entropy(input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    """Binary cross-entropy between probabilities and targets.

    Parameters
    ----------
    input : array, any shape
        Probabilities, in [0, 1].
    target : array, the shape and dtype of ``input``
        Targets, in [0, 1].
    weight : array that broadcasts to ``input``, optional
        Weight of each element; the mean still divides by the number of elements.
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    array, shape () or, for "none", the shape of ``input``

    Raises
    ------
    ValueError
        If ``reduction`` is unknown or the shapes differ.
    RuntimeError
        If an element of ``input`` or ``target`` is outside [0, 1] (nan is), the dtypes differ, or ``weight``
        does not broadcast.
    NotImplementedError
        If ``input`` is not real-valued.

    References
    ----------
    torch.nn.functional.binary_cross_entropy

    Examples
    --------
    >>> import numpy as np
    >>> with np.errstate(divide="ignore"):  # log(0)
    ...     binary_cross_entropy(np.asarray([0.5, 0.0]), np.asarray([1.0, 1.0]), reduction="none")
    array([  0.69314718, 100.        ])
    """
    xp = _check(input, target, weight, reduction)
    with_logs = target * _clamped(xp, xp.log(input)) + (1 - target) * _clamped(xp, xp.log1p(-input))
    return reduce_elements(xp, -with_logs, weight, reduction, prod(input.shape))


def binary_cross_entropy_backward(
    grad_output: Any, input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> BinaryCrossEntropyGradients:
    """The gradient of `binary_cross_entropy`.

    Parameters
    ----------
    grad_output : array, the shape of the loss
        Upstream gradient.
    input, target, weight, reduction
        As given to `binary_cross_entropy`.

    Returns
    -------
    BinaryCrossEntropyGradients
        ``input`` and ``target``; torch does not differentiate ``weight``.
    """
    xp = _check(input, target, weight, reduction)
    g = reduce_backward(grad_output, reduction, prod(input.shape))
    variance = xp.maximum(input * (1 - input), xp.zeros_like(input) + SMALLEST_VARIANCE)
    grad_input = g * (input - target) / variance
    grad_target = g * (xp.log1p(-input) - xp.log(input))
    if weight is not None:
        grad_input, grad_target = grad_input * weight, grad_target * weight
    return BinaryCrossEntropyGradients(grad_input, grad_target)


def _clamped(xp: Any, logarithm: Any) -> Any:
    return xp.maximum(logarithm, xp.zeros_like(logarithm) + LOG_CLAMP)


def _check(input: Any, target: Any, weight: Any, reduction: str) -> Any:
    xp = namespace(input=input, target=target, weight=weight)
    check_reduction(reduction)
    check_same_shape(input, target)
    if target.dtype != input.dtype:
        raise RuntimeError(f"target has dtype {target.dtype}; it must have the dtype of input, {input.dtype}")
    check_real(xp, "input", input)
    check_broadcasts(xp, "weight", weight, tuple(input.shape))
    check_probabilities(xp, "input", input)
    check_probabilities(xp, "target", target)
    return xp
