"""A ledger of one's own: what is known to fail of a subject, in a file that a run writes and others read.

``--record-known FILE`` writes what fails, ``--known FILE`` expects it: a test that is named there may fail
for the causes that it names, and for no other; one that does not fail any more is a failure too, as its entry
is to go. So a kernel can be put under test with its faults as they are, and neither gets worse nor better in
silence.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest

from torch_loss_parity.judging.causes import alike
from torch_loss_parity.plugin.failed_test import first_line
from torch_loss_parity.plugin.fixtures import COUNTS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SCHEMA = 1
SAID = "parity-said"  # in a report's user properties: why the test failed
PLUGIN = "parity-known"
HEAD = """# What is known to fail, written by --record-known. An entry holds for the causes that it names.
# One that does not fail any more is a failure, and is to be removed.
"""


class NoKnown(ValueError):
    """The file holds no known failures; the message says why."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("parity")
    group.addoption("--known", metavar="FILE", type=Path, help="what is known to fail, from --record-known")
    group.addoption("--record-known", metavar="FILE", type=Path, help="write what fails to FILE, as TOML")


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("known")
    try:
        known = read(path) if path else {}
    except NoKnown as error:
        raise pytest.UsageError(f"--known {error}") from error
    config.pluginmanager.register(Known(config, known), PLUGIN)


def read(path: Path) -> dict[str, str]:
    """The causes for which each test is known to fail, by the name of the test.

    Raises
    ------
    NoKnown
        If the file cannot be read, or holds something else.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NoKnown(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise NoKnown(f"{path} is not TOML: {error}") from error
    if data.get("schema") != SCHEMA:
        raise NoKnown(f"{path} has schema {data.get('schema')!r}; it must be {SCHEMA}")
    known = {}
    for number, entry in enumerate(data.get("known", ()), 1):
        if not isinstance(entry, dict) or set(entry) != {"test", "because"}:
            raise NoKnown(f"{path}: entry {number} must have test and because, and nothing else")
        known[str(entry["test"])] = str(entry["because"])
    return known


def written(failures: Mapping[str, str]) -> str:
    """A file of known failures."""
    entries = (
        f"\n[[known]]\ntest = {json.dumps(test)}\nbecause = {json.dumps(because)}\n"
        for test, because in sorted(failures.items())
    )
    return f"{HEAD}schema = {SCHEMA}\n{''.join(entries)}"


def name_of(nodeid: str) -> str:
    """The name of a test, whatever folder the suite lies in."""
    path, _, rest = nodeid.partition("::")
    return f"{Path(path).name}::{rest}"


class Known:
    """Expects what is known to fail, and collects what fails, from workers too."""

    def __init__(self, config: pytest.Config, known: Mapping[str, str]) -> None:
        self.config, self.known = config, known
        self.failures: dict[str, str] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.when != "call":
            return report
        name = name_of(item.nodeid)
        known = self.known.get(name)
        if report.failed:
            said = _said(item, report)
            report.user_properties.append((SAID, said))
            if known == said:
                report.outcome = "skipped"
                report.wasxfail = f"known: {said}"
            elif known is not None:
                why = f"it is known to fail because: {known}\nand fails because: {said}"
                report.longrepr = f"{why}\n\n{report.longrepr}"
        elif report.passed and known is not None:
            report.outcome = "failed"
            report.longrepr = f"it is known to fail ({known}), and does not: remove {name} from {self.path}"
        return report

    @property
    def path(self) -> Any:
        return self.config.getoption("known")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for key, said in report.user_properties:
            if key == SAID:
                self.failures[name_of(report.nodeid)] = str(said)

    def pytest_sessionfinish(self) -> None:
        path = self.config.getoption("record_known")
        if path and not hasattr(self.config, "workerinput"):
            path.write_text(written(self.failures), encoding="utf-8")


def _said(item: pytest.Item, report: pytest.TestReport) -> str:
    """Why a test failed: its causes, or else what its message begins with."""
    counts = item.stash.get(COUNTS, {})
    causes = dict.fromkeys(cause for count in counts.values() for cause in count.causes)
    return "; ".join(sorted(causes)) or alike(first_line(report))
