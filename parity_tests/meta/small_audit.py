"""A small audit for tests: the plan of every effort cut down, and pytest on it in a process of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from parity_tests.audit import plan

ROOT = Path(__file__).parents[2]
EXTENT = plan.Extent(rows={2: 8, plan.USUAL: 1}, elements=(1, 64), everywhere=1, batches=(), evaluations=128, compiled=(), sweeps=False)
SWEEPING = plan.Extent(rows={}, elements=(64,), everywhere=1, batches=(), evaluations=64, compiled=(), sweeps=True)
SMALL: Mapping[str, object] = {
    "EXTENTS": {"quick": EXTENT, "standard": EXTENT, "thorough": SWEEPING},
    "capabilities": lambda: ("default", (), {}),  # each takes a process that loads torch
    "SWEPT": 2**10,
    "SWEPT_TOGETHER": 2**8,
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
