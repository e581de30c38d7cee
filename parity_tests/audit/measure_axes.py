"""What is asked of a subject along axes that ought to change no numbers: threads, layout, batch, compiler."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch_loss_parity.audit.axes import (
    LAYOUT,
    Known,
    Results,
    case_of,
    compared,
    drawn_call,
    one_by_one,
    plainly,
    strided,
    with_two_threads,
)
from torch_loss_parity.audit.part import Conditions, Part, attempted
from torch_loss_parity.audit.record import Axis, Missing
from torch_loss_parity.claims.transforms.compilation import run as run_compiled
from torch_loss_parity.claims.transforms.compiled_calls import Program
from torch_loss_parity.claims.transforms.compilers import INDUCTOR, UNCOMPILABLE
from torch_loss_parity.judging.judge import of_the_subject
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.subjects import BUILTIN
from torch_loss_parity.subjects.declined import NotOffered
from torch_loss_parity.subjects.run_subject import WrongResult

WAYS: Mapping[str, tuple[str, str, Callable[..., Results]]] = {
    "threads": ("1", "2", with_two_threads),
    "layout": ("contiguous", LAYOUT.name, strided),
    "batch": ("together", "alone", one_by_one),
}


def axes(conditions: Conditions, operator: str, dtype: str, names: Sequence[str]) -> str:
    """How much each axis changes, of one operator in one dtype."""
    subject = conditions.loaded
    call, grad_output = drawn_call(case_of(operator, dtype, conditions.seed))
    known = Known(call, grad_output)
    parts = []
    for name in names:
        first, second, way = WAYS[name]

        def both(
            name: str = name, first: str = first, second: str = second, way: Callable[..., Results] = way
        ) -> Part:
            with of_the_subject(subject):
                one, other = (each(subject, call, conditions.device, grad_output) for each in (plainly, way))
            return Part(axes=tuple(compared(name, first, second, one, other, call, known)))

        parts.append(attempted(f"{name} {first} and {second} of {operator}, {dtype}", both))
    return Part.of(parts).model_dump_json()


def compiled(conditions: Conditions, operators: Sequence[str], dtype: str) -> str:
    """Eager and compiled: all operators in one graph, which saves most of the time, unless one of them cannot
    be compiled.
    """
    subject = conditions.loaded
    programs = [
        Program.of(case_of(name, dtype, conditions.seed), OPERATORS[name], dtype) for name in operators
    ]

    def both() -> Part:
        with of_the_subject(subject):
            ways = [
                run_compiled(programs, subject, conditions.device, backend, fullgraph=subject.name in BUILTIN)
                for backend in (None, INDUCTOR)
            ]
        changes: list[Axis] = []
        for program, one, other in zip(programs, *ways, strict=True):
            changes += compared(
                "compile",
                "eager",
                INDUCTOR,
                one,
                other,
                program.call,
                Known(program.call, program.grad_output),
            )
        return Part(axes=tuple(changes))

    what = f"eager and compiled of {', '.join(operators)}, {dtype}"
    part = attempted(what, both)
    why = next(
        (missing.why for missing in part.missing if any(name in missing.why for name in UNCOMPILABLE)), None
    )
    if why is not None:
        part = Part(
            missing=(
                Missing(what=what, why=f"torch finds no compiler on this machine: {why.splitlines()[0]}"),
            )
        )
    elif part.missing and len(operators) > 1:
        part = Part.of(
            [Part.model_validate_json(compiled(conditions, [operator], dtype)) for operator in operators]
        )
    return part.model_dump_json()


def results(conditions: Conditions, operator: str, dtype: str) -> tuple[Results, str]:
    """What the subject returns in this process, and what is wrong with it."""
    subject = conditions.loaded
    call, grad_output = drawn_call(case_of(operator, dtype, conditions.seed))
    try:
        with of_the_subject(subject):
            return plainly(subject, call, conditions.device, grad_output), ""
    except (NotOffered, WrongResult) as error:
        return {}, str(error)
