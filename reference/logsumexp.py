r"""The logarithm of a sum of exponentials.

.. math::

    \operatorname{logsumexp}(x) = \log \sum_j e^{x_j} = m + \log \sum_j e^{x_j - m}, \qquad m = \max_j x_j

The shift by the maximum keeps every exponential at most 1 and one of them at 1 (P. Blanchard, D. J. Higham,
N. J. Higham, "Accurately computing the log-sum-exp and softmax functions", IMA J. Numer. Anal. 41 (2021),
sec. 3). A maximum that is infinite is not subtracted: the sum is then 0 or infinite, and so is its logarithm.
The largest exponential is 1, so that the logarithm is log1p of the others: where they are tiny, it is too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch_loss_parity.reference.arguments import check_real, namespace, normalized_dims
from torch_loss_parity.reference.softmax import others_than


def logsumexp(input: Any, dim: int | tuple[int, ...], keepdim: bool = False) -> Any:
    """The logarithm of the sum of the exponentials of ``input`` along ``dim``.

    Parameters
    ----------
    input : array, any shape
    dim : int or tuple of int
        The dimension, or the dimensions, that are summed over.
    keepdim : bool
        Whether they stay, of size 1.

    Returns
    -------
    array
        -inf where every element is, or where there is none; inf where one is; nan where one is.

    Raises
    ------
    IndexError
        If ``dim`` is out of range.
    NotImplementedError
        If ``input`` is not real-valued.
    RuntimeError
        If a dimension is named twice, or none is.
    TypeError
        If ``dim`` holds anything but integers.

    References
    ----------
    torch.logsumexp

    Examples
    --------
    >>> import numpy as np
    >>> logsumexp(np.asarray([[1000.0, 1000.0], [0.0, -np.inf]]), dim=1)
    array([1000.69314718,    0.        ])
    """
    return of_rows(input, dim, keepdim, _log1p_of_the_others)


def _log1p_of_the_others(xp: Any, input: Any, shift: Any, axes: tuple[int, ...]) -> Any:
    _, others = others_than(xp, input, shift, axes)
    return xp.log1p(others) + shift


def logsumexp_backward(
    grad_output: Any, input: Any, dim: int | tuple[int, ...], keepdim: bool = False
) -> Any:
    r"""The gradient of `logsumexp` with respect to ``input``: :math:`g\, e^{x_i - m} / \sum_j e^{x_j - m}`.

    Parameters
    ----------
    grad_output : array, the shape of the result
        Upstream gradient.
    input, dim, keepdim
        As given to `logsumexp`.
    """
    xp = namespace(grad_output=grad_output, input=input)
    axes = normalized_dims(dim, input.ndim)
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(input.shape))
    shape = kept if keepdim and input.ndim else _reduced(input.shape, axes)
    if tuple(grad_output.shape) != shape:
        raise RuntimeError(
            f"grad_output has shape {tuple(grad_output.shape)}; it must have the shape of the output, {shape}"
        )
    if input.ndim == 0:
        one = logsumexp_backward(grad_output, xp.reshape(input, (1,)), 0)
        return xp.reshape(one, ())
    exponentials = xp.exp(input - _shift(xp, input, axes))
    total = xp.sum(exponentials, axis=axes, keepdims=True)
    return xp.reshape(grad_output, kept) * (exponentials / total)


def of_rows(
    input: Any,
    dim: int | tuple[int, ...],
    keepdim: bool,
    form: Callable[[Any, Any, Any, tuple[int, ...]], Any],
) -> Any:
    """Check the arguments and apply ``form``, of the namespace, ``input``, its shift and the axes; it keeps
    the axes.
    """
    xp = namespace(input=input)
    axes = normalized_dims(dim, input.ndim)
    check_real(xp, "input", input)
    if input.ndim == 0:
        return xp.reshape(of_rows(xp.reshape(input, (1,)), 0, False, form), ())
    if any(input.shape[axis] == 0 for axis in axes):
        result = xp.sum(input, axis=axes, keepdims=True) - math.inf  # the sum of nothing is 0
    else:
        result = form(xp, input, _shift(xp, input, axes), axes)
    return result if keepdim else xp.reshape(result, _reduced(input.shape, axes))


def _shift(xp: Any, input: Any, axes: tuple[int, ...]) -> Any:
    """The maximum along the axes, and 0 where it is not finite."""
    if 0 in input.shape:  # no maximum of nothing
        return xp.zeros_like(xp.sum(input, axis=axes, keepdims=True))
    largest = input
    for axis in axes:
        largest = xp.max(largest, axis=axis, keepdims=True)
    return xp.where(largest - largest == 0, largest, xp.zeros_like(largest))


def _reduced(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)
