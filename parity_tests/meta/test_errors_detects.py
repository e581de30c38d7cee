"""Planted faults in how a subject meets malformed arguments, each found; and what runs where.

Every fault accepts something, refuses it with another type, or leaves something changed. The rows named
beside it must find it, in every dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from torch_loss_parity.claims.errors import checks as errors
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.ledger import verified
from torch_loss_parity.operators import DTYPES, OPERATORS
from torch_loss_parity.operators.facets import each
from torch_loss_parity.operators.refusals import Refusal
from torch_loss_parity.subjects import Subject, builtin
from torch_loss_parity.subjects.settings import Settings

Tensor = torch.Tensor
NLL, CE = "nll_loss", "cross_entropy"
BCE, BCE_LOGITS = "binary_cross_entropy", "binary_cross_entropy_with_logits"
calls = 0


def swallows_an_index(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    return F.nll_loss(
        input, target.clamp(0, input.shape[-1] - 1) if target.dtype == torch.int64 else target, **options
    )


def wraps_an_index(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    return F.nll_loss(input, target % input.shape[1] if input.ndim > 1 else target, **options)


def ignores_every_negative(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    return F.cross_entropy(
        input, torch.where(target < 0, -100, target) if target.dtype == torch.int64 else target, **options
    )


def clamps_smoothing(input: Tensor, target: Tensor, label_smoothing: float = 0.0, **options: Any) -> Tensor:
    return F.cross_entropy(input, target, label_smoothing=min(max(label_smoothing, 0.0), 1.0), **options)


def clamps_probabilities(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    return F.binary_cross_entropy(input.clamp(0, 1), target, **options)


def broadcasts_the_target(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    return F.binary_cross_entropy_with_logits(*torch.broadcast_tensors(input, target), **options)


def knows_every_reduction(input: Tensor, target: Tensor, reduction: Any = "mean", **options: Any) -> Tensor:
    return F.nll_loss(
        input, target, reduction=reduction if reduction in ("none", "sum") else "mean", **options
    )


def converts_the_weight(input: Tensor, target: Tensor, weight: Any = None, **options: Any) -> Tensor:
    return F.cross_entropy(
        input, target, weight=None if weight is None else weight.to(input.dtype), **options
    )


def another_type(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    try:
        return F.nll_loss(input, target, **options)
    except IndexError as error:
        raise RuntimeError("CUDA error: device-side assert triggered") from error


def wraps_the_dim(input: Tensor, dim: int, **options: Any) -> Tensor:
    return F.softmax(input, dim % input.ndim, **options)


def overwrites_the_target(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    if target.dtype == torch.int64:
        kept = target.clone()
        target[target < 0] = 0
        return F.nll_loss(input, kept, **options)
    return F.nll_loss(input, target, **options)


def breaks_for_good(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    global calls
    try:
        return F.nll_loss(input, target, **options) + calls
    except IndexError:
        calls += 1
        raise


FAULTS: list[tuple[Callable[..., Tensor], str, str, str]] = [
    (swallows_an_index, NLL, "target 3, shape (2, 3), mean", "accepted"),
    (swallows_an_index, NLL, "target -1, shape (2, 3), none", "accepted"),
    (wraps_an_index, NLL, "target -1, shape (2, 3, 2, 2), sum", "accepted"),
    (ignores_every_negative, CE, "target -101, shape (2, 3), none", "accepted"),
    (ignores_every_negative, CE, "target -1, shape (2, 3), mean, smoothing", "accepted"),
    (clamps_smoothing, CE, "label_smoothing 1.5, indices", "accepted"),
    (clamps_smoothing, CE, "label_smoothing -0.25, probabilities", "accepted"),
    (clamps_probabilities, BCE, "input the largest below 0, none", "accepted"),
    (clamps_probabilities, BCE, "input the smallest above 1, mean", "accepted"),
    (broadcasts_the_target, BCE_LOGITS, "target of shape (3,)", "accepted"),
    (knows_every_reduction, NLL, "reduction 'batchmean'", "accepted"),
    (knows_every_reduction, NLL, "reduction True", "accepted"),
    (converts_the_weight, CE, "weight of another real dtype", "accepted"),
    (another_type, NLL, "target 3, shape (3,), mean", "raises RuntimeError"),
    (wraps_the_dim, "softmax", "dim 2 of 2 dimensions", "accepted"),
    (overwrites_the_target, NLL, "target -1, shape (2, 3), mean", "target changed"),
    (
        breaks_for_good,
        NLL,
        "target 3, shape (2, 3), mean",
        "an ordinary call returns something else afterwards",
    ),
]


def row_named(operator: str, sentence: str) -> Refusal:
    (row,) = (row for row in each(OPERATORS[operator].refusals) if row.sentence == sentence)
    return row


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("fault", "operator", "sentence", "problem"),
    FAULTS,
    ids=[f"{fault.__name__}: {sentence}" for fault, _, sentence, _ in FAULTS],
)
def test_a_row_finds_a_planted_fault(
    fault: Callable[..., Tensor], operator: str, sentence: str, problem: str, dtype: str
) -> None:
    subject = Subject("planted", SimpleNamespace(**{operator: fault}), "")
    row = row_named(operator, sentence)
    assert problem in errors.problem_of(subject, "cpu", OPERATORS[operator], row, dtype)[0]


def test_a_subclass_of_the_type_will_do_but_not_from_torch() -> None:
    class OutOfRange(IndexError):
        pass

    def refuses(input: Tensor, target: Tensor, **options: Any) -> Tensor:
        if target.max() > 2:
            raise OutOfRange
        return F.nll_loss(input, target, **options)

    row = row_named(NLL, "target 3, shape (2, 3), mean")
    planted, torchs = (Subject(name, SimpleNamespace(nll_loss=refuses), "") for name in ("planted", "torch"))
    assert errors.problem_of(planted, "cpu", OPERATORS[NLL], row, "float32") == ("", "")
    problem, raised = errors.problem_of(torchs, "cpu", OPERATORS[NLL], row, "float32")
    assert "raises OutOfRange" in problem
    assert raised == "OutOfRange"


def test_torch_says_why_it_refuses() -> None:
    """Where its message cannot be decoded, an older Python drops it."""

    def refuses(input: Tensor, target: Tensor, **options: Any) -> Tensor:
        if target.max() > 2:
            raise IndexError
        return F.nll_loss(input, target, **options)

    row = row_named(NLL, "target 3, shape (2, 3), mean")
    planted, torchs = (Subject(name, SimpleNamespace(nll_loss=refuses), "") for name in ("planted", "torch"))
    assert errors.problem_of(planted, "cpu", OPERATORS[NLL], row, "float32") == ("", "")
    problem, raised = errors.problem_of(torchs, "cpu", OPERATORS[NLL], row, "float32")
    assert "raises IndexError without a word" in problem
    assert not raised


def test_another_type_is_news_on_a_later_torch_than_any_that_was_recorded_and_a_failure_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuses(input: Tensor, target: Tensor, **options: Any) -> Tensor:
        if target.max() > 2:
            raise TypeError("another type")
        return F.nll_loss(input, target, **options)

    def accepts(input: Tensor, target: Tensor, **options: Any) -> Tensor:
        return F.nll_loss(input, target.clamp(0, 2), **options)

    row = row_named(NLL, "target 3, shape (2, 3), mean")
    torchs, planted = (Subject(name, SimpleNamespace(nll_loss=refuses), "") for name in ("torch", "planted"))
    monkeypatch.setattr(verified, "is_later", lambda device: False)
    with pytest.raises(AssertionError, match="raises TypeError"):
        run(NLL, row, torchs)
    monkeypatch.setattr(verified, "is_later", lambda device: True)
    (news,) = run(NLL, row, torchs).news
    assert news["kind"] == "refusals"
    assert "raises TypeError, until then it raised IndexError" in news["text"]
    for wrong in (planted, Subject("torch", SimpleNamespace(nll_loss=accepts), "")):
        with pytest.raises(AssertionError, match=r"raises TypeError|accepted"):
            run(NLL, row, wrong)


def run(operator: str, row: Refusal, subject: Subject, device: str = "cpu") -> Tally:
    tally = Tally(operator, "float32")
    settings = Settings(subject, device, DTYPES, "standard", 0)
    errors.row_is_refused(OPERATORS[operator], ["float32"], settings, lambda dtype: tally, refusal=row)
    return tally


def test_a_shortfall_is_counted_and_one_that_is_mended_is_news() -> None:
    row = row_named(CE, "label_smoothing -0.25, indices")
    tally = run(CE, row, Subject("torch", builtin.functional(), ""))
    assert (tally.cases, tally.failed, tally.diverged) == (1, 0, {"label-smoothing-below-zero-is-ignored": 1})

    def mended(input: Tensor, target: Tensor, label_smoothing: float = 0.0, **options: Any) -> Tensor:
        if label_smoothing < 0:
            raise RuntimeError("label_smoothing must be between 0.0 and 1.0")
        return F.cross_entropy(input, target, label_smoothing=label_smoothing, **options)

    tally = run(CE, row, Subject("torch", SimpleNamespace(cross_entropy=mended), ""))
    assert (tally.cases, tally.failed, tally.diverged) == (1, 0, {})
    assert [news["id"] for news in tally.news] == ["label-smoothing-below-zero-is-ignored"]
    with pytest.raises(AssertionError, match="accepted, and returns"):
        run(CE, row, Subject("planted", builtin.functional(), ""))


def test_what_is_not_asked_is_skipped_by_name() -> None:
    torchs, other = Subject("torch", builtin.functional(), ""), Subject("planted", builtin.functional(), "")
    with pytest.raises(pytest.skip.Exception, match="device-side assertion"):
        run(NLL, row_named(NLL, "target 3, shape (2, 3), mean"), torchs, "cuda")
    with pytest.raises(pytest.skip.Exception, match="asked of torch alone: others may differentiate it"):
        run(BCE, row_named(BCE, "the gradient of weight"), other)
    assert run(BCE, row_named(BCE, "the gradient of weight"), torchs).cases == 1


@pytest.mark.parametrize("operator", OPERATORS)
def test_on_a_gpu_every_number_out_of_range_is_left_out_and_nothing_else(operator: str) -> None:
    rows = each(OPERATORS[operator].refusals)
    out = [row for row in rows if row.is_of_values]
    probabilities = operator == BCE
    assert bool(out) == (OPERATORS[operator].targets_classes or probabilities)
    assert all(
        row.sentence.startswith(("input ", "target ")) if probabilities else row.exception is IndexError
        for row in out
    )
    assert not any(row.is_of_values for row in rows if "dim" in row.arguments)


@pytest.mark.parametrize("operator", OPERATORS)
def test_no_two_rows_have_the_same_name(operator: str) -> None:
    names = [row.sentence for row in each(OPERATORS[operator].refusals)]
    assert len(names) == len(set(names)), [name for name in set(names) if names.count(name) > 1]
