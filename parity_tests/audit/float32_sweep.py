"""All float32 inputs of an operator, at a rate that makes 2**32 of them a matter of minutes.

Note [What blocks decide]
    A block is evaluated by closed forms (`torch_loss_parity.audit.closed_forms`), in float64 arrays that stay
    in the cache. Elements whose enclosure lies inside a cell are counted. The others, those with the largest
    errors of each block, and whatever is not finite, are put together and measured as any other result is
    (`errors.Errors.of`), by double-double and balls: so the maxima are certified, and if the largest error of
    the blocks would print other digits than theirs, the run ends.

Note [Worst error / allowed]
    The bound is smooth: over 2**15 neighbouring numbers error / |true| is allowed to change by little. It is
    evaluated at ``SAMPLES`` elements of each block, among them the worst; by their smallest bound and their
    spread the other elements are ranked, and evaluated themselves as long as they may exceed the worst that
    was found. Where the bound is broken, what the ledger's entry allows is sampled in the same way, and
    evaluated for every element of a block that may exceed it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from zlib import crc32

import numpy as np
import torch

from torch_loss_parity.audit import doubts
from torch_loss_parity.audit.certify import Truth, chosen_balls, truths
from torch_loss_parity.audit.closed_forms import (
    RELATIVE,
    Values,
    form,
    forms_of,
    of_logits,
    of_probabilities,
)
from torch_loss_parity.audit.error_cells import FLOOR, HALF, LOWER, cells_of
from torch_loss_parity.audit.errors import Errors, measured
from torch_loss_parity.audit.exhaustive import Part, Sweep, sha256
from torch_loss_parity.audit.intervals import Intervals
from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.expectation import FORWARD, expected
from torch_loss_parity.judging.comparison import kinds
from torch_loss_parity.judging.judge import Finding, judge_claim, of_the_subject, output_shape
from torch_loss_parity.ledger import ledger
from torch_loss_parity.reference.arithmetic.formats import FLOAT32, FORMATS
from torch_loss_parity.subjects import Subject, load
from torch_loss_parity.subjects.run_subject import WrongResult

# Arrays of 64 KiB: a dozen of them stay in the cache, and none is worth a system call to the allocator.
BLOCK = 2**13
KNOWN = 2.0**24 * RELATIVE  # ulps
SAMPLES = 12
MARGIN = 1.02  # beyond the spread of the samples
RESOLUTION = 1.05  # of a fraction, as of the verdict's
AT_ONCE = 2**11  # inputs that are judged together
_NEXT_TO = 64  # steps of float64 that a value may be away from a power of two, more than RELATIVE
_TINY = 2.0**-1000


def has_closed_form(sweep: Sweep) -> bool:
    """Whether the result and the gradient of the input have one, and so 2**32 of them can be measured."""
    forms = (forms_of(sweep.operator, sweep.target, claim) for claim in (FORWARD, "input"))
    return sweep.dtype == "float32" and all(forms)


def closed_forms(sweep: Sweep) -> Callable[[np.ndarray], Values]:
    """What evaluates all closed forms of an operator."""
    return of_probabilities if sweep.is_of_probabilities else of_logits


@cache
def _passed(sweep: Sweep) -> dict[str, Any]:
    """The options that are arguments of the call, and no arrays."""
    arguments, options = sweep.call(0, 1).arguments, sweep.facet.targets[sweep.target].options
    arrays = [name for name, value in arguments.items() if isinstance(value, np.ndarray)]
    return {name: value for name, value in options.items() if name in arguments and name not in arrays}


def observed_block(
    sweep: Sweep, subject: Subject, device: str, x: np.ndarray
) -> tuple[dict[str, np.ndarray], float]:
    """What the subject returns on a block of float32 numbers, a row for each; and the seconds
    that it took.
    """
    target = sweep.facet.targets[sweep.target]
    placed = sweep.facet.place(x, np.asarray(target.values, dtype=x.dtype))
    input = torch.from_numpy(placed.pop("input")).to(device).requires_grad_()
    others = [torch.from_numpy(array).to(device) for array in placed.values()]
    options = _passed(sweep)
    function = subject.function(sweep.operator)
    began = time.perf_counter()
    with of_the_subject(subject):
        output = function(input, *others, **options)
        if output.ndim == 1:
            upstream = torch.ones_like(output)
        else:
            upstream = torch.zeros_like(output)
            upstream[:, 0] = 1
        (gradient,) = torch.autograd.grad(output, input, upstream)
        found = {FORWARD: output.detach().cpu().numpy(), "input": gradient.cpu().numpy()}
    seconds = time.perf_counter() - began
    for claim, result in found.items():
        if result.dtype != np.float32:
            raise WrongResult(f"{claim} has dtype {result.dtype}, expected float32")
    return {claim: result.reshape(-1, sweep.of_each(claim)) for claim, result in found.items()}, seconds


@cache
def _arrays(place: str, inputs: int, of_each: int) -> tuple[np.ndarray, np.ndarray]:
    """Room for the results of a chunk, used for one after the other: fresh memory costs as much as what is
    written to it.
    """
    return np.empty((inputs, of_each), dtype=np.float32), np.empty((inputs, of_each), dtype=np.float32)


class Tally:
    """What the blocks of a chunk found in one result.

    ``relative`` and ``observed`` hold error / |true| and the results of all elements, a row for an input;
    ``apart`` are the elements, by their number in the chunk, that are measured by other means.
    """

    def __init__(self, inputs: int, of_each: int, place: str = "") -> None:
        self.of_each = of_each
        self.counts = np.zeros(0, dtype=np.int64)
        self.signed, self.largest, self.largest_relative = 0.0, 0.0, 0.0
        self.right = 0  # nan from nan
        self.apart: list[np.ndarray] = []
        self.observed, self.relative = _arrays(place, inputs, of_each)
        self.worst: list[int] = []  # inputs: those with the largest absolute and relative error of each block
        self.largest_absolute: list[float] = []  # of each block

    def add(
        self, first: int, x: np.ndarray, observed: np.ndarray, forms: Sequence[tuple[float, np.ndarray]]
    ) -> None:
        """Count the results of a block of inputs ``x``, from input number ``first`` of the chunk on."""
        known = np.isfinite(x) if not np.isfinite(x).all() else None
        self.observed[first : first + len(observed)] = observed
        absolute = 0.0
        for column, (sign, size) in enumerate(forms):
            result = np.ascontiguousarray(observed[:, column])
            found = self._column(result, sign, size, known)
            absolute = max(absolute, found[2])
            self.relative[first : first + len(observed), column] = found[0]
            apart = found[1]
            if known is not None:
                right = np.isnan(x) & np.isnan(result)
                self.right += int(np.count_nonzero(right))
                apart &= ~right
            self.worst += [first + found[3], first + found[4]]
            self.apart.append((first + np.flatnonzero(apart)) * self.of_each + column)
        self.largest_absolute.append(absolute)

    def _column(
        self, observed: np.ndarray, sign: float, size: np.ndarray, known: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, float, int, int]:
        """Count one element of each input: its relative errors, which are apart, the largest absolute error,
        and where the largest are.
        """
        with np.errstate(all="ignore"):
            difference = np.subtract(observed, size) if sign > 0 else np.add(observed, size)
            distance = np.abs(difference)
            bits = size.view(np.int64)
            unit = bits >> 52
            np.maximum(unit, 1023 + FLOAT32.min_exponent, out=unit)
            np.subtract(2 * 1023 + FLOAT32.precision - 1, unit, out=unit)
            unit <<= 52
            per_unit = unit.view(np.float64)
            errors = distance * per_unit
            largest = errors.max()
            usual = bool(largest < 2.0**25) and known is None  # nan is not
            if not usual:
                strange = ~(errors < 2.0**25)
                if known is not None:
                    strange |= ~known
                errors[strange] = difference[strange] = distance[strange] = 0.0
            self.signed += float(np.dot(difference, per_unit))
            relative = distance / np.maximum(size, _TINY)
            if usual and largest < FLOOR / 4:  # whatever the unit is, these count as none
                cells, high, apart = None, errors, np.zeros(len(errors), dtype=bool)
            else:
                high = errors + 2 * KNOWN
                cells = cells_of(high)
                errors -= 2 * KNOWN
                apart = errors < _ABOVE[cells]
                # Next to a power of two the unit may be half of what it seems.
                steps = (bits + _NEXT_TO) ^ (bits - _NEXT_TO)
                if steps.max() >= 2**52 or steps.min() < 0:
                    apart |= ((steps >= 2**52) | (steps < 0)) & (high >= FLOOR / 2)
                if not usual:
                    apart |= strange
            most, most_relative = int(np.argmax(high)), int(np.argmax(relative))
            self.largest, self.largest_relative = (
                max(self.largest, high[most]),
                max(self.largest_relative, relative[most]),
            )
            apart[most] = apart[most_relative] = True
            self.signed -= float(np.dot(difference[apart], per_unit[apart]))
        if cells is None:
            self._count(np.asarray([len(apart)]), 1)
            self._count(np.asarray([np.count_nonzero(apart)]), -1)
        else:
            self._count(np.bincount(cells), 1)
            self._count(np.bincount(cells[apart]), -1)
        return relative, apart, float(distance.max()), most, most_relative

    def _count(self, counts: np.ndarray, sign: int) -> None:
        if len(counts) > len(self.counts):
            self.counts = np.append(self.counts, np.zeros(len(counts) - len(self.counts), dtype=np.int64))
        self.counts[: len(counts)] += sign * counts


_ABOVE = LOWER.copy()
_ABOVE[0] = -np.inf  # what is below the first edge is nowhere near one


@dataclass(frozen=True)
class Claim:
    """One result of a sweep on a range of inputs, and what other means say of chosen inputs of it."""

    sweep: Sweep
    first: int
    claim: str
    subject: Subject
    device: str

    def call(self, inputs: np.ndarray) -> tuple[Call, np.ndarray | None]:
        """The call on inputs with these numbers in the range."""
        call = self.sweep.call_on(self.sweep.numbers((inputs + self.first).astype(np.uint32)))
        return call, None if self.claim == FORWARD else self.sweep.grad_output("1", call, 0)

    def errors(self, numbers: np.ndarray, observed: np.ndarray) -> Errors:
        """The errors of chosen elements, by their number in the range, as of any other result."""
        of_each = self.sweep.of_each(self.claim)
        inputs, at = np.unique(numbers // of_each, return_inverse=True)
        flat = at.reshape(-1) * of_each + numbers % of_each
        call, upstream = self.call(inputs)
        true = truths(call, (self.claim,), upstream)[self.claim]
        bound = expected(call, (self.claim,), upstream)[self.claim]
        whole = np.array(true.value, dtype=np.float64).reshape(-1)
        whole[flat] = observed
        _, undecided, wrong = kinds(whole.reshape(true.value.shape), bound, true.format)
        part = true.of(flat)
        found = measured(
            observed.astype(np.float64), part, undecided.reshape(-1)[flat], wrong.reshape(-1)[flat]
        )
        worst = int(numbers[found.worst]) + self.first * of_each if found.worst >= 0 else -1
        return found.model_copy(update={"worst": worst})

    def try_closed_forms(self, numbers: np.ndarray, observed: np.ndarray) -> int:
        """Have balls look at chosen elements, which blocks took for what closed forms say; how many of them.

        Raises
        ------
        AssertionError
            If one is outside the bound of its closed form.
        """
        of_each = self.sweep.of_each(self.claim)
        inputs, columns = numbers // of_each, numbers % of_each
        call, upstream = self.call(inputs)
        values = closed_forms(self.sweep)(self.sweep.numbers((inputs + self.first).astype(np.uint32)))
        forms = [form(values, name) for name in forms_of(self.sweep.operator, self.sweep.target, self.claim)]
        every = np.stack([sign * size for sign, size in forms], axis=1)
        shape = output_shape(call) if self.claim == FORWARD else call.arguments[self.claim].shape
        source = chosen_balls(call, self.claim, upstream, shape)
        error = np.abs(every) * RELATIVE + 2.0**-1074
        chosen = np.arange(len(numbers)) * of_each + columns
        truth = Truth(every, error, FORMATS[self.sweep.dtype], source).of(chosen)
        finite = np.flatnonzero(np.isfinite(observed) & np.isfinite(truth.value))
        Intervals(observed.astype(np.float64), truth, finite).certify(np.arange(len(finite)))
        return len(finite)

    def finding(self, inputs: np.ndarray, observed: np.ndarray) -> Finding:
        """The verdict on chosen inputs."""
        call, upstream = self.call(inputs)
        bound = expected(call, (self.claim,), upstream)[self.claim]
        result = observed[inputs].astype(np.float64).reshape(bound.value.shape)
        return judge_claim(self.subject, self.device, None, call, self.claim, result, bound, upstream)

    def allowed(
        self, inputs: np.ndarray, entry: ledger.Divergence | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The allowed error of every element of chosen inputs, and its value; what an entry of the ledger
        allows, if one is given.
        """
        call, upstream = self.call(inputs)
        changes, function = (entry.arithmetic, entry.function) if entry else (None, None)
        bound = expected(call, (self.claim,), upstream, changes=changes, function=function)[self.claim]
        shape = len(inputs), self.sweep.of_each(self.claim)
        return np.broadcast_to(bound.total_error(), bound.value.shape).reshape(shape), np.asarray(
            bound.value
        ).reshape(shape)


