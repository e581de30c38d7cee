"""What is known of a cell once it is measured: the record that goes into pytest-benchmark's JSON, the summary
and the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from torch_loss_parity.benchmarks.interval import CONFIDENCE, Interval, interval
from torch_loss_parity.reference.arithmetic.profiles import DEFAULT
from torch_loss_parity.reference.ways import GRADES

AS_FAST = 0.9  # of the floor: ways of moving the same bytes differ by as much, and not all were tried
Group = tuple[str, str, str, str]


class BelowFloor(AssertionError):
    """A time shorter than the bytes that must move can be moved in: an error of the harness, or work that was
    not done."""


@dataclass(frozen=True)
class Result:
    """One path of one group.

    Attributes
    ----------
    median, spread : float
        Seconds of one call; interquartile range over median.
    floor : float
        Seconds that moving the bytes which must move takes, or computing the products, whichever is longer.
    moved : str
        How that is done fastest here.
    times_floor, times_floor_low, times_floor_high : float
        The median of the rounds' quotients of time and floor, and its interval.
    times_floor_cold : float or None
        The same with empty caches, for path and floor, and without the cost of the floor's calls; None where
        the path is not below the floor.
    times_exponentials : float or None
        Over the time of the exponentials alone; None where there are none.
    bytes : int
        What must move.
    flops : int
        Multiplications and additions of the matrix products that must be computed.
    bandwidth : float
        Those bytes over the median, in bytes a second.
    speed, speed_low, speed_high : float
        Torch's time over this path's, the median of the rounds' quotients, with its interval. For torch A/A.
    page_faults : float or None
        In one call; None where the system does not count them.
    peak, peak_over_input : float or None
        The most memory held beyond what was there; as a multiple of the input, or of the logits of a layer.
    ulps, fraction : float
        The worst error in ulps, and worst error / allowed, of all quantities.
    ways : tuple of str
        By which ways it is right where it is not by the definition: quantity, way and grade.
    profile : str
        The profile of the arithmetic that it is right under; older files do not say it, and mean the default.
    """

    work: str
    mode: str
    shape: str
    dtype: str
    path: str
    device: str
    threads: int
    cache: str
    median: float
    spread: float
    rounds: int
    calls: int
    floor: float
    moved: str
    times_floor: float
    times_floor_low: float
    times_floor_high: float
    times_floor_cold: float | None
    times_exponentials: float | None
    bytes: int
    bandwidth: float
    speed: float
    speed_low: float
    speed_high: float
    first_call: float
    page_faults: float | None
    peak: int | None
    peak_over_input: float | None
    no_peak: str
    ulps: float
    fraction: float
    divergences: tuple[str, ...] = ()
    ways: tuple[str, ...] = ()
    compiles: bool = False
    profile: str = DEFAULT.name
    flops: int = 0

    @property
    def group(self) -> Group:
        return self.work, self.mode, self.shape, self.dtype

    @property
    def group_name(self) -> str:
        return f"{self.work}, {self.mode}, {self.shape}, {self.dtype}"

    @property
    def grade(self) -> str:
        """The worst grade of the ways by which it is right; empty where it is right by the definition, or as
        the ledger says.
        """
        return next(
            (grade for grade in reversed(GRADES) if any(f"({grade})" in way for way in self.ways)), ""
        )

    @property
    def over_floor(self) -> Interval:
        return Interval(self.times_floor_low, self.times_floor, self.times_floor_high)

    @property
    def against_torch(self) -> Interval:
        return Interval(self.speed_low, self.speed, self.speed_high)

    @property
    def cached(self) -> bool:
        """Whether it is below the floor, and not only by noise: a cache or a cheaper call explains it."""
        return self.times_floor_cold is not None and self.times_floor_high < 1

    @property
    def at_floor(self) -> bool:
        """Whether it is below the floor by no more than a floor can be known, or than noise."""
        return self.times_floor < 1 and not self.cached

    def as_info(self) -> dict[str, Any]:
        """As pytest-benchmark's extra_info."""
        return asdict(self)

    @classmethod
    def from_info(cls, info: Mapping[str, Any]) -> Result:
        """What `as_info` made, read from JSON.

        Raises
        ------
        ValueError
            If a field is missing.
        """
        info = {"profile": DEFAULT.name, "ways": (), "flops": 0, **info}
        missing = [f.name for f in fields(cls) if f.name not in info]
        if missing:
            raise ValueError(
                f"the benchmark was not measured by these benchmarks, or by older ones: it "
                f"lacks "
                f"{', '.join(missing)}"
            )
        known = {f.name: info[f.name] for f in fields(cls)}
        return cls(**known | {name: tuple(known[name]) for name in ("divergences", "ways")})


@dataclass(frozen=True)
class Wrong:
    """A path that returned something wrong, or that took less time than is possible: it has no time."""

    group: Group
    path: str
    reason: str


def possible(over_floor: Interval, cold: Callable[[], Sequence[float]], limit: str) -> float | None:
    """See to it that a path takes no less time than is possible. A time below the floor is possible if a
    cache or the cost of the floor's calls explains it: if it is not below the floor without its calls where
    both begin with empty caches.

    Parameters
    ----------
    over_floor : Interval
        Times the floor, warm.
    cold : callable
        Measures the same quotients with empty caches, over the floor without its calls; it is called only if
        there is something to explain.
    limit : str
        What cannot be done in less time.

    Returns
    -------
    float or None
        The median of those quotients; None where nothing had to be explained.

    Raises
    ------
    BelowFloor
        If neither explains it.
    """
    if over_floor.middle >= AS_FAST:
        return None
    without = interval(cold())
    if without.high >= AS_FAST:
        return without.middle
    sure = f"{CONFIDENCE:.0%} interval {without.low:.2f} to {without.high:.2f}"
    raise BelowFloor(
        f"{over_floor.middle:.2f} times the floor, and neither a cache nor the cost of a call explains it: "
        f"{without.middle:.2f} times without them ({sure}). {limit} in that time: the work was not done in it"
    )


def spread(times: Sequence[float]) -> float:
    """The interquartile range over the median."""
    low, middle, high = np.quantile(times, [0.25, 0.5, 0.75])
    return float((high - low) / middle)
