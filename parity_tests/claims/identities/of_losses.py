"""Identities that every operator, or every loss, obeys: reductions, batches, weights, upstream gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from torch_loss_parity.claims.identities.record import Pair, identity
from torch_loss_parity.expectation.quantity import FORWARD
from torch_loss_parity.operators.families.classes import CLASSES
from torch_loss_parity.operators.families.elements import ELEMENTS
from torch_loss_parity.operators.families.identities import IGNORED
from torch_loss_parity.operators.families.rows import ROWS

INPUT = "input"
LOSSES = (CLASSES, ELEMENTS)


def arguments(x: Any) -> tuple[Any, ...]:
    return (x.input, x.target) if hasattr(x, "target") else (x.input,)


def selected(f: Any, x: Any, rows: np.ndarray) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments and options for the given rows; weights of elements go with them."""
    names = ("weight", "pos_weight") if f.this_family.acts_on_elements else ()
    options = {name: value[rows] if name in names else value for name, value in x.options.items()}
    return (x.input[rows], x.target[rows]), options


def upstream_of(x: Any, rows: np.ndarray) -> Any:
    return x.grad[rows] if x.options["reduction"] == "none" else x.grad


# --- upstream gradients -------------------------------------------------------------------------------------


@identity("the gradient is linear in the upstream gradient", ROWS, *LOSSES)
def linear_in_the_upstream_gradient(f: Any, x: Any) -> Iterator[Pair]:
    def gradient(upstream: Any) -> Any:
        return f.this_backward(upstream, *arguments(x), **x.options)

    once = gradient(x.grad)
    yield INPUT, gradient(x.grad * 16), once * 16
    yield INPUT, gradient(x.grad + x.other_grad), once + gradient(x.other_grad)
    yield INPUT, gradient(x.grad * 0), 0.0


# --- reductions and batches ---------------------------------------------------------------------------------


@identity("sum and mean are those of the losses", *LOSSES, reduction=("mean", "sum"))
def reductions(f: Any, x: Any) -> Iterator[Pair]:
    each = x.options | {"reduction": "none"}
    denominator = x.denominator if x.options["reduction"] == "mean" else 1.0
    yield FORWARD, f.this(*arguments(x), **x.options), f.xp.sum(f.this(*arguments(x), **each)) / denominator
    upstream = x.grad * np.ones(x.used.shape)
    yield (
        INPUT,
        f.this_backward(x.grad, *arguments(x), **x.options) * denominator,
        f.this_backward(upstream, *arguments(x), **each),
    )


@identity("micro-batches add up", *LOSSES, reduction=("mean", "sum"))
def micro_batches(f: Any, x: Any) -> Iterator[Pair]:
    """Of uneven size and weight: a mean of means is something else."""
    parts = np.arange(1), np.arange(1, x.input.shape[0])
    mean = x.options["reduction"] == "mean"
    whole = f.this(*arguments(x), **x.options) * (x.denominator if mean else 1.0)
    gradient = f.this_backward(x.grad, *arguments(x), **x.options) * (x.denominator if mean else 1.0)
    total: Any = 0.0
    for rows in parts:
        inputs, options = selected(f, x, rows)
        share = f.xp.sum(x.used[rows]) if mean else 1.0
        total = f.this(*inputs, **options) * share + total
        yield INPUT, f.this_backward(x.grad, *inputs, **options) * share, gradient[rows]
    yield FORWARD, total, whole


@identity("rows in another order", *LOSSES)
def order_of_rows(f: Any, x: Any) -> Iterator[Pair]:
    inputs, options = selected(f, x, x.rows)
    result = f.this(*arguments(x), **x.options)
    yield FORWARD, f.this(*inputs, **options), result[x.rows] if x.options["reduction"] == "none" else result
    gradient = f.this_backward(x.grad, *arguments(x), **x.options)
    yield INPUT, f.this_backward(upstream_of(x, x.rows), *inputs, **options), gradient[x.rows]


@identity("rows that are there twice", *LOSSES)
def duplicated_rows(f: Any, x: Any) -> Iterator[Pair]:
    """A mean stays what it is, and each copy has half of the gradient; a sum doubles."""
    n = x.input.shape[0]
    twice = np.concatenate([np.arange(n)[::-1], np.arange(n)])
    inputs, options = selected(f, x, twice)
    loss, share = {"mean": (1, 2), "sum": (2, 1), "none": (1, 1)}[x.options["reduction"]]
    result = f.this(*arguments(x), **x.options)
    yield (
        FORWARD,
        f.this(*inputs, **options),
        result[twice] if x.options["reduction"] == "none" else result * loss,
    )
    gradient = f.this_backward(x.grad, *arguments(x), **x.options)
    yield INPUT, f.this_backward(upstream_of(x, twice), *inputs, **options) * share, gradient[twice]


