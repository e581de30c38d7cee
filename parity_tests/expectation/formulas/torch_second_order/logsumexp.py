"""Second derivatives of logsumexp as torch evaluates them."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch_loss_parity.expectation.formulas.torch_second_order.rows import Kept, as_it_is
from torch_loss_parity.expectation.quantity import Quantity
from torch_loss_parity.reference.arguments import namespace, normalized_dims
from torch_loss_parity.reference.ways.rows import logsumexp_textbook
from torch_loss_parity.reference.ways.way import stored

Dims = int | tuple[int, ...]


def logsumexp_double_backward(
    quantity: Quantity,
    direction: Any,
    grad_output: Any,
    input: Any,
    dim: Dims,
    keepdim: bool = False,
    *,
    keep: Kept = as_it_is,
) -> Any:
    """p = exp(x - y) from the result y: sum(v p); and v g p - p sum(v g p), whose products cancel."""
    xp, axes = namespace(input=input), normalized_dims(dim, input.ndim)
    p = xp.exp(input - keep(logsumexp_textbook(input, dim, True)))
    if not quantity.of:
        return _reduced(xp, direction * p, axes, keepdim)
    product = direction * _kept(xp, grad_output, input, axes) * p
    through_result = keep(p * keep(_summed(xp, product, axes)), like="gradient")
    return keep(product, like="gradient") - through_result


# Of the result as it comes back from memory: in half precision it was rounded, and what is passed back.
logsumexp_double_backward_from_memory = partial(logsumexp_double_backward, keep=stored)


def logsumexp_forward_mode(
    quantity: Quantity, direction: Any, grad_output: Any, input: Any, dim: Dims, keepdim: bool = False
) -> Any:
    """y' = sum(e v) / sum(e) with e = exp(x - max); and g (p (v - y')) with p = exp(x - y)."""
    xp, axes = namespace(input=input), normalized_dims(dim, input.ndim)
    largest = input
    for axis in axes if input.ndim else ():
        largest = xp.max(largest, axis=axis, keepdims=True)
    e = xp.exp(input - largest)
    if not quantity.of:
        return _reduced(xp, e * direction, axes, keepdim) / _reduced(xp, e, axes, keepdim)
    tangent = _summed(xp, e * direction, axes) / _summed(xp, e, axes)
    p = xp.exp(input - logsumexp_textbook(input, dim, True))
    return _kept(xp, grad_output, input, axes) * (p * (direction - tangent))


def _summed(xp: Any, array: Any, axes: tuple[int, ...]) -> Any:
    """The sum along the axes, which stay."""
    return xp.sum(array, axis=axes, keepdims=True) if array.ndim else array


def _reduced(xp: Any, array: Any, axes: tuple[int, ...], keepdim: bool) -> Any:
    return xp.sum(array, axis=axes, keepdims=keepdim) if array.ndim else array


def _kept(xp: Any, array: Any, input: Any, axes: tuple[int, ...]) -> Any:
    """What has a number for each row, to broadcast against the input."""
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(input.shape))
    return xp.reshape(array, shape)
