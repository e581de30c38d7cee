"""What operators of elements mean at the corners of their domain."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from numpy import inf, nan

from torch_loss_parity.operators.facets import Shape
from torch_loss_parity.operators.meaning import NAN, NO_ROWS, Meaning
from torch_loss_parity.operators.record import REDUCTION
from torch_loss_parity.operators.semantics import Row, row, shares

SHAPES: tuple[Shape, ...] = ((), (3,), (2, 3), (2, 3, 2), (0,), (0, 3), (2, 0))
INPUT = shares(2, 3)  # probabilities, and logits as well


def semantics(infinite_weight: Meaning) -> Iterator[Row]:
    """What is true of every operator of the family; what an infinite weight means is the operator's own."""
    for shape, reduction in product(SHAPES, REDUCTION):
        yield row(
            f"shape {shape}, {reduction}",
            input=shares(*shape),
            target=shares(*shape, draw=2),
            reduction=reduction,
            about_shape=True,
            meaning=NO_ROWS if reduction == "mean" and 0 in shape else None,
        )
    for reduction, empty in {"mean": nan, "sum": 0.0}.items():
        yield row(
            f"no elements, {reduction} -> {empty:g}",
            input=shares(0, 3),
            target=shares(0, 3),
            reduction=reduction,
            value=empty,
            meaning=NO_ROWS if reduction == "mean" else None,
        )
    for sentence, arguments in weighted():
        yield row(f"weight of shape {sentence}", **arguments)
    target = 1 - INPUT
    given: dict[str, Any] = {"input": INPUT, "target": target}
    yield row("weight negative, 0, inf", **given, weight=[-1.0, 0.0, inf], meaning=infinite_weight)
    sentence = "weight nan -> nan, gradient nan"
    yield row(sentence, **given, weight=[nan], value=nan, gradient=nan, meaning=NAN)


def weighted() -> Iterator[tuple[str, dict[str, Any]]]:
    """Weights of every shape that broadcasts: the end of a sentence, and the arguments."""
    for shape, reduction in product(((2, 3), (2, 1), (3,), (), (1, 1)), REDUCTION):
        yield (
            f"{shape}, {reduction}",
            {
                "input": INPUT,
                "target": shares(2, 3, draw=2),
                "weight": shares(*shape, draw=3),
                "reduction": reduction,
                "about_shape": True,
            },
        )
