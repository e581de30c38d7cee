"""pytest in processes of its own, of which each has the libraries already loaded: hundreds of runs, one after
the other.

A forked process begins where a run of pytest begins after its imports. What one does, the next does not see.
Where the system has no fork, each begins with its imports.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from torch_loss_parity.processes import suite
from torch_loss_parity.processes.child import FROM_SERVER, end_of, preload
from torch_loss_parity.processes.child_environment import ENVIRONMENT

LOADED = (
    "pytest",
    "torch_loss_parity.tensors.preload",
    "hypothesis",
    "covertable",
    "flint",
    "torch_loss_parity.judging.judge_second_order",
    "torch_loss_parity.claims.identities",
)
COUNTS, LOG, RECORD, EXITCODE = "counts.json", "log", "record.json", "exitcode"
NEVER_RAN = -1
QUIET = ("-q", "-p", "no:cacheprovider")


@dataclass(frozen=True)
class Run:
    """What a run of pytest left.

    Attributes
    ----------
    exitcode : int
        Of the process; negative where a signal ended it.
    counts : mapping
        Cases by operator, dtype and claim.
    failed, passed : mapping of str to int
        Tests of each claim.
    first_failure : float or None
        Seconds from the end of the collection.
    report : str
        What it printed.
    """

    exitcode: int
    counts: dict[str, Any]
    failed: dict[str, int]
    passed: dict[str, int]
    first_failure: float | None
    report: str


class Recorder:
    """Counts tests by claim, and takes the time of the first that fails."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failed: dict[str, int] = {}
        self.passed: dict[str, int] = {}
        self.first_failure: float | None = None
        self.started = time.monotonic()

    def pytest_collection_finish(self) -> None:
        self.started = time.monotonic()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # Loads torch, which whoever starts processes does without.
        from torch_loss_parity.judging.tally import claim_of

        claim = claim_of(report.nodeid)
        if report.failed:
            self.failed[claim] = self.failed.get(claim, 0) + 1
            if self.first_failure is None:
                self.first_failure = self.seconds_to(report.nodeid)
        elif report.passed and report.when == "call":
            self.passed[claim] = self.passed.get(claim, 0) + 1

    def seconds_to(self, nodeid: str) -> float:
        """Seconds from the end of the collection until now, when the test ``nodeid`` reports."""
        return time.monotonic() - self.started

    def pytest_sessionfinish(self) -> None:
        self.path.write_text(
            json.dumps({"failed": self.failed, "passed": self.passed, "first_failure": self.first_failure})
        )


def prepare(*more: str) -> None:
    """Load the libraries, ``more`` modules too, where processes will be forked from. One thread each."""
    os.environ.update(ENVIRONMENT | os.environ | {"OMP_NUM_THREADS": "1", "PYTEST_ADDOPTS": ""})
    preload([*LOADED, *more])


def run_pytest(arguments: Sequence[str], limit: float | None = None) -> Run:
    """Run pytest in a process of its own, which is killed after
    ``limit`` seconds.
    """
    with tempfile.TemporaryDirectory() as directory:
        process = FROM_SERVER.Process(target=pytest_in_this_process, args=(arguments, Path(directory)))
        process.start()
        return left_in(Path(directory), end_of(process, limit))


def left_in(directory: Path, exitcode: int | None = None) -> Run:
    """What `run_here` left in a directory; the exit status too, unless it is given."""
    if exitcode is None:
        written = directory / EXITCODE
        exitcode = int(written.read_text()) if written.exists() else NEVER_RAN
    counts, log, record = (directory / name for name in (COUNTS, LOG, RECORD))
    record_of_run = (
        json.loads(record.read_text())
        if record.exists()
        else {"failed": {}, "passed": {}, "first_failure": None}
    )
    counted = json.loads(counts.read_text()) if counts.exists() else {}
    report = log.read_text(errors="replace") if log.exists() else ""
    return Run(
        exitcode,
        counted,
        record_of_run["failed"],
        record_of_run["passed"],
        record_of_run["first_failure"],
        report,
    )


def pytest_in_this_process(arguments: Sequence[str], directory: Path) -> None:
    """Run pytest, and exit as it does."""
    sys.exit(run_here(arguments, directory, Recorder(directory / RECORD)))


def run_here(arguments: Sequence[str], directory: Path, recorder: Recorder) -> int:
    """The exit status of pytest in this process, whose output goes into a file from here on; what it finds is
    left in ``directory``.
    """
    with (directory / LOG).open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    given = [*arguments, f"--counts={directory / COUNTS}", *QUIET]
    return int(pytest.main(suite.arguments(given), plugins=[recorder]))
