"""An audit of a subject that runs elsewhere: what is asked of it there, and what is not.

Note [What is observed]
    A plan for an audit asks for what an audit asks a subject in any case, whatever it returns: the results
    and the gradients of what is drawn, and of every number of half precision. A file of what came back then
    stands for the subject, and what follows is as where it runs. All else that an audit measures (see
    `UNSEEN`) depends on what the subject returned before, on how it is run, or is too much for a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path

from torch_loss_parity.audit import exhaustive_parts, measure_cases, plan
from torch_loss_parity.audit.part import TORCH
from torch_loss_parity.audit.plan import Cell, Planned, Unit
from torch_loss_parity.audit.record import Missing
from torch_loss_parity.judging.judge import of_the_subject
from torch_loss_parity.ledger.environment import Environment
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.subjects import Subject, run_subject
from torch_loss_parity.subjects.declined import UNSEEN as NOT_OBSERVED
from torch_loss_parity.subjects.declined import NotObserved
from torch_loss_parity.subjects.observing.planning import Planning
from torch_loss_parity.subjects.observing.recorded import Recorded
from torch_loss_parity.subjects.settings import Settings

SEEN = ("draw", "exhaust")  # the work whose calls are known before the subject runs
# What is not, by the name of the work: what an audit does not have of it, and why.
UNSEEN: Mapping[str, tuple[str, str]] = {
    "search": ("searches for the worst", "each of their calls follows from what the one before returned"),
    "axes": ("threads, layout and batch", "a call is run in several ways there, and one way is observed"),
    "compiled": ("eager and compiled", "torch.compile takes the functions themselves"),
    "capability": (
        "capabilities",
        "a call is run with several sets of instructions there, and one is observed",
    ),
    "sweep": ("all 2**32 numbers of float32", "their results are too much for a file"),
}
ALONE = Missing(
    what="the worst row of a result as a call of its own",
    why="which it is follows from what was observed; of a call that is too large to print the case that "
    "draws it is shown",
)
NO_TORCH = Missing(
    what="torch beside the subject",
    why="this machine's is not that of where the subject ran: observe torch there by the same plan, and add "
    "--beside FILE",
)


def seen(planned: Planned, subject: Subject, *, beside: bool = False) -> Planned:
    """What of an audit can be measured from a file, and what cannot, by name."""
    works = {unit.work for unit in planned.units}
    missing = [
        Missing(what=what, why=f"{NOT_OBSERVED}{why}")
        for work, (what, why) in UNSEEN.items()
        if work in works
    ]
    missing += [ALONE] if planned.units else []
    missing += [NO_TORCH] if planned.units and subject.name != TORCH and not beside else []
    return Planned(
        tuple(in_order_of_worth(unit for unit in planned.units if unit.work in SEEN)),
        (*planned.missing, *missing),
    )


def in_order_of_worth(units: Iterable[Unit]) -> Iterator[Unit]:
    """What is drawn before what is exhausted; of each cell something before more of any."""
    by_cell: dict[tuple[str, tuple[Cell, ...]], list[Unit]] = {}
    for unit in units:
        by_cell.setdefault((unit.work, unit.cells), []).append(unit)
    for work in SEEN:
        rounds = zip_longest(*(of for (name, _), of in by_cell.items() if name == work))
        yield from (unit for together in rounds for unit in together if unit is not None)


def lacking(subject: Subject, missing: Iterable[Missing]) -> Iterator[str]:
    """What the file of a subject should hold and does not, in a line: it was cut short, or its plan was of
    another version of this package.
    """
    if isinstance(subject.namespace, Recorded):
        why = subject.namespace.why_not
        if number := sum(each.why == f"{NOT_OBSERVED}{why}" for each in missing):
            yield f"{number} of what was to be observed: {why}"


def must_go_together(subject: Subject, beside: Path) -> None:
    """
    Raises
    ------
    DamagedFile
        If the file that is to stand for torch cannot be read.
    ValueError
        If it is not torch's, or not of the same device, plan and environment as the subject's.
    """
    if not isinstance(subject.namespace, Recorded):
        raise ValueError(
            f"{beside} is given, and {subject.name} runs here, where torch is measured beside it in any case"
        )
    theirs, ours = Recorded(beside).header, subject.namespace.header
    if theirs["subject"] != TORCH:
        raise ValueError(
            f"{beside} is of {theirs['subject']}, and what is measured beside a subject is torch"
        )
    same = {name: theirs[name] == ours[name] for name in ("device", "plan")}
    there, here = (Environment.of(header["environment"]) for header in (theirs, ours))
    for what, is_same in {**same, "environment": there == here}.items():
        if not is_same:
            raise ValueError(f"{beside} and {subject.namespace.path} were not observed by the same {what}")


def ask(settings: Settings) -> None:
    """Ask a subject that only takes down what it is asked for what an audit asks of it."""
    planning = settings.subject.namespace
    assert isinstance(planning, Planning)
    operators = [name for name in settings.operators or OPERATORS if settings.subject.offers(name)]
    cells = [(name, dtype) for name in operators for dtype in settings.dtypes]
    for unit in seen(plan.planned(cells, settings), settings.subject).units:
        ((operator, dtype),) = unit.cells
        about = {"operator": operator, "dtype": dtype}
        for case in unit.cases:
            planning.about = {"test": str(case), "claim": "drawn", **about, "case": str(case)}
            for _, call, quantities, grad_output in measure_cases.asked(case):
                with suppress(NotObserved):
                    measure_cases.results_of(settings.subject, settings.device, call, quantities, grad_output)
        if (sweep := unit.sweep) is not None:
            planning.about = {"test": unit.name, "claim": "every number", **about, "case": sweep.name}
            call = sweep.call(0, sweep.patterns)
            for _, upstream in exhaustive_parts.asked(sweep, call, 0):
                with suppress(NotObserved), of_the_subject(settings.subject):
                    run_subject.results(settings.subject, call, settings.device, upstream)
