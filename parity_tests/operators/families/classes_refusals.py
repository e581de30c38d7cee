"""What operators of classes refuse: targets that are no class, shapes that do not match, class weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from torch_loss_parity.operators.facets import Shape
from torch_loss_parity.operators.record import REDUCTION
from torch_loss_parity.operators.refusals import (
    Refusal,
    T,
    X,
    no_gradient_of,
    no_real_input,
    of_another_dtype,
    ones,
    refusal,
    wrong_reductions,
)

IMAGES, CLASSES_OF_IMAGES = ones(2, 3, 2, 2), np.zeros((2, 2, 2), dtype=np.int64)
WEIGHT_SHAPES: tuple[Shape, ...] = ((2,), (4,), (0,), (), (1,), (1, 3), (3, 1))  # of three classes


def refusals() -> Iterator[Refusal]:
    """What every operator of the family refuses of class indices."""
    yield from wrong_reductions(T)
    yield from no_real_input(T)
    yield from classes_out_of_range()
    yield from _classes_besides()
    yield from _dtypes_of_indices()
    yield from _shapes_of_indices()
    yield from _ignore_index()
    yield from _weights()
    yield no_gradient_of("weight", X, T)
    yield no_gradient_of("weight", IMAGES, CLASSES_OF_IMAGES, ", images")


def rows_of(shape: Shape) -> Shape:
    """The shape of the class indices for an input of ``shape``."""
    return shape[:1] * (len(shape) > 1) + shape[2:]


def classes_out_of_range(named: str = "", **options: Any) -> Iterator[Refusal]:
    """Targets beyond the three classes, and before them."""
    for shape in ((3,), (2, 3), (2, 3, 2), (2, 3, 2, 2), (2, 3, 2, 1, 2)):
        for beyond, reduction in product((3, -1, -101), REDUCTION):
            yield refusal(
                f"target {beyond}, shape {shape}, {reduction}{named}",
                IndexError,
                f"target holds {beyond} | between 0 and 2 | ignore_index (-100)",
                ones(*shape),
                np.full(rows_of(shape), beyond),
                reduction=reduction,
                **options,
            )


def _classes_besides() -> Iterator[Refusal]:
    words = "target holds -100 | ignore_index (-1)"
    yield refusal("-100 where ignore_index is -1", IndexError, words, X, -100 * T, ignore_index=-1)
    for reduction, (low, byte) in product(REDUCTION, ((-100, 156), (-1, 255))):
        yield refusal(
            f"uint8 target {byte}, which is {low} modulo 256, {reduction}",
            IndexError,
            f"target holds {byte}",
            X,
            np.asarray([byte, 0], dtype=np.uint8),
            ignore_index=low,
            reduction=reduction,
        )
    words = "target holds 3 | between 0 and 2"
    yield refusal("target beyond the classes, weight", IndexError, words, X, 3 * T, weight=ones(3))
    for shape in ((0,), (2, 0), (2, 0, 2, 2)):
        words = "target holds 0 | ignore_index (-100)"
        target = np.zeros(rows_of(shape), dtype=np.int64)
        yield refusal(f"no classes, a target, shape {shape}", IndexError, words, ones(*shape), target)


def _dtypes_of_indices() -> Iterator[Refusal]:
    for dtype, name in (("float64", "real"), ("bool", "bool"), ("complex128", "complex128")):
        words = f"target has dtype | {dtype} | integer"
        target = T.astype(dtype)
        yield refusal(f"{name} indices", RuntimeError, words, X, target)
        yield refusal(f"{name} index of a single row", RuntimeError, words, X[0], target[0])
        images = CLASSES_OF_IMAGES.astype(dtype)
        yield refusal(f"{name} indices of an image", RuntimeError, words, IMAGES, images)
    for dtype in ("int8", "int16", "int32", "uint16"):
        yield refusal(
            f"{dtype} indices",
            RuntimeError,
            "",
            X,
            T.astype(dtype),
            torch_alone="the definition takes every integer dtype, on purpose; the documentation of torch "
            "asks for int64",
        )


# By what torch raises: shapes of the input, and of class indices that do not match it.
_MISMATCHES: dict[type[Exception], tuple[tuple[Shape, Shape], ...]] = {
    ValueError: (
        ((3,), (2,)),
        ((3,), (0,)),
        ((2, 3), ()),
        ((2, 3), (1,)),
        ((2, 3), (3,)),
        ((1, 3), ()),
        ((2, 3), (1, 2)),
        ((2, 3, 2), ()),
        ((2, 3, 2), (3, 2)),
        ((2, 3, 2, 2), (3, 2, 2)),
        ((2, 3, 2, 2), (3, 2)),
    ),
    RuntimeError: (
        ((3,), (1, 1)),
        ((3,), (2, 2)),
        ((2, 3), (2, 1)),
        ((2, 3, 2), (2,)),
        ((2, 3, 2), (2, 1)),
        ((2, 3, 2, 2), (2, 2, 1)),
        ((2, 3, 2, 2), (2, 2)),
        ((2, 3, 1, 1, 2), (2, 1, 1)),
        ((2, 3, 1, 1, 2), (2, 1, 1, 1)),
    ),
}


def _shapes_of_indices() -> Iterator[Refusal]:
    for exception, pairs in _MISMATCHES.items():
        for shape, target_shape in pairs:
            # Before, a RuntimeError.
            since = "2.13" if shape == (3,) and exception is ValueError else "2.8"
            yield refusal(
                f"input {shape}, target {target_shape}",
                exception,
                f"target has shape {target_shape} | input of shape {shape} | {rows_of(shape)}",
                ones(*shape),
                np.zeros(target_shape, dtype=np.int64),
                since=since,
            )


def _ignore_index() -> Iterator[Refusal]:
    for wrong in (1.0, "1", None, True):
        words = f"ignore_index is {wrong!r} | integer"
        yield refusal(f"ignore_index {wrong!r}", TypeError, words, X, T, ignore_index=wrong)
    for far in (2**63, -(2**63) - 1):
        words = f"ignore_index is {far} | 64 bits"
        yield refusal(f"ignore_index {far}", ValueError, words, X, T, ignore_index=far, since="2.13")


def _weights() -> Iterator[Refusal]:
    for shape in WEIGHT_SHAPES:
        weight, words = ones(*shape), f"weight has shape {shape} | (3,)"
        yield refusal(f"weight of shape {shape}", RuntimeError, words, X, T, weight=weight)
        for spatial in ((2,), (2, 2), (2, 1, 2)):
            image, classes = ones(2, 3, *spatial), np.zeros((2, *spatial), dtype=np.int64)
            sentence = f"weight of shape {shape}, input {image.shape}"
            row = refusal(sentence, RuntimeError, words, image, classes, weight=weight)
            yield replace(row, taken_of_no_rows=shape in ((1, 3), (3, 1)))
    for dtype in ("int64", "bool", "complex128"):
        words = f"weight has dtype | {dtype} | float64"
        yield refusal(f"{dtype} weight", RuntimeError, words, X, T, weight=ones(3, dtype=dtype))
    other, words = of_another_dtype(ones(3)), "weight has dtype | float32 | float64"
    yield refusal("weight of another real dtype", RuntimeError, words, X, T, weight=other)
