"""The errors of one result: counted in cells, their maxima certified; the errors of parts add up to those of
the whole.

Note [What is certified]
    The true value of every element is enclosed, and so is its error, in ulps of the result's format at the
    true value. An element whose enclosure lies across the edge of a cell
    (`torch_loss_parity.audit.error_cells`) goes to balls, at a precision that is raised where they do not
    tell its cell; so counts, percentiles to three digits and the number of correctly rounded elements are
    those of the true errors. What 512 bits do not tell from an edge lies on it: a tie of half an ulp is
    correctly rounded. A true value that 4096 bits do not tell from zero has no relative error. The largest
    errors, in ulps and relative, go to balls until nothing is left that could print other digits than the one
    that is reported. The mean is that of the enclosures' midpoints; elements go to balls, those that are
    known least first, until it is known to half a unit of its third digit, or of that of ``FLOOR`` where it
    is smaller.

    That no other element has a larger error, and the counts, rest on enclosures of elements that no ball has
    seen. What these rest on in turn, and how that is tried, is in `torch_loss_parity.audit.doubts`. Balls
    that lie outside an enclosure end the run.
"""

from __future__ import annotations

from math import ceil

import numpy as np
from pydantic import Field

from torch_loss_parity.audit import doubts
from torch_loss_parity.audit.certify import Truth
from torch_loss_parity.audit.error_cells import BIN, HALF, INFINITE, PRINTED, cells_of
from torch_loss_parity.audit.intervals import Intervals
from torch_loss_parity.audit.record import EDGES, Count, Measures, Record, Size
from torch_loss_parity.audit.standing import Standing
from torch_loss_parity.judging.comparison import kinds
from torch_loss_parity.reference.arithmetic.rounding import Rounded

MEDIAN, P999 = 0.5, 0.999
SUMMED = 2.0**-47  # of the sum of magnitudes: the error of NumPy's pairwise sum, whatever its length


class Errors(Record):
    """Errors that can be added: ``a + b`` are those of both parts.

    Attributes
    ----------
    elements, undecided : int
        Compared, and left out as they may overflow on the way.
    correctly_rounded : int
        Elements within half an ulp.
    cells : mapping of int to int
        The elements in each cell, see `torch_loss_parity.audit.error_cells`.
    in_balls, sampled : int
        Elements whose true value balls have enclosed; and how many were drawn for that at random.
    signed, slack : float
        The sum of observed minus true, in ulps, of the elements of the right kind; how far it may be from the
        true sum.
    max_ulp, max_relative : float
    worst : int
        Which element has the largest error, counted in the flattened result from ``start``; -1 where there is
        none.
    """

    elements: Count = 0
    undecided: Count = 0
    correctly_rounded: Count = 0
    cells: dict[int, Count] = Field(default_factory=dict)
    in_balls: Count = 0
    sampled: Count = 0
    signed: float = 0.0
    slack: Size = 0.0
    max_ulp: Size = 0.0
    max_relative: Size = 0.0
    worst: int = -1

    @classmethod
    def of(cls, observed: np.ndarray, truth: Truth, allowed: Rounded, *, start: int = 0) -> Errors:
        """The errors of ``observed``, widened, against the truth.

        Parameters
        ----------
        allowed : Rounded
            The expectation that the verdict is about: it says which elements may overflow on the way.
        start : int
            The number of the first element, where this is a part.
        """
        _, undecided, wrong = kinds(observed, allowed, truth.format)
        undecided, wrong = np.asarray(undecided), np.asarray(wrong)
        return measured(np.asarray(observed), truth, undecided, wrong, start=start)

    def __add__(self, other: Errors) -> Errors:
        """The errors of both parts."""
        cells = dict(self.cells)
        for cell, count in other.cells.items():
            cells[cell] = cells.get(cell, 0) + count
        signed = self.signed + other.signed
        larger = max((self, other), key=lambda part: (part.worst >= 0, part.max_ulp, -part.worst))
        return Errors(
            elements=self.elements + other.elements,
            undecided=self.undecided + other.undecided,
            correctly_rounded=self.correctly_rounded + other.correctly_rounded,
            cells=dict(sorted(cells.items())),
            in_balls=self.in_balls + other.in_balls,
            sampled=self.sampled + other.sampled,
            signed=signed,
            slack=self.slack + other.slack + abs(signed) * 2.0**-53,
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

    def measures(
        self,
        *,
        fraction: float,
        standing: Standing,
        outputs: str,
    ) -> Measures:
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
            in_balls=self.in_balls,
            sampled=self.sampled,
            bins=tuple(bins),
            **standing._asdict(),
            outputs=outputs,
        )


def measured(
    observed: np.ndarray,
    truth: Truth,
    undecided: np.ndarray,
    wrong: np.ndarray,
    *,
    start: int = 0,
) -> Errors:
    """`Errors.of`, told which elements are undecided and which are of the wrong kind.

    Raises
    ------
    AssertionError
        If a true value is found outside its enclosure, or is finite where its evaluation is not.
    """
    observed, value = observed.reshape(-1), truth.value.reshape(-1)
    undecided, wrong = undecided.reshape(-1), wrong.reshape(-1)
    doubts.compare_evaluations(truth)
    right_kind = ~undecided & ~wrong
    lost = right_kind & np.isfinite(observed) & ~np.isfinite(value)  # it would have no error at all
    if lost.any():
        first = np.argmax(lost)
        given = f"the evaluation of element {first} is {float(value[first])}"
        raise AssertionError(f"{given}, where a finite result is right")
    part = Intervals(observed, truth, np.flatnonzero(right_kind & np.isfinite(observed) & np.isfinite(value)))
    doubtful, sampled = doubts.in_doubt(truth, part.indices)
    part.certify(np.flatnonzero(doubtful | part.across()))
    part.settle_mean()
    decided = observed.size - int(undecided.sum())
    infinite = int((wrong & ~undecided).sum())
    right = decided - infinite - len(part.indices)  # infinite and nan, as they should be: no error
    cells = cells_of(part.high)
    counts = np.bincount(cells)
    counted = {int(cell): int(counts[cell]) for cell in np.flatnonzero(counts)}
    for cell, more in ((0, right), (INFINITE, infinite)):
        if more:
            counted[cell] = counted.get(cell, 0) + more
    max_ulp, at = part.largest_ulp()
    worst = int(part.indices[at]) + start if at >= 0 else start if decided else -1
    if infinite:
        max_ulp, worst = np.inf, int(np.flatnonzero(wrong & ~undecided)[0]) + start
    max_relative = part.largest_relative()
    return Errors(
        elements=observed.size,
        undecided=int(undecided.sum()),
        correctly_rounded=right + int(np.count_nonzero((part.high < HALF) | part.tied)),
        cells=dict(sorted(counted.items())),
        in_balls=int(part.seen.sum()),
        sampled=sampled,
        signed=float(part.signed.sum()),
        slack=float((part.width / 2).sum() + SUMMED * np.abs(part.signed).sum()),
        max_ulp=max_ulp,
        max_relative=max_relative,
        worst=worst,
    )
