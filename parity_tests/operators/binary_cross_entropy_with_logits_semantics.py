"""What binary_cross_entropy_with_logits means at the corners of its domain, besides what every operator of
elements does.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from numpy import inf, nan

from torch_loss_parity.operators.families import elements_semantics as elements
from torch_loss_parity.operators.meaning import (
    INDETERMINATE,
    INFINITE_WEIGHT_OF_A_LOSS,
    LABEL,
    LIMIT,
    NAN,
    OVERFLOW,
)
from torch_loss_parity.operators.record import DTYPES
from torch_loss_parity.operators.semantics import Promotion, Row, reals, row, shares


def semantics() -> Iterator[Row]:
    """What binary_cross_entropy_with_logits means."""
    yield from elements.semantics(INFINITE_WEIGHT_OF_A_LOSS)
    yield from _weights()
    yield from _infinite_logits()
    yield from _certain_logits()
    yield from _large_logits()
    yield from _targets()


def promotions() -> Iterator[Promotion]:
    """A target of another dtype."""
    yield Promotion(
        sentence="a target of dtype",
        other="target",
        others=DTYPES,
        arguments={"input": [-256.0, 256.0], "target": [0.5, 0.25], "reduction": "sum"},
        value=320.0,
        gradient=[-0.5, 0.75],
    )


def _weights() -> Iterator[Row]:
    for sentence, given in elements.weighted():
        pos_weight = shares(*given["weight"].shape, draw=4)
        yield row(f"weight and pos_weight of shape {sentence}", **given, pos_weight=pos_weight)
    yield row(
        "weighted mean divides by N",
        input=[-256.0, -256.0],
        target=[1.0, 1.0],
        weight=[1.0, 3.0],
        value=512.0,
    )
    yield row("pos_weight", input=reals(2, 3), target=1 - shares(2, 3), pos_weight=[0.5, 2.0, 1.25])
    yield row(
        "pos_weight of shape (2, 1)",
        input=[[0.0, 0.0]] * 2,
        target=[[1.0, 1.0]] * 2,
        pos_weight=[[2.0], [3.0]],
        reduction="none",
        gradient=[[-1.0, -1.0], [-1.5, -1.5]],
    )
    yield row(
        "pos_weight 0 -> 0 where the target is 1",
        input=[1.0, -2.0],
        target=[1.0, 0.0],
        pos_weight=[0.0],
        reduction="none",
    )
    yield row(
        "pos_weight negative, 0",
        input=[1.0, 0.5, 0.25],
        target=[1.0, 1.0, 0.5],
        pos_weight=[-1.0, 0.0, -2.0],
    )
    yield row(
        "pos_weight inf at target 0 -> nan, gradient nan",
        input=[1.0],
        target=[0.0],
        pos_weight=[inf],
        value=nan,
        gradient=nan,
        meaning=INDETERMINATE,
    )


def _infinite_logits() -> Iterator[Row]:
    for x, t in product((inf, -inf, nan), (0.0, 0.5, 1.0)):
        # Where t is in (0, 1] and x is -inf, torch's (1 - t) x - logsigmoid(x) is inf - inf; the loss is
        # infinite.
        value = inf if (x, t) in ((-inf, 0.5), (-inf, 1.0), (inf, 0.0), (inf, 0.5)) else nan
        sentence = f"input {x}, target {t}"
        meaning = NAN if x != x else LABEL if value != value else LIMIT
        given: dict[str, Any] = {"input": [x], "target": [t], "meaning": meaning}
        yield row(
            f"{sentence} -> {value}",
            **given,
            value=value,
            gradient=(0.0 if x == -inf else 1.0) - t if x == x else nan,
            target_gradient=-x,
        )
        yield row(f"{sentence}, pos_weight 3 -> {value}", **given, pos_weight=[3.0], value=value)
        yield row(f"{sentence}, pos_weight 0", **given, pos_weight=[0.0])


def _certain_logits() -> Iterator[Row]:
    for x, t in ((-20.0, 0.0), (-90.0, 0.0), (100.0, 1.0)):
        sentence = f"input {x:g}, target {t:g}"
        given: dict[str, Any] = {"input": [x], "target": [t]}
        yield row(f"{sentence}, certain and right", **given, target_gradient=-x)
        yield row(f"{sentence}, pos_weight 3.75, certain and right", **given, pos_weight=[3.75])
    yield row(
        "input 0.0 and -0.0",
        input=[0.0, -0.0],
        target=[0.0, 1.0],
        reduction="none",
        gradient=[0.5, -0.5],
        target_gradient=0.0,
    )


def _large_logits() -> Iterator[Row]:
    far: dict[str, Any] = {
        "input": lambda format: [format.largest / 2, -format.largest / 2],
        "target": [0.0, 1.0],
        "reduction": "none",
    }
    yield row(
        "half the largest logits do not overflow",
        **far,
        value=lambda format: format.largest / 2,
        gradient=[1.0, -1.0],
    )
    yield row(
        "half the largest logits, pos_weight 3.75 -> inf where the target is 1",
        **far,
        pos_weight=[3.75],
        upstream=1.0,
        meaning=OVERFLOW,
    )


def _targets() -> Iterator[Row]:
    yield row(
        "target nan -> nan, gradient nan",
        input=[1.0],
        target=[nan],
        value=nan,
        gradient=nan,
        target_gradient=-1.0,
        meaning=NAN,
    )
    yield row("targets outside [0, 1]", input=[1.0, 0.5, 0.25], target=[2.0, -1.0, 3.0], reduction="none")
