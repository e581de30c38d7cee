"""From numbers to pixels, and the labels of an axis.

Note [Logarithmic scales]
    Errors span from a fraction of an ulp to more than 2^60. Both scales are logarithmic; what a logarithm
    does not have, 0 and infinity, has a place of its own beyond the ends, labelled as what it is. An error
    below all bins, 2^-12 ulps, is drawn as 0, and one in the last, from 2^64 on, as infinite: a truth that is
    nearly 0, of a gradient that cancels, makes errors of 1e37 ulps, and a scale that held them would show
    nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch_loss_parity.audit import formatting
from torch_loss_parity.audit.record import EDGES

BEYOND = 22.0  # pixels for what a logarithm does not have
BEYOND_BINS = "≥2⁶⁴"
TICKS = 6  # labels at most
APART = {"x": 24.0, "y": 12.0}  # pixels, so that labels do not touch
HALF = 0.5
LEAST, MOST = -323.0, 308.0  # powers of ten that float64 has


def seen(error: float) -> float:
    """An error as a scale has it; see Note [Logarithmic scales]."""
    return 0.0 if error < EDGES[0] else error if error < EDGES[-1] else math.inf


@dataclass(frozen=True)
class Tick:
    at: float
    label: str


@dataclass(frozen=True)
class Scale:
    """From numbers to pixels.

    ``low`` and ``high`` are the ends of the logarithmic part, ``first`` and ``last`` where it lies.
    """

    low: float
    high: float
    first: float
    last: float
    zero: float | None = None
    infinity: float | None = None

    @classmethod
    def over(cls, values: Iterable[float], first: float, last: float) -> Scale:
        """A scale that holds ``values``; one power of ten at least, so that equal values do not fill it."""
        values = list(values)
        finite = [math.log10(v) for v in values if 0 < v < math.inf]
        low, high = (min(finite), max(finite)) if finite else (-1.0, 0.0)
        middle, half = (low + high) / 2, max((high - low) * 0.53, 0.5)
        direction = math.copysign(BEYOND, last - first)
        zero = infinity = None
        if any(v == 0 for v in values):
            zero, first = round(first + direction / 3, 1), first + direction
        if any(math.isinf(v) for v in values):
            infinity, last = round(last - direction / 3, 1), last - direction
        return cls(max(middle - half, LEAST), min(middle + half, MOST), first, last, zero, infinity)

    def at(self, value: float) -> float:
        if value <= 0:
            return self.zero if self.zero is not None else self.first
        if math.isinf(value):
            return self.infinity if self.infinity is not None else self.last
        part = (math.log10(value) - self.low) / (self.high - self.low)
        return round(self.first + (self.last - self.first) * min(max(part, 0.0), 1.0), 1)

    def ticks(self, at: Sequence[float] = (), last: str = "∞") -> list[Tick]:
        """Powers of ten, or the values given; ``last`` is what is written at infinity."""
        inside = range(math.ceil(self.low), math.floor(self.high) + 1)
        step = max(1, math.ceil(len(inside) / TICKS))
        powers = [Tick(self.at(10.0**k), formatting.power_of_ten(k)) for k in inside if k % step == 0]
        if not powers and not at:
            powers = [Tick(self.at(v), f"{v:.2g}") for v in (10**self.low, 10**self.high)]
        ends = [
            Tick(place, name)
            for place, name in ((self.zero, "0"), (self.infinity, last))
            if place is not None
        ]
        return [*([Tick(self.at(v), _short(v)) for v in at] or powers), *ends]

    @property
    def half(self) -> Tick | None:
        """Half an ulp, where it is on the scale."""
        return Tick(self.at(HALF), "½") if 10**self.low <= HALF <= 10**self.high else None


def apart(ticks: Sequence[Tick], along: str, first: Tick | None = None) -> tuple[Tick, ...]:
    """The ticks whose labels do not touch those before them, nor that of ``first``, which is
    drawn by itself.
    """
    kept: list[Tick] = []
    # The ends of a scale, and the largest of the sizes, are what a reader looks for.
    for tick in reversed(ticks):
        if all(abs(tick.at - other.at) >= APART[along] for other in [*kept, *([first] if first else [])]):
            kept.append(tick)
    return tuple(reversed(kept))


def _short(n: float) -> str:
    return f"{n:g}" if n < 10000 else f"{n / 1000:.0f}k" if n < 10**6 else formatting.number(n)
