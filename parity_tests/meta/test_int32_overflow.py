"""More elements than a 32-bit index counts, tried with few: torch passes with what the ledger has, and a
wrong row among the copies is found.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from torch_loss_parity.claims.domain import int32_overflow
from torch_loss_parity.operators import DTYPES, OPERATORS
from torch_loss_parity.subjects import Subject, load

QUANTITIES = ("forward", "gradients")


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int32_overflow, "ROWS", 1003)
    monkeypatch.setattr(int32_overflow, "WIDTH", 33)


@pytest.mark.parametrize("name", OPERATORS)
def test_torch_passes(name: str) -> None:
    torchs, operator = load("torch", tuple(OPERATORS)), OPERATORS[name]
    if not torchs.offers(name):
        pytest.skip(torchs.lacks(name))
    for dtype in DTYPES:
        case = int32_overflow.huge_case(operator, dtype, 0)
        for quantity in QUANTITIES:
            judged = list(int32_overflow.verdicts(torchs, case, quantity, "cpu"))
            assert judged
            assert all(verdict.passes for _, _, verdict in judged), (dtype, judged)


def test_a_row_that_differs_from_its_copies_is_judged_by_itself() -> None:
    def softmax(input: torch.Tensor, dim: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        result = torch.softmax(input, dim)
        return torch.cat([result[:900], result[900:901].flip(1), result[901:]])

    planted = Subject("planted", SimpleNamespace(softmax=softmax), "")
    case = int32_overflow.huge_case(OPERATORS["softmax"], "float32", 0)
    for quantity in QUANTITIES:
        rows = {
            row: verdict.passes for _, row, verdict in int32_overflow.verdicts(planted, case, quantity, "cpu")
        }
        assert not rows.pop(900)
        assert all(rows.values())
