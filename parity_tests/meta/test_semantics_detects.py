"""Planted faults that a row of the table of semantics must find; and the table's own bookkeeping.

A fault is a subject that is right but for one corner. The row named beside it must find it in every dtype,
and must pass torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from torch_loss_parity.claims.semantics import checks as semantics
from torch_loss_parity.judging.sentence import Sentence
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import DTYPES, OPERATORS
from torch_loss_parity.operators.facets import each
from torch_loss_parity.operators.semantics import Row
from torch_loss_parity.subjects import Subject, builtin
from torch_loss_parity.subjects.declined import NotOffered
from torch_loss_parity.subjects.settings import Settings

Tensor = torch.Tensor
SOFTMAX, LOG_SOFTMAX, NLL, CE = "softmax", "log_softmax", "nll_loss", "cross_entropy"
BCE, BCE_LOGITS = "binary_cross_entropy", "binary_cross_entropy_with_logits"


def zero_for_nan(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    loss = F.cross_entropy(input, target, **options)
    return torch.where(torch.isnan(loss), (0 * input.nan_to_num(0, 0, 0)).sum(), loss)


def mean_over_all_rows(input: Tensor, target: Tensor, reduction: str = "mean", **options: Any) -> Tensor:
    if reduction != "mean":
        return F.nll_loss(input, target, reduction=reduction, **options)
    return F.nll_loss(input, target, reduction="none", **options).mean()


def skips_no_ignored_row(input: Tensor, target: Tensor, ignore_index: int = -100, **options: Any) -> Tensor:
    return F.nll_loss(input, target.clamp(min=0), **options)


def masks_by_multiplication(
    input: Tensor, target: Tensor, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    kept = target != ignore_index
    losses = -input.gather(1, torch.where(kept, target, 0).unsqueeze(1)).squeeze(1) * kept
    return {"none": losses, "sum": losses.sum(), "mean": losses.sum() / kept.sum()}[reduction]


def one_hot_at_infinity(input: Tensor, dim: int, **options: Any) -> Tensor:
    return F.softmax(input.clamp(-1e4, 1e4), dim, **options)


def uniform_where_nothing_is_left(input: Tensor, dim: int, **options: Any) -> Tensor:
    return F.softmax(torch.where((input == -torch.inf).all(dim, keepdim=True), 0.0, input), dim, **options)


def no_gradient_in_rows_of_nan(input: Tensor, dim: int, **options: Any) -> Tensor:
    broken = torch.isnan(input).any(dim, keepdim=True)
    return F.softmax(torch.where(broken, input.detach(), input), dim, **options)


def finite_logarithm(input: Tensor, dim: int, **options: Any) -> Tensor:
    return F.log_softmax(input, dim, **options).clamp(min=-30000.0)


def zero_times_infinity_is_zero(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    return -torch.where(target == 0, 0.0, target * F.log_softmax(input, 1)).sum() + 0 * target.sum()


def smooths_over_the_others(
    input: Tensor, target: Tensor, label_smoothing: float = 0.0, **options: Any
) -> Tensor:
    classes = input.shape[1 if input.ndim > 1 else 0]
    return F.cross_entropy(
        input, target, label_smoothing=label_smoothing * classes / max(classes - 1, 1), **options
    )


def probabilities_divide_by_the_weights(
    input: Tensor, target: Tensor, weight: Any = None, reduction: str = "mean"
) -> Tensor:
    assert weight is not None
    return F.cross_entropy(input, target, weight, reduction="sum") / (target * weight).sum()


def unclamped(input: Tensor, target: Tensor, reduction: str = "mean", **options: Any) -> Tensor:
    losses = -(torch.xlogy(target, input) + torch.xlogy(1 - target, 1 - input))
    return losses if reduction == "none" else losses.mean()


def clamped_input(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    return F.binary_cross_entropy(input.clamp(1e-7, 1 - 1e-7), target, **options)


def no_gradient_of_the_target(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    return F.binary_cross_entropy(input, target.detach(), **options) + 0 * target.sum()


def clamped_logits(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    return F.binary_cross_entropy_with_logits(input.clamp(-1e4, 1e4), target, **options)


def clamped_target(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    return F.binary_cross_entropy_with_logits(input, target.clamp(0, 1), **options)


def flat(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    return F.binary_cross_entropy_with_logits(input, target, **options).reshape(-1)


FAULTS: list[tuple[Callable[..., Tensor], str, str]] = [
    (zero_for_nan, CE, "all targets ignored, mean -> nan, gradient 0"),
    (zero_for_nan, CE, "weight 0 where the targets are, smoothing, mean -> nan, gradient nan"),
    (mean_over_all_rows, NLL, "ignore_index is a class"),
    (mean_over_all_rows, NLL, "all targets ignored, mean -> nan, gradient 0"),
    (skips_no_ignored_row, NLL, "all targets ignored, sum -> 0, gradient 0"),
    (masks_by_multiplication, NLL, "nan in an ignored row -> unaffected, its gradient 0"),
    (one_hot_at_infinity, SOFTMAX, "a row [inf, 0.0] -> nan, gradient nan"),
    (uniform_where_nothing_is_left, SOFTMAX, "a row [-inf, -inf] -> nan, gradient nan"),
    (no_gradient_in_rows_of_nan, SOFTMAX, "a row [nan, 0.0, 1.0] -> nan, gradient nan"),
    (finite_logarithm, LOG_SOFTMAX, "the largest numbers -> 0 and -inf"),
    (
        zero_times_infinity_is_zero,
        CE,
        "probability 0 at a -inf logit -> nan, gradient 0 and of the target inf",
    ),
    (smooths_over_the_others, CE, "smoothing"),
    (probabilities_divide_by_the_weights, CE, "weighted mean over probabilities divides by N"),
    (unclamped, BCE, "input 0, target 1 -> 100.0, gradient of the target inf"),
    (clamped_input, BCE, "input 0, target 1 -> 100.0, gradient of the target inf"),
    (no_gradient_of_the_target, BCE, "input 0, target 0.5 -> 50.0, gradient of the target inf"),
    (clamped_logits, BCE_LOGITS, "input inf, target 0.0 -> inf"),
    (clamped_logits, BCE_LOGITS, "half the largest logits do not overflow"),
    (clamped_target, BCE_LOGITS, "targets outside [0, 1]"),
    (flat, BCE_LOGITS, "shape (), mean"),
]


def row_named(operator: str, sentence: str) -> Row:
    (row,) = (row for row in each(OPERATORS[operator].semantics) if row.sentence == sentence)
    return row


def problem_of(function: Callable[..., Any], operator: str, row: Row, dtype: str) -> str:
    subject = Subject(
        "planted", SimpleNamespace(**{operator: function}), "import torch.nn.functional as subject"
    )
    return semantics.problem_in_row(subject, "cpu", OPERATORS[operator], row, dtype, Tally(operator, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("fault", "operator", "sentence"),
    FAULTS,
    ids=[f"{fault.__name__}: {sentence}" for fault, _, sentence in FAULTS],
)
def test_a_row_finds_a_planted_fault(
    fault: Callable[..., Tensor], operator: str, sentence: str, dtype: str
) -> None:
    row, torchs = (
        row_named(operator, sentence),
        Subject("torch", builtin.functional(), "import torch.nn.functional as subject"),
    )
    assert (
        semantics.problem_in_row(torchs, "cpu", OPERATORS[operator], row, dtype, Tally(operator, dtype)) == ""
    )
    assert sentence in problem_of(fault, operator, row, dtype)


@pytest.mark.parametrize("operator", [CE, BCE_LOGITS])
def test_a_result_in_the_dtype_of_the_input_is_found(operator: str) -> None:
    record = OPERATORS[operator]
    (promotion,) = (p for p in each(record.promotions) if p.other == "target")

    def keeps(input: Tensor, target: Tensor, **options: Any) -> Tensor:
        return getattr(F, operator)(input, target, **options).to(input.dtype)

    subject = Subject("planted", SimpleNamespace(**{operator: keeps}), "")
    assert semantics.promoted(subject, "cpu", record, promotion, "float32", "float64")[1]
    torchs = Subject("torch", builtin.functional(), "")
    assert semantics.promoted(torchs, "cpu", record, promotion, "float32", "float64") == (
        "a target of dtype float64: the result is float64",
        "",
    )


def test_a_row_that_says_something_else_than_the_definition_fails() -> None:
    row = row_named(SOFTMAX, "ties share evenly")
    assert problem_of(F.softmax, SOFTMAX, row, "float32") == ""
    said = problem_of(F.softmax, SOFTMAX, replace(row, value=0.5), "float32")
    assert "the row says that the result is" in said


def test_a_row_on_which_no_bound_holds_must_say_what_comes_out() -> None:
    largest = row_named(SOFTMAX, "the largest numbers -> 1 and 0")
    assert problem_of(F.softmax, SOFTMAX, largest, "float32") == ""
    assert "the result is wrong" in problem_of(
        lambda input, dim: F.softmax(input / 1e38, dim), SOFTMAX, largest, "float32"
    )
    # The mean of two numbers whose sum may overflow: no bound holds.
    row = replace(
        row_named(BCE_LOGITS, "half the largest logits do not overflow"),
        arguments={"input": np.full(2, 3e38), "target": np.zeros(2), "reduction": "mean"},
        value=None,
    )
    said = problem_of(F.binary_cross_entropy_with_logits, BCE_LOGITS, row, "float32")
    assert "the row must state it" in said


def test_an_operator_that_refuses_a_row_fails() -> None:
    def refuses(*arguments: Any, **options: Any) -> Tensor:
        raise RuntimeError("not today")

    row = row_named(NLL, "ignore_index -1")
    assert "RuntimeError: not today" in problem_of(refuses, NLL, row, "float32")


def test_a_shortfall_is_counted_and_one_that_is_mended_is_news() -> None:
    settings = Settings(Subject("torch", builtin.functional(), ""), "cpu", DTYPES, "standard", 0)
    row = row_named(NLL, "the target of a single row may have shape (1,)")
    sentence = Sentence.of(row, "float32", claim="semantics", operator=NLL, settings=settings)
    tally = Tally(NLL, "float32")
    sentence.check("size mismatch", tally)
    assert tally.diverged == {"target-of-shape-one-has-no-backward": 1}
    sentence.check("", tally)
    assert [news["id"] for news in tally.news] == ["target-of-shape-one-has-no-backward"]
    with pytest.raises(AssertionError, match="size mismatch"):
        replace(sentence, text="another sentence").check("size mismatch", tally)


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("effort", ["quick", "standard", "thorough"])
def test_an_effort_runs_what_it_says(effort: str, operator: str) -> None:
    """Every row but those on shapes runs in every effort; at standard effort in every dtype, and shapes in
    each dtype in turn.
    """
    rows = each(OPERATORS[operator].semantics)
    runs = dict(semantics.rows_to_run(rows, DTYPES, effort))
    for row in rows:
        shapes = {"quick": 0, "standard": 1, "thorough": len(row.dtypes)}[effort]
        others = 1 if effort == "quick" else len(row.dtypes)
        assert len(runs.get(row, ())) == (shapes if row.about_shape else others), row
    assert {dtype for dtypes in runs.values() for dtype in dtypes} == set(DTYPES if rows else ())


@pytest.mark.parametrize("operator", OPERATORS)
def test_one_dtype_alone_runs_every_row_that_it_has(operator: str) -> None:
    rows = each(OPERATORS[operator].semantics)
    for effort in ("standard", "thorough"):
        assert [row for row, _ in semantics.rows_to_run(rows, ["float16"], effort)] == [
            row for row in rows if "float16" in row.dtypes
        ]


def test_upstream_gradients_are_no_constant() -> None:
    assert len(set(np.abs(row_named(SOFTMAX, "shape (2, 3), dim 1").grad_output((2, 3))).flat)) > 1


def test_what_a_subject_does_not_offer_is_no_failure() -> None:
    def softmax(input: torch.Tensor, dim: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        raise NotImplementedError("nothing yet")

    row = each(OPERATORS[SOFTMAX].semantics)[0]
    with pytest.raises(NotOffered, match="softmax: nothing yet"):
        semantics.problem_in_row(
            Subject("theirs", SimpleNamespace(softmax=softmax), ""),
            "cpu",
            OPERATORS[SOFTMAX],
            row,
            "float32",
            Tally(SOFTMAX, "float32"),
        )
