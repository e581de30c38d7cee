"""The same run of pytest on one subject after another, without doing again what does not depend on the
subject.

A process runs pytest on kernels without a fault first, and the other runs are forked from it. What it has
imported and what it expects of each call is there in all of them, and a test that did not call the subject is
left out: it would do the same again. Each of them is pytest from its start to its end, with a subject, a
report and an exit status of its own.

Where the system has no fork the other runs are started anew: they import and expect for themselves, and find
the same.

Note [The time to the first failure]
    A run that is forked reaches its first failure sooner than one that a person starts. What is recorded is
    what the latter would take at most: what the first run took, when nothing was there yet, to the end of the
    test that fails, and the time that the test takes now that it fails.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from torch_loss_parity.campaign import pytest_process
from torch_loss_parity.expectation import expectation_cache
from torch_loss_parity.faults import call_counter
from torch_loss_parity.processes import system
from torch_loss_parity.processes.folders import PACKAGE, files_of_claims
from torch_loss_parity.processes.process_slots import Children, Slots

FIRST = "first"
SUBJECT = call_counter.__name__
TESTS = files_of_claims()
LEFT_OUT = ("bits",)  # by the first run: the claim starts threads, which no fork takes along
BRIEF = ("--tb=no", "--capture=no")  # what fails is counted, not read


class First(pytest_process.Recorder):
    """Notes which tests call the subject, and when each was over."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.over: dict[str, float] = {}
        self.calling: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        before = call_counter.calls()
        done = yield
        self.over[item.nodeid] = time.monotonic() - self.started
        if call_counter.calls() > before:
            self.calling.add(item.nodeid)
        return done


class Again(pytest_process.Recorder):
    """Leaves out the tests that did not call the subject; see Note [The time to the first failure]."""

    def __init__(self, path: Path, first: First) -> None:
        super().__init__(path)
        self.first = first
        self.begun = self.started

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        same = [
            item for item in items if item.nodeid in self.first.over and item.nodeid not in self.first.calling
        ]
        config.hook.pytest_deselected(items=same)
        items[:] = [item for item in items if item not in set(same)]

    def pytest_runtest_logstart(self) -> None:
        self.begun = time.monotonic()

    def seconds_to(self, nodeid: str) -> float:
        if nodeid in self.first.over:
            return self.first.over[nodeid] + time.monotonic() - self.begun
        return max(self.first.over.values(), default=0.0) + super().seconds_to(nodeid)


def files_of(first: First, files: Sequence[Path] = TESTS) -> list[str]:
    """Of the files those that have a test which calls the subject, and those that the first run left out."""
    met, calling = (
        {nodeid.partition("::")[0] for nodeid in nodeids} for nodeids in (first.over, first.calling)
    )
    names = {path: path.relative_to(PACKAGE).as_posix() for path in files}
    return [str(path) for path, name in names.items() if name in calling or name not in met]


@dataclass(frozen=True)
class Repeated:
    """One operator's runs of pytest, and what else a process that is forked from the first of them is to do.

    Attributes
    ----------
    options : tuple of str
        Of every run.
    runs : mapping of str to tuple of str
        The options of each further run, by name.
    prepare : callable, optional
        Called before the tasks, where they are forked: what it loads they have.
    tasks : mapping of str to callable
        Other work, by name; it takes the folder that what it finds is left in.
    files : tuple of Path
        The tests.
    """

    options: tuple[str, ...]
    runs: Mapping[str, tuple[str, ...]]
    prepare: Callable[[], None] | None = None
    tasks: Mapping[str, Callable[[Path], None]] = field(default_factory=dict)
    files: tuple[Path, ...] = TESTS


def repeat(work: Repeated, directory: Path, slots: Slots, limit: float) -> None:
    """Do ``work``, in this process and in children of it; each leaves what it finds in a folder of its name.

    What takes more than ``limit`` seconds is killed.

    Raises
    ------
    RuntimeError
        If the first run fails, or this process has threads after it: in a forked process they would be
        missing, and be waited for.
    """
    children = Children(slots, limit)
    with slots.one():
        first = _first_run(work, directory) if work.runs else None
        if work.prepare is not None and system.FORK:
            work.prepare()
    if system.FORK and (threads := system.threads()) > 1:
        raise RuntimeError(f"the process to fork from has {threads} threads")
    if first is not None:
        files = files_of(first, work.files)
        for name, options in work.runs.items():
            arguments = [*files, *work.options, *options, *BRIEF]
            children.start(name, _again, first, arguments, _folder(directory, name))
    for name, task in work.tasks.items():
        children.start(name, task, _folder(directory, name))
    children.join()
    for name, code in children.exitcodes.items():
        (directory / name / pytest_process.EXITCODE).write_text(str(code))


def _first_run(work: Repeated, directory: Path) -> First:
    """Run pytest on the kernels without a fault, and keep what they were expected to return.

    Raises
    ------
    RuntimeError
        If they fail.
    """
    expectation_cache.keep()
    folder = _folder(directory, FIRST)
    first = First(folder / pytest_process.RECORD)
    files = [str(path) for path in work.files if path.stem.removeprefix("test_") not in LEFT_OUT]
    code = pytest_process.run_here([*files, *work.options, "--subject", SUBJECT], folder, first)
    if code:
        raise RuntimeError(
            f"the kernels without a fault fail, or do not run "
            f"({code}):\n{pytest_process.left_in(folder).report[-4000:]}"
        )
    return first


def _again(first: First, arguments: Sequence[str], folder: Path) -> None:
    sys.exit(pytest_process.run_here(arguments, folder, Again(folder / pytest_process.RECORD, first)))


def _folder(directory: Path, name: str) -> Path:
    (directory / name).mkdir()
    return directory / name
