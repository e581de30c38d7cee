"""The tables at the end of a run, and what of it is missing."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from torch_loss_parity.judging import report, tally
from torch_loss_parity.judging.wrapping import wrapped
from torch_loss_parity.operators import DTYPES, OPERATORS
from torch_loss_parity.operators.kinds import area_of
from torch_loss_parity.plugin import completeness, shown_failures
from torch_loss_parity.plugin.failed_test import case_in, first_line
from torch_loss_parity.plugin.keys import OPERATOR, WATCH
from torch_loss_parity.plugin.observing import unseen
from torch_loss_parity.plugin.skips import Skips
from torch_loss_parity.processes import watchdog
from torch_loss_parity.reports import screen
from torch_loss_parity.reports.screen import Screen
from torch_loss_parity.subjects.settings import SETTINGS

MORE = "--all-failures shows every one, and --report FILE names them as JSON."
KNOWN = "of one's own ledger"  # what stands for an entry where --known has it


class Summary:
    """Collects what tests report, from workers too, and prints the table at the end."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.tallies: list[dict[str, Any]] = []
        self.crashed: set[str] = set()  # tests whose process died, counted by then
        self.left_out: set[tuple[str, str]] = set()
        self.known: set[str] = set()  # tests that fail as --known says
        self.failures: dict[str, screen.Failure] = {}
        self.told: dict[str, dict[screen.KeyOfCause, tuple[int, str]]] = {}  # see shown_failures
        self.skips = Skips(config.rootpath)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.skips.count(report)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.skips.count(report)
        if report.failed:
            operator = str(dict(report.user_properties).get(OPERATOR, ""))
            message = first_line(report).removeprefix("AssertionError: ").removeprefix("Failed: ")
            self.failures[report.nodeid] = screen.Failure(
                tally.claim_of(report.nodeid),
                operator,
                message,
                explained=False,
                counted=report.nodeid in self.crashed,
                case=case_in(report),
            )
        if hasattr(report, "wasxfail"):
            self.known.add(report.nodeid)
        elif report.skipped:
            operator = str(dict(report.user_properties).get(OPERATOR, ""))
            self.left_out.add((operator, tally.claim_of(report.nodeid)))
        if report.when == "teardown":
            self._count(report)

    def _count(self, report: pytest.TestReport) -> None:
        """Take what a test counted. One that failed before it could judge a case is a case that fails."""
        counted = [
            value
            for name, value in report.user_properties
            if name == tally.PROPERTY and isinstance(value, dict)
        ]
        if report.nodeid in self.known:
            for value in counted:
                number = value["failed"]
                value |= {"failed": 0, "causes": {}, "diverged": value["diverged"] | {KNOWN: number}}
        if report.nodeid in self.failures and counted:
            if not any(value["failed"] for value in counted):
                last = counted[-1]
                counted[-1] = last | {"cases": last["cases"] + 1, "failed": 1}
            explained = any(value["causes"] for value in counted)
            self.failures[report.nodeid] = replace(
                self.failures[report.nodeid], counted=True, explained=explained
            )
            self.told[report.nodeid] = {
                (area_of(value["claim"]), cause): (one["size"], one["example"])
                for value in counted
                for cause, one in value["causes"].items()
            }
        self.tallies += counted

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
            self.crashed.add(report.nodeid)
            self.tallies.append(count.as_property())

    @cached_property
    def missing(self) -> list[str]:
        """The kinds of claim of which an operator had no case, though nothing says why; asked for when all
        tests have reported.
        """
        return completeness.missing(self.config, self.tallies, self.left_out)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(self.config, "workerinput"):
            return
        if self.missing and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if (self.screen.shortages or self.screen.missing) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = (
                pytest.ExitCode.NO_TESTS_COLLECTED
            )  # too little of what was asked was answered
        if self.config.option.counts:
            counted = tally.by_operator(tally.coverage(self.tallies), OPERATORS, DTYPES)
            Path(self.config.option.counts).write_text(json.dumps(counted, indent=1, sort_keys=True) + "\n")

    @property
    def screen(self) -> screen.Screen:
        """The verdict."""
        settings = self.config.stash[SETTINGS]
        subject = settings.subject
        like = f", like {subject.like}" if subject.like else ""
        title = (
            f"{subject.name}{like} on {settings.device}, {settings.effort_name} effort, seed {settings.seed}"
        )
        if self.known:
            title += f"; {len(self.known)} tests fail as is known"
        failures = list(self.failures.values())
        return screen.Screen(
            title,
            self.tallies,
            failures,
            str(subject.promise),
            subject.excludes,
            self.missing,
            unseen(subject),
        )

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_report_header(self) -> Generator[None, list[str | list[str]], list[str | list[str]]]:
        """What every plugin says, this one's neighbours too, in lines that a terminal holds."""
        said = yield
        given = ([each] if isinstance(each, str) else each for each in said)
        return [[part for line in lines for part in wrapped(line)] for lines in given]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> Generator[None]:
        """The verdict comes first, before what failed, and its first lines again at the end."""
        verdict = self.screen
        if self.tallies:
            terminalreporter.section("verdict")
            _write_lines(terminalreporter, verdict.lines())
        try:
            with shown_failures.shortened(terminalreporter, self._shown(verdict)) as hidden:
                result = yield
            if hidden:
                _write(terminalreporter, f"{hidden} more tests fail. {MORE}", yellow=True)
            return result
        finally:
            self._tables(terminalreporter)
            if self.tallies and verdict.word != screen.PASSED:
                terminalreporter.section("the verdict again; its causes stand above what failed")
                _write_lines(terminalreporter, verdict.first_lines())

    def _shown(self, verdict: Screen) -> set[str]:
        """The tests that are shown where they fail."""
        if self.config.option.all_failures or len(self.failures) <= screen.CAUSES:
            return set(self.failures)
        told = {
            test: self.told.get(test)
            or {(area_of(failure.kind), failure.cause[0]): (0, failure.cause[1]["example"])}
            for test, failure in self.failures.items()
        }
        return shown_failures.chosen(told, verdict.smallest)

    def _tables(self, terminalreporter: pytest.TerminalReporter) -> None:
        for each in self.missing:
            _write(terminalreporter, f"FAIL: no case was run for {each}", red=True)
        subject = self.config.stash[SETTINGS].subject
        rows = tally.rows(self.tallies, OPERATORS, DTYPES, subject.excludes)
        if rows:
            terminalreporter.section("error / allowed, worst of each operator and dtype")
            for line in report.table(rows, self.config.stash[SETTINGS].subject.profile):
                terminalreporter.write_line(line)
            if ways := tally.by_ways(self.tallies):
                terminalreporter.section("explained by another way than the definition")
                for operator, sentences in sorted(ways.items()):
                    for sentence, count in sorted(sentences.items()):
                        _write(terminalreporter, f"{count:>6}  {operator}, {sentence}")
            if declined := tally.not_offered(self.tallies):
                outside = {reason: n for reason, n in declined.items() if subject.promise.excludes(reason)}
                if outside:
                    terminalreporter.section("outside the promise, not asked")
                    number = sum(outside.values())
                    _write(terminalreporter, f"{number:>6}  cases, in {len(outside)} ways: {subject.promise}")
                if rest := {reason: n for reason, n in declined.items() if reason not in outside}:
                    terminalreporter.section("not offered")
                    for reason, count in sorted(rest.items()):
                        _write(terminalreporter, f"{count:>6}  {reason}")
            if lines := completeness.gaps(self.config):
                terminalreporter.section("what operators do not have")
                for line in lines:
                    _write(terminalreporter, line)
            terminalreporter.section("cases of each claim")
            for line in report.coverage_table(tally.coverage(self.tallies), OPERATORS, DTYPES):
                terminalreporter.write_line(line)
        if lines := self.skips.lines():
            terminalreporter.section("skipped")
            for line in lines:
                terminalreporter.write_line(line)


def _write_lines(terminalreporter: pytest.TerminalReporter, lines: Iterable[screen.Line]) -> None:
    for line, markup in lines:
        terminalreporter.write_line(line, **markup)


def _write(terminalreporter: pytest.TerminalReporter, sentence: str, **markup: bool) -> None:
    """A sentence that may take several lines."""
    for line in wrapped(sentence):
        terminalreporter.write_line(line, **markup)
