"""The pytest interface: options, header, fixtures and the table at the end.

What they do lives in parity_tests.
"""

from __future__ import annotations

# isort: off
import gc

gc.disable()  # until the tests are collected: what is made until then stays
# isort: on

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from torch_loss_parity.processes.child_environment import ENVIRONMENT, of_simulated_cpu
from torch_loss_parity.processes.folders import CHECKOUT, META, PACKAGE

# Before torch is loaded; for workers too.
os.environ.update({**ENVIRONMENT, **of_simulated_cpu(os.environ), **os.environ})

import torch

from torch_loss_parity.judging import report, tally
from torch_loss_parity.operators import DTYPES, OPERATORS, Operator
from torch_loss_parity.processes import system, watchdog
from torch_loss_parity.processes.strikes import STRIKES
from torch_loss_parity.settings import SETTINGS, Settings, WrongOption, environment, settings
from torch_loss_parity.subjects import BUILTIN, SubjectError
from torch_loss_parity.subjects.declined import NotOffered

pytest_plugins = (
    "torch_loss_parity.audit.plugin",
    "torch_loss_parity.plugin.records",
    "torch_loss_parity.plugin.dtype_rotation",
)
WITH_EXAMPLES = CHECKOUT / "reference"  # in docstrings
BENCHMARKS_META = CHECKOUT / "benchmarks" / "meta"
AUDIT = PACKAGE / "audit"
PASSED = pytest.StashKey[bool]()
WATCH = pytest.StashKey[watchdog.Watch]()
COUNTS = pytest.StashKey[dict[str, tally.Tally]]()
WATCHED = "parity-watch"  # the directory, as workers of pytest-xdist are told
SHOWN = 3  # reasons
# Of the claims.
FIRST = ("forward", "gradients", "semantics", "errors", "domain", "hygiene", "layouts", "modes", "identities")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("parity", "verification of loss functions")
    group.addoption(
        "--subject",
        default="torch",
        metavar="NAME",
        help=f"what is under test: {', '.join(BUILTIN)}, a dotted module or a path to a .py file (default: "
        f"torch)",
    )
    group.addoption(
        "--device", default="cpu", help="where the subject runs: cpu, cuda, cuda:1, ... (default: cpu)"
    )
    group.addoption(
        "--dtype",
        default=",".join(DTYPES),
        metavar="A,B",
        help=f"dtypes to run (default: {','.join(DTYPES)})",
    )
    group.addoption("--operator", metavar="A,B", help="operators to run (default: all)")
    group.addoption("--effort", default="standard", help="quick, standard or thorough (default: standard)")
    group.addoption(
        "--time-limit",
        type=float,
        metavar="SECONDS",
        help="how long a case may take before it fails (default: 60 at quick, 120 at standard, 1800 at "
        "thorough effort)",
    )
    group.addoption(
        "--counts",
        metavar="FILE",
        help="write the number of cases by operator, dtype and claim to FILE, as JSON",
    )
    group.addoption(
        "--whole-runs",
        action="store_true",
        help="also tests of the suite that take seconds, or start whole runs",
    )
    group.addoption(
        "--seed", default=0, type=int, metavar="N", help="the same seed gives the same cases (default: 0)"
    )


