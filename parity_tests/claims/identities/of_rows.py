"""Identities of rows along dim 1: of the family, and of softmax, log_softmax and logsumexp by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from torch_loss_parity.claims.identities.record import Pair, identity
from torch_loss_parity.expectation.quantity import FORWARD
from torch_loss_parity.operators.families.rows import ROWS
from torch_loss_parity.reference.arithmetic.double_double import DoubleDouble

INPUT = "input"


def reordered(f: Any, array: Any, classes: np.ndarray) -> Any:
    """The classes of ``array`` in another order; elements stay in their rows."""
    indices = classes.reshape((1, -1) + (1,) * (array.ndim - 2))
    return f.xp.take_along_axis(array, np.broadcast_to(indices, array.shape).copy(), axis=1)


@identity("rows sum to 1", "softmax")
def rows_sum_to_one(f: Any, x: Any) -> Iterator[Pair]:
    yield FORWARD, f.xp.sum(f.softmax(x.input, dim=1), axis=1, keepdims=True), 1.0


@identity("exp of log_softmax = softmax", "softmax", needs=("log_softmax",))
def exponential_of_the_logarithm(f: Any, x: Any) -> Iterator[Pair]:
    p = f.softmax(x.input, dim=1)
    yield FORWARD, f.xp.exp(f.log_softmax(x.input, dim=1)), p
    yield (
        INPUT,
        f.log_softmax_backward(f.rounded(x.grad * p), x.input, dim=1),
        f.softmax_backward(x.grad, x.input, dim=1),
    )


@identity("log_softmax of log_softmax = log_softmax", "log_softmax")
def twice_is_once(f: Any, x: Any) -> Iterator[Pair]:
    y = f.log_softmax(x.input, dim=1)
    yield FORWARD, f.log_softmax(y, dim=1), y
    once = f.log_softmax_backward(x.grad, x.input, dim=1)
    yield INPUT, f.log_softmax_backward(f.log_softmax_backward(x.grad, y, dim=1), x.input, dim=1), once


@identity("log-probabilities are at most 0", "log_softmax")
def at_most_zero(f: Any, x: Any) -> Iterator[Pair]:
    y = f.log_softmax(x.input, dim=1)
    yield FORWARD, f.xp.maximum(y, f.xp.zeros_like(y)), 0.0


@identity("a shift of a row changes nothing", "softmax", "log_softmax")
def shift(f: Any, x: Any) -> Iterator[Pair]:
    yield FORWARD, f.this(x.input + x.shift, dim=1), f.this(x.input, dim=1)
    yield INPUT, f.this_backward(x.grad, x.input + x.shift, dim=1), f.this_backward(x.grad, x.input, dim=1)


@identity("a shift of a row is added to the result", "logsumexp")
def shift_of_the_result(f: Any, x: Any) -> Iterator[Pair]:
    shifted = f.logsumexp(x.input + x.shift, dim=1, keepdim=True)
    yield FORWARD, shifted, f.logsumexp(x.input, dim=1, keepdim=True) + x.shift
    gradient = f.logsumexp_backward(x.grad, x.input + x.shift, dim=1)
    yield INPUT, gradient, f.logsumexp_backward(x.grad, x.input, dim=1)


@identity("log_softmax is the difference to logsumexp", "logsumexp", needs=("softmax", "log_softmax"))
def difference_to_logsumexp(f: Any, x: Any) -> Iterator[Pair]:
    result = f.logsumexp(x.input, dim=1, keepdim=True)
    yield FORWARD, x.input - f.log_softmax(x.input, dim=1), result + x.input * 0
    each = f.argument(np.expand_dims(x.drawn.grad, 1))
    yield INPUT, f.logsumexp_backward(x.grad, x.input, dim=1), f.softmax(x.input, dim=1) * each


@identity("classes in another order", "logsumexp")
def order_of_summands(f: Any, x: Any) -> Iterator[Pair]:
    input = reordered(f, x.input, x.classes)
    yield FORWARD, f.logsumexp(input, dim=1), f.logsumexp(x.input, dim=1)
    gradient = reordered(f, f.logsumexp_backward(x.grad, x.input, dim=1), x.classes)
    yield INPUT, f.logsumexp_backward(x.grad, input, dim=1), gradient


@identity("classes in another order", "softmax", "log_softmax")
def order_of_classes(f: Any, x: Any) -> Iterator[Pair]:
    input, grad = reordered(f, x.input, x.classes), reordered(f, x.grad, x.classes)
    yield FORWARD, f.this(input, dim=1), reordered(f, f.this(x.input, dim=1), x.classes)
    yield (
        INPUT,
        f.this_backward(grad, input, dim=1),
        reordered(f, f.this_backward(x.grad, x.input, dim=1), x.classes),
    )


@identity("rows in another order", ROWS)
def order_of_rows(f: Any, x: Any) -> Iterator[Pair]:
    input, grad = x.input[x.rows], x.grad[x.rows]
    yield FORWARD, f.this(input, dim=1), f.this(x.input, dim=1)[x.rows]
    yield INPUT, f.this_backward(grad, input, dim=1), f.this_backward(x.grad, x.input, dim=1)[x.rows]


@identity("rows that are there twice", ROWS)
def duplicated_rows(f: Any, x: Any) -> Iterator[Pair]:
    n = x.input.shape[0]
    twice = np.concatenate([np.arange(n), np.arange(n)[::-1]])
    yield FORWARD, f.this(x.input[twice], dim=1), f.this(x.input, dim=1)[twice]
    yield (
        INPUT,
        f.this_backward(x.grad[twice], x.input[twice], dim=1),
        f.this_backward(x.grad, x.input, dim=1)[twice],
    )


# --- classes that are there twice, or not at all ------------------------------------------------------------

TWICE = "classes that are there twice share the probability"
MASKED = "a class at -inf is no class"


def doubled(f: Any, x: Any) -> tuple[Any, Any]:
    """The logits with each class there twice, and the upstream gradient for both."""
    input, grad = (f.argument(np.concatenate([each, each], axis=1)) for each in (x.drawn.input, x.drawn.grad))
    return input, grad


def masked(f: Any, x: Any) -> tuple[Any, Any]:
    """The logits with one class more, at -inf, and the upstream gradient with 0 for it."""
    pairs = ((x.drawn.input, -np.inf), (x.drawn.grad, 0.0))
    input, grad = (
        f.argument(np.concatenate([array, np.full_like(array[:, :1], more)], axis=1)) for array, more in pairs
    )
    return input, grad


@identity(TWICE, "softmax")
def half_the_probability(f: Any, x: Any) -> Iterator[Pair]:
    n, (input, grad) = x.input.shape[1], doubled(f, x)
    both, alone = f.softmax(input, dim=1), f.softmax(x.input, dim=1) / 2
    yield FORWARD, both[:, :n], alone
    yield FORWARD, both[:, n:], alone
    # of the sum of both halves' gradients, each half has one
    gradients = f.softmax_backward(grad, input, dim=1)
    yield INPUT, gradients[:, :n] * 2, f.softmax_backward(x.grad, x.input, dim=1)


@identity(TWICE, "log_softmax")
def logarithm_of_half_the_probability(f: Any, x: Any) -> Iterator[Pair]:
    n, (input, grad) = x.input.shape[1], doubled(f, x)
    both, alone = f.log_softmax(input, dim=1), f.log_softmax(x.input, dim=1) - np.log(DoubleDouble.of(2.0))
    yield FORWARD, both[:, :n], alone
    yield FORWARD, both[:, n:], alone
    gradients = f.log_softmax_backward(grad, input, dim=1)
    yield INPUT, gradients[:, :n], f.log_softmax_backward(x.grad, x.input, dim=1)


@identity(MASKED, "softmax")
def masked_class(f: Any, x: Any) -> Iterator[Pair]:
    n, (input, grad) = x.input.shape[1], masked(f, x)
    result = f.softmax(input, dim=1)
    yield FORWARD, result[:, :n], f.softmax(x.input, dim=1)
    yield FORWARD, result[:, n:], 0.0
    gradient = f.softmax_backward(grad, input, dim=1)
    yield INPUT, gradient[:, :n], f.softmax_backward(x.grad, x.input, dim=1)
    yield INPUT, gradient[:, n:], 0.0


@identity(MASKED, "log_softmax")
def logarithm_of_a_masked_class(f: Any, x: Any) -> Iterator[Pair]:
    n, (input, grad) = x.input.shape[1], masked(f, x)
    result = f.log_softmax(input, dim=1)
    yield FORWARD, result[:, :n], f.log_softmax(x.input, dim=1)
    yield FORWARD, result[:, n:], -np.inf
    gradient = f.log_softmax_backward(grad, input, dim=1)
    yield INPUT, gradient[:, :n], f.log_softmax_backward(x.grad, x.input, dim=1)
    yield INPUT, gradient[:, n:], 0.0


@identity("classes that are there twice add log 2", "logsumexp")
def twice_the_sum(f: Any, x: Any) -> Iterator[Pair]:
    n, input = x.input.shape[1], f.argument(np.concatenate([x.drawn.input] * 2, axis=1))
    yield FORWARD, f.logsumexp(input, dim=1), f.logsumexp(x.input, dim=1) + np.log(DoubleDouble.of(2.0))
    halves = f.logsumexp_backward(x.grad, input, dim=1)
    yield INPUT, halves[:, :n] * 2, f.logsumexp_backward(x.grad, x.input, dim=1)


@identity(MASKED, "logsumexp")
def sum_without_a_masked_class(f: Any, x: Any) -> Iterator[Pair]:
    n, none = x.input.shape[1], np.full_like(x.drawn.input[:, :1], -np.inf)
    input = f.argument(np.concatenate([x.drawn.input, none], axis=1))
    yield FORWARD, f.logsumexp(input, dim=1), f.logsumexp(x.input, dim=1)
    gradient = f.logsumexp_backward(x.grad, input, dim=1)
    yield INPUT, gradient[:, :n], f.logsumexp_backward(x.grad, x.input, dim=1)
    yield INPUT, gradient[:, n:], 0.0


# --- gradients, and the argument dtype ----------------------------------------------------------------------


@identity("rows of the gradient sum to 0", "softmax", "log_softmax")
def gradient_rows_sum_to_zero(f: Any, x: Any) -> Iterator[Pair]:
    yield INPUT, f.xp.sum(f.this_backward(x.grad, x.input, dim=1), axis=1, keepdims=True), 0.0


@identity("rows of the gradient sum to the upstream gradient", "logsumexp")
def gradient_rows_sum_to_the_upstream(f: Any, x: Any) -> Iterator[Pair]:
    yield INPUT, f.xp.sum(f.logsumexp_backward(x.grad, x.input, dim=1), axis=1), x.grad


@identity("a constant upstream gradient has gradient 0", "softmax")
def constant_upstream(f: Any, x: Any) -> Iterator[Pair]:
    constant = f.argument(np.broadcast_to(x.drawn.grad[:, :1], x.drawn.grad.shape).copy())
    yield INPUT, f.softmax_backward(constant, x.input, dim=1), 0.0


@identity("dtype= is converting first", ROWS, takes=("dtype",))
def dtype_argument(f: Any, x: Any) -> Iterator[Pair]:
    for dtype in ("float32", "float64"):
        converted = f.in_dtype(dtype)
        yield FORWARD, f.this(x.input, dim=1, dtype=dtype), converted.this(x.input, dim=1)
        through = converted.this_backward(x.grad, x.input, dim=1)
        yield INPUT, f.this_backward(x.grad, x.input, dim=1, dtype=dtype), f.rounded(through)
