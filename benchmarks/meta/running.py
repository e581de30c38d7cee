"""Runs of ``pytest`` in processes of their own, which begin with the libraries loaded and with no other run
around them.
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
from torch_loss_parity.processes.folders import CHECKOUT

PLANTED = "torch_loss_parity.benchmarks.meta.planted"
OF_OTHERS = ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_CURRENT_TEST")
# The processes begin with them, whoever is the first to ask for one.
LOADED = ("torch_loss_parity.benchmarks.plugin", "torch_loss_parity.plugin.interface")
# What a process has loaded before pytest began is not rewritten, and pytest warns of it.
QUIET = ("-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")


@dataclass(frozen=True)
class Run:
    """What a run returned and printed."""

    exitcode: int
    printed: str

    @property
    def said(self) -> str:
        """What it printed, with no regard to where lines end."""
        return " ".join(self.printed.split())


def run(
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    folder: Path = CHECKOUT,
    modules: Path | None = None,
) -> Run:
    """``pytest`` with arguments, from a folder; ``modules`` has modules that it may load."""
    pytest_process.prepare(*LOADED)
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "log")
        more = dict(environment or {})
        process = FROM_SERVER.Process(target=_pytest, args=(arguments, log, more, folder, modules))
        process.start()
        return Run(end_of(process), log.read_text(errors="replace"))


def _pytest(
    arguments: Sequence[str], log: Path, environment: Mapping[str, str], folder: Path, modules: Path | None
) -> None:
    os.chdir(folder)
    for name in OF_OTHERS:
        os.environ.pop(name, None)
    os.environ.update(environment)
    if modules is not None:
        sys.path.insert(0, str(modules))
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.exit(int(pytest.main([*arguments, *QUIET])))
