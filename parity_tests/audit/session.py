"""An audit as a run of pytest: its request checked before the work begins, its result written, shown and
compared at the end.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from torch_loss_parity.audit import compare, files, observed, page, result_store, summary
from torch_loss_parity.audit.record import Audit
from torch_loss_parity.audit.run import Run
from torch_loss_parity.judging.wrapping import wrapped
from torch_loss_parity.processes import system
from torch_loss_parity.reports.progress import Progress, uncaptured_stderr
from torch_loss_parity.subjects.observing.recorded import Recorded
from torch_loss_parity.subjects.settings import Settings

JSON, PAGE = "audit.json", "index.html"


class WrongRequest(ValueError):
    """The audit cannot be done as it was asked for; the message says what can."""


def _progress() -> Progress:
    file = uncaptured_stderr()
    return Progress(
        file,
        watched=file.isatty(),
        bar="audit {percentage:3.0f}%|{bar}| {elapsed}<{remaining} {desc}",
        line="\naudit: {percentage:.0f}% after {elapsed}, about {remaining} left ({desc})\n",
    )


@dataclass
class Session:
    """A plugin of pytest that does one audit.

    Attributes
    ----------
    old : Audit or None
        What it is compared with.
    gates : tuple of str
        What must not have grown.
    run : Run
        Known once the items are.
    """

    settings: Settings
    directory: Path
    workers: int
    scheduler: str = ""
    old: Audit | None = None
    gates: tuple[str, ...] = ()
    progress: Progress = field(default_factory=_progress)
    run: Run | None = None
    audit: Audit | None = None
    comparison: Any = None
    tripped: list[str] = field(default_factory=list)
    beside: str = ""  # the file that stands for torch, where one stands for the subject
    before: int = 0  # parts that an earlier run had finished

    @classmethod
    def from_options(cls, settings: Settings, option: Any) -> Session:
        """Check the options.

        Raises
        ------
        WrongRequest
            If the directory cannot be written to, a file to compare with, or to measure beside, cannot be
            read or is another's, a gate is none, or no process is allowed.
        """
        workers = option.workers if option.workers is not None else system.cores()
        if workers < 1:
            raise WrongRequest(f"--workers is {workers}; it must be at least 1")
        directory = _writable(Path(option.audit))
        if option.scheduler is None:
            result_store.prepare()  # while tests are collected
        gates = tuple(option.audit_compare_fail or ())
        if gates and option.audit_compare is None:
            raise WrongRequest(
                f"--audit-compare-fail is {gates[0]!r}, and there is nothing to compare with; "
                f"add --audit-compare FILE"
            )
        try:
            old = files.load(Path(option.audit_compare)) if option.audit_compare is not None else None
            for gate in gates:
                compare.parse_gate(gate)
        except (files.AuditFileError, compare.GateError) as error:
            raise WrongRequest(str(error)) from error
        beside = option.audit_beside or ""
        try:
            if beside:
                observed.must_go_together(settings.subject, Path(beside))
        except ValueError as error:
            raise WrongRequest(f"--audit-beside: {error}") from error
        return cls(settings, directory, workers, option.scheduler or "", old, gates, beside=beside)

    @property
    def header(self) -> list[str]:
        how = f"the scheduler at {self.scheduler}" if self.scheduler else f"{self.workers} workers"
        lines = [f"parity: audit into {self.directory}, by {how}"]
        if self.old is not None:
            lines.append(
                f"parity: compared with an audit of {self.old.settings.subject}, torch "
                f"{self.old.environment.get('torch', '?')}"
            )
        return lines

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if session.config.option.collectonly or not session.items:
            return
        chosen: list[dict[str, Any]] = [
            item.callspec.params for item in session.items if isinstance(item, pytest.Function)
        ]
        cells = [(parameters["operator"].name, str(parameters["dtype"])) for parameters in chosen]
        run = Run(
            self.settings, cells, self.directory, self.workers, self.scheduler, self._done, beside=self.beside
        )
        try:
            run.open()
        except ValueError as error:  # of a scheduler
            raise pytest.UsageError(str(error)) from error
        self.run = run
        self.progress.start(max(sum(unit.weight for unit in run.units.values()), 1.0))

    def _done(self, unit: Any, before: bool) -> None:
        self.before += before
        self.progress.name(unit.name, shown=False)
        self.progress.advance(unit.weight)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self) -> None:
        self.progress.clear()

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        run = self.run
        if run is None:
            return
        run.close()
        self.progress.close()
        self.audit = run.audit
        if self.old is not None:
            self.comparison = compare.compare(self.old, self.audit)
            self.tripped = [failure for gate in self.gates for failure in compare.gate(self.comparison, gate)]
        files.save(self.audit, self.directory / JSON)
        page.write(self.directory / PAGE, self.audit, self.comparison)
        if self.tripped and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.audit is None or self.run is None:
            return

        def write(sentence: str, **markup: bool) -> None:
            for line in wrapped(sentence):
                terminalreporter.write_line(line, **markup)

        terminalreporter.section(
            f"audit of {self.settings.subject.name}: the worst of each operator and dtype"
        )
        if isinstance(source := self.settings.subject.namespace, Recorded):
            write(f"{source.path.name}: {source.told}")
        for line in summary.table(self.audit):
            terminalreporter.write_line(line)
        if missing := list(summary.shortcomings(self.audit)):
            terminalreporter.section("not measured")
            for line in missing:
                write(line)
        if self.comparison is not None:
            terminalreporter.section("compared")
            for line in compare.table(self.comparison):
                write(line)
            for failure in self.tripped:
                write(f"FAIL: {failure}", red=True)
        write("")
        if self.before:
            write(
                f"{self.before} of {len(self.run.units)} parts were finished before, by a run that was "
                f"stopped"
            )
        write(f"{self.directory / PAGE} shows it, {self.directory / JSON} holds it")
        write("an audit measures by how much numbers differ; whether a subject is right says `verify`")
        if not self.run.complete:
            write(
                f"Stopped before all was measured; what is finished is kept in {self.run.store}: run it "
                f"again to continue",
                yellow=True,
            )


def _writable(directory: Path) -> Path:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise WrongRequest(
            f"--audit is {str(directory)!r}, which cannot be written to ({error.strerror}); name a directory"
        ) from error
    return directory
