"""What is asked of a subject, in a process of its own: the results of a case, a search, an axis, and the
figures that follow.

Every function here that a unit asks for returns a `Part` as JSON, whatever the subject does, unless it takes
the process with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal

import numpy as np
from pydantic import Field

from torch_loss_parity.audit import float32_sweep
from torch_loss_parity.audit.axes import (
    LAYOUT,
    Known,
    Results,
    case_of,
    compared,
    drawn,
    one_by_one,
    plainly,
    strided,
    with_two_threads,
)
from torch_loss_parity.audit.certify import Truth, truths
from torch_loss_parity.audit.errors import Errors
from torch_loss_parity.audit.exhaustive import Sweep, figures, measure
from torch_loss_parity.audit.operator_facets import audited
from torch_loss_parity.audit.record import Axis, Figure, Measures, Missing, Record
from torch_loss_parity.audit.search import Search
from torch_loss_parity.audit.single_row import extent, logit_range
from torch_loss_parity.audit.worst import worst
from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.claims.transforms.compilation import INDUCTOR, UNCOMPILABLE
from torch_loss_parity.claims.transforms.compilation import run as run_compiled
from torch_loss_parity.claims.transforms.compiled_calls import Program
from torch_loss_parity.expectation.expectation import FORWARD, expected, grad_output_of
from torch_loss_parity.judging.comparison import Verdict
from torch_loss_parity.judging.judge import judge_claim, of_the_subject, output_shape
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.reference.arithmetic.rounding import Rounded
from torch_loss_parity.subjects import BUILTIN, Subject, load, run_subject
from torch_loss_parity.subjects.declined import NotOffered
from torch_loss_parity.subjects.run_subject import WrongResult

TORCH = "torch"


@dataclass(frozen=True)
class Conditions:
    """What every unit of a run has in common; ``source`` is a hash of the subject's file, for what is kept of
    an earlier run.
    """

    subject: str
    device: str
    seed: int
    time_limit: float
    source: str = ""


class Part(Record):
    """What a unit found."""

    figures: tuple[Figure, ...] = ()
    axes: tuple[Axis, ...] = ()
    missing: tuple[Missing, ...] = ()
    swept: str = ""  # a part of a sweep, as JSON
    times: dict[str, float] = Field(default_factory=dict)

    @classmethod
    def of(cls, parts: Sequence[Part]) -> Part:
        """Several as one."""
        return cls(
            figures=tuple(figure for part in parts for figure in part.figures),
            axes=tuple(axis for part in parts for axis in part.axes),
            missing=tuple(missing for part in parts for missing in part.missing),
            swept=next((part.swept for part in parts if part.swept), ""),
            times={name: seconds for part in parts for name, seconds in part.times.items()},
        )


@cache
def loaded(name: str) -> Subject:
    """The subject, loaded once in each process."""
    return load(name, tuple(OPERATORS))


def attempted(what: str, attempt: Callable[[], Part]) -> Part:
    """What an attempt gives; that the subject raises, or says that it does not offer it, is a part too."""
    try:
        return attempt()
    except NotOffered as error:
        return Part(missing=(Missing(what=what, why=f"not offered: {error}"),))
    except WrongResult as error:
        return Part(missing=(Missing(what=what, why=str(error), failed=True),))


# --- a case -------------------------------------------------------------------------------------------------


def draw(conditions: Conditions, case: Case) -> str:
    """The figures of a case: of its result, and of its gradients."""
    operator = OPERATORS[case.operator]
    call = operator.call(case)
    grad_output = grad_output_of(call, output_shape(call), case.generator("grad_output"))
    options = {
        name: str(value) for name, value in case.options if value != operator.options.get(name, (None,))[0]
    }
    parts = []
    for claims, what in (((FORWARD,), "the result"), (call.differentiable, "the gradients")):
        attempt = partial(
            _figures, conditions, case, call, claims, grad_output, "random", case.values, options
        )
        parts.append(attempted(f"{what} of {case}", attempt))
    return Part.of(parts).model_dump_json()


def _figures(
    conditions: Conditions,
    case: Case | None,
    call: Call,
    claims: Sequence[str],
    grad_output: np.ndarray,
    how: Literal["random", "searched"],
    values: str,
    options: Mapping[str, str],
) -> Part:
    subject, device = loaded(conditions.subject), conditions.device
    observed = _observed(subject, device, call, claims, grad_output)
    beside = _observed(loaded(TORCH), device, call, claims, grad_output) if subject.name != TORCH else {}
    upstream = None if FORWARD in claims else grad_output
    bounds, true = expected(call, claims, upstream), truths(call, claims, upstream)
    rows, classes = extent(call)
    found = []
    for claim in claims:
        measured = partial(_measures, device, case, call, claim, upstream, bounds[claim], true[claim])
        measures, verdict = measured(subject, observed[claim])
        torch = beside.get(claim)
        found.append(
            Figure(
                operator=call.operator,
                dtype=call.dtype,
                claim=claim,
                how=how,
                classes=classes,
                rows=rows,
                values=values,
                logit_range=logit_range(call),
                options=dict(options),
                inputs=_hash(call.arguments, upstream),
                subject=measures,
                torch=None if torch is None else measured(loaded(TORCH), torch)[0],
                worst=worst(subject, device, case, call, claim, grad_output, verdict, true[claim], torch),
            )
        )
    return Part(figures=tuple(found))


def _observed(
    subject: Subject, device: str, call: Call, claims: Sequence[str], grad_output: np.ndarray
) -> Results:
    with of_the_subject(subject):
        if FORWARD in claims:
            found: Results = {FORWARD: run_subject.forward(subject, call, device)}
        else:
            found = run_subject.gradients(subject, call, device, grad_output)
    for claim, result in found.items():
        shape = output_shape(call) if claim == FORWARD else call.arguments[claim].shape
        if result.shape != shape:
            raise WrongResult(f"{claim} has shape {result.shape}, expected {shape}")
    return found


def _measures(
    device: str,
    case: Case | None,
    call: Call,
    claim: str,
    grad_output: np.ndarray | None,
    bound: Rounded,
    truth: Truth,
    subject: Subject,
    observed: np.ndarray,
) -> tuple[Measures, Verdict]:
    """The measures of a result, and the verdict on the element with the largest error."""
    finding = judge_claim(subject, device, case, call, claim, observed, bound, grad_output)
    errors = Errors.of(observed, truth, bound)
    standing: Literal["pass", "known", "fail"]
    standing = "pass" if finding.strict.passes else "known" if finding.verdict.passes else "fail"
    measures = errors.measures(
        fraction=finding.strict.fraction,
        standing=standing,
        outputs=_hash({"": observed}),
        divergence=finding.divergence,
    )
    index = tuple(int(i) for i in np.unravel_index(max(errors.worst, 0), observed.shape))
    value = bound.value
    with np.errstate(all="ignore"):
        allowed = float(np.broadcast_to(bound.total_error(), value.shape)[index])
        error = (
            0.0
            if observed[index] == truth.value[index]
            else float(np.abs(observed[index] - truth.value[index]))
        )
        fraction = (
            np.inf
            if errors.max_ulp == np.inf
            else 0.0
            if error == 0
            else error / allowed
            if allowed
            else np.inf
        )
    at = Verdict(
        fraction=float(fraction) if np.isfinite(allowed) else 0.0,
        index=index,
        observed=float(observed[index]),
        expected=float(truth.value[index]),
        allowed=allowed,
        ulps=errors.max_ulp,
        elements=observed.size,
    )
    return measures, at


def _hash(arguments: Mapping[str, Any], grad_output: np.ndarray | None = None) -> str:
    """SHA-256 of the bytes of all arguments."""
    found = hashlib.sha256()
    for name, value in sorted((dict(arguments) | {"grad_output": grad_output}).items()):
        if value is not None:
            found.update(name.encode())
            found.update(
                np.ascontiguousarray(value).tobytes()
                if isinstance(value, np.ndarray)
                else repr(value).encode()
            )
    return found.hexdigest()


# --- every input --------------------------------------------------------------------------------------------


def exhaust(conditions: Conditions, sweep: Sweep) -> str:
    """The figures of every input, where they are few."""

    def found() -> Part:
        result = measure(sweep, 0, sweep.patterns, conditions.subject, conditions.device)
        return _of_sweep(conditions, sweep, [result], sweep.patterns)

    return attempted(sweep.name, found).model_dump_json()


def swept(conditions: Conditions, sweep: Sweep, first: int, count: int) -> str:
    """A part of every input, to be added to the others."""

    def found() -> Part:
        return Part(
            swept=json.dumps(
                float32_sweep.measure(sweep, first, count, conditions.subject, conditions.device)
            )
        )

    return attempted(f"{sweep.name} from {first:#010x}", found).model_dump_json()


def summed(conditions: Conditions, sweep: Sweep, results: Sequence[str], inputs: int) -> str:
    """The figures of every input, from those of its parts."""
    return attempted(
        sweep.name, lambda: _of_sweep(conditions, sweep, [json.loads(result) for result in results], inputs)
    ).model_dump_json()


def _of_sweep(
    conditions: Conditions, sweep: Sweep, results: Sequence[Mapping[str, Any]], inputs: int
) -> Part:
    """The figures of a sweep, and how long an input took: in all, and the subject alone."""
    times = {
        f"{sweep.name}, an input{'' if whose == 'all' else f', {conditions.subject} alone'}": sum(
            result["seconds"][whose] for result in results
        )
        / inputs
        for whose in ("all", "subject")
    }
    return Part(figures=tuple(figures(sweep, results, conditions.subject, conditions.device)), times=times)


# --- a search -----------------------------------------------------------------------------------------------


def search(conditions: Conditions, operator: str, dtype: str, evaluations: int) -> str:
    """The figures of the worst that is found by climbing, for each claim and each objective."""
    subject = loaded(conditions.subject)
    record, of = OPERATORS[operator], audited(operator)
    call = record.call(record.case(dtype, (1, 2), of.telling[0], of.base, 0))
    parts = []
    for claim in (FORWARD, *call.differentiable):

        def found(claim: str = claim) -> Part:
            searching = Search(
                subject, conditions.device, operator, dtype, claim, evaluations, conditions.seed
            )
            return Part.of(
                [
                    _figures(
                        conditions,
                        None,
                        one.call,
                        (claim,),
                        one.grad_output,
                        "searched",
                        f"climbed by {one.objective}",
                        {},
                    )
                    for one in searching.found()
                ]
            )

        parts.append(attempted(f"a search for the worst {claim} of {operator}, {dtype}", found))
    return Part.of(parts).model_dump_json()


# --- axes ---------------------------------------------------------------------------------------------------

WAYS: Mapping[str, tuple[str, str, Callable[..., Results]]] = {
    "threads": ("1", "2", with_two_threads),
    "layout": ("contiguous", LAYOUT.name, strided),
    "batch": ("together", "alone", one_by_one),
}


def axes(conditions: Conditions, operator: str, dtype: str, names: Sequence[str]) -> str:
    """How much each axis changes, of one operator in one dtype."""
    subject = loaded(conditions.subject)
    call, grad_output = drawn(case_of(operator, dtype, conditions.seed))
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
    subject = loaded(conditions.subject)
    programs = [Program.of(case_of(operator, dtype, conditions.seed)) for operator in operators]

    def both() -> Part:
        with of_the_subject(subject):
            ways = [
                run_compiled(programs, subject, conditions.device, backend, fullgraph=subject.name in BUILTIN)
                for backend in (None, INDUCTOR)
            ]
        found: list[Axis] = []
        for program, one, other in zip(programs, *ways, strict=True):
            found += compared(
                "compile",
                "eager",
                INDUCTOR,
                one,
                other,
                program.call,
                Known(program.call, program.grad_output),
            )
        return Part(axes=tuple(found))

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
    subject = loaded(conditions.subject)
    call, grad_output = drawn(case_of(operator, dtype, conditions.seed))
    try:
        with of_the_subject(subject):
            return plainly(subject, call, conditions.device, grad_output), ""
    except (NotOffered, WrongResult) as error:
        return {}, str(error)
