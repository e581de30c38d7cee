"""Operators of elements, each of which has a target of its own: the binary losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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
    WIDE,
    WIDTHS,
    every_shape,
)
from torch_loss_parity.operators.record import REDUCTION

if TYPE_CHECKING:
    from torch_loss_parity.operators.record import Operator

SHAPES: tuple[Shape, ...] = (
    (),
    (5,),
    (7, 3),
    (3, 33, 2),
    (2, 17, 3, 2),
    (2, 9, 2, 3, 2),
    (1, 1),
    (0, 4),
    (4, 256),
)
# 67 and 35 are no multiples of any vector's length, and more than one of them; the rest is small, and of
# one to five dimensions.
VIEWS: tuple[tuple[Shape, Options], ...] = (
    ((9,), {"reduction": "sum", "weight": "full"}),
    ((7, 35), {"reduction": "none", "weight": "last dimension", "target": "soft"}),
    ((3, 5, 4), {"reduction": "mean", "weight": "full", "target": "soft"}),
    ((3, 3, 3, 3), {"reduction": "none", "weight": "rows"}),
    ((2, 5, 2, 3, 2), {"reduction": "none"}),
)
TARGETS = {"hard": "certain_probabilities", "soft": "uniform_probabilities"}
EXTREME_TARGETS = {"boundary": "boundary_probabilities", "extreme": "extreme_probabilities"}
WEIGHTS: Mapping[str, Callable[[Shape], Shape]] = {
    "full": lambda shape: shape,
    "last dimension": lambda shape: shape[-1:],
    "rows": lambda shape: (*shape[:-1], 1)[: len(shape)],
}
EXTREME_SHAPES_OF_WEIGHTS: Mapping[str, Callable[[Shape], Shape]] = {
    "scalar": lambda shape: (),
    "one": lambda shape: (1,) * min(len(shape), 1),
    "ones": lambda shape: (1,) * len(shape),
    "without the first dimension": lambda shape: shape[1:],
    "first dimension": lambda shape: shape[:1] + (1,) * len(shape[1:]),
    "one row": lambda shape: (1, *shape[1:])[: len(shape)],
    "channels": lambda shape: (*shape[1:2], *(1 for _ in shape[2:])),
    "middle": lambda shape: tuple(1 if i in (0, len(shape) - 1) else n for i, n in enumerate(shape)),
    "ends": lambda shape: tuple(n if i in (0, len(shape) - 1) else 1 for i, n in enumerate(shape)),
}
SPECIAL_WEIGHTS = (*EXTREME_SHAPES_OF_WEIGHTS, "some zero", *EXTREME_WEIGHTS)
OPTIONS: Mapping[str, tuple[Any, ...]] = {
    "reduction": REDUCTION,
    "weight": (None, *WEIGHTS),
    "target": tuple(TARGETS),
}
EXTREME_OPTIONS: Mapping[str, tuple[Any, ...]] = {
    "weight": SPECIAL_WEIGHTS,
    "target": tuple(EXTREME_TARGETS),
}


def draw(case: Case) -> dict[str, Any]:
    """Input, target, weight and reduction."""
    target = (TARGETS | EXTREME_TARGETS)[case.option["target"]]
    return {
        "input": real(case, "input", case.values, case.shape),
        "target": real(case, "target", target, case.shape),
        "weight": draw_weight(case, "weight"),
        "reduction": case.option["reduction"],
    }


def draw_weight(case: Case, name: str) -> np.ndarray | None:
    """A weight of one of the shapes that broadcast, or of the full shape with special values."""
    kind = case.option[name]
    if kind is None:
        return None
    shapes = {**WEIGHTS, **EXTREME_SHAPES_OF_WEIGHTS}
    if kind in shapes:
        return real(case, name, "positive", shapes[kind](case.shape))
    return real(case, name, kind, case.shape)


def differentiable(option: Options) -> tuple[str, ...]:
    return ("input", "target")


def sizes(exact: str) -> tuple[tuple[Shape, Options], ...]:
    """Lengths around powers of two, and long reductions of a distribution whose losses are integers."""
    return (
        *(((n,), {}) for n in AROUND_SOME_POWERS),
        ((LONG_REDUCTION,), {"values": exact}),
        ((LONG_REDUCTION,), {"values": exact, "reduction": "sum"}),
    )


def result_shape(arguments: Options) -> Shape:
    """One number, or one for each element."""
    return () if arguments.get("reduction", "none") != "none" else tuple(arguments["input"].shape)


def axis(arguments: Options) -> int | None:
    """Elements stand for themselves."""
    return None


def target_kind(target: np.ndarray) -> str:
    """A target of zeros and ones is hard."""
    return "hard" if np.isin(target, (0.0, 1.0)).all() else "soft"


_SPECIAL = ((5,), (40,), (3, 7), (), (2, 17, 3), (33, 2))


def regions(operator: Operator) -> Iterator[Region]:
    """The stretches of the domain that elements have."""
    named = [
        {"reduction": r, "weight": w}
        for r, w in (("mean", None), ("none", "full"), ("sum", None), ("mean", "rows"))
    ]
    yield Region(EVERY_SHAPE, every_shape(0, False), named[:3], dealt_out=True)
    yield Region(EVERY_WIDTH, [(n,) for n in WIDTHS], REDUCED[:2], dealt_out=True)
    yield Region(AROUND, [(n,) for n in WIDE], REDUCED, dealt_out=True)
    yield Region("a long dimension first, in the middle and last", LONG_SHAPES, named)
    yield Region("a hundred thousand elements", [(MANY_ROWS,)], named, dealt_out=True)
    targets = [
        {"reduction": r, "target": t}
        for r in ("none", "mean", "sum")
        for t in ("hard", "soft", "boundary", "extreme")
    ]
    values = list(operator.domain.values) * 2
    yield Region(EXTREME, _SPECIAL, targets, values=values, dealt_out=True)


ELEMENTS = Family(
    name="elements",
    targets_classes=False,
    acts_on_elements=True,
    along_dim=False,
    regions=regions,
    square=(
        {"reduction": "none", "weight": "rows", "pos_weight": "last dimension", "target": "soft"},
        {"weight": "last dimension", "pos_weight": "rows", "target": "soft"},
        {"reduction": "sum", "weight": "one row", "pos_weight": "one row", "target": "soft"},
        {"reduction": "none", "weight": "without the first dimension", "target": "soft"},
        {"weight": "channels", "pos_weight": "channels", "target": "soft"},
    ),
    shared=((5, 4), "full"),
    mapped=((), (5,), (4, 2), (2, 5, 1)),
    axis=axis,
    target_kind=target_kind,
    dealt_out=False,
)
