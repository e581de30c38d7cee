"""A part of a sweep over every input: each result on a range of inputs, measured; parts add up."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from torch_loss_parity.audit.certify import Evaluation, Truth, chosen_balls, key_of, truths
from torch_loss_parity.audit.closed_forms import has_pairs, of_pairs
from torch_loss_parity.audit.errors import Errors
from torch_loss_parity.audit.exhaustive import UPSTREAM, Sweep, quantities
from torch_loss_parity.audit.record import Measures, Record, Size
from torch_loss_parity.audit.standing import Standing, standing_of
from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.expectation import FORWARD, expected
from torch_loss_parity.judging.judge import judge_quantity, of_the_subject, output_shape
from torch_loss_parity.reference.arithmetic.double_double import DoubleDouble
from torch_loss_parity.reference.arithmetic.formats import FORMATS
from torch_loss_parity.reference.arithmetic.profiles import DEFAULT
from torch_loss_parity.subjects import Subject, load, run_subject
from torch_loss_parity.subjects.declined import NotObserved

TORCH = "torch"
STANDINGS: tuple[Literal["pass", "known", "fail"], ...] = ("pass", "known", "fail")


class Part(Record):
    """One result on a range of inputs, by one implementation; parts of ranges that follow each other add up.

    Attributes
    ----------
    errors : Errors
        Numbered from the first input of the sweep.
    fraction : float
        Worst error / allowed.
    standing, divergence, way : str
        As in `Measures`.
    outputs : str
        SHA-256 of the result's bytes; of a sum, of those of its parts.
    """

    errors: Errors = Errors()
    fraction: Size = 0.0
    standing: Literal["pass", "known", "fail"] = "pass"
    divergence: str = ""
    way: str = ""
    outputs: str = ""

    def __add__(self, other: Part) -> Part:
        if not self.outputs:
            return other
        worse = max(self, other, key=lambda part: STANDINGS.index(part.standing))
        return Part(
            errors=self.errors + other.errors,
            fraction=max(self.fraction, other.fraction),
            standing=worse.standing,
            divergence=worse.divergence,
            way=worse.way,
            outputs=sha256(self.outputs.encode(), other.outputs.encode()),
        )

    def measures(self) -> Measures:
        return self.errors.measures(
            fraction=self.fraction,
            standing=Standing(self.standing, self.divergence, self.way),
            outputs=self.outputs,
        )


def sha256(*parts: bytes | memoryview) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def subjects_of(sweep: Sweep, name: str, profile: str) -> dict[str, Subject]:
    """The subject by its name, under a profile, and torch where that is another."""
    subjects = {name: load(name, (sweep.operator,), profile)}
    return subjects if name == TORCH else {**subjects, TORCH: load(TORCH, (sweep.operator,))}


def asked(sweep: Sweep, call: Call, first: int) -> Iterator[tuple[str, np.ndarray]]:
    """The upstream gradients that the results on the inputs from ``first`` on are asked for with, by kind."""
    for kind in UPSTREAM:
        yield kind, sweep.grad_output(kind, call, first)


def element(subject: Subject, sweep: Sweep, quantity: str, kind: str, number: int, device: str) -> Any:
    """An element of a result on every input, by its number: of one that cannot be asked for it alone."""
    call = sweep.call(0, sweep.patterns)
    upstream = sweep.grad_output(kind or UPSTREAM[0], call, 0)
    asked_of = subject.promise.asked_of(call)
    return run_subject.results(subject, asked_of, device, upstream)[quantity].reshape(-1)[number]


def measure(
    sweep: Sweep, first: int, count: int, subject_name: str, device: str, profile: str = DEFAULT.name
) -> dict[str, Any]:
    """What a chunk does: `measured` for a subject by its name, and torch where that is another."""
    return measured(sweep, first, count, subjects_of(sweep, subject_name, profile), device)


def measured(
    sweep: Sweep, first: int, count: int, subjects: Mapping[str, Subject], device: str
) -> dict[str, Any]:
    """Every result on a range of inputs, by each of some subjects, under the profile of the first.

    Returns
    -------
    dict
        ``parts``, a `Part` for each "implementation quantity upstream"; ``inputs``, the hash of the
        arguments; ``seconds``, taken by the subject and by the whole.
    """
    began = time.perf_counter()
    subject_name = next(iter(subjects))
    under = subjects[subject_name].profile
    seconds = 0.0
    call = sweep.call(first, count)
    digest = [array.tobytes() for array in call.arguments.values() if isinstance(array, np.ndarray)]
    parts: dict[str, Part] = {}
    for kind, upstream in asked(sweep, call, first):
        digest.append(upstream.tobytes())
        wanted = [quantity for quantity, of in quantities(sweep) if of == kind]
        bounds = expected(call, wanted, upstream, profile=under)
        true = _truths(sweep, call, wanted, upstream)
        if kind == UPSTREAM[0]:
            bounds |= expected(call, (FORWARD,), profile=under)
            true |= _truths(sweep, call, [FORWARD], None)
            wanted.insert(0, FORWARD)
        for name, subject in subjects.items():
            at = time.perf_counter()
            try:
                with of_the_subject(subject):
                    observed = run_subject.results(subject, subject.promise.asked_of(call), device, upstream)
            except NotObserved:
                if name == subject_name:
                    raise
                continue
            seconds += (time.perf_counter() - at) * (name == subject_name)
            for quantity in filter(observed.__contains__, wanted):  # what is promised
                g = None if quantity == FORWARD else upstream
                start = first * sweep.of_each(quantity)
                finding = judge_quantity(
                    subject, device, None, call, quantity, observed[quantity], bounds[quantity], g
                )
                parts[f"{name} {quantity} {'' if g is None else kind}"] = Part(
                    errors=Errors.of(observed[quantity], true[quantity], bounds[quantity], start=start),
                    fraction=finding.strict.fraction,
                    **standing_of(finding)._asdict(),
                    outputs=sha256(observed[quantity].tobytes()),
                )
    return {
        "parts": {name: part.model_dump(mode="json") for name, part in parts.items()},
        "inputs": sha256(*digest),
        "seconds": {"subject": seconds, "all": time.perf_counter() - began},
    }


def _truths(sweep: Sweep, call: Call, wanted: Sequence[str], upstream: np.ndarray | None) -> dict[str, Truth]:
    """The true values of a range; those of pairs in closed form: log(1 + e^-x) is lost in the sum over a row,
    and would go to balls.
    """
    closed = [quantity for quantity in wanted if has_pairs(sweep.operator, quantity)]
    by_quantity = truths(call, others, upstream) if (others := [c for c in wanted if c not in closed]) else {}
    if not closed:
        return by_quantity
    numbers = call.arguments["input"].size // sweep.of_each("input")
    x = call.arguments["input"].reshape(numbers, -1)[:, 0]
    with np.errstate(invalid="ignore"):  # some patterns of nan are no longer what they were in another format
        wide = DoubleDouble.of(x)
    for quantity in closed:
        shape = output_shape(call) if quantity == FORWARD else call.arguments[quantity].shape
        evaluated = [of_pairs(sweep.operator, each, quantity, upstream) for each in (x, wide)]
        first, second = (Evaluation(value.reshape(shape), error.reshape(shape)) for value, error in evaluated)
        source, key = chosen_balls(call, quantity, upstream, shape), key_of(call, quantity, upstream)
        by_quantity[quantity] = Truth(first.value, first.error, FORMATS[sweep.dtype], source, second, key)
    return by_quantity
