"""pytest in processes of its own, of which each has the libraries already loaded: hundreds of runs, one after the other.

A forked process begins where a run of pytest begins after its imports. What one does, the next does not see.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from parity_tests.processes import ENVIRONMENT

HERE = Path(__file__).parent
CONTEXT = multiprocessing.get_context("forkserver")
LOADED = ("pytest", "torch._dynamo", "hypothesis", "covertable", "flint", "parity_tests.verify_second_order", "parity_tests.identities")
# Assertions of a library that is already loaded are not rewritten: it has none to show.
QUIET = ("-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")


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
        claim = Path(report.nodeid.partition("::")[0]).stem.removeprefix("test_").replace("_", " ")
        if report.failed:
            self.failed[claim] = self.failed.get(claim, 0) + 1
            if self.first_failure is None:
                self.first_failure = time.monotonic() - self.started
        elif report.passed and report.when == "call":
            self.passed[claim] = self.passed.get(claim, 0) + 1

    def pytest_sessionfinish(self) -> None:
        self.path.write_text(json.dumps({"failed": self.failed, "passed": self.passed, "first_failure": self.first_failure}))


def prepare(*more: str) -> None:
    """Load the libraries, ``more`` modules too, where processes will be forked from. One thread each."""
    os.environ.update(ENVIRONMENT | os.environ | {"OMP_NUM_THREADS": "1", "PYTEST_ADDOPTS": ""})
    CONTEXT.set_forkserver_preload([*LOADED, *more])


def run_pytest(arguments: Sequence[str]) -> Run:
    """Run pytest from the project's folder in a process of its own."""
    with tempfile.TemporaryDirectory() as directory:
        counts, log, record = (Path(directory, name) for name in ("counts.json", "log", "record.json"))
        process = CONTEXT.Process(target=_pytest, args=([*arguments, f"--counts={counts}", *QUIET], log, record))
        process.start()
        process.join()
        found = json.loads(record.read_text()) if record.exists() else {"failed": {}, "passed": {}, "first_failure": None}
        counted = json.loads(counts.read_text()) if counts.exists() else {}
        report = log.read_text(errors="replace") if log.exists() else ""
        assert process.exitcode is not None  # it was joined
        return Run(process.exitcode, counted, found["failed"], found["passed"], found["first_failure"], report)


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns, called in a process of its own; JSON must be able to hold it.

    Raises
    ------
    RuntimeError
        If the process ended without a result.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "result.json")
        process = CONTEXT.Process(target=_call, args=(function, arguments, path))
        process.start()
        process.join()
        if not path.exists():
            raise RuntimeError(f"{function.__name__}{arguments} ended with {process.exitcode}")
        return json.loads(path.read_text())


def _call(function: Callable[..., Any], arguments: tuple[Any, ...], path: Path) -> None:
    path.write_text(json.dumps(function(*arguments)))


def _pytest(arguments: list[str], log: Path, record: Path) -> None:
    """The work of a process; what it and its libraries print goes into a file."""
    os.chdir(HERE.parent)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.exit(int(pytest.main(arguments, plugins=[Recorder(record)])))
