"""The errors of one result: counted in cells, their maxima certified; the errors of parts add up to those of the whole.

Note [What is certified]
    The true value of every element is enclosed, and so is its error, in ulps of the result's format at the true value. An element whose
    enclosure lies across the edge of a cell (`parity_tests.audit.cells`) goes to balls, at a precision that is raised where they do not
    tell its cell; so counts, percentiles to three digits and the number of correctly rounded elements are those of the true errors. What
    512 bits do not tell from an edge lies on it: a tie of half an ulp is correctly rounded. A true value that 4096 bits do not tell from
    zero has no relative error. The largest errors, in ulps and relative,
    go to balls until nothing is left that could print other digits than the one that is reported. Balls that lie outside an enclosure
    end the run. The mean is that of the enclosures'
    midpoints; elements go to balls, those that are known least first, until it is known to half a unit of its third digit, or of that of
    ``FLOOR`` where it is smaller.

    Errors of float64 are known to a hundredth of an ulp before balls are asked, so that nearly all are across some edge. A result that
    is not to be merged needs only those that decide: its bins, and the cells of its percentiles (``alone``).
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, frexp, inf, nextafter
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from parity_tests.audit.cells import BIN, FLOOR, HALF, INFINITE, LOWER, PRINTED, cells_of
from parity_tests.audit.certify import HIGHEST, Truth
from parity_tests.audit.record import EDGES, Count, Measures, Record, Size
from parity_tests.verdict import kinds
from reference.arithmetic.balls import Enclosure, enclosure
from reference.arithmetic.formats import Format
from reference.arithmetic.rounding import Rounded

MEDIAN, P999 = 0.5, 0.999
FEW, SAMPLE = 2**12, 8  # of results with so few elements, so many are certified besides: the filter is not trusted on its word
ENOUGH = 512  # bits to tell an element from an edge
_EDGES = np.asarray([0.0, *EDGES, np.inf])
_WIDER = 2.0**-49  # relative: of the handful of operations that make an error in ulps from an enclosure


class Errors(Record):
    """Errors that can be added: ``a + b`` are those of both parts.

    Attributes
    ----------
    elements, undecided : int
        Compared, and left out as they may overflow on the way.
    correctly_rounded : int
        Elements within half an ulp.
    cells : mapping of int to int
        The elements in each cell, see `parity_tests.audit.cells`.
    exact : bool
        Whether the cell of every element is certain, as it must be of what is added.
    signed, slack : float
        The sum of observed minus true, in ulps, of the elements of the right kind; how far it may be from the true sum.
    max_ulp, max_relative : float
    worst : int
        Which element has the largest error, counted in the flattened result from ``start``; -1 where there is none.
    """

    elements: Count = 0
    undecided: Count = 0
    correctly_rounded: Count = 0
    cells: dict[int, Count] = Field(default_factory=dict)
    exact: bool = True
    signed: float = 0.0
    slack: Size = 0.0
    max_ulp: Size = 0.0
    max_relative: Size = 0.0
    worst: int = -1

    @classmethod
    def of(cls, observed: np.ndarray, truth: Truth, allowed: Rounded, *, alone: bool = False, start: int = 0) -> Errors:
        """The errors of ``observed``, widened, against the truth.

        Parameters
        ----------
        allowed : Rounded
            The expectation that the verdict is about: it says which elements may overflow on the way.
        alone : bool
            Certify what decides the figures of this result; it can then not be added to others.
        start : int
            The number of the first element, where this is a part.
        """
        _, undecided, wrong = kinds(observed, allowed, truth.format)
        return measured(np.asarray(observed), truth, np.asarray(undecided), np.asarray(wrong), alone=alone, start=start)

    def __add__(self, other: Errors) -> Errors:
        """The errors of both parts.

        Raises
        ------
        ValueError
            If the cells of one of them are not certain: it was measured ``alone``.
        """
        if not (self.exact and other.exact):
            raise ValueError("errors that were measured alone cannot be added; measure them with alone=False")
        cells = dict(self.cells)
        for cell, count in other.cells.items():
            cells[cell] = cells.get(cell, 0) + count
        larger = max((self, other), key=lambda part: (part.worst >= 0, part.max_ulp, -part.worst))
        return Errors(
            elements=self.elements + other.elements,
            undecided=self.undecided + other.undecided,
            correctly_rounded=self.correctly_rounded + other.correctly_rounded,
            cells=dict(sorted(cells.items())),
            signed=self.signed + other.signed,
            slack=self.slack + other.slack,
            max_ulp=larger.max_ulp,
            max_relative=max(self.max_relative, other.max_relative),
            worst=larger.worst,
        )

    def percentile(self, share: float) -> float:
        """The smallest error, to three digits, that at least this share of the elements does not exceed."""
        decided = sum(self.cells.values())
        rank, below = ceil(share * decided), 0
        for cell, count in sorted(self.cells.items()):
            below += count
            if below >= rank:
                return float(PRINTED[cell])
        return 0.0

    def measures(self, *, fraction: float, standing: Literal["pass", "known", "fail"], outputs: str, divergence: str = "") -> Measures:
        """The figures, with the verdict and the hash of the outputs, which come from elsewhere."""
        bins = [0] * (len(EDGES) + 1)
        for cell, count in self.cells.items():
            bins[BIN[cell]] += count
        of_a_kind = sum(self.cells.values()) - self.cells.get(INFINITE, 0)
        return Measures(
            elements=self.elements,
            undecided=self.undecided,
            max_ulp=self.max_ulp,
            p999_ulp=self.percentile(P999),
            median_ulp=self.percentile(MEDIAN),
            mean_signed_ulp=self.signed / of_a_kind if of_a_kind else 0.0,
            max_relative=self.max_relative,
            fraction=fraction,
            correctly_rounded=self.correctly_rounded,
            bins=tuple(bins),
            standing=standing,
            divergence=divergence,
            outputs=outputs,
        )


def measured(
    observed: np.ndarray, truth: Truth, undecided: np.ndarray, wrong: np.ndarray, *, alone: bool = False, start: int = 0
) -> Errors:
    """`Errors.of`, told which elements are undecided and which are of the wrong kind."""
    observed, value = observed.reshape(-1), truth.value.reshape(-1)
    undecided, wrong = undecided.reshape(-1), wrong.reshape(-1)
    finite = np.isfinite(observed) & np.isfinite(value) & ~wrong
    part = _Part(observed, truth, np.flatnonzero(finite & ~undecided))
    low, high = part.low, part.high
    unsure = _across(low, high, LOWER) if not alone else _across(low, high, _EDGES)
    if len(low) <= FEW:
        unsure[:: max(1, len(low) // SAMPLE)] = True  # whatever the filter says
    part.certify(np.flatnonzero(unsure))
    decided = observed.size - int(undecided.sum())
    infinite = int((wrong & ~undecided).sum())
    right = decided - infinite - len(low)  # infinite and nan, as they should be: no error
    if alone:
        for share in (MEDIAN, P999):
            part.settle_rank(ceil(share * decided) - right)
    part.settle_mean()
    cells = cells_of(high)
    counts = np.bincount(cells)
    counted = {int(cell): int(counts[cell]) for cell in np.flatnonzero(counts)}
    for cell, more in ((0, right), (INFINITE, infinite)):
        if more:
            counted[cell] = counted.get(cell, 0) + more
    max_ulp, at = part.largest_ulp()
    worst = int(part.indices[at]) + start if at >= 0 else start if decided else -1
    if infinite:
        max_ulp, worst = np.inf, int(np.flatnonzero(wrong & ~undecided)[0]) + start
    return Errors(
        elements=observed.size,
        undecided=int(undecided.sum()),
        correctly_rounded=right + int(np.count_nonzero((high < HALF) | part.tied)),
        cells=dict(sorted(counted.items())),
        exact=not alone or not _across(low, high, LOWER).any(),
        signed=float(part.signed.sum()),
        slack=float(((high - low) / 2).sum()),
        max_ulp=max_ulp,
        max_relative=part.largest_relative(),
        worst=worst,
    )


def _across(low: np.ndarray, high: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Where low and high lie in different cells: an edge is among (low, high]. What is equal to an edge without doubt is not."""
    if edges is LOWER:
        return (low < LOWER[cells_of(high)]) & (low < high)
    return (low < edges[np.searchsorted(edges, high, side="right") - 1]) & (low < high)


