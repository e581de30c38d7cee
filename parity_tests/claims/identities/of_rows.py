"""Identities of softmax and log_softmax, along dim 1."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from torch_loss_parity.claims.identities.inputs import ROWS
from torch_loss_parity.claims.identities.record import Pair, identity
from torch_loss_parity.expectation.expectation import FORWARD
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


@identity("a shift of a row changes nothing", *ROWS)
def shift(f: Any, x: Any) -> Iterator[Pair]:
    yield FORWARD, f.this(x.input + x.shift, dim=1), f.this(x.input, dim=1)
    yield INPUT, f.this_backward(x.grad, x.input + x.shift, dim=1), f.this_backward(x.grad, x.input, dim=1)


@identity("classes in another order", *ROWS)
def order_of_classes(f: Any, x: Any) -> Iterator[Pair]:
    input, grad = reordered(f, x.input, x.classes), reordered(f, x.grad, x.classes)
    yield FORWARD, f.this(input, dim=1), reordered(f, f.this(x.input, dim=1), x.classes)
    yield (
        INPUT,
        f.this_backward(grad, input, dim=1),
        reordered(f, f.this_backward(x.grad, x.input, dim=1), x.classes),
    )


@identity("rows in another order", *ROWS)
def order_of_rows(f: Any, x: Any) -> Iterator[Pair]:
    input, grad = x.input[x.rows], x.grad[x.rows]
    yield FORWARD, f.this(input, dim=1), f.this(x.input, dim=1)[x.rows]
    yield INPUT, f.this_backward(grad, input, dim=1), f.this_backward(x.grad, x.input, dim=1)[x.rows]


@identity("rows that are there twice", *ROWS)
def duplicated_rows(f: Any, x: Any) -> Iterator[Pair]:
    n = x.input.shape[0]
    twice = np.concatenate([np.arange(n), np.arange(n)[::-1]])
    yield FORWARD, f.this(x.input[twice], dim=1), f.this(x.input, dim=1)[twice]
    yield (
        INPUT,
        f.this_backward(x.grad[twice], x.input[twice], dim=1),
        f.this_backward(x.grad, x.input, dim=1)[twice],
    )


@identity("classes that are there twice share the probability", *ROWS)
def duplicated_classes(f: Any, x: Any) -> Iterator[Pair]:
    n = x.input.shape[1]
    doubled, grad = (
        f.given(np.concatenate([drawn, drawn], axis=1)) for drawn in (x.drawn.input, x.drawn.grad)
    )
    both = f.this(doubled, dim=1)
    alone = f.this(x.input, dim=1)
    alone = alone - np.log(DoubleDouble.of(2.0)) if f.this_operator == "log_softmax" else alone / 2
    yield FORWARD, both[:, :n], alone
    yield FORWARD, both[:, n:], alone
    # of the sum of both halves' gradients, each half has one
    gradients = f.this_backward(grad, doubled, dim=1)
    share = 1 if f.this_operator == "log_softmax" else 2
    yield INPUT, gradients[:, :n] * share, f.this_backward(x.grad, x.input, dim=1)


@identity("a class at -inf is no class", *ROWS)
def masked_class(f: Any, x: Any) -> Iterator[Pair]:
    n = x.input.shape[1]
    masked = np.concatenate([x.drawn.input, np.full_like(x.drawn.input[:, :1], -np.inf)], axis=1)
    result, without = f.this(f.given(masked), dim=1), f.this(x.input, dim=1)
    yield FORWARD, result[:, :n], without
    yield FORWARD, result[:, n:], -np.inf if f.this_operator == "log_softmax" else 0.0
    upstream = np.concatenate([x.drawn.grad, np.zeros_like(x.drawn.grad[:, :1])], axis=1)
    gradient = f.this_backward(f.given(upstream), f.given(masked), dim=1)
    yield INPUT, gradient[:, :n], f.this_backward(x.grad, x.input, dim=1)
    yield INPUT, gradient[:, n:], 0.0


@identity("rows of the gradient sum to 0", *ROWS)
def gradient_rows_sum_to_zero(f: Any, x: Any) -> Iterator[Pair]:
    yield INPUT, f.xp.sum(f.this_backward(x.grad, x.input, dim=1), axis=1, keepdims=True), 0.0


@identity("a constant upstream gradient has gradient 0", "softmax")
def constant_upstream(f: Any, x: Any) -> Iterator[Pair]:
    constant = f.given(np.broadcast_to(x.drawn.grad[:, :1], x.drawn.grad.shape).copy())
    yield INPUT, f.softmax_backward(constant, x.input, dim=1), 0.0


@identity("dtype= is converting first", *ROWS)
def dtype_argument(f: Any, x: Any) -> Iterator[Pair]:
    for dtype in ("float32", "float64"):
        converted = f.in_dtype(dtype)
        yield FORWARD, f.this(x.input, dim=1, dtype=dtype), converted.this(x.input, dim=1)
        through = converted.this_backward(x.grad, x.input, dim=1)
        yield INPUT, f.this_backward(x.grad, x.input, dim=1, dtype=dtype), f.rounded(through)
