r"""Cross-entropy of a linear layer's logits: the loss that language models are trained with.

.. math::

    x_{n,c} = \sum_d a_{n,d} W_{c,d} + b_c, \qquad
    \operatorname{linear\,cross\,entropy}(a, W, t) = \operatorname{cross\,entropy}(x, t)

Each logit is a sum of D products. Added up in any order in a format of unit roundoff u it errs by at most
:math:`\gamma_D \sum_d |a_{n,d}| |W_{c,d}|` (N. J. Higham, *Accuracy and Stability of Numerical Algorithms*,
2nd ed., sec. 3.5): a logit whose products cancel has a condition of its own.

The gradients are those of the layer, for the gradient G with respect to the logits: G W, the transpose of G
times a, and the sum of the rows of G.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

from torch_loss_parity.reference.arguments import check_real, namespace
from torch_loss_parity.reference.cross_entropy import cross_entropy, cross_entropy_backward

NO_INDEX = -100  # ignored where no ``ignore_index`` is given, as by `cross_entropy`


class LinearCrossEntropyGradients(NamedTuple):
    """The gradient with respect to each argument, None where there is none."""

    input: Any
    linear_weight: Any
    linear_bias: Any = None
    target: Any = None
    weight: Any = None


def linear_cross_entropy(
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
) -> Any:
    """Cross-entropy between ``input @ linear_weight.T + linear_bias`` and targets.

    Parameters
    ----------
    input : array, shape (D) or (N, D)
    linear_weight : array, shape (C, D); of a batch also (C, d1, ..., dk, D)
        The classes come first, as torch has them.
    target : array
        As `cross_entropy` takes it, of logits of shape (C), (N, C) or (N, C, d1, ..., dk).
    linear_bias : array, shape (C) or (C, d1, ..., dk), optional
        0 unless given.
    weight, reduction, label_smoothing, z_loss, softcap
        As `cross_entropy` takes them.
    ignore_index : int, optional
        As `cross_entropy` takes it, -100 unless given; only for indices.

    Returns
    -------
    array, shape () or, for "none", the shape of the logits without their classes

    Raises
    ------
    ValueError, TypeError, IndexError
        As `cross_entropy`.
    NotImplementedError
        If ``input`` or ``linear_weight`` is not real-valued.
    RuntimeError
        As `cross_entropy`; also if ``input``, ``linear_weight`` and ``linear_bias`` do not fit together, or
        if ``ignore_index`` is given with probabilities.

    References
    ----------
    torch.nn.functional.linear_cross_entropy

    Examples
    --------
    >>> import numpy as np
    >>> x, w = np.asarray([[1.0, 2.0], [0.0, 0.0]]), np.asarray([[2.0, 0.0], [0.0, 0.0]])
    >>> print(f"{linear_cross_entropy(x, w, np.asarray([0, 1])):.12f}")
    0.410037595801
    """
    index = _check(input, linear_weight, target, linear_bias, ignore_index)
    logits = linear(input, linear_weight, linear_bias)
    options = (weight, index, reduction, label_smoothing)
    return cross_entropy(logits, target, *options, z_loss=z_loss, softcap=softcap)


def linear_cross_entropy_backward(
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
    """The gradient of `linear_cross_entropy`.

    Parameters
    ----------
    grad_output : array, the shape of the loss
        Upstream gradient.
    input, linear_weight, target, linear_bias, weight, reduction, ignore_index, label_smoothing, z_loss,
    softcap
        As given to `linear_cross_entropy`.

    Returns
    -------
    LinearCrossEntropyGradients
        ``input`` and ``linear_weight``; ``linear_bias`` where it is given; with probabilities also
        ``target``, and ``weight`` where it is given.
    """
    index = _check(input, linear_weight, target, linear_bias, ignore_index)
    logits = linear(input, linear_weight, linear_bias)
    options = (weight, index, reduction, label_smoothing)
    extensions: dict[str, Any] = {"z_loss": z_loss, "softcap": softcap}
    of_logits = cross_entropy_backward(grad_output, logits, target, *options, **extensions)
    grad_input, grad_weight, grad_bias = linear_backward(of_logits.input, input, linear_weight, linear_bias)
    return LinearCrossEntropyGradients(grad_input, grad_weight, grad_bias, of_logits.target, of_logits.weight)


def linear(input: Any, linear_weight: Any, linear_bias: Any = None) -> Any:
    """The logits, of shape (C), (N, C) or (N, C, d1, ..., dk)."""
    xp = namespace(input=input, linear_weight=linear_weight, linear_bias=linear_bias)
    rows, outputs = _matrices(xp, input, linear_weight)
    logits = xp.matmul(rows, xp.matrix_transpose(outputs))
    if linear_bias is not None:
        logits = logits + xp.reshape(linear_bias, (1, logits.shape[1]))
    return xp.reshape(logits, (*input.shape[:-1], *linear_weight.shape[:-1]))


def linear_backward(
    grad_logits: Any, input: Any, linear_weight: Any, linear_bias: Any = None
) -> tuple[Any, Any, Any]:
    """The gradients of `linear` with respect to ``input``, ``linear_weight`` and, where it is given,
    ``linear_bias``.
    """
    xp = namespace(grad_logits=grad_logits, input=input, linear_weight=linear_weight)
    rows, outputs = _matrices(xp, input, linear_weight)
    g = xp.reshape(grad_logits, (rows.shape[0], outputs.shape[0]))
    grad_input = xp.reshape(xp.matmul(g, outputs), tuple(input.shape))
    grad_weight = xp.reshape(xp.matmul(xp.matrix_transpose(g), rows), tuple(linear_weight.shape))
    if linear_bias is None:
        return grad_input, grad_weight, None
    return grad_input, grad_weight, xp.reshape(xp.sum(g, axis=0), tuple(linear_bias.shape))


def _matrices(xp: Any, input: Any, linear_weight: Any) -> tuple[Any, Any]:
    """The rows of the input, and those of the layer, one for each logit of a row."""
    features = input.shape[-1]
    return (
        xp.reshape(input, (prod(input.shape[:-1]), features)),
        xp.reshape(linear_weight, (prod(linear_weight.shape[:-1]), features)),
    )


def _check(input: Any, linear_weight: Any, target: Any, linear_bias: Any, ignore_index: int | None) -> int:
    """Refuse what torch refuses of the layer; the index that is ignored."""
    xp = namespace(input=input, linear_weight=linear_weight, target=target, linear_bias=linear_bias)
    shape, of_weight = tuple(input.shape), tuple(linear_weight.shape)
    if len(shape) not in (1, 2):
        raise RuntimeError(f"input has shape {shape}; it must be (D) or (N, D)")
    if len(of_weight) < 2:
        raise RuntimeError(f"linear_weight has shape {of_weight}; it must be (C, D) or (C, d1, ..., dk, D)")
    if shape[-1] != of_weight[-1]:
        raise RuntimeError(
            f"linear_weight has shape {of_weight}; its last dimension must be that of input, {shape[-1]}"
        )
    if linear_bias is not None and tuple(linear_bias.shape) != of_weight[:-1]:
        raise RuntimeError(
            f"linear_bias has shape {tuple(linear_bias.shape)}; it must be that of linear_weight without "
            f"its last dimension, {of_weight[:-1]}"
        )
    if len(of_weight) > 2 and len(shape) == 1:
        raise RuntimeError(
            f"input has shape {shape}; with a linear_weight of shape {of_weight} it must be (N, D)"
        )
    for name, array in (("input", input), ("linear_weight", linear_weight)):
        check_real(xp, name, array)
    for name, array in (("linear_weight", linear_weight), ("linear_bias", linear_bias)):
        if array is not None and array.dtype != input.dtype:
            raise RuntimeError(
                f"{name} has dtype {array.dtype}; it must have the dtype of input, {input.dtype}"
            )
    if ignore_index is None:
        return NO_INDEX
    if tuple(target.shape) == (*shape[:-1], *of_weight[:-1]):
        raise RuntimeError(
            f"ignore_index is {ignore_index}; with class probabilities it must be left at None"
        )
    return ignore_index
