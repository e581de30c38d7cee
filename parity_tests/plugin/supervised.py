"""A run in one process that survives a subject which ends its process: it is begun anew without that test.

Note [A run in one process]
    pytest-xdist replaces a worker that dies and names its test. Without it, a run of a subject of one's own
    happens in a child of pytest's process: if that ends before the run does, the test that it was in fails,
    by the name of its case, and the run begins anew, in another child. Of an operator that has ended its
    process as often as `torch_loss_parity.processes.strikes` allows, what had not begun by then is not run.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from torch_loss_parity.processes import suite, system, watchdog
from torch_loss_parity.subjects import BUILTIN

MOST = 20  # times that a run begins anew
MAIN = "main"  # the name of the process
OVER, BEGAN = "over", "began"  # files: there when the run is over, and the tests that have begun
_directory: list[Path] = []  # of a run that is supervised
_died: dict[str, str] = {}  # by test: why it fails
_began: set[str] = set()  # tests, in runs before this one


def directory() -> Path | None:
    """Where a run that is supervised writes down what it is doing."""
    return _directory[0] if _directory else None


def died(test: str) -> str:
    """Why a test fails that has ended its process before; empty where it has not."""
    return _died.get(test, "")


def begins(test: str) -> None:
    """A test begins."""
    if _directory:
        with (_directory[0] / BEGAN).open("a", encoding="utf-8") as file:
            file.write(f"{test}\n")


def began(test: str) -> bool:
    """Whether a test has begun in a run before this one: then its operator was still tried."""
    return test in _began


@pytest.hookimpl(tryfirst=True)  # before the subject is loaded, which may start threads
def pytest_configure(config: pytest.Config) -> None:
    if not _is_to_be_supervised(config):
        return
    _directory.append(Path(tempfile.mkdtemp(prefix="parity-")))
    while True:
        child = os.fork()
        if not child:
            return
        status = _status(child)
        if (_directory[0] / OVER).exists() or len(_died) >= MOST or not _note(config, status):
            break
    shutil.rmtree(_directory[0], ignore_errors=True)
    sys.stdout.flush()
    os._exit(status if status >= 0 else 128 - status)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    if _directory:
        (_directory[0] / OVER).touch()


def _is_to_be_supervised(config: pytest.Config) -> bool:
    option = config.getoption
    return bool(
        option("subject") not in BUILTIN
        and suite.has_its_process()
        and system.FORK
        and threading.active_count() == 1
        and not _directory
        and not hasattr(config, "workerinput")
        and not any(option(name, None) for name in ("numprocesses", "tx", "usepdb", "collectonly", "audit"))
        and not suite.of_benchmarks(config)
    )


def _status(child: int) -> int:
    """The exit status of a child, negative where a signal ended it; what would end this process ends it."""

    def end(number: int, frame: Any) -> None:
        os.kill(child, number)

    before = {each: signal.signal(each, end) for each in (signal.SIGTERM, signal.SIGHUP)}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to both
    try:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _note(config: pytest.Config, status: int) -> bool:
    """Whether a test is known that ended the process; it is told, and fails from now on."""
    watch = watchdog.Watch(_directory[0], MAIN, 0.0)
    record = watch.last(MAIN)
    how = f"it exited with {status}" if status >= 0 else f"by {signal.Signals(-status).name}"
    case = f"\n  case      {record['case']}" if "case" in record else ""
    test = record.get("test", "")
    said = f"the process died: {how}, in {test}" if test else f"the process died: {how}, before any test"
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\nFAIL: {said}{case}", file=sys.stderr)
        if test and len(_died) + 1 < MOST:
            print("The run begins anew, without it.", file=sys.stderr, flush=True)
    if not test or test in _died:
        return False
    _died[test] = f"{record['operator'] or 'a function'}: the process died: {how}{case}"
    watch.strike(record["operator"])
    watch.forget(MAIN)
    _began.update((_directory[0] / BEGAN).read_text(encoding="utf-8").splitlines())
    return True
