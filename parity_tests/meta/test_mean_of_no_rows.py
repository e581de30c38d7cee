"""A mean of no rows depends on nothing: its derivative in a direction is 0, as its gradient is, or 0/0, as
the mean itself; anything else is wrong.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from torch_loss_parity.cases.case import Case
from torch_loss_parity.claims.modes.second_order import SECOND_ORDER, verify_second_order
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.subjects import Subject


def of_chosen_rows(input: Any, target: Any, ignore_index: int = -100, **options: Any) -> torch.Tensor:
    """The mean over the rows that are chosen by a mask."""
    chosen = target != ignore_index
    return -input[chosen].gather(1, target[chosen][:, None]).mean()


def with_a_part_of_every_row(input: Any, target: Any, **options: Any) -> torch.Tensor:
    """As that, and a little of the ignored rows."""
    return of_chosen_rows(input, target, **options) + (input * input).sum()


def subject(function: Any) -> Subject:
    return Subject("planted", SimpleNamespace(nll_loss=function), "")


def case_of(ignored: str) -> Case:
    options = {"reduction": "mean", "ignored": ignored}
    return OPERATORS["nll_loss"].case("float32", (4, 3), "log_probabilities", options, 5)


CREATE_GRAPH = SECOND_ORDER[:1]


def test_its_derivative_may_be_0() -> None:
    call = OPERATORS["nll_loss"].call(case_of("all"))
    assert bool(np.all(call.arguments["target"] == call.arguments["ignore_index"]))
    for ignored in ("all", "some", "none"):
        findings = verify_second_order(subject(of_chosen_rows), case_of(ignored), modes=CREATE_GRAPH)
        assert all(finding.verdict.passes for finding in findings), ignored


@pytest.mark.parametrize("ignored", ["all", "some"])
def test_a_derivative_that_is_neither_is_wrong(ignored: str) -> None:
    findings = verify_second_order(subject(with_a_part_of_every_row), case_of(ignored), modes=CREATE_GRAPH)
    assert not all(finding.verdict.passes for finding in findings)
