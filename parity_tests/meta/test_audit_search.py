"""A search finds more than the sample that it started from, and what random inputs miss with the
same budget.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from torch_loss_parity.audit.search import OBJECTIVES, Found, Search
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.subjects import Subject, load

TORCH = load("torch", tuple(OPERATORS))
BUDGET = 1024


def searched(
    subject: Subject, operator: str, dtype: str, quantity: str, evaluations: int = BUDGET, seed: int = 0
) -> dict[str, Found]:
    worst = {
        one.objective: one
        for one in Search(subject, "cpu", operator, dtype, quantity, evaluations, seed).worst_rows()
    }
    assert set(worst) == set(OBJECTIVES)
    return worst


@pytest.mark.parametrize(
    ("operator", "dtype", "quantity"),
    [
        ("binary_cross_entropy_with_logits", "float32", "forward"),
        ("binary_cross_entropy_with_logits", "bfloat16", "input"),
        ("softmax", "float32", "forward"),
        ("binary_cross_entropy", "float32", "forward"),
    ],
)
def test_climbing_finds_larger_errors_of_torch_than_were_drawn(
    operator: str, dtype: str, quantity: str
) -> None:
    climbed = searched(TORCH, operator, dtype, quantity)["ulps"]
    assert climbed.score > 1.1 * climbed.sampled


def test_what_is_found_is_one_row_that_can_be_printed() -> None:
    worst = searched(TORCH, "softmax", "float32", "input")["error / allowed"]
    assert worst.call.arguments["input"].shape[0] == 1
    assert worst.call.arguments["input"].size <= 48
    assert worst.grad_output.shape == worst.call.arguments["input"].shape


def test_the_same_seed_finds_the_same_and_another_seed_something_else() -> None:
    first, again, other = (
        searched(TORCH, "softmax", "float32", "forward", 512, seed)["ulps"] for seed in (0, 0, 1)
    )
    assert first.score == again.score
    assert first.call.arguments["input"].tobytes() == again.call.arguments["input"].tobytes()
    assert first.call.arguments["input"].tobytes() != other.call.arguments["input"].tobytes()


def test_the_budget_counts_rows() -> None:
    rows: list[int] = []

    def softmax(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
        rows.append(len(input))
        return torch.softmax(input, dim)

    searched(Subject("counting", SimpleNamespace(softmax=softmax), ""), "softmax", "float32", "forward", 512)
    at_the_end = 2 * 8  # each of the worst alone
    assert 512 <= sum(rows) <= 512 + at_the_end


@pytest.mark.whole_runs
def test_climbing_finds_a_planted_error_that_as_many_random_inputs_miss() -> None:
    """A loss whose error grows over an interval, as that of a polynomial does, and is beyond the bound only
    near its end.
    """

    def planted(input: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
        right = torch.nn.functional.binary_cross_entropy(input, target, **options)
        along = (input.double() - 0.4) / 0.03
        return (right.double() * (1 + 4e-7 * torch.where((along >= 0) & (along < 1), along, 0.0))).to(
            right.dtype
        )

    subject = Subject("planted", SimpleNamespace(binary_cross_entropy=planted), "")
    climbed, drawn = [], []
    for seed in (2, 3):
        budget = 2 * BUDGET
        climbed.append(
            searched(subject, "binary_cross_entropy", "float32", "forward", budget, seed)["error / allowed"]
        )
        more = searched(subject, "binary_cross_entropy", "float32", "forward", 4 * budget, seed)[
            "error / allowed"
        ]
        drawn.append(more.sampled)  # a quarter of that is drawn: as many inputs as the search looked at
    assert all(worst.score > 1 for worst in climbed)
    assert all(0.4 < float(worst.call.arguments["input"][0]) < 0.43 for worst in climbed)
    assert all(score <= 1 for score in drawn)


def test_a_subject_that_returns_nan_is_found_at_once() -> None:
    def softmax(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
        result = torch.softmax(input, dim)
        return torch.where(input > 7, float("nan"), result)

    worst = searched(Subject("nan", SimpleNamespace(softmax=softmax), ""), "softmax", "float32", "forward")[
        "ulps"
    ]
    assert worst.score == np.inf
