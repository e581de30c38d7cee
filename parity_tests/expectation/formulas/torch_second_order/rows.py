"""Second derivatives of softmax and log_softmax as torch evaluates them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from torch_loss_parity.expectation.quantity import Quantity
from torch_loss_parity.reference.arguments import namespace
from torch_loss_parity.reference.arithmetic.formats import FLOAT16
from torch_loss_parity.reference.arithmetic.round_once import store
from torch_loss_parity.reference.arithmetic.rounding import Rounded
from torch_loss_parity.reference.softmax import softmax
from torch_loss_parity.reference.ways.rows import log_softmax_textbook
from torch_loss_parity.reference.ways.way import stored

Kept = Callable[..., Any]  # what becomes of an array that is kept: of the array, and in whose format


def as_it_is(array: Any, *, like: str = "result") -> Any:
    """The array."""
    return array


def softmax_double_backward(
    quantity: Quantity, direction: Any, grad_output: Any, input: Any, dim: int, *, keep: Kept = as_it_is
) -> Any:
    """The gradient with respect to p, g v - v sum(g p) - g sum(v p), goes through p (G - sum(G p)): the
    products cancel.
    """
    xp, p, v, g, axis = _rows(softmax, input, dim, direction, grad_output)
    p = keep(p)
    if quantity.of:
        v = g * v - xp.sum(p * g, axis=axis, keepdims=True) * v - g * xp.sum(p * v, axis=axis, keepdims=True)
        v = keep(v, like="gradient")
    return xp.reshape(p * (v - xp.sum(v * p, axis=axis, keepdims=True)), input.shape)


def softmax_double_backward_in_float16(
    quantity: Quantity, direction: Any, grad_output: Any, input: Any, dim: int
) -> Any:
    """`softmax_double_backward`, stored in float16 before it is converted."""
    tangent = softmax_double_backward(quantity, direction, grad_output, input, dim)
    return store(Rounded(tangent.value, replace(tangent.arithmetic, storage=FLOAT16), tangent.error))


def softmax_jvp(quantity: Quantity, direction: Any, grad_output: Any, input: Any, dim: int) -> Any:
    """p (v - sum(e v) / sum(e)); and the derivative of g p - p sum(g p), a difference of products."""
    xp, p, v, g, axis = _rows(softmax, input, dim, direction, grad_output)
    tangent = p * (v - logsumexp_jvp(xp, input, v, axis))
    if quantity.of:
        product = g * tangent
        tangent = product - (
            tangent * xp.sum(g * p, axis=axis, keepdims=True) + p * xp.sum(product, axis=axis, keepdims=True)
        )
    return xp.reshape(tangent, input.shape)


def log_softmax_double_backward(
    quantity: Quantity, direction: Any, grad_output: Any, input: Any, dim: int, *, keep: Kept = as_it_is
) -> Any:
    """p = exp(y), |log p| units of roundoff off: v - sum(p v); and c - p sum(c) with c = -p v sum(g), whose
    products cancel.
    """
    xp, y, v, g, axis = _rows(log_softmax_textbook, input, dim, direction, grad_output)
    p = xp.exp(keep(y))
    if not quantity.of:
        return xp.reshape(v - xp.sum(v * p, axis=axis, keepdims=True), input.shape)
    c = keep(-xp.sum(g, axis=axis, keepdims=True) * p * v, like="gradient")
    return xp.reshape(c - p * xp.sum(c, axis=axis, keepdims=True), input.shape)


# Of the result as it comes back from memory: in half precision it was rounded, and what is passed back to it.
softmax_double_backward_from_memory = partial(softmax_double_backward, keep=stored)
log_softmax_double_backward_from_memory = partial(log_softmax_double_backward, keep=stored)


def log_softmax_jvp(quantity: Quantity, direction: Any, grad_output: Any, input: Any, dim: int) -> Any:
    """y' = v - sum(e v) / sum(e); and -exp(y) y' sum(g)."""
    xp, y, v, g, axis = _rows(log_softmax_textbook, input, dim, direction, grad_output)
    tangent = v - logsumexp_jvp(xp, input, v, axis)
    if quantity.of:
        tangent = -(xp.exp(y) * tangent * xp.sum(g, axis=axis, keepdims=True))
    return xp.reshape(tangent, input.shape)


def logsumexp_jvp(xp: Any, input: Any, v: Any, axis: int) -> Any:
    x = xp.reshape(input, v.shape)
    e = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
    return xp.sum(e * v, axis=axis, keepdims=True) / xp.sum(e, axis=axis, keepdims=True)


def _rows(
    function: Any, input: Any, dim: int, direction: Any, grad_output: Any
) -> tuple[Any, Any, Any, Any, int]:
    """The output, the direction and the upstream gradient with at least one dimension."""
    xp = namespace(input=input)
    output = function(input, dim)
    if input.ndim:
        return xp, output, direction, grad_output, dim % input.ndim
    return xp, *(xp.reshape(a, (1,)) for a in (output, direction, grad_output)), 0
