"""Where a case costs a compilation, each test of an operator keeps one dtype at quick effort, and all dtypes
are kept by some test.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from torch_loss_parity.operators import DTYPES, OPERATORS

pytestmark = pytest.mark.whole_runs


def collected(*options: str) -> list[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "parity_tests/claims/test_forward.py",
        "--collect-only",
        "-q",
        "-p",
        "no:cacheprovider",
        *options,
    ]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=300, check=True
    )
    return [line for line in done.stdout.splitlines() if "::" in line]


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
