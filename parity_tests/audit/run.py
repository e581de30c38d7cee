"""A run of the audit: the plan of what was asked for, its units through an executor, and the audit that their
parts make.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from torch_loss_parity.audit import observed, plan, result_store
from torch_loss_parity.audit.environment import environment
from torch_loss_parity.audit.part import Conditions, Part
from torch_loss_parity.audit.record import Audit, Divergence, Missing
from torch_loss_parity.audit.record import Settings as Asked
from torch_loss_parity.audit.tasks import perform, summed
from torch_loss_parity.ledger import ledger
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.reference.arithmetic.profiles import DEFAULT
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.observing.recorded import Recorded
from torch_loss_parity.subjects.settings import Settings

STORE = "unfinished"  # in the directory of the audit: what was measured, until all is
STOPPED = "the run was stopped before; run it again to continue"


@dataclass
class Run:
    """What is measured of the chosen operators and dtypes, and found so far.

    Parameters
    ----------
    settings : Settings
    cells : sequence of (operator, dtype)
        What was asked for; of those that pytest was told to leave out, none.
    directory : Path
        Of the audit.
    workers : int
    scheduler : str
        The address of a Dask scheduler, or "" for processes of this machine.
    progress : callable
        Called with each unit that is finished, and whether an earlier run had finished it.
    beside : str
        The file of observations that stands for torch, where one stands for the subject.
    """

    settings: Settings
    cells: Sequence[plan.Cell]
    directory: Path
    workers: int
    scheduler: str = ""
    progress: Callable[[plan.Unit, bool], None] = lambda unit, before: None
    beside: str = ""
    parts: dict[str, Part] = field(default_factory=dict)
    sums: dict[str, Part] = field(default_factory=dict)
    _finished: Iterator[tuple[result_store.Chunk, str]] | None = None
    _error: Exception | None = None
    _stack: ExitStack = field(default_factory=ExitStack)
    _began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.offered = [cell for cell in self.cells if self.settings.subject.offers(cell[0])]
        planned = plan.planned(self.offered, self.settings)
        if self.settings.subject.is_elsewhere:
            planned = observed.seen(planned, self.settings.subject, beside=bool(self.beside))
        self.units = {unit.name: unit for unit in planned.units}
        self.left_out = planned.missing
        settings = self.settings
        self._conditions = Conditions(
            settings.subject.name,
            settings.device,
            settings.seed,
            settings.time_limit,
            settings.subject.profile.choice,
            source(settings.subject, self.beside),
            settings.subject.promise,
            settings.subject.like,
            file_of(settings.subject),
            self.beside,
        )

    @property
    def store(self) -> Path:
        return self.directory / STORE

    def of(self, cell: plan.Cell) -> Part:
        """What was found of an operator in a dtype; waits for it."""
        units = [unit for unit in self.units.values() if cell in unit.cells]
        while not all(unit.name in self.parts for unit in units):
            self._next()
        part = Part.of([self.parts[unit.name] for unit in units] + list(self._summed(cell)))
        return Part(
            figures=tuple(figure for figure in part.figures if (figure.operator, figure.dtype) == cell),
            axes=tuple(axis for axis in part.axes if (axis.operator, axis.dtype) == cell),
            missing=tuple(
                missing for missing in part.missing if {*cell} <= {*re.findall(r"\w+", missing.what)}
            ),
        )

    def _summed(self, cell: plan.Cell) -> Iterator[Part]:
        """The sweeps whose parts are all there."""
        for sweep in dict.fromkeys(
            unit.sweep for unit in self.units.values() if unit.work == "sweep" and cell in unit.cells
        ):
            assert sweep is not None
            units = [unit for unit in self.units.values() if unit.work == "sweep" and unit.sweep == sweep]
            parts = [self.parts[unit.name] for unit in units if unit.name in self.parts]
            if len(parts) < len(units) or any(part.missing for part in parts):
                continue
            if sweep.name not in self.sums:
                self.sums[sweep.name] = summed(
                    self._conditions, sweep, [part.swept for part in parts], sum(unit.count for unit in units)
                )
            yield self.sums[sweep.name]

    def close(self) -> None:
        """Stop; what is finished is kept in the store, until all of it is."""
        self._stack.close()
        if self.complete:
            shutil.rmtree(self.store, ignore_errors=True)

    @property
    def complete(self) -> bool:
        return len(self.parts) == len(self.units)

    @property
    def audit(self) -> Audit:
        """What was found, and what was not."""
        sums = [part for cell in self.offered for part in self._summed(cell)]
        whole = Part.of([self.parts[name] for name in self.units if name in self.parts] + sums)
        settings, operators = self.settings, self.settings.operators or tuple(OPERATORS)
        missing = list(self.left_out) + list(whole.missing)
        missing += [Missing(what=name, why=STOPPED) for name in self.units if name not in self.parts]
        for operator in operators:
            if not settings.subject.offers(operator):
                missing.append(
                    Missing(what=operator, why=f"not offered: {settings.subject.name} has no {operator}")
                )
            else:
                left = [dtype for dtype in settings.dtypes if (operator, dtype) not in self.cells]
                missing += [
                    Missing(what=f"{operator}, {dtype}", why="pytest was told to leave it out")
                    for dtype in left
                ]
        return Audit(
            settings=Asked(
                subject=settings.subject.name,
                profile=settings.subject.profile.name,
                device=settings.device,
                dtypes=settings.dtypes,
                operators=operators,
                effort=settings.effort_name,
                seed=settings.seed,
            ),
            environment=environment(settings.subject, settings.device),
            command=command(settings, self.beside),
            figures=tuple(sorted(whole.figures, key=lambda figure: figure.key)),
            axes=tuple(
                sorted(
                    whole.axes,
                    key=lambda axis: (axis.operator, axis.dtype, axis.quantity, axis.axis, axis.second),
                )
            ),
            divergences=_met(whole),
            missing=tuple(sorted(missing, key=lambda each: (each.what, each.why))),
            times=whole.times | {"all": time.monotonic() - self._began},
        )

    def open(self) -> None:
        """Reach the processes that do the work.

        Raises
        ------
        SchedulerError
            If there is no cluster at the address.
        """
        executor = self._stack.enter_context(result_store.executor(self.workers, self.scheduler))
        todo = [
            result_store.Chunk(unit.name, perform, (self._conditions, unit)) for unit in self.units.values()
        ]
        self._finished = result_store.run(todo, executor, self.store, progress=self._progress)

    def _progress(self, chunk: result_store.Chunk, before: bool) -> None:
        self.progress(self.units[chunk.name], before)

    def _next(self) -> None:
        """Wait for one more unit."""
        if self._error is not None:  # what one item met, the others would wait for
            raise self._error
        assert self._finished is not None, "the run was not opened"
        try:
            chunk, result = next(self._finished)
        except Exception as error:
            self._error = error
            raise
        self.parts[chunk.name] = Part.model_validate_json(result)


def command(settings: Settings, beside: str = "") -> str:
    """Repeats an audit."""
    words = ["pytest parity_tests --audit DIR"]
    if file := file_of(settings.subject):
        words += [f"--observed {file}", *([f"--audit-beside {beside}"] if beside else [])]
    else:
        words += [f"--subject {settings.subject.name}", f"--device {settings.device}"]
    profile = settings.subject.profile
    words += [] if profile == DEFAULT else [f"--profile {profile.choice}"]
    words += [f"--like {settings.subject.like}"] if settings.subject.like else []
    operators = [f"--operator {','.join(settings.operators)}"] if settings.operators else []
    if file:  # which says the rest
        return " ".join([*words, *operators])
    words += [f"--dtype {','.join(settings.dtypes)}", *operators]
    return " ".join([*words, f"--effort {settings.effort_name}", f"--seed {settings.seed}"])


def file_of(subject: Subject) -> str:
    """The file of observations that stands for a subject; "" where it is here."""
    return str(subject.namespace.path) if isinstance(subject.namespace, Recorded) else ""


def source(subject: Subject, beside: str = "") -> str:
    """A hash of the files that a subject and its profile are in, or were observed in; "" where they are part
    of torch or of this project: what was measured of a file that was changed since is not of this subject.
    """
    module = None if subject.is_elsewhere else getattr(subject.namespace, "__file__", None)
    files = module, subject.profile.file, file_of(subject), beside
    there = [Path(file).read_bytes() for file in files if file and Path(file).is_file()]
    return hashlib.sha256(b"\0".join(there)).hexdigest() if there else ""


def _met(part: Part) -> tuple[Divergence, ...]:
    """The entries of the ledger that explain a figure."""
    ids = {
        measures.divergence
        for figure in part.figures
        for measures in (figure.subject, figure.torch)
        if measures is not None
    }
    return tuple(
        Divergence(id=entry.id, title=entry.id.replace("-", " "), reason=entry.reason, link=entry.link)
        for entry in ledger.entries()
        if entry.id in ids
    )
