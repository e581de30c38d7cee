"""Identities of nll_loss and cross_entropy: what they are composed of, kinds of targets, smoothing, classes
and positions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from torch_loss_parity.claims.identities.of_rows import reordered
from torch_loss_parity.claims.identities.record import Pair, identity
from torch_loss_parity.expectation.quantity import FORWARD
from torch_loss_parity.operators.families.classes import CLASSES
from torch_loss_parity.operators.families.identities import IGNORED, SMOOTHING

INPUT = "input"


def denominators(x: Any) -> tuple[Any, Any]:
    """What a mean over index targets divides by, and one over probabilities: the weights of the targets, and
    the number of rows.
    """
    return (x.denominator, x.count) if x.options["reduction"] == "mean" else (1.0, 1.0)


def one_hot(x: Any, smoothing: float = 0.0) -> np.ndarray:
    """The targets as probabilities, an ignored row as zeros."""
    hot = x.drawn.hot
    return (1 - smoothing) * hot + smoothing / hot.shape[1] * np.sum(hot, axis=1, keepdims=True)


# --- what cross_entropy is composed of ----------------------------------------------------------------------


@identity("nll_loss of log_softmax", "cross_entropy", needs=("nll_loss", "log_softmax"), kind=("plain",))
def negative_log_likelihood(f: Any, x: Any) -> Iterator[Pair]:
    y = f.log_softmax(x.input, dim=1)
    yield FORWARD, f.cross_entropy(x.input, x.target, **x.options), f.nll_loss(y, x.target, **x.options)
    through = f.log_softmax_backward(f.nll_loss_backward(x.grad, y, x.target, **x.options), x.input, dim=1)
    yield INPUT, f.cross_entropy_backward(x.grad, x.input, x.target, **x.options), through


@identity(
    "two classes: binary_cross_entropy_with_logits of the difference",
    "cross_entropy",
    needs=("binary_cross_entropy_with_logits",),
    shapes=((9, 2), (5, 2, 3)),
    kind=("plain",),
)
def two_classes(f: Any, x: Any) -> Iterator[Pair]:
    """The mean of the one divides by the weights, that of the other by the number of elements."""
    ours, theirs = denominators(x)
    logits, second = x.input[:, 1] - x.input[:, 0], f.argument(np.where(x.target == 1, 1.0, 0.0))
    options = {"reduction": x.options["reduction"], "weight": x.used}
    yield (
        FORWARD,
        f.cross_entropy(x.input, x.target, **x.options) * ours,
        f.binary_cross_entropy_with_logits(logits, second, **options) * theirs,
    )
    gradient = f.cross_entropy_backward(x.grad, x.input, x.target, **x.options) * ours
    binary = f.binary_cross_entropy_with_logits_backward(x.grad, logits, second, **options) * theirs
    yield INPUT, gradient[:, 1], binary
    yield INPUT, gradient[:, 0], -binary


# --- kinds of targets ---------------------------------------------------------------------------------------


@identity("index targets = one-hot targets", "cross_entropy", kind=("plain",))
def one_hot_targets(f: Any, x: Any) -> Iterator[Pair]:
    """But for the denominator of a mean: with class weights, that of one-hot targets is not the sum of the
    weights (https://github.com/pytorch/pytorch/issues/107680)."""
    ours, theirs = denominators(x)
    hot = f.argument(one_hot(x))
    yield (
        FORWARD,
        f.cross_entropy(x.input, x.target, **x.options) * ours,
        f.cross_entropy(x.input, hot, **x.options) * theirs,
    )
    gradient = f.cross_entropy_backward(x.grad, x.input, x.target, **x.options)
    yield INPUT, gradient * ours, f.cross_entropy_backward(x.grad, x.input, hot, **x.options) * theirs


@identity("label smoothing is a mixture with uniform targets", "cross_entropy", kind=("smoothed",))
def smoothing_is_a_mixture(f: Any, x: Any) -> Iterator[Pair]:
    ours, theirs = denominators(x)
    mixture = f.argument(one_hot(x, SMOOTHING))
    plain = {name: value for name, value in x.options.items() if name != "label_smoothing"}
    yield (
        FORWARD,
        f.cross_entropy(x.input, x.target, **x.options) * ours,
        f.cross_entropy(x.input, mixture, **plain) * theirs,
    )
    gradient = f.cross_entropy_backward(x.grad, x.input, x.target, **x.options)
    yield INPUT, gradient * ours, f.cross_entropy_backward(x.grad, x.input, mixture, **plain) * theirs


@identity("smoothed probabilities are a mixture with uniform ones", "cross_entropy", kind=("probabilities",))
def smoothing_of_probabilities(f: Any, x: Any) -> Iterator[Pair]:
    mixture = x.target * (1 - SMOOTHING) + SMOOTHING / x.input.shape[1]
    smoothed = x.options | {"label_smoothing": SMOOTHING}
    yield (
        FORWARD,
        f.cross_entropy(x.input, x.target, **smoothed),
        f.cross_entropy(x.input, mixture, **x.options),
    )
    gradient = f.cross_entropy_backward(x.grad, x.input, x.target, **smoothed)
    yield INPUT, gradient, f.cross_entropy_backward(x.grad, x.input, mixture, **x.options)
    gradient = f.cross_entropy_backward(x.grad, x.input, mixture, of="target", **x.options) * (1 - SMOOTHING)
    yield "target", f.cross_entropy_backward(x.grad, x.input, x.target, of="target", **smoothed), gradient


@identity("the loss is linear in the smoothing", "cross_entropy", kind=("smoothed",))
def linear_in_the_smoothing(f: Any, x: Any) -> Iterator[Pair]:
    def at(smoothing: float) -> tuple[Any, Any]:
        options = x.options | {"label_smoothing": smoothing}
        return f.this(x.input, x.target, **options), f.this_backward(x.grad, x.input, x.target, **options)

    for quantity, mixed, none, all in zip((FORWARD, INPUT), at(SMOOTHING), at(0.0), at(1.0), strict=True):
        yield quantity, mixed, none * (1 - SMOOTHING) + all * SMOOTHING


@identity("no smoothing is none", "cross_entropy", kind=("plain", "probabilities"))
def no_smoothing(f: Any, x: Any) -> Iterator[Pair]:
    zero = x.options | {"label_smoothing": 0.0}
    yield FORWARD, f.this(x.input, x.target, **zero), f.this(x.input, x.target, **x.options)
    yield (
        INPUT,
        f.this_backward(x.grad, x.input, x.target, **zero),
        f.this_backward(x.grad, x.input, x.target, **x.options),
    )


@identity("the loss is what its gradients add up to", "cross_entropy", kind=("probabilities",))
def linear_in_target_and_weight(f: Any, x: Any) -> Iterator[Pair]:
    """Linear in the target and in the class weights, the loss is the sum of each times its
    gradient (Euler).
    """
    upstream = f.xp.sum(f.cross_entropy(x.input, x.target, **x.options) * x.grad)
    gradient = f.cross_entropy_backward(x.grad, x.input, x.target, of="target", **x.options)
    yield "target", f.xp.sum(gradient * x.target), upstream
    if "weight" in x.options:
        gradient = f.cross_entropy_backward(x.grad, x.input, x.target, of="weight", **x.options)
        yield "weight", f.xp.sum(gradient * x.options["weight"]), upstream


# --- rows, classes, positions -------------------------------------------------------------------------------


@identity("a shift of a row changes nothing", "cross_entropy")
def shift(f: Any, x: Any) -> Iterator[Pair]:
    shifted = x.input + x.shift
    yield FORWARD, f.this(shifted, x.target, **x.options), f.this(x.input, x.target, **x.options)
    gradient = f.this_backward(x.grad, x.input, x.target, **x.options)
    yield INPUT, f.this_backward(x.grad, shifted, x.target, **x.options), gradient


@identity("a shift of a row is subtracted, times the weight", "nll_loss")
def shift_of_log_probabilities(f: Any, x: Any) -> Iterator[Pair]:
    shifted, moved = x.input + x.shift, x.shift[:, 0] * x.used
    if x.options["reduction"] != "none":
        moved = f.xp.sum(moved) / denominators(x)[0]
    yield FORWARD, f.this(shifted, x.target, **x.options), f.this(x.input, x.target, **x.options) - moved
    gradient = f.this_backward(x.grad, x.input, x.target, **x.options)
    yield INPUT, f.this_backward(x.grad, shifted, x.target, **x.options), gradient


@identity("classes in another order", CLASSES)
def order_of_classes(f: Any, x: Any) -> Iterator[Pair]:
    input = reordered(f, x.input, x.classes)
    if x.target.shape == x.input.shape:
        target = reordered(f, x.target, x.classes)
    else:
        target = np.where(x.target == IGNORED, IGNORED, np.argsort(x.classes)[np.maximum(x.target, 0)])
    options = x.options | ({"weight": x.options["weight"][x.classes]} if "weight" in x.options else {})
    yield FORWARD, f.this(input, target, **options), f.this(x.input, x.target, **x.options)
    gradient = f.this_backward(x.grad, x.input, x.target, **x.options)
    yield INPUT, f.this_backward(x.grad, input, target, **options), reordered(f, gradient, x.classes)


@identity("rows of the gradient sum to 0", "cross_entropy")
def gradient_rows_sum_to_zero(f: Any, x: Any) -> Iterator[Pair]:
    gradient = f.this_backward(x.grad, x.input, x.target, **x.options)
    yield INPUT, f.xp.sum(gradient, axis=1, keepdims=True), 0.0


@identity("rows of the gradient sum to minus the weight", "nll_loss")
def gradient_rows_sum_to_the_weight(f: Any, x: Any) -> Iterator[Pair]:
    gradient = f.this_backward(x.grad, x.input, x.target, **x.options)
    yield INPUT, f.xp.sum(gradient, axis=1) * denominators(x)[0], x.grad * -x.used


@identity("positions are rows", CLASSES, shapes=((3, 4, 5), (2, 8, 3)))
def positions(f: Any, x: Any) -> Iterator[Pair]:
    """(N, C, d) is (N d, C) in another order, and (C) is (1, C)."""
    n, classes, positions = x.input.shape
    rows = f.argument(np.moveaxis(x.drawn.input, 1, -1).reshape(-1, classes))
    flat = (
        x.drawn.target.reshape(-1)
        if x.target.shape != x.input.shape
        else np.moveaxis(x.drawn.target, 1, -1).reshape(-1, classes)
    )
    each = x.options["reduction"] == "none"
    result = f.this(rows, f.argument(flat), **x.options)
    yield (
        FORWARD,
        f.this(x.input, x.target, **x.options),
        f.xp.reshape(result, (n, positions)) if each else result,
    )
    upstream = f.xp.reshape(x.grad, (-1,)) if each else x.grad
    gradient = f.xp.reshape(
        f.this_backward(upstream, rows, f.argument(flat), **x.options), (n, positions, classes)
    )
    together = f.this_backward(x.grad, x.input, x.target, **x.options)
    for position in range(positions):
        yield INPUT, together[:, :, position], gradient[:, position, :]
    single = f.this(rows[0], f.argument(np.asarray(flat[0])), **x.options)
    alone = f.this(rows[:1], f.argument(flat[:1]), **x.options)
    yield FORWARD, single, alone[0] if each else alone


@identity(
    "a class weight of 2 is every row of the class twice",
    CLASSES,
    takes=("weight",),
    weighted=(False,),
    kind=("plain",),
    reduction=("mean", "sum"),
    shapes=((6, 8), (9, 2)),
)
def whole_weights(f: Any, x: Any) -> Iterator[Pair]:
    weight = 1.0 + np.arange(x.input.shape[1]) % 2
    times = np.where(x.target == IGNORED, 0, weight[np.maximum(x.target, 0)]).astype(int)
    rows = np.repeat(np.arange(len(times)), times)
    weighted = x.options | {"weight": f.argument(weight)}
    yield FORWARD, f.this(x.input, x.target, **weighted), f.this(x.input[rows], x.target[rows], **x.options)
    used = np.flatnonzero(times)
    first = np.searchsorted(rows, used)  # of its copies
    together = f.this_backward(x.grad, x.input, x.target, **weighted)[used]
    repeated = f.this_backward(x.grad, x.input[rows], x.target[rows], **x.options)[first]
    yield INPUT, together, repeated * f.argument(times[used].astype(np.float64)[:, None])
