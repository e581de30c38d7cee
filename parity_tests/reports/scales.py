"""Logarithmic scales of a picture: from numbers to pixels, and the labels of an axis.

What a logarithm does not have, 0 and infinity, may have a place of its own beyond the ends, labelled as what
it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch_loss_parity.reports import formatting

BEYOND = 22.0  # pixels for what a logarithm does not have
TICKS = 6  # labels at most
APART = {"x": 24.0, "y": 12.0}  # pixels, so that labels do not touch
ROOM = 1.3  # times as far as the values, on either side
LEAST, MOST = -323.0, 308.0  # powers of ten that float64 has


@dataclass(frozen=True)
class Tick:
    """A label of an axis and its place, in pixels."""

    at: float
    label: str


@dataclass(frozen=True)
class Scale:
    """From numbers to pixels.

    Attributes
    ----------
    low, high : float
        The ends of the logarithmic part, as powers of ten.
    first, last : float
        Where it lies, in pixels.
    zero, infinity : float or None
        Where these lie, if they have places of their own.
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

    @classmethod
    def around(
        cls, values: Iterable[float], first: float, last: float, *, least: float | None = None
    ) -> Scale:
        """A scale that holds the positive ones of ``values`` with some room, from ``least`` on if given."""
        positive = [value for value in values if 0 < value < math.inf] or [1.0]
        low = min(positive) / ROOM if least is None else least
        return cls(math.log10(low), math.log10(max(*positive, low * 2) * ROOM), first, last)

    def at(self, value: float) -> float:
        """The place of a number; the nearer end for one that lies outside."""
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
    def steps(self) -> list[Tick]:
        """Powers of ten, and where there are few of them 2 and 5 times as much."""
        powers = range(math.floor(self.low), math.ceil(self.high) + 1)
        steps = (1, 2, 5) if len(powers) <= 3 else (1,)
        values = [step * 10.0**k for k in powers for step in steps]
        return [
            Tick(self.at(value), f"{value:g}")
            for value in values
            if self.low <= math.log10(value) <= self.high
        ]


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
