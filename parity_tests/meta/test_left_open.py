"""Where the documentation leaves a meaning open, both are right and nothing else is: nan for an infinity. And
the rows of the table of semantics say what it decides wherever a result is no finite number.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from torch_loss_parity.claims.semantics import checks
from torch_loss_parity.expectation.expectation import FORWARD, expected
from torch_loss_parity.expectation.quantity import format_of
from torch_loss_parity.judging import explanations
from torch_loss_parity.judging.finding import Finding
from torch_loss_parity.judging.judge import judge_quantity
from torch_loss_parity.judging.left_open import judged_as_left_open
from torch_loss_parity.judging.tally import Tally, rows
from torch_loss_parity.ledger import ledger
from torch_loss_parity.operators import OPERATORS, Operator
from torch_loss_parity.operators.facets import each
from torch_loss_parity.operators.semantics import Row
from torch_loss_parity.reference.arithmetic.profiles import DEFAULT
from torch_loss_parity.reference.arithmetic.rounding import Rounded
from torch_loss_parity.subjects import Subject, builtin

ROWS = [(operator, row) for operator in OPERATORS.values() for row in each(operator.semantics)]
OPEN = [(operator, row, name) for operator, row in ROWS if row.meaning for name in row.meaning.open]
OPEN_ROWS = pytest.mark.parametrize(
    ("operator", "row", "quantity"),
    OPEN,
    ids=[f"{operator.name}: {row}, {quantity}" for operator, row, quantity in OPEN],
)


def bounds_of(operator: Operator, row: Row, dtype: str) -> dict[str, Rounded]:
    """What the definition says of a row's result and gradients."""
    call = row.expects(operator, dtype)
    bounds = expected(call, (FORWARD,))
    return bounds | expected(call, call.differentiable, row.grad_output(bounds[FORWARD].shape))


def test_wherever_a_result_is_no_finite_number_the_row_says_what_the_documentation_does() -> None:
    silent = [
        f"{operator.name}: {row}"
        for operator, row in ROWS
        if row.meaning is None
        and any(
            not np.isfinite(bound.nearest).all()
            for bound in bounds_of(operator, row, row.dtypes[-1]).values()
        )
    ]
    assert silent == []


def infinite(operator: Operator, row: Row, quantity: str) -> tuple[Finding, np.ndarray]:
    """A finding and a result that the definition, or else a way, explains, and that holds an infinity."""
    call = row.expects(operator, "float32")
    bound = bounds_of(operator, row, "float32")[quantity]
    upstream = None if quantity == FORWARD else row.grad_output(expected(call, (FORWARD,))[FORWARD].shape)
    for explanation in (None, *explanations.ways(call, quantity)):
        function = explanation.function if explanation else None
        value = expected(call, (quantity,), upstream, function=function)[quantity].nearest
        if np.isinf(value).any():
            result = np.asarray(format_of(call, quantity).round(np.array(value)))
            subject = Subject("anyone", None, "")
            return judge_quantity(subject, "cpu", None, call, quantity, result, bound, upstream), result
    raise AssertionError(
        f"{operator.name}: {row}: neither the definition nor a way has an infinite {quantity}"
    )


def verdict_of(finding: Finding, result: np.ndarray) -> Finding:
    return judged_as_left_open(finding, result, DEFAULT)


@OPEN_ROWS
def test_nan_is_right_in_the_place_of_an_infinity_and_nothing_else_is(
    operator: Operator, row: Row, quantity: str
) -> None:
    finding, result = infinite(operator, row, quantity)
    assert finding.verdict.passes
    at = int(np.flatnonzero(np.isinf(result))[0])

    def with_number(number: float, where: int = at) -> np.ndarray:
        other = result.copy()
        other.flat[where] = number
        return other

    judged = verdict_of(finding, with_number(np.nan))
    assert judged.verdict.passes
    assert judged.meaning.startswith("nan where ")
    for wrong in (0.0, 1.0, float(np.finfo(np.float32).max), -result.flat[at]):
        assert not judge_like(finding, with_number(wrong)).verdict.passes, wrong
    for finite in map(int, np.flatnonzero(np.isfinite(result))):
        for wrong in (np.nan, np.inf, result.flat[finite] + 1.0):
            assert not judge_like(finding, with_number(wrong, finite)).verdict.passes, wrong


def judge_like(finding: Finding, result: np.ndarray) -> Finding:
    """Another result of the same quantity, judged by the definition, by ways and as left open."""
    bound = expected(finding.call, (finding.quantity,), finding.grad_output)[finding.quantity]
    subject = Subject("anyone", None, "")
    judged = judge_quantity(
        subject, "cpu", None, finding.call, finding.quantity, result, bound, finding.grad_output
    )
    return judged if judged.verdict.passes else verdict_of(judged, result)


BCE = "binary_cross_entropy_with_logits"
INFINITE_WEIGHT = "weight negative, 0, inf"


def of_softplus_terms(
    input: torch.Tensor, target: torch.Tensor, weight: Any, nothing: float | None = None
) -> torch.Tensor:
    """The weight times each term; ``nothing`` stands for what is nan in the gradient of the target."""
    loss = (weight * target * F.softplus(-input)) + weight * (1 - target) * F.softplus(input)
    if nothing is not None and target.requires_grad:
        target.register_hook(lambda gradient: torch.where(gradient.isnan(), nothing, gradient))
    return loss.mean()


def problem(function: Callable[..., torch.Tensor], tally: Tally, name: str = "theirs") -> str:
    (row,) = (row for row in each(OPERATORS[BCE].semantics) if row.sentence == INFINITE_WEIGHT)
    subject = Subject(name, SimpleNamespace(**{BCE: function}), "import torch")
    return checks.problem_in_row(subject, "cpu", OPERATORS[BCE], row, "float32", tally)


def test_a_run_says_which_meaning_a_kernel_has() -> None:
    tally = Tally(BCE, "float32")
    assert problem(of_softplus_terms, tally) == ""
    assert "target: nan where the definition is infinite; the documentation leaves it open" in tally.ways
    (line,) = rows([tally.as_property()], [BCE], ["float32"])
    assert line.verdict.startswith("pass")
    assert line.verdict.endswith("1 by another meaning")


def test_a_number_that_is_made_up_in_place_of_either_is_wrong() -> None:
    made_up = partial(of_softplus_terms, nothing=0.0)
    assert "gradient with respect to target" in problem(made_up, Tally(BCE, "float32"))


def test_torch_is_asked_for_what_it_is_known_to_do() -> None:
    torchs = builtin.functional()
    assert problem(torchs.binary_cross_entropy_with_logits, Tally(BCE, "float32"), "torch") == ""
    for name in ("torch", "torch.compile"):
        assert name in ledger.subjects()
        assert "gradient with respect to target" in problem(of_softplus_terms, Tally(BCE, "float32"), name)
