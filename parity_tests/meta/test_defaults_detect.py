"""Defaults are looked at: each function planted here has one of its own, and is right where nothing is left
out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional

from torch_loss_parity.claims.semantics import defaults
from torch_loss_parity.judging.judge import verify_forward, verify_gradients
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.settings import Settings

SETTINGS = Settings.of("torch", "cpu", "float32", "quick", 0)


def another_index_is_ignored(
    input: torch.Tensor, target: torch.Tensor, ignore_index: int = -101, **options: Any
) -> torch.Tensor:
    target = torch.where(target == -100, 0, target) if ignore_index == -101 else target
    return functional.cross_entropy(input, target, ignore_index=ignore_index, **options)


def a_sum_in_place_of_a_mean(
    input: torch.Tensor, target: torch.Tensor, reduction: str = "sum", **options: Any
) -> torch.Tensor:
    return functional.binary_cross_entropy(input, target, reduction=reduction, **options)


def the_dimension_is_kept(input: torch.Tensor, dim: int, keepdim: bool = True) -> torch.Tensor:
    return torch.logsumexp(input, dim, keepdim=keepdim)


def half_precision_unless_another_is_asked_for(
    input: torch.Tensor, dim: int, dtype: Any = torch.float16
) -> torch.Tensor:
    return functional.softmax(input, dim, dtype=dtype).to(dtype or input.dtype)


FAULTS: tuple[tuple[str, Callable[..., Any]], ...] = (
    ("cross_entropy", another_index_is_ignored),
    ("binary_cross_entropy", a_sum_in_place_of_a_mean),
    ("logsumexp", the_dimension_is_kept),
    ("softmax", half_precision_unless_another_is_asked_for),
)


@pytest.mark.parametrize(("operator", "fault"), FAULTS, ids=[fault.__name__ for _, fault in FAULTS])
def test_a_fault_fails(operator: str, fault: Callable[..., Any]) -> None:
    settings = replace(SETTINGS, subject=Subject("planted", SimpleNamespace(**{operator: fault}), ""))
    tally = Tally(operator, "float32")
    with pytest.raises(AssertionError, match="cases fail"):
        defaults.what_is_left_out_has_its_default(
            OPERATORS[operator], ("float32",), settings, lambda dtype: tally
        )


@pytest.mark.parametrize(("operator", "fault"), FAULTS, ids=[fault.__name__ for _, fault in FAULTS])
def test_it_is_right_where_nothing_is_left_out(operator: str, fault: Callable[..., Any]) -> None:
    subject = Subject("planted", SimpleNamespace(**{operator: fault}), "")
    case = OPERATORS[operator].case("float32", (5, 4), next(iter(OPERATORS[operator].values)), {}, seed=0)
    for verify in (verify_forward, verify_gradients):
        assert all(finding.verdict.passes for finding in verify(subject, case))
