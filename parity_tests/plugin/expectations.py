"""The pytest interface of what is kept between runs: ``--expectations`` says where.

Note [When it is kept]
    What is expected of a case does not depend on the subject. Who is at work on a kernel runs the same cases
    again and again: a run of a subject of one's own keeps what it evaluates, and finds it the next time. The
    first run pays about a twentieth more for that. PyTorch's own functions, and what is planted in this
    suite, are mostly run in CI, where nothing is left of the last run: there it has to be asked for. The
    suite's tests of itself, some of which replace what evaluates, neither keep nor find anything.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from torch_loss_parity.expectation.expectation_cache import state
from torch_loss_parity.processes import disk_cache
from torch_loss_parity.processes.disk_cache import DiskCache
from torch_loss_parity.processes.folders import CLAIMS
from torch_loss_parity.subjects.settings import SETTINGS

OFF = "off"
VARIABLE = "TORCH_LOSS_PARITY_EXPECTATIONS"  # in place of the option, where that is not given
CACHE = pytest.StashKey[DiskCache]()
REPORTED = "parity-expectations"  # by a worker of pytest-xdist: found, missed, trouble


class Told:
    """What is said of it at the end: the sum of what all workers report."""

    def __init__(self) -> None:
        self.found = self.missed = 0
        self.trouble = ""

    def add(self, found: int, missed: int, trouble: str) -> None:
        self.found, self.missed, self.trouble = (
            self.found + found,
            self.missed + missed,
            self.trouble or trouble,
        )


TOLD = pytest.StashKey[Told]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("parity").addoption(
        "--expectations",
        metavar="DIR|off",
        help=f"where expected values are kept between runs (default: what {VARIABLE} says, else of a subject "
        f"of one's own the user's cache folder, and off)",
    )


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    option = config.getoption("expectations")
    given = os.environ.get(VARIABLE) if option is None else option
    if given == OFF or (given is None and config.stash[SETTINGS].subject.is_shipped):
        return
    folder = Path(given).expanduser() if given else disk_cache.folder_of_the_user()
    if given is not None and (not given or (folder.exists() and not folder.is_dir())):
        name = VARIABLE if option is None else "--expectations"
        raise pytest.UsageError(f"{name} is {given!r}; it must be a folder, or {OFF}")
    config.stash[CACHE], config.stash[TOLD] = DiskCache(folder.absolute(), state()), Told()
    disk_cache.use(config.stash[CACHE])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if (cache := item.config.stash.get(CACHE, None)) is not None:
        disk_cache.use(cache if CLAIMS in item.path.parents else None)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if (cache := config.stash.get(CACHE, None)) is not None:
        cache.write()
        reported = (cache.found, cache.missed, cache.trouble)
        if hasattr(config, "workeroutput"):
            config.workeroutput[REPORTED] = reported
        config.stash[TOLD].add(*reported)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker is done: what it found."""
    reported = getattr(node, "workeroutput", {}).get(REPORTED)
    if reported and TOLD in node.config.stash:
        node.config.stash[TOLD].add(*reported)


def pytest_unconfigure(config: pytest.Config) -> None:
    if (cache := config.stash.get(CACHE, None)) is not None:
        disk_cache.use(None)
        cache.close()


def pytest_report_header(config: pytest.Config) -> list[str]:
    cache = config.stash.get(CACHE, None)
    if cache is None:
        return []
    if cache.trouble:
        return [f"parity: expected values are not kept: {cache.trouble}"]
    return [f"parity: expected values are kept in {cache.folder}; --expectations says where, or {OFF}"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    told = config.stash.get(TOLD, None)
    if told is None:
        return
    if told.trouble:
        terminalreporter.write_line(f"expected values are not kept: {told.trouble}")
    if every := told.found + told.missed:
        terminalreporter.write_line(f"expected values: {told.found} of {every} are those of earlier runs")
