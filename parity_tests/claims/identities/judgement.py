"""Are the two sides of an identity as close as the rounding of both allows?

Note [Two sides]
    A side is within its bound of the number that both sides stand for:

        L = v exp(rho + r tau) + alpha + a tau        R = v exp(rho' + r' tau') + alpha' + a' tau'

    so L is R times exp(rho - rho' + r tau - r' tau') but for absolute errors, and ``judge`` can be asked
    about L with R in place of the expected value. What R's absolute error is multiplied with differs from 1
    by at most expm1 of all relative errors.

    Where both sides depend on an unknown of their row with nearly the same coefficients, as after a shift,
    the difference does on one: r tau - r' tau' = 2 r (tau - tau') / 2 + (r - r') tau'. One probability that
    the shift moved apart from its neighbours is then seen, at any length of the row.

The evaluation's own error is part of either bound, so that v may be the true value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from torch_loss_parity.cases.case import Call
from torch_loss_parity.claims.identities.compositions import WIDE, Bounds
from torch_loss_parity.claims.identities.record import Identity, Pair, Variant
from torch_loss_parity.claims.identities.scripts import script
from torch_loss_parity.claims.identities.sides import sides, sides_of
from torch_loss_parity.expectation.expectation import FORWARD
from torch_loss_parity.expectation.expectation_cache import once
from torch_loss_parity.judging import reproduction
from torch_loss_parity.judging.comparison import Verdict, judge
from torch_loss_parity.judging.explanations import Explanation
from torch_loss_parity.judging.failure_message import explain as explain_call
from torch_loss_parity.judging.judge import Finding, of_the_subject
from torch_loss_parity.judging.reproduction import INLINE
from torch_loss_parity.ledger import ledger
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.reference.arithmetic.double_double import DoubleDouble
from torch_loss_parity.reference.arithmetic.error import Error, Unknown
from torch_loss_parity.reference.arithmetic.formats import FORMATS
from torch_loss_parity.reference.arithmetic.rounding import Rounded
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.observing.answer import given_again
from torch_loss_parity.subjects.run_subject import WrongResult


@dataclass(frozen=True)
class Comparison:
    """Two sides of an identity, judged: the finding, the ledger's entries that explain a broken bound, and
    which pair it is of which inputs.
    """

    finding: Finding
    variant: Variant
    entries: tuple[str, ...]
    number: int
    inputs: Mapping[str, Any]


def verify_identity(
    identity: Identity, operator: str, dtype: str, variant: Variant, subject: Subject, device: str
) -> Iterator[Comparison]:
    """Judge every pair that an identity yields for one variant of its inputs."""
    inputs = identity.draw(operator, dtype, variant)

    @cache
    def bounds(weaker: frozenset[str], way: int | None = None) -> tuple[list[Pair], Bounds]:
        functions = Bounds(operator, dtype, subject, device, weaker, way)

        def evaluate() -> tuple[list[Pair], Bounds]:
            return identity.pairs(functions, inputs), functions

        def values(evaluated: tuple[list[Pair], Bounds]) -> list[Any]:
            pairs, functions = evaluated
            return [functions.number_of_ways, *(part for pair in pairs for part in pair)]

        def of_values(values: Sequence[Any]) -> tuple[list[Pair], Bounds]:
            functions.number_of_ways, *parts = values
            return list(zip(parts[::3], parts[1::3], parts[2::3], strict=True)), functions

        if ledger.speaks_of(subject.judged_as, device):
            return evaluate()
        # The inputs follow from these.
        key = "identity", identity.name, operator, dtype, str(variant), way, subject.profile
        if way is not None:  # which way of which operator was taken is not written down
            return once(key, evaluate)
        formulas = (identity.compose, *(each.forward for each in OPERATORS.values()))
        return once(key, evaluate, formulas, values, of_values)

    facts = {name: value for name, value in variant.options.items() if not isinstance(value, np.ndarray)}
    call = Call(
        operator,
        {name: value for name, value in inputs.items() if isinstance(value, np.ndarray)},
        dtype,
        dtype,
        (),
        facts,
    )
    strict, functions = bounds(frozenset())
    every = frozenset(functions.covering)
    attempts: list[tuple[frozenset[str], int | None]] = [(frozenset((entry,)), None) for entry in every]
    attempts += [(every, None)] if len(every) > 1 else []
    attempts += [(every, way) for way in range(functions.number_of_ways)]
    observed = _observed(identity, subject, Call(operator, {}, dtype, dtype), device, inputs)
    for number, (quantity, left, right) in enumerate(observed):
        first = verdict = compare(left, right, strict[number][1], strict[number][2], dtype)
        explaining: tuple[str, ...] = ()
        taken: Explanation | None = None
        for entries, way in attempts if not first.passes or first.undecided else []:
            pairs, evaluated = bounds(entries, way)
            _, weaker_left, weaker_right = pairs[number]
            against = compare(left, right, weaker_left, weaker_right, dtype)
            if against.passes:
                verdict, explaining = against, tuple(sorted(entries))
                taken = evaluated.way_taken
                break
        finding = Finding(
            None,
            call,
            quantity,
            verdict,
            first,
            explaining[0] if explaining else "",
            False,
            mode=identity.name,
            explanation=taken,
        )
        yield Comparison(finding, variant, explaining, number, inputs)


def _observed(
    identity: Identity, subject: Subject, call: Call, device: str, inputs: Mapping[str, Any]
) -> list[Pair]:
    """What the subject makes of an identity.

    Raises
    ------
    NotOffered, WrongResult
        If it raises in one of its calls.
    """
    if subject.is_elsewhere:
        met = sides(subject, call, device, identity=identity.name, inputs=inputs)
    else:
        met = sides_of(identity, subject, call, device, inputs)
    if "pairs" in met:
        return [(quantity, left, right) for quantity, left, right in met["pairs"]]
    try:
        with of_the_subject(subject):
            given_again(met["raised"])
    except WrongResult as error:
        finding = Finding.of_failure(None, met["call"], str(error))
        raise WrongResult(explain_call(finding, subject, device)) from error
    raise AssertionError("what was raised is raised again")


def compare(left: Any, right: Any, left_bound: Any, right_bound: Any, dtype: str) -> Verdict:
    """Judge two observed sides by the bounds of both, see Note [Two sides]."""
    left_bound, right_bound = (_bound(side, np.shape(left)) for side in (left_bound, right_bound))
    right = (
        np.broadcast_to(DoubleDouble.of(right), np.shape(left))
        if not np.ndim(right)
        else DoubleDouble.of(right)
    )
    with np.errstate(all="ignore"):
        error = difference(left_bound.error, right_bound.error)
    return judge(DoubleDouble.of(left), Rounded(right, WIDE, error), FORMATS[dtype])


def difference(left: Error, right: Error) -> Error:
    """The error of the left side around the right one, see Note [Two sides]."""
    growth = np.expm1(left.total_relative + right.total_relative)
    relative = left.relative + right.relative
    absolute = left.absolute + right.absolute + growth * right.total_absolute
    shared: dict[Unknown, tuple[Any, Any]] = dict(left.shared)
    for unknown, (r, a) in right.shared.items():
        twin = next(
            (
                k
                for k, mine in shared.items()
                if k in left.shared and k.axis == unknown.axis and _alike(mine, (r, a))
            ),
            None,
        )
        if twin is None:
            shared[unknown] = (r, a)
        else:
            mine_r, mine_a = shared.pop(twin)
            shared[Unknown(unknown.axis)] = (2 * mine_r, 2 * mine_a)
            relative, absolute = relative + np.abs(mine_r - r), absolute + np.abs(mine_a - a)
    return Error(relative, absolute, shared)


def _alike(mine: tuple[Any, Any], other: tuple[Any, Any]) -> bool:
    """Whether coefficients are nearer to each other than to nothing, so that one unknown is
    better than two.
    """
    return all(np.sum(np.abs(m - o)) <= np.sum(np.abs(o)) for m, o in zip(mine, other, strict=True))


def _bound(side: Any, shape: tuple[int, ...]) -> Rounded:
    """A side that is a number, known exactly, has no error."""
    return (
        side
        if isinstance(side, Rounded)
        else Rounded(np.broadcast_to(np.asarray(side, dtype=np.float64), shape), WIDE)
    )


def explain(comparison: Comparison, identity: Identity, subject: Subject, device: str) -> str:
    """Why an identity fails: what was compared, on what, and the worst element."""
    finding = comparison.finding
    call, verdict = finding.call, finding.verdict
    format = FORMATS[call.dtype]
    what = "result" if finding.quantity == FORWARD else f"gradient with respect to {finding.quantity}"
    problem = verdict.reason or f"the two sides differ by {verdict.fraction:.3g} times what rounding allows"
    ulp = (
        float(format.spacing(np.float64(verdict.expected))) if np.isfinite(verdict.expected) else float("nan")
    )
    number, inputs = comparison.number, comparison.inputs
    text = script(identity, call.operator, call.dtype, inputs, number, verdict, subject)
    lines = [
        f"{call.operator} of {subject.name} on {device}, {call.dtype}: {identity.name}: {what}: {problem}",
        f"  variant     {comparison.variant}",
        *(
            f"  {name:<12}{np.array2string(value, threshold=INLINE, prefix=' ' * 14)}"
            for name, value in call.arguments.items()
        ),
        f"  worst       element {list(verdict.index)} of {verdict.elements}",
        f"  left        {verdict.observed!r}",
        f"  right       {verdict.expected!r}",
        f"  apart       {verdict.ulps:.6g} ulp of {format.name}",
        f"  allowed     {verdict.allowed / ulp if ulp else verdict.allowed:.6g} ulp, for both sides together",
        *(f"  {line}" for line in reproduction.shown(text, call.operator)),
    ]
    return "\n".join(lines)