@identity("losses are at least 0", *LOSSES)
def at_least_zero(f: Any, x: Any) -> Iterator[Pair]:
    """Also those of what is likeliest, which are close to 0."""
    for target in (x.target, x.likeliest):
        result = f.this(x.input, target, **x.options)
        yield FORWARD, f.xp.maximum(-result, f.xp.zeros_like(result)), 0.0


# --- weights ------------------------------------------------------------------------------------------------


@identity("weights of 1 are no weights", *LOSSES, takes=("weight",), weighted=(False,))
def weight_of_ones(f: Any, x: Any) -> Iterator[Pair]:
    ones = f.argument(np.ones_like(x.drawn.weight))
    yield FORWARD, f.this(*arguments(x), **x.options, weight=ones), f.this(*arguments(x), **x.options)
    gradient = f.this_backward(x.grad, *arguments(x), **x.options)
    yield INPUT, f.this_backward(x.grad, *arguments(x), **x.options, weight=ones), gradient


@identity("weights times 4", *LOSSES, takes=("weight",), weighted=(True,))
def scaled_weights(f: Any, x: Any) -> Iterator[Pair]:
    """A mean over index targets divides by the weights, and stays what it is; everything else is 4 times as
    large.
    """
    scaled = x.options | {"weight": x.options["weight"] * 4}
    indices = f.this_family.targets_classes and x.target.shape != x.input.shape
    divides = indices and x.options["reduction"] == "mean"
    factor = 1 if divides else 4
    yield FORWARD, f.this(*arguments(x), **scaled), f.this(*arguments(x), **x.options) * factor
    gradient = f.this_backward(x.grad, *arguments(x), **x.options)
    yield INPUT, f.this_backward(x.grad, *arguments(x), **scaled), gradient * factor


# --- ignored rows -------------------------------------------------------------------------------------------


@identity("an ignored row changes nothing", CLASSES, takes=("ignore_index",), kind=("plain", "smoothed"))
def ignored_row(f: Any, x: Any) -> Iterator[Pair]:
    n = x.input.shape[0]
    rows = np.append(np.arange(n), 0)  # the first row once more, and ignored
    target = np.concatenate([x.target, np.full_like(x.target[:1], IGNORED)])
    result = f.this(x.input[rows], target, **x.options)
    without = f.this(x.input, x.target, **x.options)
    if x.options["reduction"] == "none":
        yield FORWARD, result[n:], 0.0
        result = result[:n]
    yield FORWARD, result, without
    gradient = f.this_backward(upstream_of(x, rows), x.input[rows], target, **x.options)
    yield INPUT, gradient[:n], f.this_backward(x.grad, x.input, x.target, **x.options)
    yield INPUT, gradient[n:], 0.0


@identity(
    "all rows ignored: mean is nan, sum is 0, the gradient is 0",
    CLASSES,
    takes=("ignore_index",),
    kind=("plain", "smoothed"),
)
def all_ignored(f: Any, x: Any) -> Iterator[Pair]:
    target = np.full_like(x.target, IGNORED)
    yield FORWARD, f.this(x.input, target, **x.options), np.nan if x.options["reduction"] == "mean" else 0.0
    yield INPUT, f.this_backward(x.grad, x.input, target, **x.options), 0.0


@identity("another ignore_index", CLASSES, takes=("ignore_index",), kind=("plain", "smoothed"))
def another_ignore_index(f: Any, x: Any) -> Iterator[Pair]:
    """255 is no class; 0 is one, and its rows are then ignored."""
    for index, target in (
        (255, np.where(x.target == IGNORED, 255, x.target)),
        (0, np.where(x.target == IGNORED, 0, x.target)),
    ):
        same = np.where(target == index, IGNORED, target)
        renamed = x.options | {"ignore_index": index}
        yield FORWARD, f.this(x.input, target, **renamed), f.this(x.input, same, **x.options)
        gradient = f.this_backward(x.grad, x.input, same, **x.options)
        yield INPUT, f.this_backward(x.grad, x.input, target, **renamed), gradient
