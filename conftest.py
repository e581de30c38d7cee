"""The pytest interface: options, header, fixtures and the table at the end. What they do lives in parity_tests."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from parity_tests.processes import ENVIRONMENT

os.environ.update(ENVIRONMENT | os.environ)  # before torch is loaded; for workers too

import torch

from parity_tests import report, tally
from parity_tests.operators import DTYPES, OPERATORS, Operator
from parity_tests.settings import Settings, WrongOption, environment, settings
from parity_tests.subjects import BUILTIN, SubjectError

META = Path(__file__).parent / "parity_tests" / "meta"
SETTINGS = pytest.StashKey[Settings]()
PASSED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("parity", "verification of loss functions")
    group.addoption(
        "--subject",
        default="torch",
        metavar="NAME",
        help=f"what is under test: {', '.join(BUILTIN)}, a dotted module or a path to a .py file (default: torch)",
    )
    group.addoption("--device", default="cpu", help="where the subject runs: cpu, cuda, cuda:1, ... (default: cpu)")
    group.addoption("--dtype", default=",".join(DTYPES), metavar="A,B", help=f"dtypes to run (default: {','.join(DTYPES)})")
    group.addoption("--effort", default="standard", help="quick, standard or thorough (default: standard)")
    group.addoption("--counts", metavar="FILE", help="write the number of cases by operator, dtype and claim to FILE, as JSON")
    group.addoption("--seed", default=0, type=int, metavar="N", help="the same seed gives the same cases (default: 0)")


def pytest_configure(config: pytest.Config) -> None:
    option = config.getoption
    try:
        config.stash[SETTINGS] = settings(option("subject"), option("device"), option("dtype"), option("effort"), option("seed"))
    except (WrongOption, SubjectError) as error:
        raise pytest.UsageError(str(error)) from error
    config.pluginmanager.register(Summary(config), "parity-summary")
    torch.set_num_threads(1)  # the same results in one process and in a worker of pytest-xdist; test_bits asks for more itself


def pytest_report_header(config: pytest.Config) -> list[str]:
    knobs = config.stash[SETTINGS]
    return [
        f"parity: subject {knobs.subject.name}, device {knobs.device}, dtypes {','.join(knobs.dtypes)}, "
        f"effort {knobs.effort_name}, seed {knobs.seed}",
        *environment(),
        *(["parity: quick effort leaves out the suite's tests of itself, parity_tests/meta"] if knobs.effort_name == "quick" else []),
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give ``operator`` and ``dtype`` to the tests that ask for them and do not say themselves what they are."""
    own = {name for mark in metafunc.definition.iter_markers("parametrize") for name in _names(mark.args[0])}
    asked = set(metafunc.fixturenames) - own
    if "operator" in asked:
        metafunc.parametrize("operator", list(OPERATORS.values()), ids=list(OPERATORS))
    if "dtype" in asked:
        metafunc.parametrize("dtype", metafunc.config.stash[SETTINGS].dtypes)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Take the tests and the libraries, a million objects, out of what the garbage collector goes through again and again."""
    gc.freeze()


def _names(argnames: str | Sequence[str]) -> list[str]:
    return [name.strip() for name in argnames.split(",")] if isinstance(argnames, str) else list(argnames)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Quick effort is about the subject: the suite's tests of itself are left out, and counted as deselected."""
    if config.stash[SETTINGS].effort_name == "quick":
        own = [item for item in items if META in item.path.parents]
        if own and len(own) < len(items):  # asked for by name, they run
            config.hook.pytest_deselected(items=own)
            items[:] = [item for item in items if META not in item.path.parents]


@pytest.fixture(scope="session")
def knobs(request: pytest.FixtureRequest) -> Settings:
    """The knobs of this run."""
    return request.config.stash[SETTINGS]


@pytest.fixture
def findings_of(request: pytest.FixtureRequest, knobs: Settings, operator: Operator) -> Iterator[Callable[[str], tally.Tally]]:
    """Counts what the test finds, in a tally for each dtype that it asks for; an operator that the subject lacks is not offered."""
    counts: dict[str, tally.Tally] = {}

    def of(dtype: str) -> tally.Tally:
        count = counts.setdefault(dtype, tally.Tally(operator.name, dtype, claim_of(request.path)))
        if not knobs.subject.offers(operator.name):
            count.not_offered = 1
            pytest.skip(f"not offered: {knobs.subject.name} has no {operator.name}")
        return count

    try:
        yield of
        if request.node.stash.get(PASSED, False):
            assert counts, "no case was run"
            assert all(count.cases for count in counts.values()), "no case was run"
    finally:
        request.node.user_properties += [(tally.PROPERTY, count.as_property()) for count in counts.values()]


@pytest.fixture
def findings(findings_of: Callable[[str], tally.Tally], dtype: str) -> tally.Tally:
    """The tally of a test about one dtype."""
    return findings_of(dtype)


def claim_of(path: Path) -> str:
    """The kind of claim that a test file checks, after its name."""
    return path.stem.removeprefix("test_").replace("_", " ")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.stash[PASSED] = report.passed
    return report


class Summary:
    """Collects what tests report, from workers too, and prints the table at the end."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.tallies: list[dict[str, Any]] = []
        self.failed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)
        if report.when == "teardown":
            for name, value in report.user_properties:
                if name == tally.PROPERTY:
                    # a test that failed before it could judge is a failure all the same
                    unjudged = report.nodeid in self.failed and not value["failed"]
                    self.tallies.append(value | {"failed": value["failed"] + unjudged})

    @property
    def gaps(self) -> list[str]:
        """Claims that a whole run met somewhere but for some operator and dtype had no case at all."""
        option, knobs = self.config.option, self.config.stash[SETTINGS]
        narrowed = option.keyword or option.markexpr or option.maxfail or any("::" in str(argument) for argument in self.config.args)
        if narrowed or getattr(option, "lf", False) or getattr(option, "deselect", None):
            return []
        counted = tally.coverage(self.tallies)
        claims = sorted({claim for cell in counted.values() for claim in cell})
        cells = ((operator, dtype, claim) for operator in OPERATORS for dtype in knobs.dtypes for claim in claims)
        return [f"{claim}: {operator}, {dtype}" for operator, dtype, claim in cells if not counted.get((operator, dtype), {}).get(claim)]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(self.config, "workerinput"):
            return
        if self.gaps and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if self.config.option.counts:
            counted = tally.coverage(self.tallies)
            by_operator = {name: {dtype: counted[name, dtype] for dtype in DTYPES if (name, dtype) in counted} for name in OPERATORS}
            Path(self.config.option.counts).write_text(json.dumps(by_operator, indent=1, sort_keys=True) + "\n")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for gap in self.gaps:
            terminalreporter.write_line(f"FAIL: no case was run for {gap}", red=True)
        rows = tally.rows(self.tallies, OPERATORS, DTYPES)
        if rows:
            terminalreporter.section("error / allowed, worst of each operator and dtype")
            for line in report.table(rows):
                terminalreporter.write_line(line)
            terminalreporter.section("cases of each claim")
            for line in report.coverage_table(tally.coverage(self.tallies), OPERATORS, DTYPES):
                terminalreporter.write_line(line)
