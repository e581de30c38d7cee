"""Operators of rows of classes whose logits are the product of an input and a layer.

The shape of a case is that of the logits, (C), (N, C) or (N, C, d1, ..., dk), and the option ``features`` the
length of the sums that they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from torch_loss_parity.cases import factors
from torch_loss_parity.cases.case import Case
from torch_loss_parity.operators.facets import Options, Region, Shape
from torch_loss_parity.operators.families import classes
from torch_loss_parity.operators.families.drawing import real
from torch_loss_parity.operators.families.tables import EXTREME, LONG_REDUCTION, REDUCED, VOCABULARY, region
from torch_loss_parity.reference.arithmetic.formats import FORMATS

if TYPE_CHECKING:
    from torch_loss_parity.operators.record import Operator

OPTIONS: Mapping[str, tuple[Any, ...]] = {
    **classes.OPTIONS,
    "weight": (None, "positive"),
    "ignore_index": (-100, 7),
    "features": (8, 33),
    "linear_bias": (None, "any_sign"),
    "target": ("indices", "probabilities"),
    "label_smoothing": (0.0, 0.1),
}
# The weights and the indices of classes are cross_entropy's, in whose domain they meet everything; here they
# meet the layer.
EXTREME_OPTIONS: Mapping[str, tuple[Any, ...]] = {
    "weight": ("some zero",),
    "ignore_index": (2**40,),
    "features": (1,),
    "label_smoothing": (1.0,),
    "linear_bias": ("some_minus_inf",),
}
SHAPES: tuple[Shape, ...] = ((5,), (7, 3), (3, 17, 2), (2, 9, 3, 2), (0, 4), (3, 128))
VIEWS: tuple[tuple[Shape, Options], ...] = (
    ((9,), {"weight": "positive"}),
    ((7, 35), {"weight": "positive", "ignored": "some", "reduction": "none", "linear_bias": "any_sign"}),
    ((3, 5, 4), {"reduction": "mean", "weight": "some zero"}),
    ((5, 7), {"reduction": "none", "weight": "positive", "target": "probabilities", "features": 7}),
    ((2, 5, 3, 4), {"reduction": "sum", "ignored": "some", "ignore_index": 255, "linear_bias": "any_sign"}),
)
SIZES: tuple[tuple[Shape, Options], ...] = (
    *(((3, 2**k + d), {"features": 2**k + d}) for k in (3, 5, 7) for d in (-1, 0, 1)),
    ((5, 7), {"features": 4096}),
    # Several blocks of features, and a few more.
    ((3, 5), {"features": 1537, "values": "products_at_the_ends"}),
    ((2, 3), {"features": 5125, "values": "products_at_the_ends"}),
    ((1, VOCABULARY // 8), {"features": 2}),
    ((1, VOCABULARY // 32), {"target": "probabilities", "label_smoothing": 0.1}),
    ((LONG_REDUCTION // 32, 3), {"reduction": "sum", "weight": "positive"}),
    ((LONG_REDUCTION // 32, 2), {"values": "integer_products"}),
    ((LONG_REDUCTION // 32, 2), {"values": "integer_products", "reduction": "sum"}),
)


def parts(shape: Shape) -> tuple[int, Shape]:
    """The number of rows, and the shape of the logits of one."""
    return (1, shape) if len(shape) == 1 else (shape[0], shape[1:])


def draw(case: Case) -> dict[str, Any]:
    """The input, the layer, targets and options."""
    (rows, outputs), features = parts(case.shape), case.option["features"]
    drawn = rounded(case, (rows, prod(outputs), features))
    dim = classes.class_dim(case.shape)
    if case.option["target"] == "indices":
        target, ignore_index = classes.draw_indices(case), case.option["ignore_index"]
    else:
        target, ignore_index = real(case, "target", "simplex", case.shape, dim), None
    bias = case.option["linear_bias"]
    return {
        "input": drawn[:rows].reshape((*case.shape[:dim], features)),
        "linear_weight": drawn[rows:].reshape((*outputs, features)),
        "target": target,
        "linear_bias": real(case, "linear_bias", bias, outputs) if bias else None,
        "weight": classes.draw_weight(case, target),
        "reduction": case.option["reduction"],
        "ignore_index": ignore_index,
        "label_smoothing": case.option["label_smoothing"],
    }


def rounded(case: Case, shape: Shape) -> np.ndarray:
    """The factors, as numbers of the dtype; a finite one beyond its largest number becomes that."""
    format = FORMATS[case.dtype]
    drawn = factors.BY_NAME[case.values](case.generator("input"), shape, -1, format)
    return format.round(np.where(np.isfinite(drawn), np.clip(drawn, -format.largest, format.largest), drawn))


def reconcile(shape: Shape, options: dict[str, Any]) -> dict[str, Any]:
    """Class probabilities know no ignored rows and no classes of indices; None is what torch's function has
    where nothing is given, and all that a function may take.
    """
    if options["target"] == "indices":
        return options
    known = {name: value for name, value in options.items() if name != "classes"}
    index = None if options["ignore_index"] is None else -100
    return known | {"ignored": "none", "ignore_index": index}


def differentiable(option: Options) -> tuple[str, ...]:
    """The input and the layer; class probabilities, and then their weights too."""
    bias = ("linear_bias",) if option["linear_bias"] else ()
    if option["target"] == "indices":
        return ("input", "linear_weight", *bias)
    weight = ("weight",) if option["weight"] else ()
    return ("input", "linear_weight", *bias, "target", *weight)


def logits_shape(arguments: Options) -> Shape:
    """The shape of the logits, for the arguments of a call."""
    return (*arguments["input"].shape[:-1], *arguments["linear_weight"].shape[:-1])


def result_shape(arguments: Options) -> Shape:
    """One number, or one for each row of logits."""
    shape = logits_shape(arguments)
    dim = classes.class_dim(shape)
    return () if arguments.get("reduction", "mean") != "none" else (*shape[:dim], *shape[dim + 1 :])


def axis(arguments: Options) -> int | None:
    """Rows of the input are not rows of classes: none."""
    return None


def regions(operator: Operator) -> Iterator[Region]:
    """The stretches of the domain that such rows have."""
    plain: list[Options] = [
        {"reduction": "mean"},
        {"reduction": "none", "weight": "positive", "linear_bias": "any_sign"},
        {"reduction": "sum"},
        {"reduction": "mean", "weight": "positive"},
    ]
    shapes: tuple[Shape, ...] = (
        *((1,), (3,), (1, 1), (1, 3), (3, 1), (2, 3, 1), (2, 1, 3), (2, 3, 2, 2), (1, 3, 1, 1)),
        *((2, 2, 1, 2, 3), (0, 3), (2, 3, 0), (0, 2, 2), (2, 2, 2, 0)),
    )
    yield Region("every kind of shape", shapes, plain, dealt_out=True)
    widths = [1, 2, 4, 7, 9, 16, 17, 33, 64, 65, 129, 257]
    of_each: list[tuple[Shape, Options]] = [((3, 5), {"features": n}) for n in widths]
    yield region("sums of every length", of_each, dealt_out=True)
    yield region("every number of classes", [((2, n), {}) for n in widths], dealt_out=True)
    yield region(
        "every number of rows", [((n, 3), {"linear_bias": "any_sign"}) for n in widths], dealt_out=True
    )
    vocabulary = [{**each, "features": 2} for each in plain]
    yield Region("a vocabulary", [(1, 16001)], vocabulary, dealt_out=True)
    yield Region("many rows", [(1031, 3)], plain, dealt_out=True)
    special: tuple[Shape, ...] = ((3, 5), (2, 40), (2, 17, 3), (4,), (1, 9))
    yield Region(EXTREME, special, REDUCED, values=list(operator.domain.values), dealt_out=True)


LINEAR_CLASSES = replace(
    classes.CLASSES,
    name="linear classes",
    regions=regions,
    axis=axis,
    square=tuple({**each, "linear_bias": "any_sign"} for each in classes.CLASSES.square),
    mapped=((5,), (4, 5), (2, 5, 2), (2, 4, 1, 2)),
    dealt_out=True,
)
