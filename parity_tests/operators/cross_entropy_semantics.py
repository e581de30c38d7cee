"""What cross_entropy means at the corners of its domain, besides what every operator of classes does."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from numpy import inf, nan

from torch_loss_parity.operators.families import classes_semantics as classes
from torch_loss_parity.operators.families.classes_semantics import INPUT, TARGET, WEIGHT
from torch_loss_parity.operators.meaning import (
    CANCELLING_WEIGHTS_OF_A_DIFFERENCE,
    EVERY_WEIGHT,
    IGNORED,
    INDETERMINATE,
    INFINITE_WEIGHT_OF_A_DIFFERENCE,
    LIMIT,
    NAN,
    NO_ROWS,
    NO_WEIGHT,
)
from torch_loss_parity.operators.record import DTYPES, REDUCTION
from torch_loss_parity.operators.semantics import Promotion, Row, reals, row, shares

SMOOTHING: dict[str, Any] = {"label_smoothing": 0.25}
GIVEN: dict[str, Any] = {"input": INPUT, "target": TARGET}
PROBABILITIES: dict[str, Any] = {"input": INPUT, "target": shares(2, 3)}
# What weights mean where the gradient is a difference, p - 1; and where smoothing takes them all.
OF_A_DIFFERENCE: classes.Meanings = {
    **classes.MEANINGS,
    ("that cancels", "mean"): CANCELLING_WEIGHTS_OF_A_DIFFERENCE,
    ("inf at a target", "none"): INFINITE_WEIGHT_OF_A_DIFFERENCE,
}
SMOOTHED: classes.Meanings = {
    **OF_A_DIFFERENCE,
    ("0 where the targets are", "mean"): NO_WEIGHT,
    ("nan beside the targets", "none"): EVERY_WEIGHT,
    ("nan beside the targets", "mean"): EVERY_WEIGHT,
}


def semantics() -> Iterator[Row]:
    """What cross_entropy means."""
    yield from classes.semantics(", smoothing", OF_A_DIFFERENCE, **SMOOTHING)
    yield from _smoothing()
    yield from _smoothing_of_ignored_rows()
    yield from _special_logits()
    yield from _probabilities()
    yield from _probabilities_of_special_logits()


def promotions() -> Iterator[Promotion]:
    """Class probabilities, and weights of them, of another dtype."""
    masked: dict[str, Any] = {"input": [[0.0, -256.0]], "target": [[0.25, 0.75]]}
    for sentence, other, arguments in (
        ("a target of dtype", "target", masked),
        ("with probabilities, a weight of dtype", "weight", masked | {"weight": [1.0, 1.0]}),
    ):
        yield Promotion(
            sentence=sentence,
            other=other,
            others=DTYPES,
            arguments=arguments,
            value=192.0,
            gradient=[[0.75, -0.75]],
        )


def _smoothing() -> Iterator[Row]:
    yield row("no smoothing", **GIVEN)
    yield row("smoothing", **GIVEN, **SMOOTHING)
    yield row("smoothing, weight", **GIVEN, **SMOOTHING, weight=WEIGHT)
    yield row("a little smoothing", **GIVEN, label_smoothing=2.0**-16)
    yield row("all smoothed away", **GIVEN, label_smoothing=1.0, weight=WEIGHT)
    yield from classes.weighted(SMOOTHED, ", smoothing", **SMOOTHING)
    yield row(
        "weight 0 where the targets are, smoothing, mean -> nan, gradient nan",
        **GIVEN,
        **SMOOTHING,
        weight=[0.0, 1.0, 0.0],
        value=nan,
        gradient=nan,
        meaning=NO_WEIGHT,
    )


def _smoothing_of_ignored_rows() -> Iterator[Row]:
    for reduction in REDUCTION:
        yield from classes.all_ignored(reduction, ", smoothing", **SMOOTHING)
        yield from classes.all_ignored(reduction, ", smoothing, weight", **SMOOTHING, weight=WEIGHT)
        yield row(
            f"ignore_index 255 in uint8, smoothing, {reduction}",
            input=INPUT,
            target=classes.BYTES,
            ignore_index=255,
            reduction=reduction,
            **SMOOTHING,
        )
    yield row(
        "ignore_index is a class, all ignored, smoothing -> nan, gradient 0",
        input=INPUT,
        target=[1, 1],
        ignore_index=1,
        value=nan,
        gradient=0.0,
        meaning=NO_ROWS,
        **SMOOTHING,
    )
    yield row("ignore_index 0, smoothing", **GIVEN, ignore_index=0, **SMOOTHING)
    yield row("smoothing, an ignored row", input=INPUT, target=[-100, 0], **SMOOTHING)
    yield row("smoothing, weight, an ignored row", input=INPUT, target=[-100, 0], weight=WEIGHT, **SMOOTHING)


def _special_logits() -> Iterator[Row]:
    for reduction in REDUCTION:
        sentence = f"one class, {reduction} -> 0, gradient 0"
        given: dict[str, Any] = {"input": reals(2, 1), "target": [0, 0], "reduction": reduction}
        yield row(sentence, **given, value=0.0, gradient=0.0)
    yield row("ties share evenly", input=[[0.0, 0.0]], target=[0], gradient=[[-0.5, 0.5]])
    for bad in (nan, -inf, inf):
        for special in ([bad, bad], [bad, 0.0]):
            yield from _special_row(special)
        given = {"input": [[bad], [0.0]], "target": [0, 0], "reduction": "none"}
        meaning = NAN if bad != bad else INDETERMINATE
        yield row(f"one class, {bad} -> nan, in this row only", **given, value=[nan, 0.0], meaning=meaning)
    masked: dict[str, Any] = {"input": [[0.0, -inf]]}
    sentence = "-inf at the target -> inf, gradient finite"
    yield row(sentence, **masked, target=[1], value=inf, gradient=[[1.0, -1.0]], meaning=LIMIT)
    yield row("-inf beside the target -> 0, gradient 0", **masked, target=[0], value=0.0, gradient=0.0)
    sentence = "-inf beside the target, smoothing -> inf"
    masked |= {"target": [0], "gradient": [[0.125, -0.125]], **SMOOTHING}
    yield row(sentence, **masked, value=inf, meaning=LIMIT)


def _special_row(special: list[float]) -> Iterator[Row]:
    """A row that is ignored, and then counted, before one whose loss is 0."""
    given: dict[str, Any] = {"input": [special, [0.0, -inf]]}
    ignored: dict[str, Any] = {**given, "target": [-100, 0]}
    reductions: dict[str, dict[str, Any]] = {"mean": {}, "sum": {"reduction": "sum"}}
    for name, reduced in reductions.items():
        yield row(
            f"an ignored row {special}, {name} -> unaffected, its gradient 0",
            **ignored,
            **reduced,
            value=0.0,
            gradient=0.0,
            meaning=IGNORED,
        )
    yield row(f"an ignored row {special}, smoothing", **ignored, meaning=IGNORED, **SMOOTHING)
    meaning = NAN if special[0] != special[0] else LIMIT if special == [-inf, 0.0] else INDETERMINATE
    counted: dict[str, Any] = {**given, "target": [1, 0], "reduction": "none"}
    yield row(f"a counted row {special}", **counted, meaning=meaning)


def _probabilities() -> Iterator[Row]:
    for shape, reduction in product((*classes.SHAPES, (0,), (2, 0), (2, 1)), REDUCTION):
        yield row(
            f"probabilities, shape {shape}, weight, smoothing, {reduction}",
            input=reals(*shape),
            target=shares(*shape),
            reduction=reduction,
            weight=shares(*shape[:2][-1:], draw=2),
            about_shape=True,
            meaning=NO_ROWS if reduction == "mean" and 0 in shape else None,
            **SMOOTHING,
        )
    target = PROBABILITIES["target"]
    yield row("probabilities", **PROBABILITIES)
    yield row("probabilities, as many classes as rows", input=reals(2, 2), target=shares(2, 2))
    yield row("probabilities, weight", **PROBABILITIES, weight=WEIGHT)
    yield row("probabilities, smoothing", **PROBABILITIES, **SMOOTHING)
    yield row("probabilities, all smoothed away", **PROBABILITIES, label_smoothing=1.0)
    one_hot = [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    sentence = "probabilities of one class, weight, smoothing"
    yield row(sentence, input=INPUT, target=one_hot, weight=WEIGHT, **SMOOTHING)
    sure: dict[str, Any] = {"input": [[0.0, -256.0]] * 2, "weight": [1.0, 3.0]}
    sentence = "weighted mean over probabilities divides by N"
    yield row(sentence, **sure, target=[[0.0, 1.0]] * 2, value=768.0)
    yield row("weighted mean over indices divides by the weights", **sure, target=[1, 1], value=256.0)
    yield row("probabilities are not normalised", input=INPUT, target=2 * target, weight=WEIGHT)
    yield row("negative probabilities", input=INPUT, target=-target)
    sentence = "all-zero probabilities -> -0.0, gradient 0"
    yield row(sentence, input=INPUT, target=0 * target, value=-0.0, gradient=0.0)
    sentence = "probabilities with a negative ignore_index, which is unused"
    yield row(sentence, **PROBABILITIES, ignore_index=-1)


def _probabilities_of_special_logits() -> Iterator[Row]:
    masked = [[0.0, -inf]] * 2
    certain: dict[str, Any] = {"input": masked, "target": [[1.0, 0.0]] * 2}
    halves = [[0.5, 0.5]] * 2
    yield row(
        "probability 0 at a -inf logit -> nan, gradient 0 and of the target inf",
        **certain,
        value=nan,
        gradient=0.0,
        target_gradient=[[0.0, inf]] * 2,
        reduction="sum",
        meaning=INDETERMINATE,
    )
    sentence = "probability 0 at a -inf logit, smoothing -> inf"
    yield row(sentence, **certain, value=inf, meaning=LIMIT, **SMOOTHING)
    sentence = "weight 0 at a -inf logit -> nan"
    given: dict[str, Any] = {"input": masked, "target": halves}
    yield row(sentence, **given, weight=[1.0, 0.0], value=nan, meaning=INDETERMINATE)
    given = {"input": masked, "target": [[0.0, 1.0]] * 2}
    yield row("probability 1 at a -inf logit -> inf", **given, value=inf, meaning=LIMIT)
    for bad in (nan, inf, -inf):
        sentence = f"probabilities, a row of {bad}"
        meaning = NAN if bad != bad else INDETERMINATE
        given = {"target": halves, "meaning": meaning}
        yield row(sentence, input=[[bad, bad], [0.0, 1.0]], **given, reduction="none")
        sentence = f"probabilities, one logit {bad}"
        yield row(sentence, input=[[bad, 0.0], [0.0, 1.0]], **given, weight=[0.0, 1.0])
