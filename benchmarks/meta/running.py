"""Runs of ``pytest benchmarks`` in processes of their own, which begin with the libraries loaded and with no
other run around them.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from torch_loss_parity.campaign import pytest_process
from torch_loss_parity.processes.child import FROM_SERVER, end_of

PROJECT = Path(__file__).parents[2]
PLANTED = "torch_loss_parity.benchmarks.meta.planted"
OF_OTHERS = ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_CURRENT_TEST")


@dataclass(frozen=True)
class Run:
    """What a run returned and printed."""

    exitcode: int
    printed: str


def run(*arguments: str, environment: Mapping[str, str] | None = None) -> Run:
    """``pytest`` with arguments, from the project's folder."""
    pytest_process.prepare("torch_loss_parity.benchmarks.plugin")
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "log")
        process = FROM_SERVER.Process(target=_pytest, args=(arguments, log, dict(environment or {})))
        process.start()
        return Run(end_of(process), log.read_text(errors="replace"))


def _pytest(arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
    os.chdir(PROJECT)
    for name in OF_OTHERS:
        os.environ.pop(name, None)
    os.environ.update(environment)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.exit(
        int(
            pytest.main(
                [*arguments, "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
            )
        )
    )