class _Part:
    """The elements of a result that have an error to speak of, with the interval that it lies in; balls narrow it down.

    ``low`` and ``high`` enclose |observed - true| in ulps; ``signed`` is the midpoint, with its sign. ``relative_low`` and
    ``relative_high`` enclose the relative error; that of a true value which balls do not tell from zero is 0.
    """

    def __init__(self, observed: np.ndarray, truth: Truth, indices: np.ndarray) -> None:
        self.truth, self.indices = truth, indices
        whole = len(indices) == len(observed)
        value = truth.value.reshape(-1) if whole else truth.value.reshape(-1)[indices]
        error = truth.error.reshape(-1) if whole else truth.error.reshape(-1)[indices]
        self.observed = observed if whole else observed[indices]
        with np.errstate(all="ignore"):
            difference = (self.observed - value).astype(np.float64, copy=False)
            self.magnitude = magnitude = np.abs(value).astype(np.float64, copy=False)
            distance = np.abs(difference)
            inexact = np.where(error > 2.0**-1074, error, 0.0)  # what was evaluated exactly has no error but this number
            room = inexact + distance * _WIDER
            # The magnitude was rounded to float64, perhaps to a power of two.
            narrow = spacing(truth.format, magnitude * (1 - 2.0**-52) - inexact)
            wide = spacing(truth.format, magnitude * (1 + 2.0**-52) + inexact)
            known = spacing(truth.format, magnitude)
            exact = (inexact == 0) & (magnitude == np.abs(value))
            # Known exactly, an error is a quotient by a power of two.
            self.low = np.where(exact, distance / known, np.maximum(distance - room, 0.0) / wide)
            self.high = np.where(exact, distance / known, (distance + room) / narrow)
            self.signed = difference / wide
            room = np.where(inexact == 0, distance * _WIDER, room)
            self.relative_low = np.maximum(distance - room, 0.0) / (magnitude + inexact) * (1 - _WIDER)
            self.relative_high = (distance + room) / np.maximum(magnitude - inexact, 0.0) * (1 + _WIDER)
            nothing = (distance == 0) & (inexact == 0)
            self.relative_low[nothing] = self.relative_high[nothing] = 0.0
            # A result of 0 is off by all there is, whatever that is.
            lost = (self.observed == 0) & (inexact > 0)
            self.relative_high[lost] = np.minimum(self.relative_high[lost], 1.0)
        self.tied = (self.low == HALF) & (self.high == HALF)

    def certify(self, chosen: np.ndarray) -> None:
        """Narrow the intervals of chosen elements down to a float64, and to their cell."""
        if not len(chosen):
            return
        low, high = self.low[chosen] * (1 - 2.0**-30) - 2.0**-40, self.high[chosen] * (1 + 2.0**-30) + 2.0**-40
        self._certify(chosen)
        outside = (self.high[chosen] < low) | (self.low[chosen] > high)
        if outside.any():
            first = self.indices[chosen[np.argmax(outside)]]
            raise AssertionError(f"the evaluation of element {first} is outside its own bound: balls say so")

    def _certify(self, chosen: np.ndarray) -> None:
        balls = np.empty(len(chosen), dtype=object)
        balls[:] = self.truth.balls(self.indices[chosen], 128)
        left = chosen[~self._narrow(chosen, enclosure(balls))]
        for bits in (ENOUGH, HIGHEST):
            if not len(left):
                return
            unclear = []
            for at, ball in zip(left, self.truth.balls(self.indices[left], bits), strict=True):
                found = _in_ulps(float(self.observed[at]), ball, self.truth.format)
                if found.relative is None and found.ulps >= FLOOR and bits < HIGHEST:  # next to zero, in the smallest of units
                    unclear.append(at)
                    continue
                self.low[at] = self.high[at] = found.ulps
                self.tied[at], self.signed[at] = found.tied, found.signed
                if found.relative is not None:
                    self.relative_low[at] = self.relative_high[at] = found.relative
            left = np.asarray(unclear, dtype=np.int64)

    def _narrow(self, chosen: np.ndarray, true: Enclosure) -> np.ndarray:
        """Narrow the intervals where an enclosure of 106 bits is enough; says where it is."""
        observed, middle, rest, radius = self.observed[chosen], true.midpoint, true.remainder, true.radius
        with np.errstate(all="ignore"):
            difference = (observed.astype(np.float64) - middle) - rest + (observed - observed.astype(np.float64)).astype(np.float64)
            distance, magnitude = np.abs(difference), np.abs(middle)
            room = radius + distance * _WIDER
            # At a power of two the spacing is that of the side on which the true value lies.
            power = np.abs(np.frexp(middle)[0]) == 0.5
            below = power & (np.sign(middle) * rest < 0)
            unit = spacing(self.truth.format, np.where(below, np.nextafter(magnitude, 0.0), magnitude))
            low, high = np.maximum(distance - room, 0.0) / unit, (distance + room) / unit
            ulps, relative = distance / unit, distance / magnitude
            exact = (rest == 0) & (radius == 0)
            clear = np.isfinite(ulps) & (~power | exact | (radius < np.abs(rest))) & (magnitude > radius)
            clear &= exact | (room <= distance * 2.0**-30) & (cells_of(low) == cells_of(high))
            # Where the unit is the smallest there is, nothing need be known of a true value that is next to nothing.
            nothing = ~clear & (magnitude + radius < self.truth.format.smallest_normal) & (high < FLOOR) & (high - low < FLOOR * 2.0**-12)
        at = chosen[nothing]
        self.low[at] = self.high[at] = ulps[nothing]
        self.signed[at] = np.copysign(ulps[nothing], difference[nothing])
        at, kept = chosen[clear], ulps[clear]
        self.low[at] = self.high[at] = kept
        self.tied[at] = kept == HALF
        self.signed[at] = np.copysign(kept, difference[clear])
        self.relative_low[at] = self.relative_high[at] = relative[clear]
        return clear | nothing

    def settle_rank(self, rank: int) -> None:
        """Certify elements until the cell of the element with this rank (from 1) is certain."""
        if not 1 <= rank <= len(self.low):  # among those that have no error, or an infinite one
            return
        while True:
            least, most = (np.partition(bound, rank - 1)[rank - 1] for bound in (self.low, self.high))
            if least == most or len({*cells_of(np.asarray([least, most]))}) == 1:
                return
            self.certify(np.flatnonzero((self.low < self.high) & (self.high >= least) & (self.low <= most)))

    def settle_mean(self) -> None:
        """Certify the elements that are known least, until the mean is known to half a unit of its third digit."""
        while len(self.low):
            width = self.high - self.low
            least = max(abs(float(self.signed.sum())), len(width) * FLOOR) * 2.0**-11
            if width.sum() / 2 <= least:
                return
            widest = np.argsort(-width, kind="stable")
            # What is left when these are known is little enough.
            left = np.cumsum(width[widest[::-1]])[::-1] / 2
            self.certify(widest[: max(1, int(np.searchsorted(-left, -least / 2)))])

    def largest_ulp(self) -> tuple[float, int]:
        return self._largest(lambda: (self.low, self.high), self.certify)

    def largest_relative(self) -> float:
        return self._largest(lambda: (self.relative_low, self.relative_high), self._certify_relative)[0]

    def _certify_relative(self, chosen: np.ndarray) -> None:
        """`certify`, until the true value is told from zero, or counts as zero."""
        self.certify(chosen)
        left, bits = chosen[self.relative_low[chosen] < self.relative_high[chosen]], 256
        while len(left):
            for at, ball in zip(left, self.truth.balls(self.indices[left], bits), strict=True):
                if not ball.contains(0):
                    quotient = float((abs(ball - float(self.observed[at])) / abs(ball)).mid())
                    self.relative_low[at] = self.relative_high[at] = quotient
                elif bits >= HIGHEST:
                    self.relative_low[at] = self.relative_high[at] = 0.0
            left, bits = left[self.relative_low[left] < self.relative_high[left]], bits * 2

    def _largest(self, bounds: Callable[[], tuple[np.ndarray, np.ndarray]], certify: Callable[[np.ndarray], None]) -> tuple[float, int]:
        """The largest, certified, and where: no other could print other digits."""
        certain, batch = np.zeros(len(self.indices), dtype=bool), 1
        while True:
            low, high = bounds()
            if not len(high) or not high.max() > 0:
                return 0.0, 0 if len(high) else -1
            rivals = np.flatnonzero((high >= low.max()) & ~certain)
            if certain.any():
                best = int(np.argmax(np.where(certain, low, -1.0)))
                most = high[rivals].max(initial=0.0)
                if most <= low[best] or f"{most:.3g}" == f"{low[best]:.3g}":
                    return float(low[best]), best
            # Of those that may be as large, the largest true values are the easiest to tell from zero.
            rivals = rivals[np.lexsort((-self.magnitude[rivals], -high[rivals]))][:batch]
            certify(rivals)
            certain[rivals] = True
            batch = min(2 * batch, 1024)


