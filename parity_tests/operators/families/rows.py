"""Operators that act on rows of the input along ``dim``: softmax and its relatives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from torch_loss_parity.cases.case import Case
from torch_loss_parity.operators.facets import Family, Gap, Options, Region, Shape, dims_of
from torch_loss_parity.operators.families.drawing import real
from torch_loss_parity.operators.families.tables import (
    AROUND,
    AROUND_SOME_POWERS,
    EVERY_SHAPE,
    EVERY_WIDTH,
    EXTREME,
    LONG_SHAPES,
    MANY_ROWS,
    VOCABULARIES,
    VOCABULARY,
    WIDE,
    WIDTHS,
    every_shape,
    region,
)

if TYPE_CHECKING:
    from torch_loss_parity.operators.record import Operator

OPTIONS: Mapping[str, tuple[Any, ...]] = {"dim": (-1, 0, 1, -2, 2), "dtype": (None, "float32", "float64")}
EXTREME_OPTIONS: Mapping[str, tuple[Any, ...]] = {"dtype": ("float16", "bfloat16")}
OTHER_DTYPES = Gap("there is one argument; its dtype is that of the case, or ``dtype=`` names another")
SHAPES: tuple[Shape, ...] = (
    (),
    (5,),
    (7, 3),
    (3, 33, 2),
    (2, 17, 3, 2),
    (2, 3, 2, 9, 2),
    (1, 1),
    (0, 4),
    (4, 256),
)
SIZES: tuple[tuple[Shape, Options], ...] = (
    *(((3, n), {"dim": 1}) for n in AROUND_SOME_POWERS),
    ((1, VOCABULARY), {"dim": 1}),
    ((VOCABULARY // 4, 2), {"dim": 0}),
    ((2, VOCABULARY // 16, 3), {"dim": -2}),
)
# 67 and 35 are no multiples of any vector's length, and more than one of them; the rest is small, and of
# one to five dimensions.
VIEWS: tuple[tuple[Shape, Options], ...] = (
    ((9,), {}),
    ((4, 67), {"dim": -1}),
    ((67, 5), {"dim": 0}),
    ((3, 3, 3, 3), {"dim": 1}),
    ((3, 5, 4), {"dim": 1}),
    ((2, 3, 2, 5, 2), {"dim": -2, "dtype": "float32"}),
)


def draw(case: Case) -> dict[str, Any]:
    """The input and the options."""
    return {"input": draw_input(case), "dim": case.option["dim"], "dtype": case.option["dtype"]}


def draw_input(case: Case) -> np.ndarray:
    """The input. A row that lies along several dimensions is drawn as one along the last, which has as many
    elements.
    """
    dim, shape = case.option["dim"], case.shape
    if isinstance(dim, int) or not shape:
        return real(case, "input", case.values, shape, dim if isinstance(dim, int) else 0)
    along = dims_of(dim, len(shape))
    moved = [axis for axis in range(len(shape)) if axis not in along] + list(along)
    kept, row = [[shape[axis] for axis in part] for part in (moved[: -len(along)], along)]
    drawn = real(case, "input", case.values, (*kept, prod(row)), -1)
    return np.ascontiguousarray(np.moveaxis(drawn.reshape(*kept, *row), range(len(shape)), moved))


def reconcile(shape: Shape, options: dict[str, Any]) -> dict[str, Any]:
    """Dimensions that the shape has, each of them once."""
    dims = max(len(shape), 1)

    def own(dim: int) -> int:
        return dim % dims - (dims if dim < 0 else 0)

    requested = options["dim"]
    if isinstance(requested, int):
        return options | {"dim": own(requested)}
    each = {dim % dims: own(dim) for dim in requested}
    return options | {"dim": tuple(each.values())}


def differentiable(option: Options) -> tuple[str, ...]:
    return ("input",)


def output_dtype(case: Case) -> str:
    """The dtype that is asked for, or that of the input."""
    return str(case.option["dtype"] or case.dtype)


def result_shape(arguments: Options) -> Shape:
    """That of the input."""
    return tuple(arguments["input"].shape)


def axis(arguments: Options) -> int | None:
    """The dimension that is asked for.

    Raises
    ------
    ValueError
        If there are several.
    """
    dims = dims_of(arguments["dim"], arguments["input"].ndim)
    if len(dims) > 1:
        raise ValueError(f"rows lie along {arguments['dim']}, which is no one dimension")
    return dims[0]


def target_kind(target: np.ndarray) -> str:
    """Rows have no target."""
    return ""


def _placed(widths: Sequence[int]) -> list[tuple[Shape, Options]]:
    """Rows of each width, in turn along the last dimension, the first one, and one in the middle."""
    shapes = [((2, n), (n, 2), (2, n, 2))[number % 3] for number, n in enumerate(widths)]
    return [(shape, {"dim": (1, 0, -2)[number % 3]}) for number, shape in enumerate(shapes)]


# Rows and what of them a test may get wrong: the remainder of a block, the first dimension, a row that is all
# special.
_SPECIAL = (
    ((3, 5), 1),
    ((5, 3), 0),
    ((2, 40), -1),
    ((40, 2), 0),
    ((2, 17, 3), 1),
    ((4,), 0),
    ((33, 2), 1),
)
_UP_TO_FIVE = tuple((2, 3, 4, 3, 2)[:ndim] for ndim in range(1, 6))
# One row: of all dimensions but the last, each is one element, whose probability is 1.
_ONE_ROW = ((1, 6), (1, 1, 1, 6))
# Falling, from either end, one alone, and rows of nothing.
_IN_ANY_ORDER = (
    ((2, 3, 4), (2, 0)),
    ((3, 2, 3), (0, -2)),
    ((3, 3, 3), (2,)),
    ((2, 4, 3, 2), (-1, 1)),
    ((2, 3, 2, 3), (3, 0, 2)),
    ((3, 0, 2), (1,)),
    ((2, 3, 0), (2, 0)),
)


def regions(operator: Operator) -> Iterator[Region]:
    """The stretches of the domain that rows have."""
    dims = tuple({"dim": dim} for dim in (0, -1, 1, -2, 2, -3, 3, -4, 4))
    yield Region(EVERY_SHAPE, every_shape(0, False), dims, dealt_out=True)
    yield region(EVERY_WIDTH, _placed(WIDTHS), dealt_out=True)
    yield region(AROUND, _placed(WIDE * 3), dealt_out=True)
    yield Region("vocabularies", [(1, n) for n in VOCABULARIES], dealt_out=True)
    at = [(shape, {"dim": dim}) for shape in LONG_SHAPES for dim in (0, 1, 2, -1, -2, -3)]
    yield region("a long dimension first, in the middle and last, along every dim", at, dealt_out=True)
    many: list[tuple[Shape, Options]] = [
        ((2, MANY_ROWS), {"dim": 0}),
        ((MANY_ROWS, 2), {"dim": 1}),
        ((2, MANY_ROWS), {"dim": -2}),
        ((1, 2, MANY_ROWS), {"dim": 1}),
    ]
    yield region("a hundred thousand rows", many, dealt_out=True)
    special = [(shape, {"dim": dim}) for shape, dim in _SPECIAL]
    yield region(EXTREME, special, values=list(operator.domain.values), dealt_out=True)
    each = [
        (shape, {"dim": dim}) for shape in (*_UP_TO_FIVE, *_ONE_ROW) for dim in range(-len(shape), len(shape))
    ]
    yield region("every dim, counted from either end", each, dealt_out=True, at_least=len(each))
    several = [{"dim": dim} for dim in operator.options["dim"] if isinstance(dim, tuple)]
    if several:
        ordered = [
            (shape, {"dim": dim, "keepdim": keepdim})
            for shape, dim in _IN_ANY_ORDER
            for keepdim in (True, False)
        ]
        yield region("several dims in any order", ordered, dealt_out=True, at_least=len(ordered))
        shapes = every_shape(2, False)
        yield Region("every shape of two dimensions and more, along several", shapes, several, dealt_out=True)


ROWS = Family(
    name="rows",
    targets_classes=False,
    acts_on_elements=False,
    along_dim=True,
    regions=regions,
    square=({"dim": 0}, {"dim": 1}, {"dim": 1}, {"dim": -1}, {"dim": -2}),  # in two and three dimensions
    shared=((5, 4), ""),
    mapped=((), (5,), (4, 2), (2, 5, 2), (2, 4, 1, 2)),
    axis=axis,
    target_kind=target_kind,
    dealt_out=False,
)
