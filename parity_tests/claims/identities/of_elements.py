"""Identities of binary_cross_entropy and binary_cross_entropy_with_logits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from torch_loss_parity.claims.identities.record import Pair, identity
from torch_loss_parity.expectation.quantity import FORWARD
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.operators.families.elements import ELEMENTS

INPUT, TARGET = "input", "target"


@identity(
    "binary_cross_entropy of the sigmoid",
    "binary_cross_entropy_with_logits",
    needs=("binary_cross_entropy",),
    kind=("plain",),
)
def of_the_sigmoid(f: Any, x: Any) -> Iterator[Pair]:
    logits = x.input / 4  # where a probability still has digits to 1
    p = f.rounded(1 / (f.xp.exp(-logits) + 1))
    yield FORWARD, f.this(logits, x.target, **x.options), f.binary_cross_entropy(p, x.target, **x.options)
    through = f.binary_cross_entropy_backward(x.grad, p, x.target, **x.options) * (p * (1 - p))
    yield INPUT, f.this_backward(x.grad, logits, x.target, **x.options), through
    of_target = f.binary_cross_entropy_backward(x.grad, p, x.target, of=TARGET, **x.options)
    yield TARGET, f.this_backward(x.grad, logits, x.target, of=TARGET, **x.options), of_target


@identity("the other class: -x and 1 - t", "binary_cross_entropy_with_logits", kind=("plain",))
def mirrored_logits(f: Any, x: Any) -> Iterator[Pair]:
    """With hard targets: the loss of x for 1 is that of -x for 0."""
    for target in (x.target, x.hard):
        yield FORWARD, f.this(x.input, target, **x.options), f.this(-x.input, 1 - target, **x.options)
        for of in (INPUT, TARGET):
            mirrored = f.this_backward(x.grad, -x.input, 1 - target, of=of, **x.options)
            yield of, f.this_backward(x.grad, x.input, target, of=of, **x.options), -mirrored


@identity("the other class: 1 - x and 1 - t", "binary_cross_entropy")
def mirrored_probabilities(f: Any, x: Any) -> Iterator[Pair]:
    for target in (x.target, x.hard):
        yield FORWARD, f.this(x.input, target, **x.options), f.this(1 - x.input, 1 - target, **x.options)
        for of in (INPUT, TARGET):
            mirrored = f.this_backward(x.grad, 1 - x.input, 1 - target, of=of, **x.options)
            yield of, f.this_backward(x.grad, x.input, target, of=of, **x.options), -mirrored


@identity("the loss is linear in the target", ELEMENTS, reduction=("none",))
def linear_in_the_target(f: Any, x: Any) -> Iterator[Pair]:
    """And its gradient with respect to the target is the loss for 1 less the loss for 0."""
    zeros, ones = (f.argument(np.full(x.input.shape, t)) for t in (0.0, 1.0))
    of_zero, of_one = f.this(x.input, zeros, **x.options), f.this(x.input, ones, **x.options)
    yield FORWARD, f.this(x.input, x.target, **x.options), of_zero * (1 - x.target) + of_one * x.target
    yield (
        TARGET,
        f.this_backward(x.grad, x.input, x.target, of=TARGET, **x.options),
        (of_one - of_zero) * x.grad,
    )
    of_zero, of_one = (f.this_backward(x.grad, x.input, t, **x.options) for t in (zeros, ones))
    yield (
        INPUT,
        f.this_backward(x.grad, x.input, x.target, **x.options),
        of_zero * (1 - x.target) + of_one * x.target,
    )


@identity("a weight multiplies each loss", ELEMENTS, weighted=(True,), reduction=("none",))
def weight_of_each(f: Any, x: Any) -> Iterator[Pair]:
    without = {name: value for name, value in x.options.items() if name != "weight"}
    yield FORWARD, f.this(x.input, x.target, **x.options), f.this(x.input, x.target, **without) * x.weight
    for of in (INPUT, TARGET):
        gradient = f.this_backward(x.grad, x.input, x.target, of=of, **without)
        yield of, f.this_backward(x.grad, x.input, x.target, of=of, **x.options), gradient * x.weight


@identity("a weight that broadcasts = the same expanded", ELEMENTS)
def broadcast_weight(f: Any, x: Any) -> Iterator[Pair]:
    options = OPERATORS[f.this_operator].options
    names = [name for name in ("weight", "pos_weight") if name in options]
    for of_one in (np.s_[0], np.s_[..., :1]):  # without the first dimension; with one weight along the last
        small = {name: np.asarray(getattr(x.drawn, name)[of_one]) for name in names}
        expanded = {name: np.broadcast_to(value, x.input.shape).copy() for name, value in small.items()}
        left, right = (
            x.options | {name: f.argument(value) for name, value in chosen.items()}
            for chosen in (small, expanded)
        )
        yield FORWARD, f.this(x.input, x.target, **left), f.this(x.input, x.target, **right)
        gradient = f.this_backward(x.grad, x.input, x.target, **right)
        yield INPUT, f.this_backward(x.grad, x.input, x.target, **left), gradient


@identity("pos_weight of 1 is none", "binary_cross_entropy_with_logits", kind=("plain",))
def pos_weight_of_ones(f: Any, x: Any) -> Iterator[Pair]:
    ones = f.argument(np.ones_like(x.drawn.pos_weight))
    yield (
        FORWARD,
        f.this(x.input, x.target, **x.options, pos_weight=ones),
        f.this(x.input, x.target, **x.options),
    )
    for of in (INPUT, TARGET):
        gradient = f.this_backward(x.grad, x.input, x.target, of=of, **x.options)
        yield of, f.this_backward(x.grad, x.input, x.target, of=of, **x.options, pos_weight=ones), gradient


@identity(
    "pos_weight is the weight of positives",
    "binary_cross_entropy_with_logits",
    kind=("plain",),
    weighted=(False,),
)
def pos_weight_of_positives(f: Any, x: Any) -> Iterator[Pair]:
    positive = f.argument(np.where(x.drawn.hard == 1, x.drawn.pos_weight, 1.0))
    with_weight = f.this(x.input, x.hard, **x.options, weight=positive)
    yield FORWARD, f.this(x.input, x.hard, **x.options, pos_weight=x.pos_weight), with_weight
    gradient = f.this_backward(x.grad, x.input, x.hard, **x.options, weight=positive)
    yield INPUT, f.this_backward(x.grad, x.input, x.hard, **x.options, pos_weight=x.pos_weight), gradient
