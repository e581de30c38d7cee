"""What blocks of float32 inputs count: the errors of a result against closed forms, by cell."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from torch_loss_parity.audit.closed_forms import RELATIVE
from torch_loss_parity.audit.error_cells import FLOOR, LOWER, cells_of
from torch_loss_parity.reference.arithmetic.formats import FLOAT32

# Arrays of 64 KiB: a dozen of them stay in the cache, and none is worth a system call to the allocator.
BLOCK = 2**13
KNOWN = 2.0**24 * RELATIVE  # ulps
_NEXT_TO = 64  # steps of float64 that a value may be away from a power of two, more than RELATIVE
_TINY = 2.0**-1000


@cache
def _arrays(place: str, inputs: int, of_each: int) -> tuple[np.ndarray, np.ndarray]:
    """Room for the results of a chunk, used for one after the other: fresh memory costs as much as what is
    written to it.
    """
    return np.empty((inputs, of_each), dtype=np.float32), np.empty((inputs, of_each), dtype=np.float32)


class Tally:
    """What the blocks of a chunk found in one result.

    ``relative`` and ``observed`` hold error / |true| and the results of all elements, a row for an input;
    ``apart`` are the elements, by their number in the chunk, that are measured by other means. ``block`` is
    the number of inputs in a block.
    """

    def __init__(self, inputs: int, of_each: int, place: str = "", *, block: int = BLOCK) -> None:
        self.of_each, self.block = of_each, block
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
            counts = self._column(result, sign, size, known)
            absolute = max(absolute, counts[2])
            self.relative[first : first + len(observed), column] = counts[0]
            apart = counts[1]
            if known is not None:
                right = np.isnan(x) & np.isnan(result)
                self.right += int(np.count_nonzero(right))
                apart &= ~right
            self.worst += [first + counts[3], first + counts[4]]
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
