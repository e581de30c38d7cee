"""Runs of claims at quick effort, for the suite's tests of itself."""

from __future__ import annotations

from typing import Any

from torch_loss_parity.benchmarks.meta.running import Run, run
from torch_loss_parity.processes.folders import PACKAGE


def run_claims(*arguments: str, claims: tuple[str, ...] = ("test_forward.py",), **options: Any) -> Run:
    """pytest on files of claims, with the options of `torch_loss_parity.benchmarks.meta.running.run`."""
    files = (str(PACKAGE / "claims" / name) for name in claims)
    return run(*files, "--effort", "quick", *arguments, **options)
