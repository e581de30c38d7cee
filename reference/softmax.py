r"""Softmax and its logarithm.

.. math::

    \operatorname{softmax}(x)_i = \frac{e^{x_i}}{\sum_j e^{x_j}}
    \qquad
    \operatorname{log\,softmax}(x)_i = x_i - \log \sum_j e^{x_j}

Both are unchanged by a shift of ``x``. Shifting by the maximum keeps every exponential at most 1 and one of
them at 1: the sum neither overflows nor vanishes (P. Blanchard, D. J. Higham, N. J. Higham, "Accurately
computing the log-sum-exp and softmax functions", IMA J. Numer. Anal. 41 (2021), sec. 3). Where one class is
far above the others the sum is 1 and a little more. Its logarithm is that little, which log1p keeps.

The gradients are small differences there: 1 - p of a probability near 1 is the sum of the others, which does
not cancel. Note [The dominant class] of `softmax_backward` has the forms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch_loss_parity.reference.arguments import check_real, namespace, normalized_dim


def softmax(input: Any, dim: int, dtype: Any = None) -> Any:
    """Probabilities along ``dim``: the exponentials of ``input`` over their sum.

    Parameters
    ----------
    input : array, any shape
        Logits.
    dim : int
        The dimension that sums to 1.
    dtype : dtype, optional
        ``input`` is converted to it first.

    Returns
    -------
    array, the shape of ``input``
        A row that is all -inf, or holds nan or +inf, is nan.

    Raises
    ------
    IndexError
        If ``dim`` is out of range.
    NotImplementedError
        If ``input``, converted to ``dtype``, is not real-valued.

    References
    ----------
    torch.nn.functional.softmax

    Examples
    --------
    >>> import numpy as np
    >>> softmax(np.asarray([[0.0, 0.0], [0.0, -np.inf]]), dim=1)
    array([[0.5, 0.5],
           [1. , 0. ]])
    """

    def definition(xp: Any, x: Any, axis: int) -> Any:
        exponentials = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
        return exponentials / xp.sum(exponentials, axis=axis, keepdims=True)

    return along(input, dim, dtype, definition)


def log_softmax(input: Any, dim: int, dtype: Any = None) -> Any:
    """The logarithm of `softmax`, without forming probabilities that underflow.

    Parameters, returns and errors are those of `softmax`.

    References
    ----------
    torch.nn.functional.log_softmax

    Examples
    --------
    >>> import numpy as np
    >>> log_softmax(np.asarray([0.0, -1000.0]), dim=0)
    array([    0., -1000.])
    """

    def definition(xp: Any, x: Any, axis: int) -> Any:
        shifted, others = others_than(xp, x, xp.max(x, axis=axis, keepdims=True), axis)
        return shifted - xp.log1p(others)

    return along(input, dim, dtype, definition)


def softmax_backward(grad_output: Any, input: Any, dim: int) -> Any:
    r"""The gradient of `softmax` with respect to ``input``: :math:`p_i (d_i - \sum_j d_j p_j)`.

    Note [The dominant class]
        With ``d = g`` this is the textbook's form, and with any constant subtracted from ``g`` it is the same
        function. At a class that holds nearly all of the probability, g_i and the sum are nearly equal: what
        is left of them is their rounding errors. With the upstream gradient of that class subtracted, only
        the other classes are summed. A class is dominant that holds more than half of the probability: a row
        has one or none.

    Parameters
    ----------
    grad_output : array, the shape of ``input``
        Upstream gradient.
    input, dim
        As given to `softmax`.
    """
    xp = namespace(grad_output=grad_output, input=input)
    p, g, axis = with_dimension(xp, softmax(input, dim), grad_output, dim)
    at_dominant = xp.sum(xp.where(p > 0.5, g, xp.zeros_like(g)), axis=axis, keepdims=True)
    d = g - at_dominant
    gradient = p * (d - xp.sum(d * p, axis=axis, keepdims=True))
    return xp.reshape(gradient, ()) if input.ndim == 0 else gradient


def log_softmax_backward(grad_output: Any, input: Any, dim: int) -> Any:
    r"""The gradient of `log_softmax` with respect to ``input``: :math:`g_i - p_i \sum_j g_j`, with :math:`p`
    the `softmax`; at a dominant class :math:`g_i \sum_{j \ne i} p_j - p_i \sum_{j \ne i} g_j`, which is the
    same and does not cancel, see Note [The dominant class] of `softmax_backward`.

    Parameters
    ----------
    grad_output : array, the shape of ``input``
        Upstream gradient.
    input, dim
        As given to `log_softmax`.
    """
    xp = namespace(grad_output=grad_output, input=input)
    p, g, axis = with_dimension(xp, softmax(input, dim), grad_output, dim)
    dominant = p > 0.5

    def of_the_others(a: Any) -> Any:
        return xp.sum(xp.where(dominant, xp.zeros_like(a), a), axis=axis, keepdims=True)

    at_dominant = of_the_others(p) * g - p * of_the_others(g)
    gradient = xp.where(dominant, at_dominant, g - p * xp.sum(g, axis=axis, keepdims=True))
    return xp.reshape(gradient, ()) if input.ndim == 0 else gradient


def others_than(xp: Any, x: Any, largest: Any, axes: int | tuple[int, ...]) -> tuple[Any, Any]:
    """``x`` less its largest elements, and the sum of the exponentials of that but one of the largest, which
    is 1.

    What is not finite less itself is nan, and so is the sum.
    """
    shifted, is_largest = x - largest, x == largest
    exponentials = xp.exp(shifted)
    above_one = xp.where(is_largest, exponentials - 1, exponentials)  # exactly 0 where one is the largest
    number = xp.sum(xp.astype(is_largest, x.dtype), axis=axes, keepdims=True)
    return shifted, xp.sum(above_one, axis=axes, keepdims=True) + (number - 1)


def along(input: Any, dim: int, dtype: Any, definition: Callable[[Any, Any, int], Any]) -> Any:
    """Check the arguments and apply ``definition`` along ``dim``."""
    xp = namespace(input=input)
    if dtype is not None:
        input = xp.astype(input, dtype)
    axis = normalized_dim(dim, input.ndim)
    check_real(xp, "input", input)
    if 0 in input.shape:
        return input  # nothing to normalise, and no maximum of an empty row
    if input.ndim == 0:
        return xp.reshape(definition(xp, xp.reshape(input, (1,)), 0), ())
    return definition(xp, input, axis)


def with_dimension(xp: Any, output: Any, grad_output: Any, dim: int) -> tuple[Any, Any, int]:
    if tuple(grad_output.shape) != tuple(output.shape):
        raise RuntimeError(
            f"grad_output has shape {tuple(grad_output.shape)}; it must have the shape of the "
            f"output, {tuple(output.shape)}"
        )
    if output.ndim == 0:
        return xp.reshape(output, (1,)), xp.reshape(grad_output, (1,)), 0
    return output, grad_output, normalized_dim(dim, output.ndim)
