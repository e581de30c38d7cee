"""A run of pytest that times: its threads, its progress, what is saved, and what is shown at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from torch_loss_parity.benchmarks import page, summary
from torch_loss_parity.benchmarks.machine_info import machine_of
from torch_loss_parity.benchmarks.matrix import Cell
from torch_loss_parity.benchmarks.pytest_benchmark_api import (
    leave_out_table,
    leave_out_unfinished,
    saving_nothing_is_no_error,
)
from torch_loss_parity.benchmarks.session import Benchmarks
from torch_loss_parity.judging.wrapping import COLUMNS, wrapped
from torch_loss_parity.reports.progress import Progress, Terminal

CELL = pytest.StashKey[Cell]()  # what a test is to measure
OF_ITS_TABLE = ("columns", "sort", "group-by", "name", "compare", "histogram", "cprofile", "verbose")


class Timed:
    """The plugin of such a run; it shows what there is when the run is interrupted, too."""

    def __init__(self, config: pytest.Config, run: Benchmarks) -> None:
        self.config, self.run = config, run
        self.progress: Progress | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        torch.set_num_threads(self.run.threads)
        total = sum(CELL in item.stash for item in session.items)
        if total and not session.config.option.collectonly and self.config.get_verbosity() == 0:
            self.progress = _progress(self.config.get_terminal_writer())
            self.progress.start(total)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        if self.progress and "[" in nodeid:
            self.progress.name(nodeid.partition("[")[2].removesuffix("]"))

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """No dots between the progress lines; failures and skips are told at the end."""
        if self.progress and isinstance(report, pytest.TestReport):
            category = "error" if report.failed and report.when != "call" else report.outcome
            return ("" if report.passed and report.when != "call" else category, "", "")
        return None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        try:
            return (yield)
        finally:
            if self.progress and CELL in item.stash:
                self.progress.advance()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        """What was interrupted or is wrong has no time: pytest-benchmark, which saves in a wrapper within
        this one, is not shown it.
        """
        if self.progress:
            self.progress.close()
        leave_out_unfinished(session.config)
        with saving_nothing_is_no_error():
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
        """Below pytest-benchmark's table, which is left out unless it is asked for; also where that ends in a
        regression.
        """
        if not _asks_for_its_table(self.config):
            leave_out_table(self.config)
        try:
            return (yield)
        finally:
            for line, markup in summary.lines(self.run):
                for part in wrapped(line):
                    terminalreporter.write_line(part, **markup)
            target = self.config.option.benchmark_report
            if target and (self.run.results or self.run.wrong):
                Path(target).write_text(
                    page.page(page.report_of(self.run, machine_of(self.run))), encoding="utf-8"
                )
                terminalreporter.write_line(f"wrote {target}")


def _asks_for_its_table(config: pytest.Config) -> bool:
    """Whether an option that is about pytest-benchmark's own table was given."""
    options = tuple(f"--benchmark-{name}" for name in OF_ITS_TABLE)
    return any(str(each).startswith(options) for each in config.invocation_params.args)


def _progress(writer: Any) -> Progress:
    writer.line()
    shown = "{n_fmt}/{total_fmt} {bar:12} {elapsed}, {remaining} left: {desc}"
    return Progress(
        Terminal(writer),
        watched=bool(writer.hasmarkup),
        bar=shown,
        line=f"\n{shown}",
        columns=max(40, min(writer.fullwidth - 1, COLUMNS)),
    )
