"""What a grade tells an author, and what no way excuses.

A kernel that loses the tail is right by a textbook way, and told where it loses; one that keeps it is right
by the definition. One probability among 131072 that is off by a thousandth, and one row among 65536 that is
left out, are wrong by every way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.expectation import expected, grad_output_of
from torch_loss_parity.expectation.quantity import FORWARD, format_of
from torch_loss_parity.judging.finding import Finding
from torch_loss_parity.judging.judge import judge_quantity
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.subjects import Subject

ANYONE = Subject("anyone", None, "")


def finding_of(call: Call, quantity: str, observed: Any, grad_output: np.ndarray | None = None) -> Finding:
    bound = expected(call, (quantity,), grad_output)[quantity]
    result = np.broadcast_to(np.asarray(observed, dtype=np.float64), bound.value.shape)
    return judge_quantity(ANYONE, "cpu", None, call, quantity, result, bound, grad_output)


def rounded(call: Call, quantity: str, grad_output: np.ndarray | None = None) -> np.ndarray:
    """The true value, rounded once."""
    value = expected(call, (quantity,), grad_output)[quantity].value
    return np.asarray(format_of(call, quantity).round(value), dtype=np.float64)


def row_of(operator: str, *logits: float, dtype: str = "float32", **options: Any) -> Call:
    arguments = {"input": np.asarray([logits]), **options}
    return Call(operator, arguments, dtype, dtype, ("input",))


SOFTMAX = row_of("softmax", 37.43, 0.0, dtype="float64", dim=1)
LOG_SOFTMAX = row_of("log_softmax", 40.0, 0.0, dtype="float64", dim=1)
CROSS_ENTROPY = row_of("cross_entropy", 16.0, 0.0, target=np.asarray([0]), reduction="sum")
WITH_LOGITS = row_of(
    "binary_cross_entropy_with_logits", -16.0, -16.0, target=np.asarray([[0.0, 0.0]]), reduction="none"
)
TAILS = [
    (SOFTMAX, "input", np.asarray([[1.0, 0.0]])),
    (LOG_SOFTMAX, "input", np.asarray([[1.0, 0.0]])),
    (LOG_SOFTMAX, FORWARD, None),
    (CROSS_ENTROPY, FORWARD, None),
    (CROSS_ENTROPY, "input", np.asarray(1.0)),
    (WITH_LOGITS, FORWARD, None),
]


@pytest.mark.parametrize(
    ("call", "quantity", "upstream"), TAILS, ids=lambda each: getattr(each, "operator", None)
)
def test_a_kernel_that_loses_the_tail_is_told_where_and_one_that_keeps_it_is_sharp(
    call: Call, quantity: str, upstream: np.ndarray | None
) -> None:
    right = rounded(call, quantity, upstream)
    finding = finding_of(call, quantity, right, upstream)
    assert (finding.verdict.passes, finding.way) == (True, None)
    lost = right.copy()
    lost.flat[0] = 0.0  # of the confident class
    assert 0 < np.abs(right.flat[0]) < 1e-6
    finding = finding_of(call, quantity, lost, upstream)
    assert (finding.verdict.passes, finding.strict.passes) == (True, False)
    assert finding.way is not None
    assert finding.way.grade == "textbook"
    assert "confident" in finding.way.loses or "nearly all of the probability" in finding.way.loses
    tally = Tally(call.operator, call.dtype)
    tally.add(finding)
    assert [*tally.ways] == [f"{quantity}: {finding.way.name} (textbook); loses in {finding.way.loses}"]


def test_one_probability_among_131072_that_is_off_by_a_thousandth_is_wrong_by_every_way() -> None:
    operator = OPERATORS["softmax"]
    call = operator.call(operator.case("float32", (1, 131072), "normal", {"dim": 1, "dtype": None}, 0))
    right = rounded(call, FORWARD)
    assert finding_of(call, FORWARD, right).verdict.passes
    wrong = right.copy()
    wrong[0, 70001] *= 1.001
    finding = finding_of(call, FORWARD, wrong)
    assert (finding.verdict.passes, finding.resembles) == (False, None)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(
    ("name", "values"),
    [("nll_loss", "integers"), ("cross_entropy", "integer_losses")],
)
def test_one_row_among_65536_that_is_left_out_is_wrong_by_every_way(
    name: str, values: str, reduction: str
) -> None:
    operator = OPERATORS[name]
    call = operator.call(operator.case("float32", (65536, 2), values, {"reduction": reduction}, 0))
    losses = rounded(Call(name, {**call.arguments, "reduction": "none"}, "float32", "float32"), FORWARD)
    left_out = losses.sum() - losses[np.flatnonzero(losses)[-1]]
    assert finding_of(call, FORWARD, rounded(call, FORWARD)).verdict.passes
    wrong = finding_of(call, FORWARD, np.float32(left_out / (65536 if reduction == "mean" else 1)))
    assert not wrong.verdict.passes


def test_a_gradient_that_is_off_by_more_than_its_cancellation_is_wrong_by_every_way() -> None:
    operator = OPERATORS["cross_entropy"]
    call = operator.call(operator.case("float32", (7, 33), "normal", {"reduction": "mean"}, 0))
    upstream = grad_output_of(call, (), np.random.default_rng(0))
    right = rounded(call, "input", upstream)
    assert finding_of(call, "input", right, upstream).verdict.passes
    assert not finding_of(call, "input", right * (1 + 2.0**-15), upstream).verdict.passes