def pytest_configure(config: pytest.Config) -> None:
    option = config.getoption
    asked = [
        option(name) for name in ("subject", "device", "dtype", "effort", "seed", "time_limit", "operator")
    ]
    try:
        config.stash[SETTINGS] = settings(*asked)
    except (WrongOption, SubjectError) as error:
        raise pytest.UsageError(str(error)) from error
    worker = getattr(config, "workerinput", None)
    directory = Path(worker[WATCHED] if worker else tempfile.mkdtemp(prefix="parity-"))
    config.stash[WATCH] = watchdog.start(
        directory, os.environ.get("PYTEST_XDIST_WORKER", "main"), config.stash[SETTINGS].time_limit
    )
    if not worker and getattr(config.option, "maxworkerrestart", "") is None:
        config.option.maxworkerrestart = "1000"  # however many workers a subject kills, the report is whole
    config.pluginmanager.register(Summary(config), tally.SUMMARY)
    # The same results in one process and in a worker of pytest-xdist; test_bits asks for more itself.
    torch.set_num_threads(1)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist where the others write down what they are doing."""
    node.workerinput[WATCHED] = str(node.config.stash[WATCH].directory)


def pytest_unconfigure(config: pytest.Config) -> None:
    gc.enable()  # where nothing was collected
    if WATCH in config.stash:
        watchdog.stop()
        if not hasattr(config, "workerinput"):
            shutil.rmtree(config.stash[WATCH].directory, ignore_errors=True)


def pytest_report_header(config: pytest.Config) -> list[str]:
    knobs = config.stash[SETTINGS]
    return [
        f"parity: subject {knobs.subject.name}, device {knobs.device}, dtypes {','.join(knobs.dtypes)}, "
        f"effort {knobs.effort_name}, seed {knobs.seed}",
        *environment(),
        *(f"parity: {line}" for line in system.missing()),
        *(
            ["parity: quick effort leaves out the suite's tests of itself, in folders called meta"]
            if knobs.effort_name == "quick"
            else []
        ),
        *(
            []
            if config.option.whole_runs
            else ["parity: tests of the suite that start whole runs are left out; --whole-runs adds them"]
        ),
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give ``operator`` and ``dtype`` to the tests that ask for them and do not say themselves
    what they are.
    """
    own = {name for mark in metafunc.definition.iter_markers("parametrize") for name in _names(mark.args[0])}
    asked = set(metafunc.fixturenames) - own
    if "operator" in asked:
        names = metafunc.config.stash[SETTINGS].operators or tuple(OPERATORS)
        metafunc.parametrize("operator", [OPERATORS[name] for name in names], ids=names)
    if "dtype" in asked:
        metafunc.parametrize("dtype", metafunc.config.stash[SETTINGS].dtypes)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """What has no tests is not loaded, nor, at quick effort, the suite's tests of itself, unless they are
    asked for by name: that effort is about the subject."""
    if (
        collection_path.suffix == ".py"
        and not collection_path.name.startswith("test_")
        and WITH_EXAMPLES not in collection_path.parents
    ):
        return True
    if collection_path not in (META, BENCHMARKS_META) or config.stash[SETTINGS].effort_name != "quick":
        return None
    asked = [config.invocation_params.dir / str(argument).partition("::")[0] for argument in config.args]
    return (
        None if any(collection_path in (path.resolve(), *path.resolve().parents) for path in asked) else True
    )


def pytest_collection_finish(session: pytest.Session) -> None:
    """Take the tests and the libraries, a million objects, out of what the garbage collector goes through
    again and again.
    """
    gc.freeze()
    gc.enable()


def _names(argnames: str | Sequence[str]) -> list[str]:
    return [name.strip() for name in argnames.split(",")] if isinstance(argnames, str) else list(argnames)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is telling and cheap comes first. Other operators than those asked for are left out, and tests of
    the suite that take long, unless they are wanted: both are counted as deselected."""
    items.sort(
        key=lambda item: FIRST.index(claim) if (claim := tally.claim_of(item.nodeid)) in FIRST else len(FIRST)
    )
    if asked := config.stash[SETTINGS].operators:
        others = {
            item for item in items if META not in item.path.parents and _operator_of(item) not in ("", *asked)
        }
        config.hook.pytest_deselected(items=[item for item in items if item in others])
        items[:] = [item for item in items if item not in others]
    if not (config.option.whole_runs or config.option.keyword or config.option.markexpr):
        _leave_out(config, items, lambda item: item.get_closest_marker("whole_runs") is not None)


def _leave_out(
    config: pytest.Config, items: list[pytest.Item], chosen: Callable[[pytest.Item], bool]
) -> None:
    """Deselect some of the tests; if there are no others, they were asked for by name, and run."""
    left = [item for item in items if chosen(item)]
    if left and len(left) < len(items):
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if not chosen(item)]


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Run a test under watch; what the subject does not offer is a skip with a reason."""
    if pyfuncitem.path.parent in (META, BENCHMARKS_META, AUDIT):  # an audit watches its own processes
        return (yield)
    watching, operator = pyfuncitem.config.stash[WATCH], _operator_of(pyfuncitem)
    watching.begin(
        operator=operator, dtype=pyfuncitem.funcargs.get("dtype", ""), claim=tally.claim_of(pyfuncitem.nodeid)
    )
    counts = pyfuncitem.stash.setdefault(COUNTS, {})
    try:
        result = yield
    except NotOffered as error:
        for count in counts.values():
            count.decline(str(error))
    except watchdog.NotReturned as error:
        watching.strike(operator)
        case = f"\n  case      {watching.record['case']}" if "case" in watching.record else ""
        pytest.fail(
            f"{operator or 'a function'} of {pyfuncitem.config.stash[SETTINGS].subject.name}: {error}{case}",
            pytrace=False,
        )
    else:
        if not counts or any(count.cases for count in counts.values()):
            return result
    finally:
        watching.end()
    reasons = {reason for count in counts.values() for reason in count.declined}
    if reasons or not counts:
        pytest.skip(f"not offered: {'; '.join(sorted(reasons)[:SHOWN])}")
    return None


