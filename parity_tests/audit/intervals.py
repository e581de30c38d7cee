"""The interval in which the error of each element lies, and how balls narrow it down.

An interval comes from an evaluation with a bound; what that rests on is in `torch_loss_parity.audit.doubts`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import frexp, inf, nextafter
from typing import Any, NamedTuple

import numpy as np

from torch_loss_parity.audit.certify import HIGHEST, Truth
from torch_loss_parity.audit.error_cells import FLOOR, HALF, LOWER, cells_of
from torch_loss_parity.audit.parts_of_calls import BLOCK
from torch_loss_parity.reference.arithmetic.balls import Enclosure, enclosure
from torch_loss_parity.reference.arithmetic.formats import Format

ENOUGH = 512  # bits to tell an element from an edge
_WIDER = 2.0**-49  # relative: of the handful of operations that make an error in ulps from an enclosure


class Intervals:
    """The elements of a result that have an error to speak of, with the interval that it lies in; balls
    narrow it down.

    ``low`` and ``high`` enclose |observed - true| in ulps; ``signed`` is the midpoint, with its sign.
    ``relative_low`` and ``relative_high`` enclose the relative error; that of a true value which balls do not
    tell from zero is 0. ``seen`` says which true values balls have enclosed.
    """

    def __init__(self, observed: np.ndarray, truth: Truth, indices: np.ndarray) -> None:
        self.truth, self.indices = truth, indices
        whole = len(indices) == len(observed)
        value = truth.value.reshape(-1) if whole else truth.value.reshape(-1)[indices]
        error = truth.error.reshape(-1) if whole else truth.error.reshape(-1)[indices]
        self.observed = observed if whole else observed[indices]
        parts = [
            _enclosed(self.observed[part], value[part], error[part], truth.format)
            for part in (slice(start, start + BLOCK) for start in range(0, len(indices), BLOCK) or (0,))
        ]
        self.magnitude, self.low, self.high, self.signed, self.relative_low, self.relative_high = (
            np.concatenate(arrays) for arrays in zip(*parts, strict=True)
        )
        self.tied = (self.low == HALF) & (self.high == HALF)
        self.seen = np.zeros(len(indices), dtype=bool)

    def across(self) -> np.ndarray:
        """Which lie on both sides of the edge of a cell. What is equal to an edge without doubt does not."""
        return (self.low < LOWER[cells_of(self.high)]) & (self.low < self.high)

    def certify(self, chosen: np.ndarray) -> None:
        """Narrow the intervals of chosen elements down to a float64, and to their cell."""
        if not len(chosen):
            return
        low, high = (
            self.low[chosen] * (1 - 2.0**-30) - 2.0**-40,
            self.high[chosen] * (1 + 2.0**-30) + 2.0**-40,
        )
        self._certify(chosen)
        self.seen[chosen] = True
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
                certified = _in_ulps(float(self.observed[at]), ball, self.truth.format)
                # Next to zero, in the smallest of units.
                if certified.relative is None and certified.ulps >= FLOOR and bits < HIGHEST:
                    unclear.append(at)
                    continue
                self.low[at] = self.high[at] = certified.ulps
                self.tied[at], self.signed[at] = certified.tied, certified.signed
                if certified.relative is not None:
                    self.relative_low[at] = self.relative_high[at] = certified.relative
            left = np.asarray(unclear, dtype=np.int64)

    def _narrow(self, chosen: np.ndarray, true: Enclosure) -> np.ndarray:
        """Narrow the intervals where an enclosure of 106 bits is enough; says where it is."""
        observed, middle, rest, radius = self.observed[chosen], true.midpoint, true.remainder, true.radius
        with np.errstate(all="ignore"):
            difference = (
                (observed.astype(np.float64) - middle)
                - rest
                + (observed - observed.astype(np.float64)).astype(np.float64)
            )
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
            # Where the unit is the smallest there is, nothing need be known of a true value that is next to
            # nothing.
            nothing = (
                ~clear
                & (magnitude + radius < self.truth.format.smallest_normal)
                & (high < FLOOR)
                & (high - low < FLOOR * 2.0**-12)
            )
        at = chosen[nothing]
        self.low[at] = self.high[at] = ulps[nothing]
        self.signed[at] = np.copysign(ulps[nothing], difference[nothing])
        at, kept = chosen[clear], ulps[clear]
        self.low[at] = self.high[at] = kept
        self.tied[at] = kept == HALF
        self.signed[at] = np.copysign(kept, difference[clear])
        self.relative_low[at] = self.relative_high[at] = relative[clear]
        return clear | nothing

    @property
    def width(self) -> np.ndarray:
        """How far apart both ends are; 0 where both are infinite."""
        known = self.low == self.high
        return np.where(known, 0.0, self.high - np.where(known, 0.0, self.low))

    def settle_mean(self) -> None:
        """Certify the elements that are known least, until the mean is known to half a unit of its third
        digit; an error beyond the largest float64, as of float64 next to a true value of 0, leaves it none.
        """
        while len(self.low):
            width = self.width
            if len(unbounded := np.flatnonzero(np.isinf(width))):
                self.certify(unbounded)
                continue
            if np.isinf(self.signed).any():
                return
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

    def _largest(
        self, bounds: Callable[[], tuple[np.ndarray, np.ndarray]], certify: Callable[[np.ndarray], None]
    ) -> tuple[float, int]:
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


def _enclosed(observed: np.ndarray, value: Any, error: np.ndarray, format: Format) -> tuple[np.ndarray, ...]:
    """The magnitude of each true value, and of `Intervals` low, high, signed and the relative ones."""
    with np.errstate(all="ignore"):
        difference = (observed - value).astype(np.float64, copy=False)
        magnitude = np.abs(value).astype(np.float64, copy=False)
        distance = np.abs(difference)
        # What was evaluated exactly has no error but this number.
        inexact = np.where(error > 2.0**-1074, error, 0.0)
        room = inexact + distance * _WIDER
        # The magnitude was rounded to float64, perhaps to a power of two.
        narrow = spacing(format, magnitude * (1 - 2.0**-52) - inexact)
        wide = spacing(format, magnitude * (1 + 2.0**-52) + inexact)
        known = spacing(format, magnitude)
        exact = (inexact == 0) & (magnitude == np.abs(value))
        # Known exactly, an error is a quotient by a power of two.
        low = np.where(exact, distance / known, np.maximum(distance - room, 0.0) / wide)
        high = np.where(exact, distance / known, (distance + room) / narrow)
        room = np.where(inexact == 0, distance * _WIDER, room)
        relative_low = np.maximum(distance - room, 0.0) / (magnitude + inexact) * (1 - _WIDER)
        relative_high = (distance + room) / np.maximum(magnitude - inexact, 0.0) * (1 + _WIDER)
        nothing = (distance == 0) & (inexact == 0)
        relative_low[nothing] = relative_high[nothing] = 0.0
        # A result of 0 is off by all there is, whatever that is.
        lost = (observed == 0) & (inexact > 0)
        relative_high[lost] = np.minimum(relative_high[lost], 1.0)
        return magnitude, low, high, difference / wide, relative_low, relative_high


def spacing(format: Format, magnitude: np.ndarray) -> np.ndarray:
    """`Format.spacing` of float64 numbers that are not negative, from their bits; the smallest one for what
    is.
    """
    lowest = format.min_exponent - format.precision + 1
    # Of a subnormal number less than it should be: the same.
    exponent = (np.maximum(magnitude, 0.0).view(np.int64) >> 52) - 1023
    units = np.maximum(exponent - format.precision + 1, lowest)
    if lowest >= -1022:
        return ((units + 1023) << 52).view(np.float64)
    return np.ldexp(1.0, units)