class _Error(NamedTuple):
    ulps: float
    signed: float
    relative: float | None  # None where the true value is not told from zero
    tied: bool


def _in_ulps(observed: float, ball: Any, format: Format) -> _Error:
    """The error against a ball, the nearest float64 numbers; what it does not tell from an edge is on it."""
    apart, size = ball - observed, abs(ball)
    if apart == 0:
        return _Error(0.0, 0.0, 0.0, False)
    nearest, lowest = float(size.mid()), format.min_exponent - format.precision + 1
    mantissa, exponent = frexp(nearest)
    below = mantissa == 0.5 and size < nearest  # the midpoint was rounded up to a power of two
    unit = 2.0 ** (max(exponent - format.precision - below, lowest) if nearest else lowest)
    error = abs(apart) / unit
    low, high = _bounds(error)
    cell = int(LOWER.searchsorted(high, side="right")) - 1
    across = low < LOWER[cell]
    ulps = float(LOWER[cell]) if across else min(max(float(error.mid()), low, float(LOWER[cell])), high)
    relative = None if ball.contains(0) else float((abs(apart) / size).mid())
    return _Error(ulps, -ulps if apart > 0 else ulps, relative, ulps == HALF and not error > HALF)


def _bounds(ball: Any) -> tuple[float, float]:
    """Float64 numbers at most a rounding outside the ball; the number itself where it is one."""
    middle = float(ball.mid())
    if ball == middle:
        return middle, middle
    low, high = float(ball.abs_lower()), float(ball.abs_upper())
    return nextafter(low, 0.0) if ball < low else low, nextafter(high, inf) if ball > high else high


def spacing(format: Format, magnitude: np.ndarray) -> np.ndarray:
    """`Format.spacing` of float64 numbers that are not negative, from their bits; the smallest one for what is."""
    lowest = format.min_exponent - format.precision + 1
    exponent = (np.maximum(magnitude, 0.0).view(np.int64) >> 52) - 1023  # of a subnormal number less than it should be: the same
    units = np.maximum(exponent - format.precision + 1, lowest)
    if lowest >= -1022:
        return ((units + 1023) << 52).view(np.float64)
    return np.ldexp(1.0, units)
