"""What operators of classes mean at the corners of their domain, where the target holds class indices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np
from numpy import inf, nan

from torch_loss_parity.operators.facets import Options, Shape
from torch_loss_parity.operators.meaning import (
    CANCELLING_WEIGHTS,
    INDETERMINATE,
    INFINITE_WEIGHT,
    ITS_WEIGHT,
    NO_ROWS,
    OF_NO_CLASSES,
    Meaning,
)
from torch_loss_parity.operators.semantics import Row, reals, row

SHAPES: tuple[Shape, ...] = (
    (3,),
    (2, 3),
    (2, 3, 2),
    (2, 3, 2, 2),
    (2, 3, 2, 1, 2),
    (0, 3),
    (2, 3, 0),
    (2, 3, 2, 0),
)
NO_CLASSES: tuple[Shape, ...] = ((0,), (2, 0), (2, 0, 2), (2, 0, 2, 2), (2, 0, 1, 2, 2), (2, 0, 0))
EMPTY = {"none": 0.0, "mean": nan, "sum": 0.0}  # by reduction: what comes out where no row counts
INPUT, TARGET, WEIGHT = reals(2, 3), [2, 0], [0.5, 2.0, 1.25]
BYTES = np.asarray([255, 0], dtype=np.uint8)
# For two rows of three classes and TARGET.
WEIGHTS = {
    "0 where the targets are": [0.0, 1.0, 0.0],
    "0 at one target": [0.0, 1.0, 2.0],
    "that cancels": [-1.0, 1.0, 1.0],
    "negative": [-1.0, 1.0, 3.0],
    "nan beside the targets": [1.0, nan, 1.0],
    "inf at a target": [inf, 1.0, 1.0],
}
Meanings = Mapping[tuple[str, str], Meaning]  # of a weight and a reduction
# What they mean to an operator that multiplies one number of each row.
MEANINGS: Meanings = {
    ("0 where the targets are", "mean"): INDETERMINATE,
    ("that cancels", "mean"): CANCELLING_WEIGHTS,
    ("nan beside the targets", "none"): ITS_WEIGHT,
    ("nan beside the targets", "mean"): ITS_WEIGHT,
    ("inf at a target", "none"): INFINITE_WEIGHT,
    ("inf at a target", "mean"): INFINITE_WEIGHT,
}


def semantics(named: str = "", meanings: Meanings = MEANINGS, **own: Any) -> Iterator[Row]:
    """What is true of every operator of the family. ``own`` is an option that is the operator's own, which
    shapes are tried with besides; ``named`` is what sentences call it. ``meanings`` says what `WEIGHTS` mean.
    """
    yield from _shapes(named, own)
    for reduction in EMPTY:
        yield from all_ignored(reduction)
        yield from all_ignored(reduction, ", weight", weight=WEIGHT)
        yield from _no_classes(reduction, named, own)
        yield row(
            f"ignore_index beyond the classes, {reduction}",
            input=INPUT,
            target=[7, 0],
            ignore_index=7,
            reduction=reduction,
        )
        yield row(
            f"ignore_index 255 in uint8, {reduction}",
            input=INPUT,
            target=BYTES,
            ignore_index=255,
            reduction=reduction,
        )
        # More than a byte with a sign counts; as an index of torch's, bytes are a mask.
        yield row(
            f"uint8 targets beyond 127, weight, {reduction}",
            input=reals(4, 201),
            target=np.asarray([200, 127, 255, 128], dtype=np.uint8),
            weight=1 + np.arange(201) / 256,
            ignore_index=255,
            reduction=reduction,
        )
    yield from _ignore_index()
    # The documentation knows no such shape, so nobody else has to take it.
    sentence = "the target of a single row may have shape (1,)"
    spelt_out = {"target": np.asarray(1)}
    yield row(sentence, input=reals(3), target=[1], stands_for=spelt_out, since="2.13")
    yield from weighted(meanings)


def indices(shape: Shape) -> np.ndarray:
    """Targets of three classes for logits of ``shape``, each class among the first three."""
    rows = shape[:1] * (len(shape) > 1) + shape[2:]
    return np.asarray(
        np.random.default_rng(3).permutation(np.arange(np.prod(rows, dtype=int)) % 3).reshape(rows)
    )


def all_ignored(reduction: str, named: str = "", **options: Any) -> Iterator[Row]:
    """No row counts."""
    yield row(
        f"all targets ignored{named}, {reduction} -> {EMPTY[reduction]:g}, gradient 0",
        input=INPUT,
        target=[-100, -100],
        reduction=reduction,
        value=EMPTY[reduction],
        gradient=0.0,
        meaning=_of_nothing(reduction),
        **options,
    )


def weighted(meanings: Meanings, named: str = "", **options: Any) -> Iterator[Row]:
    """Weights that are zero, negative, nan or infinite."""
    for (name, weight), reduction in product(WEIGHTS.items(), ("none", "mean")):
        yield row(
            f"weight {name}{named}, {reduction}",
            input=INPUT,
            target=TARGET,
            weight=weight,
            reduction=reduction,
            meaning=meanings.get((name, reduction)),
            **options,
        )


def _of_nothing(reduction: str) -> Meaning | None:
    return NO_ROWS if reduction == "mean" else None


def _shapes(named: str, own: Options) -> Iterator[Row]:
    for shape, reduction in product(SHAPES, EMPTY):
        target = indices(shape)
        given: dict[str, Any] = {
            "input": reals(*shape),
            "reduction": reduction,
            "about_shape": True,
            "meaning": _of_nothing(reduction) if 0 in shape else None,
        }
        yield row(f"shape {shape}, {reduction}", **given, target=target)
        sentence = f"shape {shape}{named}, weight, class 1 ignored, {reduction}"
        yield row(sentence, **given, target=target, weight=WEIGHT, ignore_index=1, **own)
        if len(shape) > 1 and 0 not in shape:
            sentence = f"uint8 targets, shape {shape}, class 2 ignored, {reduction}"
            yield row(sentence, **given, target=target.astype(np.uint8), ignore_index=2)


def _no_classes(reduction: str, named: str, own: Options) -> Iterator[Row]:
    for shape in NO_CLASSES:
        given: dict[str, Any] = {
            "input": reals(*shape),
            "target": 0 * indices(shape) - 100,
            "reduction": reduction,
            "about_shape": len(shape) > 2,
            "meaning": _of_nothing(reduction),
        }
        sentence, empty = f"no classes, shape {shape}, all ignored", EMPTY[reduction]
        yield row(f"{sentence}, {reduction} -> {empty:g}", **given, value=empty)
        if own:  # a mean over the classes, which are none
            given |= {"value": nan, "meaning": OF_NO_CLASSES, **own}
            yield row(f"{sentence}{named}, {reduction} -> nan", **given)


def _ignore_index() -> Iterator[Row]:
    for name, far in {"2**63 - 1": 2**63 - 1, "-2**63": -(2**63)}.items():
        yield row(f"ignore_index {name}", input=INPUT, target=[far, 0], ignore_index=far)
    ignored: dict[str, Any] = {"input": INPUT, "ignore_index": 1}
    yield row("ignore_index is a class", **ignored, target=[1, 0])
    sentence = "ignore_index is a class, all ignored -> nan, gradient 0"
    yield row(sentence, **ignored, target=[1, 1], value=nan, gradient=0.0, meaning=NO_ROWS)
    given = {**ignored, "target": [1, 0]}
    yield row("weight inf at the ignored class", **given, weight=[1.0, inf, 1.0], meaning=ITS_WEIGHT)
    yield row("weight 0 at the ignored class", **given, weight=[1.0, 0.0, 1.0])
    yield row("ignore_index -1", input=INPUT, target=[-1, 0], ignore_index=-1)
    yield row("ignore_index 0", input=INPUT, target=[2, 0], ignore_index=0)
