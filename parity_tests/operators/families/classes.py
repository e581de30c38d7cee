"""Operators of rows of classes, of which a target names one or gives each a probability."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from torch_loss_parity.cases.case import Case
from torch_loss_parity.cases.distributions import EXTREME_WEIGHTS
from torch_loss_parity.operators.facets import Family, Options, Region, Shape
from torch_loss_parity.operators.families.drawing import real
from torch_loss_parity.operators.families.tables import (
    AROUND,
    AROUND_SOME_POWERS,
    EVERY_SHAPE,
    EVERY_WIDTH,
    EXTREME,
    LONG_REDUCTION,
    LONG_SHAPES,
    MANY_ROWS,
    REDUCED,
    VOCABULARIES,
    VOCABULARY,
    WIDE,
    WIDTHS,
    every_shape,
    region,
)
from torch_loss_parity.operators.record import REDUCTION

if TYPE_CHECKING:
    from torch_loss_parity.operators.record import Operator

OPTIONS: Mapping[str, tuple[Any, ...]] = {
    "reduction": REDUCTION,
    "weight": (None, "positive", "some zero"),
    "ignored": ("none", "some", "all"),
    "ignore_index": (-100, 0, 7, 255),
}
EXTENSIONS: Mapping[str, tuple[Any, ...]] = {"z_loss": (1e-4, 0.1), "softcap": (30.0, 4.0)}
EXTREME_OPTIONS: Mapping[str, tuple[Any, ...]] = {
    "weight": (*EXTREME_WEIGHTS, "zero where present"),
    "ignored": ("adjacent",),
    "ignore_index": (-1, 1, 2**40),
    "classes": ("first", "last"),
}
SHAPES: tuple[Shape, ...] = (
    (5,),
    (7, 3),
    (3, 33, 2),
    (2, 17, 3, 2),
    (2, 9, 2, 3, 2),
    (1, 1),
    (0, 4),
    (3, 256),
)
# 67 and 35 are no multiples of any vector's length, and more than one of them; the rest is small, and of
# one to five dimensions. Of an image no size tells which dimension a stride belongs to.
VIEWS: tuple[tuple[Shape, Options], ...] = (
    ((9,), {"weight": "positive"}),
    ((7, 35), {"weight": "positive", "ignored": "some", "reduction": "none"}),
    ((3, 5, 4), {"reduction": "mean", "weight": "some zero"}),
    ((3, 3, 3, 3), {"reduction": "none", "weight": "positive", "ignored": "some", "ignore_index": 255}),
    ((2, 5, 2, 3, 2), {"reduction": "sum"}),
)


def sizes(exact: str) -> tuple[tuple[Shape, Options], ...]:
    """Class counts and long reductions; ``exact`` is a distribution whose losses are integers."""
    return (
        *(((3, n), {}) for n in AROUND_SOME_POWERS),
        ((1, VOCABULARY), {}),
        ((1, VOCABULARY // 8, 2), {}),
        ((LONG_REDUCTION // 4, 3), {"reduction": "sum", "weight": "positive"}),
        ((LONG_REDUCTION, 2), {"values": exact}),
        ((LONG_REDUCTION, 2), {"values": exact, "reduction": "sum"}),
    )


def class_dim(shape: Shape) -> int:
    """The dimension of the classes."""
    return 0 if len(shape) == 1 else 1


def result_shape(arguments: Options) -> Shape:
    """One number, or one for each row."""
    shape = arguments["input"].shape
    dim = class_dim(shape)
    return () if arguments.get("reduction", "none") != "none" else (*shape[:dim], *shape[dim + 1 :])


def axis(arguments: Options) -> int | None:
    """The dimension of the classes."""
    return class_dim(arguments["input"].shape)


def target_kind(target: np.ndarray) -> str:
    """Integers are class indices, real numbers the probabilities of classes."""
    return "probabilities" if target.dtype.kind == "f" else "indices"


def draw_indices(case: Case) -> np.ndarray:
    """Class indices with the first and the last class among them, and some or all of them ignored."""
    dim = class_dim(case.shape)
    shape, classes = case.shape[:dim] + case.shape[dim + 1 :], case.shape[dim]
    rng, ignore_index = case.generator("target"), case.option["ignore_index"]
    target = np.asarray(rng.integers(0, classes, shape))
    ends = rng.random(shape)
    target = np.where(ends < 0.15, 0, np.where(ends > 0.85, classes - 1, target))
    if "classes" in case.option:
        target = np.full(shape, {"first": 0, "last": classes - 1}[case.option["classes"]])
    if case.option["ignored"] == "adjacent":  # one block, from the first row on
        ignored = (np.arange(target.size) < (target.size + 1) // 2).reshape(shape)
    else:
        ignored = rng.random(shape) < {"none": 0.0, "some": 0.4, "all": 1.0}[case.option["ignored"]]
        if case.option["ignored"] == "some" and target.size > 1 and not ignored.any():
            ignored.flat[-1] = True  # of few rows luck may have ignored none
    return np.where(ignored, ignore_index, target).astype(np.int64)


def draw_weight(case: Case, target: np.ndarray) -> np.ndarray | None:
    """A weight for each class."""
    kind, classes = case.option["weight"], case.shape[class_dim(case.shape)]
    if kind is None:
        return None
    if kind == "zero where present":  # every counted row weighs nothing: a mean is 0 / 0
        drawn = real(case, "weight", "positive", (classes,))
        return np.where(np.isin(np.arange(classes), target), 0.0, drawn)
    return real(case, "weight", kind, (classes,))


def _placed(widths: Sequence[int]) -> list[tuple[Shape, Options]]:
    """Rows of each width, in turn along the last dimension, the only one, and one in the middle."""
    return [(((2, n), (n,), (2, n, 2))[number % 3], {}) for number, n in enumerate(widths)]


# The remainder of a block, the first dimension, a row that is all special.
_SPECIAL = ((3, 5), (2, 40), (2, 17, 3), (4,), (33, 2), (1, 9), (3, 4, 2, 2))
# Positions of a volume, and those that are of one size, which may be taken for each other.
_SEVERAL = ((2, 3, 4, 2, 3), (3, 3, 3, 3), (2, 4, 2, 2, 2))


def regions(operator: Operator) -> Iterator[Region]:
    """The stretches of the domain that rows of classes have."""
    named = [
        {"reduction": r, "weight": w}
        for r, w in (("mean", None), ("none", "positive"), ("sum", None), ("mean", "positive"))
    ]
    yield Region(EVERY_SHAPE, every_shape(1, True), named[:3], dealt_out=True)
    yield Region("positions of several dimensions", _SEVERAL, named, at_least=len(_SEVERAL))
    yield region(EVERY_WIDTH, _placed(WIDTHS), dealt_out=True)
    yield region(AROUND, _placed(WIDE * 3), dealt_out=True)
    at_ends: list[Options] = [
        {"classes": "first"},
        {"reduction": "none", "weight": "positive"},
        {"classes": "last"},
        {"classes": "last"},
    ]
    yield Region("vocabularies", [(2, n) for n in VOCABULARIES], at_ends, dealt_out=True)
    yield Region("a long dimension first, in the middle and last", LONG_SHAPES, named)
    yield Region("a hundred thousand rows", [(MANY_ROWS, 2)], named, dealt_out=True)
    yield Region(EXTREME, _SPECIAL, REDUCED, values=list(operator.domain.values), dealt_out=True)


CLASSES = Family(
    name="classes",
    targets_classes=True,
    acts_on_elements=False,
    along_dim=False,
    regions=regions,
    square=(
        {"reduction": "none", "weight": "positive"},
        {"weight": "positive"},
        {"reduction": "sum", "weight": "positive"},
    ),
    shared=((3, 4, 5), "positive"),
    mapped=((5,), (4, 5), (2, 5, 2), (2, 4, 1, 2)),
    axis=axis,
    target_kind=target_kind,
    dealt_out=False,
)
