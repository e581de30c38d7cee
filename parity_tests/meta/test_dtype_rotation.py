"""Where a case costs a compilation, each test of an operator keeps one dtype at quick effort, and all dtypes
are kept by some test.
"""

from __future__ import annotations

from collections import Counter

import pytest

from torch_loss_parity.meta.claims_run import run_claims
from torch_loss_parity.operators import DTYPES, OPERATORS

pytestmark = pytest.mark.whole_runs


def collected(*options: str) -> list[str]:
    ended = run_claims("--collect-only", "-q", *options)
    assert ended.exitcode == pytest.ExitCode.OK, ended.printed
    return [line for line in ended.printed.splitlines() if "::" in line]


def test_dtypes_take_turns_where_a_case_costs_a_compilation_and_nowhere_else() -> None:
    dealt, another = (
        collected("--subject", "torch.compile", "--effort", "quick", "--seed", seed) for seed in "01"
    )
    every = collected("--subject", "torch", "--effort", "quick")
    assert len(every) == len(DTYPES) * len(dealt)
    assert collected("--subject", "torch.compile", "--effort", "standard") == every
    assert set(dealt) < set(every)
    assert not set(dealt) & set(another)
    tests = Counter(name.rpartition("-")[0] for name in dealt)
    assert set(tests.values()) == {1}
    assert len(tests) == 2 * len(OPERATORS)
    assert {name.rpartition("-")[2].rstrip("]") for name in dealt} == set(DTYPES)