def _operator_of(item: pytest.Item) -> str:
    """The operator that a test is about, and "" for one that is about none or all."""
    operator = getattr(getattr(item, "callspec", None), "params", {}).get("operator")
    return operator.name if isinstance(operator, Operator) else ""


@pytest.fixture(scope="session")
def knobs(request: pytest.FixtureRequest) -> Settings:
    """The knobs of this run."""
    return request.config.stash[SETTINGS]


@pytest.fixture
def findings_of(
    request: pytest.FixtureRequest, knobs: Settings, operator: Operator
) -> Iterator[Callable[[str], tally.Tally]]:
    """Counts what the test finds, in a tally for each dtype that it asks for; an operator that the subject
    lacks is not offered.
    """
    counts: dict[str, tally.Tally] = request.node.stash.setdefault(COUNTS, {})
    if request.config.stash[WATCH].strikes(operator.name) >= STRIKES:
        pytest.fail(
            f"not run: {STRIKES} tests of {operator.name} did not return, or killed the process",
            pytrace=False,
        )

    def of(dtype: str) -> tally.Tally:
        count = counts.setdefault(
            dtype, tally.Tally(operator.name, dtype, tally.claim_of(request.node.nodeid))
        )
        if not knobs.subject.offers(operator.name):
            count.decline(f"{knobs.subject.name} has no {operator.name}")
            pytest.skip(f"not offered: {knobs.subject.name} has no {operator.name}")
        return count

    try:
        yield of
        if request.node.stash.get(PASSED, False):
            assert counts, "no case was run"
            assert all(count.cases or count.declined for count in counts.values()), "no case was run"
    finally:
        request.node.user_properties += [(tally.PROPERTY, count.as_property()) for count in counts.values()]


@pytest.fixture
def findings(findings_of: Callable[[str], tally.Tally], dtype: str) -> tally.Tally:
    """The tally of a test about one dtype."""
    return findings_of(dtype)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
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
                if name == tally.PROPERTY and isinstance(value, dict):
                    # a test that failed before it could judge is a failure all the same
                    unjudged = report.nodeid in self.failed and not value["failed"]
                    self.tallies.append(value | {"failed": value["failed"] + unjudged})

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, report: Any) -> None:
        """A worker died: name the case, and count a failure."""
        watching = self.config.stash[WATCH]
        record = watching.last(report.node.gateway.id)
        watching.strike(record.get("operator", ""))
        report.longrepr = (
            f"{report.longrepr}: the process died, or was ended after {watching.limit * watchdog.GRACE:g} s"
        )
        if "case" in record:
            report.longrepr += f"\n  case      {record['case']}"
        if record.get("operator") and record["dtype"]:
            count = tally.Tally(record["operator"], record["dtype"], record["claim"])
            count.count(False)
            self.tallies.append(count.as_property())

    @property
    def gaps(self) -> list[str]:
        """Claims that a whole run met somewhere but for some operator and dtype had no case at all. Quick
        effort is no whole run: dtypes take turns."""
        option, knobs = self.config.option, self.config.stash[SETTINGS]
        narrowed = (
            option.keyword
            or option.markexpr
            or option.maxfail
            or any("::" in str(argument) for argument in self.config.args)
        )
        if (
            knobs.effort_name == "quick"
            or narrowed
            or getattr(option, "lf", False)
            or getattr(option, "deselect", None)
        ):
            return []
        counted = tally.coverage(self.tallies)
        claims = sorted({claim for cell in counted.values() for claim in cell})
        cells = (
            (operator, dtype, claim)
            for operator in knobs.operators or OPERATORS
            for dtype in knobs.dtypes
            for claim in claims
        )
        return [
            f"{claim}: {operator}, {dtype}"
            for operator, dtype, claim in cells
            if not counted.get((operator, dtype), {}).get(claim)
        ]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(self.config, "workerinput"):
            return
        if self.gaps and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if self.config.option.counts:
            counted = tally.by_operator(tally.coverage(self.tallies), OPERATORS, DTYPES)
            Path(self.config.option.counts).write_text(json.dumps(counted, indent=1, sort_keys=True) + "\n")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for gap in self.gaps:
            terminalreporter.write_line(f"FAIL: no case was run for {gap}", red=True)
        rows = tally.rows(self.tallies, OPERATORS, DTYPES)
        if rows:
            terminalreporter.section("error / allowed, worst of each operator and dtype")
            for line in report.table(rows):
                terminalreporter.write_line(line)
            if declined := tally.not_offered(self.tallies):
                terminalreporter.section("not offered")
                for reason, count in sorted(declined.items()):
                    terminalreporter.write_line(f"{count:>6}  {reason}")
            terminalreporter.section("cases of each claim")
            for line in report.coverage_table(tally.coverage(self.tallies), OPERATORS, DTYPES):
                terminalreporter.write_line(line)
