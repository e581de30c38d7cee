"""What operators of elements refuse: targets of another shape, and weights that do not broadcast."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch_loss_parity.operators.refusals import (
    COMPLEX,
    Refusal,
    X,
    no_gradient_of,
    ones,
    refusal,
    wrong_reductions,
)


def refusals() -> Iterator[Refusal]:
    """What every operator of the family refuses."""
    yield from wrong_reductions(X, ", real targets")
    for shape in ((3,), (1, 3), (2, 1), (), (3, 2), (2, 3, 1)):
        words = f"target has shape {shape} | input, (2, 3)"
        yield refusal(f"target of shape {shape}", ValueError, words, X, ones(*shape))
    yield from wrong_weights("weight")


def wrong_weights(name: str) -> Iterator[Refusal]:
    """Weights, by the argument's name, that do not broadcast, would enlarge the result, or are not real."""
    for shape in ((2,), (4,), (0,), (2, 2, 3), (1, 2, 3)):
        words = f"{name} has shape {shape} | broadcast | (2, 3)"
        weight: dict[str, Any] = {name: ones(*shape)}
        yield refusal(f"{name} of shape {shape}", RuntimeError, words, X, X, **weight)
    for what, array, weight_shape in (
        ("a single element", ones(), (1,)),
        ("a column", X[:, :1], (3,)),
        ("nothing", X[:0], (2, 3)),
    ):
        words = f"{name} has shape {weight_shape} | {array.shape}"
        weight = {name: ones(*weight_shape)}
        yield refusal(f"{name} enlarges {what}", RuntimeError, words, array, array, **weight)
    words = f"{name} has dtype | complex128 | real"
    weight = {name: COMPLEX[0]}
    yield refusal(f"complex {name}", RuntimeError, words, X, X, **weight)
    yield no_gradient_of(name, X, X)
