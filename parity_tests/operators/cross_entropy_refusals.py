"""What cross_entropy refuses besides what every operator of classes does: smoothing, class probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np

from torch_loss_parity.operators.facets import Shape
from torch_loss_parity.operators.families import classes_refusals
from torch_loss_parity.operators.refusals import (
    COMPLEX,
    Refusal,
    T,
    X,
    all_taken_of_no_rows,
    no_real_input,
    of_another_dtype,
    ones,
    refusal,
    wrong_reductions,
)

# Of logits, and of probabilities that a product with them would repeat, or cut.
SHAPES_THAT_BROADCAST: tuple[tuple[Shape, Shape], ...] = (
    ((3,), (1,)),
    ((3,), (1, 3)),
    ((2, 3), (2, 1)),
    ((2, 3), (2, 4)),
    ((2, 3), (2, 3, 1)),
    ((2, 3, 2), (2, 3, 1)),
    ((2, 3, 2), (2, 1, 2)),
)


def refusals() -> Iterator[Refusal]:
    """What cross_entropy refuses."""
    yield from classes_refusals.refusals()
    yield from classes_refusals.classes_out_of_range(", smoothing", label_smoothing=0.25)
    yield from _inputs_of_no_dimension()
    yield from _smoothing()
    yield from _probabilities()


def _inputs_of_no_dimension() -> Iterator[Refusal]:
    words = "target has dtype | int64 | real floating point"
    yield refusal("0-d input and target", RuntimeError, words, ones(), np.asarray(0))
    words = "input has shape () | (C), (N, C)"
    yield refusal("0-d input, target of shape (1,)", IndexError, words, ones(), T[:1])
    yield refusal("0-d input and probability", IndexError, words, ones(), ones())


def _smoothing() -> Iterator[Refusal]:
    for share, (kind, target) in product(
        (1.5, 1 + 2**-52, np.inf, -0.25, -np.inf, np.nan), (("indices", T), ("probabilities", X))
    ):
        words, sentence = f"label_smoothing is {share} | between 0 and 1", f"label_smoothing {share}, {kind}"
        row = refusal(sentence, RuntimeError, words, X, target, label_smoothing=share)
        yield row if share > 1 else replace(row, taken_of_no_rows=True)
    for wrong in ("0.1", None, 0.5j):
        words = f"label_smoothing is {wrong!r} | number"
        yield refusal(f"label_smoothing {wrong!r}", TypeError, words, X, T, label_smoothing=wrong)
    yield refusal(
        "weight of another real dtype, smoothing",
        RuntimeError,
        "weight has dtype | float32",
        X,
        T,
        weight=of_another_dtype(ones(3)),
        label_smoothing=0.25,
    )


def _probabilities() -> Iterator[Refusal]:
    yield from wrong_reductions(X, ", real targets")
    yield from all_taken_of_no_rows(no_real_input(X, ", probabilities"))
    for shape in classes_refusals.WEIGHT_SHAPES:
        words, sentence = f"weight has shape {shape} | (3,)", f"weight of shape {shape}, probabilities"
        yield refusal(sentence, RuntimeError, words, X, X, weight=ones(*shape))
    words = "weight has dtype | complex128 | real"
    row = refusal("complex128 weight, probabilities", RuntimeError, words, X, X, weight=COMPLEX[0])
    yield from all_taken_of_no_rows([row])
    for index in (0, 5):
        words, sentence = f"ignore_index is {index} | negative", f"ignore_index {index}, probabilities"
        yield refusal(sentence, RuntimeError, words, X, X, ignore_index=index)
    for dtype in ("int64", "bool", "complex128"):
        words, target = f"target has dtype | {dtype} | real floating point", X.astype(dtype)
        yield refusal(f"{dtype} probabilities", RuntimeError, words, X, target)
        yield refusal(f"{dtype} probabilities of a single row", RuntimeError, words, X[0], target[0])
    for shape, target_shape in SHAPES_THAT_BROADCAST:
        # Real, and of another shape than the logits: they count as class indices.
        words = "target has dtype | float64 | integer"
        sentence = f"probabilities of shape {target_shape}, input {shape}"
        yield refusal(sentence, RuntimeError, words, ones(*shape), ones(*target_shape))
