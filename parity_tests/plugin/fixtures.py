"""What a test is given, and what is made of how it ends: it runs under watch, and its cases are counted."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from torch_loss_parity.judging.tally import PROPERTY, Tally, claim_of
from torch_loss_parity.operators import Operator
from torch_loss_parity.plugin import supervised
from torch_loss_parity.plugin.keys import WATCH
from torch_loss_parity.plugin.selection import operator_of
from torch_loss_parity.processes import watchdog
from torch_loss_parity.processes.folders import AUDIT, BENCHMARKS_META, META, PACKAGE
from torch_loss_parity.processes.strikes import STRIKES
from torch_loss_parity.subjects.declined import NotOffered
from torch_loss_parity.subjects.settings import SETTINGS, Settings

PASSED = pytest.StashKey[bool]()
COUNTS = pytest.StashKey[dict[str, Tally]]()
SHOWN = 3  # reasons


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Run a test under watch; what the subject does not offer is a skip with a reason."""
    if pyfuncitem.path.parent in (META, BENCHMARKS_META, AUDIT):  # an audit watches its own processes
        return (yield)
    if before := supervised.died(pyfuncitem.nodeid):
        pytest.fail(before, pytrace=False)
    supervised.begins(pyfuncitem.nodeid)
    watching, operator = pyfuncitem.config.stash[WATCH], operator_of(pyfuncitem)
    if operator:  # its cases are drawn inside the promise, whatever table the test has it from
        promise, record = pyfuncitem.config.stash[SETTINGS].subject.promise, pyfuncitem.funcargs["operator"]
        assert isinstance(record, Operator)
        pyfuncitem.funcargs["operator"] = promise.operator(record)
    watching.begin(
        operator=operator,
        dtype=pyfuncitem.funcargs.get("dtype", ""),
        claim=claim_of(pyfuncitem.nodeid),
        test=pyfuncitem.nodeid,
    )
    counts = pyfuncitem.stash.setdefault(COUNTS, {})
    try:
        result = yield
    except NotOffered as error:
        for count in counts.values():
            count.decline(str(error))
    except (watchdog.NotReturned, watchdog.Ended) as error:
        watching.strike(operator)
        case = f"\n  case      {watching.record['case']}" if "case" in watching.record else ""
        subject = pyfuncitem.config.stash[SETTINGS].subject.name
        told = f"{operator or 'a function'} of {subject}: {error}{case}"
        raise pytest.fail.Exception(told, pytrace=False) from None  # once, without what it was told by
    except Exception as error:  # what fails is told without lines and objects of this project
        if told := told_by(error, pyfuncitem.config.stash[SETTINGS].subject.name):
            raise pytest.fail.Exception(told, pytrace=False) from None
        raise
    else:
        if not counts or any(count.cases for count in counts.values()):
            return result
    finally:
        watching.end()
    reasons = {reason for count in counts.values() for reason in count.declined}
    if reasons or not counts:
        pytest.skip(f"not offered: {'; '.join(sorted(reasons)[:SHOWN])}")
    return None


def told_by(error: Exception, subject: str) -> str:
    """What a failed claim says: its message, or what the subject raised and where; empty where the error is
    one of the suite's own.
    """
    if isinstance(error, AssertionError) and str(error):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    ours = [n for n, frame in enumerate(frames) if Path(frame.filename).is_relative_to(PACKAGE)]
    beyond = frames[ours[-1] + 1 :] if ours else []
    if not beyond:
        return ""
    places = [f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in beyond]
    return "\n".join([f"{subject} raises {type(error).__name__}: {error}", *places])


@pytest.fixture(scope="session")
def settings(request: pytest.FixtureRequest) -> Settings:
    """The settings of this run."""
    return request.config.stash[SETTINGS]


@pytest.fixture
def tally_of(
    request: pytest.FixtureRequest, settings: Settings, operator: Operator
) -> Iterator[Callable[[str], Tally]]:
    """Counts what the test finds, in a tally for each dtype that it asks for; an operator that the subject
    lacks is not offered.
    """
    counts: dict[str, Tally] = request.node.stash.setdefault(COUNTS, {})
    struck = request.config.stash[WATCH].strikes(operator.name) >= STRIKES
    if struck and not supervised.began(request.node.nodeid):
        pytest.fail(
            f"not run: {STRIKES} tests of {operator.name} did not return, or killed the process",
            pytrace=False,
        )

    def of(dtype: str) -> Tally:
        count = counts.setdefault(dtype, Tally(operator.name, dtype, claim_of(request.node.nodeid)))
        if not settings.subject.offers(operator.name):
            count.decline(settings.subject.lacks(operator.name))
            pytest.skip(f"not offered: {settings.subject.lacks(operator.name)}")
        return count

    try:
        yield of
        if request.node.stash.get(PASSED, False):
            assert counts, "no case was run"
            assert all(count.cases or count.declined for count in counts.values()), "no case was run"
    finally:
        request.node.user_properties += [(PROPERTY, count.as_property()) for count in counts.values()]


@pytest.fixture
def tally(tally_of: Callable[[str], Tally], dtype: str) -> Tally:
    """The tally of a test about one dtype."""
    return tally_of(dtype)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.stash[PASSED] = report.passed
    return report
