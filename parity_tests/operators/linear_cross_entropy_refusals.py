"""What linear_cross_entropy refuses: what cross_entropy does of its logits, and factors that do not fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from torch_loss_parity.operators import cross_entropy_refusals
from torch_loss_parity.operators.facets import Shape
from torch_loss_parity.operators.linear_cross_entropy_semantics import SINCE, as_product
from torch_loss_parity.operators.refusals import (
    NOT_REAL,
    Refusal,
    T,
    X,
    of_another_dtype,
    ones,
    refusal,
)

LAYER = ones(3, 3)


def refusals() -> Iterator[Refusal]:
    """What linear_cross_entropy refuses."""
    for each in cross_entropy_refusals.refusals():
        # None is what is ignored unless another index is given; with probabilities none may be.
        if "ignore_index None" in each.sentence or callable(each.arguments["input"]):
            continue
        if np.ndim(each.arguments["input"]) > 2:
            continue  # of positions cross_entropy has them
        if (arguments := as_product(each.arguments)) is not None:
            yield replace(each, arguments=arguments, since=SINCE, changed=())
    yield from _factors()
    yield from _dtypes()
    for index in (-100, -1, 0):
        words = f"ignore_index is {index} | must be left at None"
        probabilities: dict[str, Any] = {"linear_weight": LAYER, "ignore_index": index}
        yield refusal(
            f"ignore_index {index}, probabilities", RuntimeError, words, X, X, **probabilities, since=SINCE
        )
        sentence = f"ignore_index {index}, probabilities, an input of shape (3,)"
        yield refusal(sentence, RuntimeError, words, X[0], X[0], **probabilities, since=SINCE)


def _factors() -> Iterator[Refusal]:
    shape: Shape
    for shape in ((), (2, 3, 3)):
        words = f"input has shape {shape} | (D) or (N, D)"
        yield refusal(
            f"input of shape {shape}", RuntimeError, words, ones(*shape), T, linear_weight=LAYER, since=SINCE
        )
    words, tokens = "input has shape (2, 3, 3) | (D) or (N, D)", np.zeros((2, 3), dtype=np.int64)
    sentence = "input of shape (2, 3, 3), a target of (2, 3)"
    yield refusal(sentence, RuntimeError, words, ones(2, 3, 3), tokens, linear_weight=LAYER, since=SINCE)
    for shape in ((), (3,)):
        words = f"linear_weight has shape {shape} | (C, D)"
        yield _of_layer(f"linear_weight of shape {shape}", words, ones(*shape))
    for shape in ((3, 2), (3, 4), (3, 1), (3, 0), (3, 2, 4)):
        words = f"linear_weight has shape {shape} | last dimension | 3"
        yield _of_layer(f"linear_weight of shape {shape}, input of 3 features", words, ones(*shape))
    for shape in ((), (1,), (2,), (4,), (3, 1), (1, 3)):
        words = f"linear_bias has shape {shape} | (3,)"
        yield _of_layer(f"linear_bias of shape {shape}", words, LAYER, linear_bias=ones(*shape))
    words = "linear_bias has shape (3,) | (3, 2)"
    yield _of_layer(
        "linear_bias of classes alone, positions",
        words,
        ones(3, 2, 3),
        linear_bias=ones(3),
        target=ones(2, 2),
    )
    words = "input has shape (3,) | must be (N, D)"
    yield refusal(
        "positions without a batch", RuntimeError, words, X[0], T, linear_weight=ones(3, 2, 3), since=SINCE
    )


def _of_layer(sentence: str, words: str, layer: Any, **arguments: Any) -> Refusal:
    target = arguments.pop("target", T)
    return refusal(sentence, RuntimeError, words, X, target, linear_weight=layer, **arguments, since=SINCE)


def _dtypes() -> Iterator[Refusal]:
    for bad in NOT_REAL:
        words = f"input has dtype | {bad.dtype} | real floating point"
        layer = np.ones((3, 3), dtype=bad.dtype)
        yield refusal(
            f"{bad.dtype} input and linear_weight",
            NotImplementedError,
            words,
            bad,
            T,
            linear_weight=layer,
            since=SINCE,
            definition_alone="torch multiplies integers, and refuses them as logits; truth values not at all",
        )
    other = of_another_dtype(LAYER)
    words = "linear_weight has dtype | float32 | float64"
    yield _of_layer("linear_weight of another real dtype", words, other)
    words = "linear_bias has dtype | float32 | float64"
    yield _of_layer("linear_bias of another real dtype", words, LAYER, linear_bias=of_another_dtype(ones(3)))
