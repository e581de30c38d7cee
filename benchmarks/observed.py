"""Timing a subject elsewhere: what is asked of it there, what is done with it, and what comes back.

Note [What is timed elsewhere]
    A plan for the benchmarks asks for cells: their inputs follow from a seed, and are drawn where they are
    timed. There a path, torch and the floor are timed in rounds as in any run of the benchmarks, by the same
    code, and what was returned last, and from the exchanged buffers, is written down in the rows that are
    judged. So what a time is worth is decided here, as where the subject runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from torch_loss_parity.benchmarks import allocator
from torch_loss_parity.benchmarks.buffers import Buffers, Dataset, buffers, draw
from torch_loss_parity.benchmarks.clock import Clock
from torch_loss_parity.benchmarks.matrix import EFFORTS, Cell, cells, shape_name, together
from torch_loss_parity.benchmarks.paths import BASELINE, PATHS, SUBJECT, Path, Step, of_subject
from torch_loss_parity.benchmarks.promised import works_inside
from torch_loss_parity.benchmarks.returned import Returned, is_as_large, picked_rows
from torch_loss_parity.benchmarks.timing import Timer, Timing
from torch_loss_parity.benchmarks.workload import Work, seeded
from torch_loss_parity.cases.case import Call
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.declined import NotObserved
from torch_loss_parity.subjects.observing.planning import Planning
from torch_loss_parity.subjects.observing.source import observable

if TYPE_CHECKING:  # which needs pytest
    from torch_loss_parity.subjects.settings import Settings

BY_NAME = "torch"  # the subject that is the path with which others are compared


@dataclass(frozen=True)
class Answer:
    """What came back from one dataset: ``exchanged`` if from a buffer that held other numbers before."""

    dataset: int
    exchanged: bool
    quantities: Mapping[str, Returned]


def path_of(subject: Subject) -> Path:
    """The path that a subject is."""
    return PATHS[BASELINE] if subject.name == BY_NAME else of_subject(subject)


@observable
def timed(
    subject: Subject,
    call: Call,
    device: str,
    work: str,
    options: Mapping[str, Any],
    mode: str,
    shape: Sequence[int],
    seeds: Sequence[int],
    seconds: float,
    rounds: Sequence[int],
) -> Mapping[str, Any]:
    """Time a cell of a subject.

    Parameters
    ----------
    call : Call
        The operator and the dtype.
    work, options
        Of the `Work`.
    seeds : (int, int)
        Of the inputs, and of the order within the rounds.
    seconds, rounds
        As of an `Effort`.
    """
    allocator.keep_memory()
    path, of = path_of(subject), Work(work, call.operator, options)
    cell = Cell(work, mode, (shape[0], shape[1]), call.dtype, path.name)
    held = buffers(draw(of, cell.dtype, cell.shape, seeds[0]), device)
    answers: list[Any] = []

    def returned(step: Step, output: Any, buffer: int) -> None:
        answers.append(_answer(held, step, output, buffer, exchanged=False))
        held.exchange()
        for number in held.beginning_with(buffer):
            output = step.call(step.prepare(number))
            answers.append(_answer(held, step, output, number, exchanged=True))

    clock, timer = Clock(device), Timer(device, seconds, (rounds[0], rounds[1]))

    def run(function: Callable[..., None], setup: Callable[[], Any], number: int) -> list[float]:
        times = []
        for _ in range(number):
            arguments, _ = setup()
            begun = clock()
            function(*arguments)
            times.append(float(clock() - begun))
        return times

    timing, _ = timer.time(cell, path, of, held, clock, run, seeds[1], returned)
    return {"timing": asdict(timing), "clock": str(clock), "answers": answers}


def _answer(held: Buffers, step: Step, output: Any, buffer: int, *, exchanged: bool) -> list[Any]:
    number = held.order[buffer]
    dataset, rows = held.datasets[number], picked_rows(held.datasets[number])
    quantities = {
        quantity: tuple(Returned.of(value, rows if is_as_large(dataset, quantity) else None))
        for quantity, value in step.read(output).items()
    }
    return [number, exchanged, quantities]


def asked(cell: Cell, work: Work, effort: str, seeds: tuple[int, int]) -> tuple[Call, dict[str, Any]]:
    """What `timed` is asked for a cell."""
    of = EFFORTS[effort]
    given = {
        "work": work.name,
        "options": dict(work.options),
        "mode": cell.mode,
        "shape": list(cell.shape),
        "seeds": list(seeds),
        "seconds": of.seconds,
        "rounds": list(of.rounds),
    }
    return Call(work.operator, {}, cell.dtype, cell.dtype, work.gradients), given


def seeds_of(cell: Cell, seed: int) -> tuple[int, int]:
    """The seeds of the inputs of a cell, and of the order of its rounds: of every path the same."""
    inputs = str((cell.work, cell.dtype, cell.shape))
    return seeded(inputs, seed), seeded(f"{inputs} {cell.mode}", seed)


def looked_up(
    subject: Subject, device: str, cell: Cell, work: Work, effort: str, seed: int
) -> tuple[Timing, list[Answer]]:
    """What was timed of a cell elsewhere, and what came back."""
    call, given = asked(cell, work, effort, seeds_of(cell, seed))
    found = timed(subject, call, device, **given)
    answers = [
        Answer(number, exchanged, {name: Returned(*value) for name, value in quantities.items()})
        for number, exchanged, quantities in found["answers"]
    ]
    return Timing(**found["timing"]), answers


def datasets(cell: Cell, work: Work, seed: int) -> tuple[Dataset, ...]:
    """What a cell was timed on."""
    return draw(work, cell.dtype, cell.shape, seeds_of(cell, seed)[0])


def ask(settings: Settings) -> None:
    """Ask a subject that only takes down what it is asked for the cells of an effort."""
    planning = settings.subject.namespace
    assert isinstance(planning, Planning)
    paths, works = {SUBJECT: of_subject(settings.subject)}, works_inside(settings.subject.promise)
    chosen = cells(
        EFFORTS[settings.effort_name].sheets,
        paths,
        settings.device,
        operators=settings.operators,
        dtypes=settings.dtypes,
        works=works,
    )
    by_name = {work.name: work for work in works.values()}
    for cell in together(chosen):
        work = by_name[cell.work]
        name = f"{cell.work} {cell.mode} {shape_name(cell.shape)} {cell.dtype}"
        about = {"operator": work.operator, "dtype": cell.dtype, "case": name}
        planning.about = {"test": name, "claim": "timed", **about}
        call, given = asked(cell, work, settings.effort_name, seeds_of(cell, settings.seed))
        with suppress(NotObserved):
            timed(settings.subject, call, settings.device, **given)