def worst_fraction(claim: Claim, tally: Tally) -> Finding:
    """The worst error / allowed; see the note. The finding passes, or is known, where all elements are."""
    inputs = len(tally.observed)
    blocks = np.arange(0, inputs, BLOCK)
    rng = np.random.default_rng(claim.first)
    drawn = (
        blocks[:, None] + rng.integers(0, np.minimum(BLOCK, inputs - blocks)[:, None], (len(blocks), SAMPLES))
    ).reshape(-1)
    sampled = np.unique(np.concatenate([drawn, tally.worst]))
    worst = claim.finding(sampled, tally.observed)
    least, spread = _least_allowed(claim, sampled, len(blocks))
    with np.errstate(all="ignore"):
        smallest = least / (MARGIN * spread)
        of_blocks = np.asarray(
            [
                (tally.relative[at : at + BLOCK].max(axis=0) / s).max()
                for at, s in zip(blocks, smallest, strict=True)
            ]
        )
    may, ranks = [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
    for block in np.flatnonzero(of_blocks > _enough(worst)):
        with np.errstate(all="ignore"):
            rank = (tally.relative[blocks[block] : blocks[block] + BLOCK] / smallest[block]).max(axis=1)
        at = np.flatnonzero(rank > _enough(worst))
        may.append(blocks[block] + at)
        ranks.append(rank[at])
    left, rank = np.concatenate(may), np.concatenate(ranks)
    order = np.argsort(-rank, kind="stable")
    left, rank = left[order], rank[order]
    # Largest first, until no other can be worse. A fraction is judged by whole rows, whose shared error can
    # only make it larger.
    while len(left) and rank[0] > _enough(worst):
        found = claim.finding(left[:AT_ONCE], tally.observed)
        worst = max(worst, found, key=lambda finding: (not finding.verdict.passes, finding.strict.fraction))
        left, rank = left[AT_ONCE:], rank[AT_ONCE:]
    if worst.strict.fraction <= 1 or not worst.verdict.passes:
        return worst
    return _known(claim, tally, sampled, smallest, worst)


def _enough(worst: Finding) -> float:
    """What another fraction may be without being looked at: as in the verdict, five per cent more, but that
    it is at most 1 is certain.
    """
    fraction = worst.strict.fraction
    return fraction * RESOLUTION if fraction > 1 else min(fraction * RESOLUTION, 1.0)


def _least_allowed(
    claim: Claim, sampled: np.ndarray, blocks: int, entry: ledger.Divergence | None = None
) -> tuple[Any, Any]:
    """For each block and element of an input the smallest allowed error / |value|, or the smallest allowed
    error for an entry, among the samples; and how many times larger the largest is."""
    allowed, value = claim.allowed(sampled, entry)
    with np.errstate(all="ignore"):
        ratio = allowed if entry else (allowed / np.abs(value)).astype(np.float64)
    # What has no error to speak of, or none that can be said, ranks nothing.
    usable = np.isfinite(ratio) & (ratio > 0)
    least = np.full((blocks, ratio.shape[1]), np.inf)
    most = np.zeros_like(least)
    np.minimum.at(least, sampled // BLOCK, np.where(usable, ratio, np.inf))
    np.maximum.at(most, sampled // BLOCK, np.where(usable, ratio, 0.0))
    return least, np.where(most > 0, most / least, 1.0)


def _known(claim: Claim, tally: Tally, sampled: np.ndarray, smallest: np.ndarray, worst: Finding) -> Finding:
    """Whether what explains the worst explains every broken bound."""
    entry = next(entry for entry in ledger.entries() if entry.id == worst.divergence)
    blocks = len(tally.largest_absolute)
    least, spread = _least_allowed(claim, sampled, blocks, entry)
    with np.errstate(all="ignore"):
        room = (least / (MARGIN * spread)).min(axis=1)
        doubtful = np.asarray(tally.largest_absolute) > room
    for block in np.flatnonzero(doubtful):
        broken = (tally.relative[block * BLOCK : (block + 1) * BLOCK] > smallest[block]).any(axis=1)
        at = block * BLOCK + np.flatnonzero(broken)
        if len(at):
            found = claim.finding(at, tally.observed)
            if not found.verdict.passes:
                return found
    return worst


def measure(sweep: Sweep, first: int, count: int, subject_name: str, device: str) -> dict[str, Any]:
    """As `exhaustive.measure`, for a sweep that has closed forms: the result and the gradient for an upstream
    gradient of 1.
    """
    began, seconds = time.perf_counter(), dict.fromkeys((subject_name, "torch"), 0.0)
    values = closed_forms(sweep)
    claims = (FORWARD, "input")
    tallies = {
        (name, claim): Tally(count, sweep.of_each(claim), f"{name} {claim}")
        for name in seconds
        for claim in claims
    }
    for at in range(0, count, BLOCK):
        x = np.arange(first + at, first + min(at + BLOCK, count), dtype=np.uint32).view(np.float32)
        with np.errstate(all="ignore"):
            closed = values(x.astype(np.float64))
        for name in seconds:
            observed, taken = observed_block(sweep, load(name, (sweep.operator,)), device, x)
            seconds[name] += taken
            for claim in claims:
                forms = [form(closed, f) for f in forms_of(sweep.operator, sweep.target, claim)]
                tallies[name, claim].add(at, x, observed[claim], forms)
    parts = {}
    for (name, claim), tally in tallies.items():
        source = Claim(sweep, first, claim, load(name, (sweep.operator,)), device)
        parts[f"{name} {claim} {'' if claim == FORWARD else '1'}"] = _part(source, tally).model_dump(
            mode="json"
        )
    return {
        "parts": parts,
        "inputs": sha256(f"{sweep.name}: patterns {first} to {first + count}".encode()),  # they say all
        "seconds": {"subject": seconds[subject_name], "all": time.perf_counter() - began},
    }


def _part(claim: Claim, tally: Tally) -> Part:
    """What the blocks counted and what was measured apart, with the verdict."""
    numbers = np.concatenate(tally.apart)
    observed = tally.observed.reshape(-1)
    apart = claim.errors(numbers, observed[numbers])
    checked = (
        (tally.largest - 4 * KNOWN, apart.max_ulp),
        (tally.largest_relative - 2 * RELATIVE, apart.max_relative),
    )
    for of_blocks, certified in checked:
        if of_blocks > certified and f"{of_blocks:.3g}" != f"{certified:.3g}":
            raise AssertionError(
                f"the largest error of the blocks is {of_blocks!r}, the largest certified {certified!r}"
            )
    key = crc32(f"{claim.sweep.name} {claim.claim} {claim.first}".encode())
    sample = doubts.drawn(key, observed.size)
    seen = claim.try_closed_forms(sample, observed[sample])
    tally.counts[:1] += tally.right
    counted = {int(cell): int(tally.counts[cell]) for cell in np.flatnonzero(tally.counts)}
    half = int(cells_of(np.asarray([HALF]))[0])
    counted_elements = sum(counted.values())
    blocks = Errors(
        elements=counted_elements,
        correctly_rounded=sum(count for cell, count in counted.items() if cell < half),
        cells=counted,
        in_balls=len(np.setdiff1d(sample, numbers)),
        sampled=seen,
        signed=tally.signed,
        slack=2 * KNOWN * counted_elements,
        worst=-1,
    )
    finding = worst_fraction(claim, tally)
    return Part(
        errors=apart + blocks,
        fraction=finding.strict.fraction,
        standing="fail" if not finding.verdict.passes else "known" if finding.divergence else "pass",
        divergence=finding.divergence,
        outputs=sha256(tally.observed.data),
    )
