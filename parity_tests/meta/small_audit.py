"""A small audit for tests: the plan of every effort cut down, and pytest on it in a process of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from torch_loss_parity.audit import plan

ROOT = Path(__file__).parents[2]
EXTENT = plan.Extent(
    rows={2: 8, plan.USUAL: 1},
    elements=(1, 64),
    usual=None,
    everywhere=1,
    longest_of_float64=plan.USUAL,
    batches=(),
    evaluations=128,
    compiled=(),
    capabilities=False,  # each takes a process that loads torch
    sweeps=False,
)
SWEEPING = replace(EXTENT, elements=(64,), usual=1, evaluations=64, sweeps=True)
SMALL: Mapping[str, object] = {
    "EXTENTS": {"quick": EXTENT, "standard": EXTENT, "thorough": SWEEPING},
    "SWEPT": 2**16,
    "SWEPT_TOGETHER": 2**13,
}


def run_pytest(arguments: Sequence[str], log: Path) -> None:
    """The work of a process: pytest on a small audit, what it prints in a file."""
    for name, value in SMALL.items():
        setattr(plan, name, value)
    os.chdir(ROOT)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    quiet = ("-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")
    sys.exit(int(pytest.main(["parity_tests/audit", *arguments, *quiet])))


if __name__ == "__main__":
    run_pytest(sys.argv[2:], Path(sys.argv[1]))
