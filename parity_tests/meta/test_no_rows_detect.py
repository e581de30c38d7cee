"""What is refused of no rows is looked at: each kernel planted here refuses what it should of some rows, and
not of none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional

from torch_loss_parity.claims.errors import checks
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.ledger.environment import torch_version
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.operators.refusals import TRIED_OF_NO_ROWS
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.settings import Settings

SETTINGS = Settings.of("torch", "cpu", "float32", "quick", 0)
pytestmark = pytest.mark.skipif(
    [*map(int, torch_version().split(".")[:2])] < [*map(int, TRIED_OF_NO_ROWS.split("."))],
    reason=f"what torch refuses of no rows is known from {TRIED_OF_NO_ROWS} on",
)


def nothing_in_nothing_out(input: torch.Tensor, dim: Any, dtype: Any = None) -> torch.Tensor:
    """softmax looks at no argument where there is nothing to do."""
    return input.clone() if not input.numel() else functional.softmax(input, dim, dtype=dtype)


def weights_that_nobody_reads(input: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
    """nll_loss looks at weights row by row."""
    return functional.nll_loss(input, target, **(options if len(target) else {**options, "weight": None}))


def an_error_of_the_backend(input: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
    """binary_cross_entropy fails in its own way where there are no blocks to launch."""
    try:
        return functional.binary_cross_entropy(input, target, **options)
    except ValueError as error:
        if input.numel():
            raise
        raise ZeroDivisionError("integer division or modulo by zero") from error


def checked(operator: str, function: Callable[..., Any], check: Callable[..., None]) -> None:
    planted = Subject("planted", SimpleNamespace(**{operator: function}), "")
    settings, tally = replace(SETTINGS, subject=planted), Tally(operator, "float32")
    check(OPERATORS[operator], ("float32",), settings, lambda dtype: tally)


FAULTS = (
    ("softmax", nothing_in_nothing_out, "accepted, and returns"),
    ("nll_loss", weights_that_nobody_reads, "accepted, and returns"),
    ("binary_cross_entropy", an_error_of_the_backend, "raises ZeroDivisionError"),
)


@pytest.mark.parametrize(
    ("operator", "fault", "problem"), FAULTS, ids=[fault[1].__name__ for fault in FAULTS]
)
def test_a_fault_fails(operator: str, fault: Callable[..., Any], problem: str) -> None:
    with pytest.raises(AssertionError, match=problem):
        checked(operator, fault, checks.no_rows_are_refused_as_some_are)
    for refusal in checks.refusals_of(OPERATORS[operator]):
        if refusal.of_no_rows and not refusal.torch_alone:
            checked(operator, fault, partial(checks.row_is_refused, refusal=refusal))


def test_what_has_no_row_to_leave_out_is_not_asked() -> None:
    left = {
        name: [refusal for refusal in checks.refusals_of(operator) if refusal.of_no_rows]
        for name, operator in OPERATORS.items()
    }
    assert all(left.values())
    assert not any(refusal.is_of_values for refusals in left.values() for refusal in refusals)
