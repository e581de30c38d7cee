"""Every input there is: what is exhausted, and how a part of it is measured.

Note [What is exhausted]
    What the record of an operator says under `EveryNumber`. Of elements, every logit, or every probability in
    [0, 1], with the targets 0 and 1 and some between. Of rows, every pair (x, 0) and (0, x), as a vectorised
    loop need not treat both places alike; with either class, if there are classes to name. The gradients are
    those for an upstream gradient of 1, of 1 and 0 for the two classes of a row (the gradient of softmax is
    blind to a constant), and for random ones, which are a hash of the element's number.

    Inputs are numbered by their bit patterns, and elements by inputs: the elements that belong to one input
    come one after the other. So a part is a range of patterns, and an element is found again from its number
    alone.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import prod
from typing import Any, Literal
from zlib import crc32

import numpy as np

from torch_loss_parity.audit.certify import Evaluation, Truth, alone, chosen_balls, key_of, truths
from torch_loss_parity.audit.closed_forms import has_pairs, of_pairs
from torch_loss_parity.audit.errors import Errors
from torch_loss_parity.audit.operator_facets import audited, every_number, targets_of
from torch_loss_parity.audit.record import Figure, Measures, Record, Size, Worst
from torch_loss_parity.audit.single_row import extent
from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.expectation import FORWARD, expected
from torch_loss_parity.judging.judge import Finding, judge_claim, of_the_subject, output_shape
from torch_loss_parity.judging.report import script
from torch_loss_parity.operators import OPERATORS, Gap
from torch_loss_parity.operators.facets_audit import EveryNumber
from torch_loss_parity.reference.arithmetic.double_double import DoubleDouble
from torch_loss_parity.reference.arithmetic.formats import FORMATS
from torch_loss_parity.subjects import Subject, load, run_subject

UPSTREAM = ("1", "random")
STANDINGS: tuple[Literal["pass", "known", "fail"], ...] = ("pass", "known", "fail")
# The pattern of 1: those up to it are the numbers in [0, 1].
ONE = {"float16": 0x3C00, "bfloat16": 0x3F80, "float32": 0x3F800000}


@dataclass(frozen=True)
class Sweep:
    """All inputs of an operator in a dtype, with one kind of target.

    Attributes
    ----------
    operator, dtype : str
    target : str
        A name among the targets that the record has for every number.
    seed : int
        Of the random upstream gradient.
    """

    operator: str
    dtype: str
    target: str = ""
    seed: int = 0

    @property
    def patterns(self) -> int:
        """The number of inputs."""
        return (
            ONE[self.dtype] + 1 if self.is_of_probabilities else 2 ** (16 if self.dtype != "float32" else 32)
        )

    @property
    def facet(self) -> EveryNumber:
        """What the record says."""
        facet = every_number(self.operator)
        assert not isinstance(facet, Gap), f"{self.operator}: {facet.why}"
        return facet

    @property
    def is_of_probabilities(self) -> bool:
        """Whether the inputs are numbers of [0, 1]."""
        return "input" in audited(self.operator).probabilities

    @property
    def name(self) -> str:
        return " ".join(part for part in (self.operator, self.dtype, self.target) if part)

    @property
    def what(self) -> str:
        """The inputs in words."""
        return f"every {self.dtype} {self.facet.inputs}"

    def inputs(self, first: int, count: int) -> np.ndarray:
        """The numbers with these patterns, widened."""
        return self.numbers(np.arange(first, first + count, dtype=np.uint32))

    def numbers(self, patterns: np.ndarray) -> np.ndarray:
        """The numbers with these patterns (uint32), widened."""
        with np.errstate(invalid="ignore"):  # nan among them
            if self.dtype == "float16":
                return patterns.astype(np.uint16).view(np.float16).astype(np.float64)
            return (
                (patterns << np.uint32(16 if self.dtype == "bfloat16" else 0))
                .view(np.float32)
                .astype(np.float64)
            )

    def call(self, first: int, count: int) -> Call:
        """The operator on a range of inputs."""
        return self.call_on(self.inputs(first, count))

    def call_on(self, x: np.ndarray) -> Call:
        """The operator on these inputs."""
        record, target = OPERATORS[self.operator], self.facet.targets[self.target]
        values = FORMATS[self.dtype].round(np.asarray(target.values, dtype=np.float64))
        placed = self.facet.place(x, values)
        smallest = (1, 2) if record.family.has_rows else (1,)  # what is drawn is replaced
        drawn = record.call(record.case(self.dtype, smallest, next(iter(record.values)), target.options, 0))
        arguments = {name: placed.get(name, value) for name, value in drawn.arguments.items()}
        return replace(drawn, arguments=arguments, facts={**drawn.facts, "values": self.what})

    def grad_output(self, kind: str, call: Call, first: int) -> np.ndarray:
        """An upstream gradient for the call on the inputs from ``first`` on; see Note [What is exhausted]."""
        shape = output_shape(call)
        if kind == "1":
            return np.ones(shape) if len(shape) == 1 else np.broadcast_to([1.0, 0.0], shape).copy()
        number = np.arange(prod(shape), dtype=np.uint64) + np.uint64(first * self.of_each(FORWARD))
        return (
            FORMATS[self.dtype]
            .round(2 * _hashed(number, crc32(f"{self.name} {self.seed}".encode())) - 1)
            .reshape(shape)
        )

    def of_each(self, claim: str) -> int:
        """How many elements of a result belong to one input."""
        return _of_each(self.operator, self.dtype, self.target)[claim]


@cache
def _of_each(operator: str, dtype: str, target: str) -> Mapping[str, int]:
    call = Sweep(operator, dtype, target).call_on(np.zeros(1))
    sizes = {name: call.arguments[name].size for name in call.differentiable}
    return {FORWARD: prod(output_shape(call)), **sizes}


def _hashed(number: np.ndarray, key: int) -> np.ndarray:
    """Numbers in [0, 1) that look random: splitmix64 (Steele, Lea & Flood 2014)."""
    with np.errstate(over="ignore"):
        z = (number + np.uint64(key)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return ((z ^ (z >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def sweeps(operators: Sequence[str], dtypes: Sequence[str], seed: int = 0) -> list[Sweep]:
    """Everything that is exhausted for these operators, in those of these dtypes that can be."""
    return [
        Sweep(operator, dtype, target, seed)
        for operator in operators
        for dtype in dtypes
        if dtype in ONE
        for target in targets_of(operator)
    ]


class Part(Record):
    """One result on a range of inputs, by one implementation; parts of ranges that follow each other add up.

    Attributes
    ----------
    errors : Errors
        Numbered from the first input of the sweep.
    fraction : float
        Worst error / allowed.
    standing, divergence : str
        As in `Measures`.
    outputs : str
        SHA-256 of the result's bytes; of a sum, of those of its parts.
    """

    errors: Errors = Errors()
    fraction: Size = 0.0
    standing: Literal["pass", "known", "fail"] = "pass"
    divergence: str = ""
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
            outputs=sha256(self.outputs.encode(), other.outputs.encode()),
        )

    def measures(self) -> Measures:
        return self.errors.measures(
            fraction=self.fraction, standing=self.standing, divergence=self.divergence, outputs=self.outputs
        )


def sha256(*parts: bytes | memoryview) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def claims(sweep: Sweep) -> list[tuple[str, str]]:
    """The results of a sweep: each claim, and the kind of upstream gradient."""
    gradients = sweep.call_on(np.zeros(1)).differentiable
    return [(FORWARD, ""), *((claim, kind) for kind in UPSTREAM for claim in gradients)]


def measure(sweep: Sweep, first: int, count: int, subject_name: str, device: str) -> dict[str, Any]:
    """What a chunk does: every result on a range of inputs, by the subject and by torch where that is
    another.

    Returns
    -------
    dict
        ``parts``, a `Part` for each "implementation claim upstream"; ``inputs``, the hash of the arguments;
        ``seconds``, taken by the subject and by the whole.
    """
    began = time.perf_counter()
    names = dict.fromkeys((subject_name, "torch"))
    seconds = 0.0
    call = sweep.call(first, count)
    digest = [array.tobytes() for array in call.arguments.values() if isinstance(array, np.ndarray)]
    parts: dict[str, Part] = {}
    for kind in UPSTREAM:
        upstream = sweep.grad_output(kind, call, first)
        digest.append(upstream.tobytes())
        wanted = [claim for claim, of in claims(sweep) if of == kind]
        bounds, true = expected(call, wanted, upstream), _truths(sweep, call, wanted, upstream)
        if kind == UPSTREAM[0]:
            bounds |= expected(call, (FORWARD,))
            true |= _truths(sweep, call, [FORWARD], None)
            wanted.insert(0, FORWARD)
        for name in names:
            subject = load(name, (sweep.operator,))
            at = time.perf_counter()
            with of_the_subject(subject):
                observed = run_subject.results(subject, call, device, upstream)
            seconds += (time.perf_counter() - at) * (name == subject_name)
            for claim in wanted:
                g = None if claim == FORWARD else upstream
                start = first * sweep.of_each(claim)
                finding = judge_claim(subject, device, None, call, claim, observed[claim], bounds[claim], g)
                parts[f"{name} {claim} {'' if g is None else kind}"] = Part(
                    errors=Errors.of(observed[claim], true[claim], bounds[claim], start=start),
                    fraction=finding.strict.fraction,
                    standing="fail"
                    if not finding.verdict.passes
                    else "known"
                    if finding.divergence
                    else "pass",
                    divergence=finding.divergence,
                    outputs=sha256(observed[claim].tobytes()),
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
    closed = [claim for claim in wanted if has_pairs(sweep.operator, claim)]
    made = truths(call, others, upstream) if (others := [c for c in wanted if c not in closed]) else {}
    if not closed:
        return made
    numbers = call.arguments["input"].size // sweep.of_each("input")
    x = call.arguments["input"].reshape(numbers, -1)[:, 0]
    with np.errstate(invalid="ignore"):  # some patterns of nan are no longer what they were in another format
        wide = DoubleDouble.of(x)
    for claim in closed:
        shape = output_shape(call) if claim == FORWARD else call.arguments[claim].shape
        evaluated = [of_pairs(sweep.operator, each, claim, upstream) for each in (x, wide)]
        first, second = (Evaluation(value.reshape(shape), error.reshape(shape)) for value, error in evaluated)
        source, key = chosen_balls(call, claim, upstream, shape), key_of(call, claim, upstream)
        made[claim] = Truth(first.value, first.error, FORMATS[sweep.dtype], source, second, key)
    return made


def figures(
    sweep: Sweep, results: Sequence[Mapping[str, Any]], subject_name: str, device: str
) -> list[Figure]:
    """The figures of a sweep, from the results of all its parts in their order."""
    inputs = (
        results[0]["inputs"]
        if len(results) == 1
        else sha256(*(result["inputs"].encode() for result in results))
    )
    subject = load(subject_name, (sweep.operator,))
    rows, classes = extent(sweep.call_on(np.zeros(1)))
    made = []
    for claim, kind in claims(sweep):
        added: dict[str, Part] = {}
        for name in dict.fromkeys((subject_name, "torch")):
            key = f"{name} {claim} {kind}"
            if key not in results[0]["parts"]:
                continue
            added[name] = Part()
            for result in results:
                added[name] += Part.model_validate(result["parts"][key])
        if subject_name not in added:
            continue
        options = {"target": sweep.target, "grad_output": kind}
        made.append(
            Figure(
                operator=sweep.operator,
                dtype=sweep.dtype,
                claim=claim,
                how="exhaustive",
                classes=classes,
                rows=sweep.patterns * rows,
                values=sweep.what,
                logit_range=1.0 if sweep.is_of_probabilities else 2 * FORMATS[sweep.dtype].largest,
                options={name: value for name, value in options.items() if value},
                inputs=inputs,
                subject=added[subject_name].measures(),
                torch=added["torch"].measures() if subject_name != "torch" else None,
                worst=worst(sweep, claim, kind, added[subject_name], subject, device),
            )
        )
    return made


def worst(sweep: Sweep, claim: str, kind: str, part: Part, subject: Subject, device: str) -> Worst:
    """The worst element, found again from its number, with a script that shows it."""
    number = max(part.errors.worst, 0)
    pattern, index = divmod(number, sweep.of_each(claim))
    call = sweep.call(pattern, 1)
    upstream = sweep.grad_output(kind, call, pattern) if kind else None
    one, g, at = alone(call, claim, upstream, index)
    true = truths(one, (claim,), g)[claim]
    bound = expected(one, (claim,), g)[claim]
    observed = {}
    for name in dict.fromkeys((subject.name, "torch")):
        with of_the_subject(subject):
            implementation = load(name, (sweep.operator,))
            run = (
                run_subject.forward(implementation, one, device)
                if g is None
                else run_subject.gradients(implementation, one, device, g)[claim]
            )
            observed[name] = np.asarray(run)[at]
    finding = judge_claim(
        subject, device, None, one, claim, _placed(true.value, at, observed[subject.name]), bound, g
    )
    arguments = {name: value for name, value in one.arguments.items() if isinstance(value, np.ndarray)}
    if g is not None:
        arguments["grad_output"] = g
    return Worst(
        index=tuple(int(i) for i in np.atleast_1d(number)),
        arguments={
            name: " ".join(_hexadecimal(x) for x in value.reshape(-1)) for name, value in arguments.items()
        },
        observed=_hexadecimal(observed[subject.name]),
        torch=_hexadecimal(observed["torch"]) if subject.name != "torch" else "",
        truth=true.decimal(int(np.ravel_multi_index(at, true.value.shape)) if at else 0),
        ulps=part.errors.max_ulp,
        fraction=finding.strict.fraction,
        script=script(_pointing(finding, at), subject, device),
    )


def _placed(value: np.ndarray, at: tuple[int, ...], observed: Any) -> np.ndarray:
    """A result that is right but for one element: what is said of its fraction is said of that element."""
    placed = np.array(value, dtype=np.float64)
    placed[at] = observed
    return placed


def _pointing(finding: Finding, at: tuple[int, ...]) -> Finding:
    return replace(finding, verdict=replace(finding.verdict, index=at))


def _hexadecimal(x: Any) -> str:
    return float(x).hex() if np.asarray(x).dtype.kind == "f" else str(int(x))
