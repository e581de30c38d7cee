"""A unit of the plan, done: what is sent to a process of the executor, and comes back as JSON.

The subject itself runs in a sandbox, which that process keeps: what hangs or dies there costs the call, and a
unit goes on with its next one, until `STRIKES` of them were lost.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch

from torch_loss_parity.audit.axes import Known, Results, case_of, compared, drawn_call
from torch_loss_parity.audit.capabilities import CAPABILITY
from torch_loss_parity.audit.exhaustive import Sweep
from torch_loss_parity.audit.measure_axes import WAYS
from torch_loss_parity.audit.part import Conditions, Part, loaded, recorded
from torch_loss_parity.audit.plan import Unit
from torch_loss_parity.audit.record import Missing
from torch_loss_parity.processes.sandbox import Lost, Sandbox
from torch_loss_parity.processes.strikes import STRIKES

COLLECT = "torch_loss_parity.audit.measure"
_kept = threading.local()  # an executor may work with threads, each of which asks a sandbox of its own


def perform(conditions: Conditions, unit: Unit) -> str:
    """What a unit found, a `Part` as JSON, whatever the subject does."""
    return Part.of(list(WORK[unit.work](conditions, unit))).model_dump_json()


def summed(conditions: Conditions, sweep: Sweep, results: Sequence[str], inputs: int) -> Part:
    """The figures of a sweep, from its parts: the subject shows the worst of them once more."""
    with _closing(sandbox_of(conditions.subject, conditions.time_limit)) as sandbox:
        try:
            return Part.model_validate_json(
                sandbox.call(f"{COLLECT}:summed", conditions, sweep, results, inputs)
            )
        except Lost as error:
            return Part(missing=(Missing(what=sweep.name, why=f"it {error}", failed=True),))


class _Asked:
    """The calls of one unit, of which some may be lost."""

    def __init__(self, conditions: Conditions) -> None:
        self.conditions, self.strikes = conditions, 0

    def part(self, what: str, function: str, *arguments: object) -> Part:
        """The part that a function of `measure` returns, or what is missing since it did not."""
        if self.strikes >= STRIKES:
            return Part(
                missing=(
                    Missing(what=what, why=f"not run: {STRIKES} calls before it were lost", failed=True),
                )
            )
        try:
            return Part.model_validate_json(
                _sandbox(self.conditions).call(f"{COLLECT}:{function}", self.conditions, *arguments)
            )
        except Lost as error:
            self.strikes += 1
            return Part(missing=(Missing(what=what, why=f"it {error}", failed=True),))


def _draw(conditions: Conditions, unit: Unit) -> Iterator[Part]:
    sandboxed = _Asked(conditions)
    for case in unit.cases:
        yield sandboxed.part(str(case), "draw", case)


def _search(conditions: Conditions, unit: Unit) -> Iterator[Part]:
    ((operator, dtype),) = unit.cells
    yield _Asked(conditions).part(
        f"a search for the worst of {operator}, {dtype}", "search", operator, dtype, unit.evaluations
    )


def _exhaust(conditions: Conditions, unit: Unit) -> Iterator[Part]:
    assert unit.sweep is not None
    yield _Asked(conditions).part(f"every input of {unit.sweep.name}", "exhaust", unit.sweep)


def _sweep(conditions: Conditions, unit: Unit) -> Iterator[Part]:
    assert unit.sweep is not None
    yield _Asked(conditions).part(f"inputs of {unit.name}", "swept", unit.sweep, unit.first, unit.count)


def _axes(conditions: Conditions, unit: Unit) -> Iterator[Part]:
    ((operator, dtype),) = unit.cells
    sandboxed = _Asked(conditions)
    for name in unit.option.split():
        first, second, _ = WAYS[name]
        yield sandboxed.part(
            f"{name} {first} and {second} of {operator}, {dtype}", "axes", operator, dtype, (name,)
        )


def _compiled(conditions: Conditions, unit: Unit) -> Iterator[Part]:
    operators = tuple(operator for operator, _ in unit.cells)
    (dtype,) = {dtype for _, dtype in unit.cells}
    yield _Asked(conditions).part(f"eager and compiled, {dtype}", "compiled", operators, dtype)


def _capability(conditions: Conditions, unit: Unit) -> Iterator[Part]:
    """The subject in a process as it is, and in one that is told to use a part of the processor's
    instructions.
    """
    in_force, other = unit.option.split()
    with _closing(sandbox_of(conditions.subject, conditions.time_limit, {CAPABILITY: other})) as limited:
        for operator, dtype in unit.cells:
            what = f"capability {in_force} and {other} of {operator}, {dtype}"
            ways: list[Results] = []
            for sandbox in (_sandbox(conditions), limited):
                try:
                    results, wrong = sandbox.call(f"{COLLECT}:results", conditions, operator, dtype)
                except Lost as error:
                    results, wrong = {}, f"it {error}"
                if wrong:
                    yield Part(missing=(Missing(what=what, why=wrong, failed=True),))
                    break
                ways.append(results)
            else:
                call, grad_output = drawn_call(case_of(operator, dtype, conditions.seed))
                axes = compared(
                    "capability", in_force, other, ways[0], ways[1], call, Known(call, grad_output)
                )
                yield Part(axes=tuple(axes))


WORK: Mapping[str, Callable[[Conditions, Unit], Iterator[Part]]] = {
    "draw": _draw,
    "search": _search,
    "exhaust": _exhaust,
    "sweep": _sweep,
    "axes": _axes,
    "compiled": _compiled,
    "capability": _capability,
}


def sandbox_of(
    subject: str, limit: float, environment: Mapping[str, str | None] | None = None, observed: str = ""
) -> Sandbox:
    """A process that has loaded a subject, or the file that stands for it."""
    return Sandbox((f"{__name__}:load_alone", (subject, observed)), limit, environment)


def load_alone(subject: str, observed: str) -> None:
    """In a sandbox: load the subject, which computes in one thread, or the file that stands for it."""
    torch.set_num_threads(1)
    if observed:
        recorded(observed)
    else:
        loaded(subject)


def _sandbox(conditions: Conditions) -> Sandbox:
    """The sandbox of this thread, for the subject and the limit in force."""
    wanted = conditions.subject, conditions.time_limit, None, conditions.observed
    kept: Sandbox | None = getattr(_kept, "sandbox", None)
    if kept is None or _kept.wanted != wanted:
        if kept is not None:
            kept.close()
        kept, _kept.wanted = sandbox_of(*wanted), wanted
        _kept.sandbox = kept
    return kept


@contextmanager
def _closing(sandbox: Sandbox) -> Iterator[Sandbox]:
    try:
        yield sandbox
    finally:
        sandbox.close()
