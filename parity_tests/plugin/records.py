"""The pytest interface of records: what is told at the end of a run, ``--strict-records``, ``--report``, and
whose warnings fail.
"""

from __future__ import annotations

import linecache
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from torch_loss_parity.judging import tally
from torch_loss_parity.judging.wrapping import wrapped
from torch_loss_parity.ledger import news
from torch_loss_parity.ledger.environment import here
from torch_loss_parity.ledger.news import News
from torch_loss_parity.operators import DTYPES, OPERATORS
from torch_loss_parity.plugin.failed_test import first_line
from torch_loss_parity.processes import machine
from torch_loss_parity.processes.folders import BENCHMARKS, CHECKOUT, PACKAGE, REFERENCE
from torch_loss_parity.reports import outcome_file, verdict
from torch_loss_parity.subjects.settings import SETTINGS

DIVERGED = "parity-diverged"  # in user properties: an entry of the ledger that diverges at its smallest input
STRICT = ("all", "here")
# Distributions that an outcome gives the versions of.
NAMED = ("numpy", "hypothesis", "python-flint", "pytest")
OURS = (PACKAGE, REFERENCE, BENCHMARKS, CHECKOUT / "conftest.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("parity")
    group.addoption(
        "--strict-records",
        nargs="?",
        const="all",
        choices=STRICT,
        help="fail where something is otherwise than recorded; with =here, only if it was recorded in this "
        "very environment",
    )
    group.addoption(
        "--report",
        "--outcome",
        dest="outcome",
        metavar="FILE",
        type=Path,
        help="write what the run found to FILE, as JSON; outcome.schema.json of the package describes it",
    )
    group.addoption("--summary", metavar="FILE", type=Path, help="add the verdict to FILE, as Markdown")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Records(config), "parity-records")


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[News], None]:
    """Tells what is otherwise than recorded, at the end of the run."""
    return lambda each: request.node.user_properties.append((news.PROPERTY, each.as_dict()))


@pytest.fixture
def diverged(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Counts that an entry of the ledger diverges at its smallest input."""
    return lambda entry: request.node.user_properties.append((DIVERGED, entry))


class Records:
    """Collects what tests report, from workers too."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.news: list[dict[str, Any]] = []
        self.diverging: dict[str, dict[str, Any]] = {}
        self.failures: list[dict[str, str]] = []
        self.warnings: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failures.append(
                {
                    "test": report.nodeid,
                    "claim": tally.claim_of(report.nodeid),
                    "operator": "",
                    "dtype": "",
                    "message": first_line(report),
                }
            )
        if report.when != "teardown":
            return
        properties: list[tuple[str, Any]] = report.user_properties
        for name, value in properties:
            if name == news.PROPERTY:
                self.news.append(value)
            elif name == DIVERGED:
                self._diverges(value, tally.claim_of(report.nodeid), 1)
            elif name == tally.PROPERTY:
                self.news += value["news"]
                for entry, count in value["diverged"].items():
                    self._diverges(entry, value["claim"], count)
                for failure in self.failures[-1:]:
                    if failure["test"] == report.nodeid and (value["failed"] or not failure["operator"]):
                        failure["operator"], failure["dtype"] = value["operator"], value["dtype"]

    def _diverges(self, entry: str, claim: str, count: int) -> None:
        of_entry = self.diverging.setdefault(entry, {"cases": 0, "claims": {}})
        of_entry["cases"] += count
        of_entry["claims"][claim] = of_entry["claims"].get(claim, 0) + count

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage, nodeid: str) -> None:
        """Whatever torch, NumPy or a subject warns of fails nothing.

        What this project's own code warns of does.
        """
        if is_own(warning_message):
            where = f"{Path(warning_message.filename).name}:{warning_message.lineno}"
            text = f"{where}: {warning_message.category.__name__}: {warning_message.message}"
            self.warnings.append(f"{text} ({nodeid or 'before any test'})")

    @property
    def problems(self) -> list[str]:
        """Why a run fails though its tests pass."""
        strict = self.config.getoption("strict_records") or ""
        failing = [f"--strict-records: {each['text']}" for each in news.failing(self.news, strict)]
        return [
            *dict.fromkeys(failing),
            *(f"a warning of the suite's own code: {said}" for said in dict.fromkeys(self.warnings)),
        ]

    @pytest.hookimpl(trylast=True)  # what else fails the run is part of the outcome
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(self.config, "workerinput"):
            return
        if self.problems and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if path := self.config.getoption("outcome"):
            path.write_text(outcome_file.text_of(self.outcome(int(session.exitstatus))), encoding="utf-8")
        if path := self.config.getoption("summary"):
            with path.open("a", encoding="utf-8") as file:
                file.write(verdict.markdown(self.outcome(int(session.exitstatus))))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for heading, lines in news.sections(self.news):
            terminalreporter.section(heading)
            for line in (part for each in lines for part in wrapped(each)):
                terminalreporter.write_line(line)
        for line in (part for problem in self.problems for part in wrapped(f"FAIL: {problem}")):
            terminalreporter.write_line(line, red=True)

    def outcome(self, exitstatus: int) -> dict[str, Any]:
        """What the run found, as ``--report`` writes it; `torch_loss_parity.versions.record` and
        `torch_loss_parity.ledger.verified` read it.
        """
        settings = self.config.stash[SETTINGS]
        results = here(settings.device).as_dict()
        summary = self.config.pluginmanager.get_plugin(tally.SUMMARY)
        assert summary is not None  # conftest.py registers it
        tallies = summary.tallies
        return {
            "schema": outcome_file.SCHEMA,
            "date": time.strftime("%Y-%m-%d"),
            "environment": {
                **results,
                "python": platform.python_version(),
                "system": platform.system(),
                **{name: machine.installed(name) for name in NAMED},
                "results": results,
            },
            "options": {
                "subject": settings.subject.name,
                "device": settings.device,
                "profile": settings.subject.profile.name,
                "effort": settings.effort_name,
                "seed": settings.seed,
                "dtypes": list(settings.dtypes),
                "operators": list(settings.operators or OPERATORS),
            },
            "exitstatus": exitstatus,
            "verdict": summary.screen.as_dict(),
            "counts": tally.by_operator(tally.coverage(tallies), OPERATORS, DTYPES),
            "worst": {
                row.operator + " " + row.dtype: {"forward": row.forward, "gradient": row.gradient}
                for row in tally.rows(tallies, OPERATORS, DTYPES)
            },
            "diverging": dict(sorted(self.diverging.items())),
            "failures": self.failures,
            "news": self.news,
        }


def is_own(warning: warnings.WarningMessage) -> bool:
    """Whether this project's own code called ``warnings.warn``: the line that is named does.

    torch and NumPy name the caller's line too, from C++ or by ``stacklevel``, and that line may be ours; it
    calls no ``warn``.
    """
    path = Path(warning.filename).resolve()
    return any(path == ours or ours in path.parents for ours in OURS) and "warn(" in linecache.getline(
        warning.filename, warning.lineno
    )
