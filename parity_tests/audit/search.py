"""From the worst that was drawn to something worse: a search for the largest error, with a budget of
evaluations.

Note [Climbing]
    A sample of rows from every distribution is evaluated; the worst of them are the first parents. A
    generation is one call: its rows are children, each a parent with one thing changed (a number by some ulps
    or by more, all of them, two exchanged, one taken from another parent, the target, the upstream gradient),
    and the worst rows of parents and children are the next parents. From time to time all parents get one
    class more or one less. The budget counts rows, or elements where those stand for themselves, so that the
    same seed finds the same on a fast machine and on a slow one.

    Two searches share a budget: for the largest error in ulps, and for the largest share of what is allowed.
    The first soon ends where no digit is right, for a loss that is a small difference of large numbers; the
    second finds what rounding does not explain.

    What is climbed on is evaluated without certificates; what was found is then measured, alone, as
    everything else is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np

from torch_loss_parity.audit.operator_facets import audited
from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.expectation import FORWARD, expected
from torch_loss_parity.judging.judge import of_the_subject, output_shape
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.reference.arithmetic.formats import FORMATS, Format
from torch_loss_parity.subjects import Subject, run_subject

# Rows of a call; of those that are changed next; of those that are evaluated alone at the end.
GENERATION, PARENTS, ALONE = 64, 8, 8
LENGTHS = (2, 10, 3, 33)  # of the rows that are drawn
LONGEST = 48  # a row that is found shall be printed
SAMPLED = 4  # one in so many evaluations is drawn
RESIZED = 8  # one generation in so many has other lengths
OBJECTIVES = ("ulps", "error / allowed")

Row = Mapping[str, np.ndarray]  # of each argument, and of grad_output, what one row has of it
Scored = tuple[float, Row]


@dataclass(frozen=True)
class Found:
    """The worst row of a search, alone: its call, its upstream gradient, and the largest score of what was
    drawn.
    """

    call: Call
    grad_output: np.ndarray
    objective: str
    score: float
    sampled: float


@dataclass
class Search:
    """A search for the worst row of one quantity.

    Parameters
    ----------
    evaluations : int
        The budget, of both objectives together.
    """

    subject: Subject
    device: str
    operator: str
    dtype: str
    quantity: str
    evaluations: int
    seed: int

    def __post_init__(self) -> None:
        self.rng = np.random.Generator(
            np.random.Philox([self.seed, crc32(f"{self.operator} {self.dtype} {self.quantity}".encode())])
        )
        self.format: Format = FORMATS[self.dtype]
        self.evaluations_left = 0

    def worst_rows(self) -> Iterator[Found]:
        """The worst row by each objective."""
        self.evaluations_left = self.evaluations // SAMPLED
        sample = list(self._sample())
        for number, objective in enumerate(OBJECTIVES):
            self.evaluations_left = (self.evaluations - self.evaluations // SAMPLED) // len(OBJECTIVES)
            scored = [(scores[number], row) for scores, row in sample]
            climbed = self._climb(_worst(scored, PARENTS * 4), number)
            # A row may be computed otherwise alone; what is reported is what its script shows.
            again = [(self._score([row])[0][number], row) for _, row in climbed[:ALONE]]
            score, row = max(again, key=lambda each: each[0])
            call, grad_output = self.call([row])
            yield Found(call, grad_output, objective, score, max(score for score, _ in scored))

    def call(self, rows: list[Row]) -> tuple[Call, np.ndarray]:
        """Rows of one length as a call, and its upstream gradient."""
        operator = OPERATORS[self.operator]
        shape = (len(rows), rows[0]["input"].size) if operator.family.has_rows else (len(rows),)
        values, base = next(iter(operator.values)), audited(self.operator).base
        case = operator.case(self.dtype, shape, values, base, self.seed)
        drawn = operator.call(case)
        stacked = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        arguments = {name: stacked.get(name, value) for name, value in drawn.arguments.items()}
        call = Call(
            drawn.operator,
            arguments,
            drawn.dtype,
            drawn.output_dtype,
            drawn.differentiable,
            {**drawn.facts, "values": ""},
        )
        return call, stacked["grad_output"]

    def _sample(self) -> Iterator[tuple[tuple[float, float], Row]]:
        operator = OPERATORS[self.operator]
        turn = 0
        while self.evaluations_left > 0:
            length = LENGTHS[turn // len(operator.values) % len(LENGTHS)]
            number = min(GENERATION, self.evaluations_left)
            shape = (number, length) if operator.family.has_rows else (number,)
            case = operator.case(
                self.dtype,
                shape,
                list(operator.values)[turn % len(operator.values)],
                audited(self.operator).base,
                self.seed + turn,
            )
            call = operator.call(case)
            given = {name: value for name, value in call.arguments.items() if isinstance(value, np.ndarray)}
            given["grad_output"] = self.format.round(self.rng.normal(0, 1, output_shape(call)))
            rows: list[Row] = [{name: value[i] for name, value in given.items()} for i in range(number)]
            yield from zip(self._score(rows), rows, strict=True)
            turn += 1

    def _climb(self, parents: list[Scored], objective: int) -> list[Scored]:
        length = parents[0][1]["input"].size
        parents = [each for each in parents if each[1]["input"].size == length][:PARENTS]
        generation = 0
        while self.evaluations_left > 0 and np.isfinite(parents[0][0]):
            generation += 1
            number = min(GENERATION, self.evaluations_left)
            bred = [self._child([row for _, row in parents]) for _ in range(number)]
            resized = generation % RESIZED == 0 and OPERATORS[self.operator].family.has_rows
            if resized:
                length = int(np.clip(parents[0][1]["input"].size + self.rng.choice([-1, 1]), 2, LONGEST))
                bred = [self._resized(row, length) for row in bred]
            scored = list(zip((scores[objective] for scores in self._score(bred)), bred, strict=True))
            if not resized:
                parents = _worst(parents + scored, PARENTS)
            elif (best := _worst(scored, PARENTS))[0][0] > parents[0][0]:
                parents = best
        return parents

    def _child(self, parents: list[Row]) -> Row:
        """A parent with one thing changed; the first parents have more children."""
        rng = self.rng
        row = {
            name: np.array(value) for name, value in parents[int(len(parents) * rng.random() ** 2)].items()
        }
        changeable = [
            name
            for name, value in row.items()
            if value.dtype.kind == "f" and (name != "grad_output" or self.quantity != FORWARD)
        ]
        if row.get("target", np.zeros(())).dtype.kind == "i" and rng.random() < 0.1:
            row["target"] = np.asarray(rng.integers(0, row["input"].size))
            return row
        name = changeable[0] if rng.random() < 0.7 else changeable[int(rng.integers(len(changeable)))]
        row[name] = self._within(
            name, self._changed(row[name], parents[int(rng.integers(len(parents)))][name])
        )
        return row

    def _changed(self, values: np.ndarray, others: np.ndarray) -> np.ndarray:
        rng, flat = self.rng, values.reshape(-1)
        at, move = int(rng.integers(flat.size)), int(rng.integers(7))
        if move <= 1:  # some ulps
            flat[at] += (
                rng.choice([-1.0, 1.0]) * 2.0 ** rng.integers(0, 8) * float(self.format.spacing(flat[at]))
            )
        elif move == 2:
            flat[at] += rng.normal() * 10.0 ** rng.uniform(-4, 1)
        elif move == 3:
            flat += rng.normal() * 10.0 ** rng.uniform(-3, 1)
        elif move == 4:
            flat *= 1 + rng.normal() * 10.0 ** rng.uniform(-3, 0)
        elif move == 5 and flat.size > 1:
            other = int(rng.integers(flat.size))
            flat[[at, other]] = flat[[other, at]]
        else:
            flat[at] = others.reshape(-1)[int(rng.integers(others.size))]
        return flat.reshape(values.shape)

    def _within(self, name: str, values: np.ndarray) -> np.ndarray:
        """Numbers of the format, in the domain; infinities stay."""
        low, high = (
            (0.0, 1.0)
            if name in audited(self.operator).probabilities
            else (-self.format.largest / 64, self.format.largest / 64)
        )
        return self.format.round(np.where(np.isfinite(values), np.clip(values, low, high), values))

    def _resized(self, row: Row, length: int) -> Row:
        """A row of another length: the last class is left out, or one more like another."""
        size = row["input"].size
        pick = (
            np.arange(length)
            if length <= size
            else np.append(np.arange(size), self.rng.integers(0, size, length - size))
        )
        resized = {name: value[pick] if value.ndim else value for name, value in row.items()}
        if "target" in row and row["target"].dtype.kind == "i":
            resized["target"] = np.minimum(row["target"], length - 1)
        return resized

    def _score(self, rows: list[Row]) -> list[tuple[float, float]]:
        """The largest error of each row: in ulps, and as a share of what is allowed."""
        self.evaluations_left -= len(rows)
        call, grad_output = self.call(rows)
        with of_the_subject(self.subject):
            if self.quantity == FORWARD:
                observed = run_subject.forward(self.subject, call, self.device)
            else:
                observed = run_subject.gradients(self.subject, call, self.device, grad_output)[self.quantity]
        upstream = None if self.quantity == FORWARD else grad_output
        bounds = expected(call, (self.quantity,), upstream, profile=self.subject.profile)
        bound = bounds[self.quantity]
        if observed.shape != bound.value.shape:
            raise run_subject.WrongResult(
                f"the result has shape {observed.shape}, expected {bound.value.shape}"
            )
        ulps, fractions = (
            np.max(each.reshape(len(rows), -1), axis=1)
            for each in _errors(observed, bound, call, self.quantity)
        )
        return list(zip(ulps.tolist(), fractions.tolist(), strict=True))


def _errors(observed: np.ndarray, bound: Any, call: Call, quantity: str) -> tuple[np.ndarray, np.ndarray]:
    """Of each element: ulps, and error / allowed; 0 where nothing can be said, infinite where a number is
    none or none is one.
    """
    value, format = bound.value, FORMATS[call.dtype_of(quantity)]
    with np.errstate(all="ignore"):
        allowed = np.broadcast_to(bound.total_error(), value.shape)
        error = np.where(observed == value, 0.0, np.abs(observed - value)).astype(np.float64)
        decided = (
            np.isfinite(value) & np.isfinite(allowed) & (np.abs(value) + allowed < format.overflow_threshold)
        )
        ulps = error / format.spacing(np.where(decided, value, 1.0))
        fraction = np.where(error == 0, 0.0, error / allowed)
        settled = [
            np.where(decided, np.where(np.isnan(each), np.inf, each), 0.0) for each in (ulps, fraction)
        ]
    return settled[0], settled[1]


def _worst(scored: list[Scored], number: int) -> list[Scored]:
    return sorted(scored, key=lambda each: -each[0])[:number]
