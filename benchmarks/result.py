"""What is known of a cell once it is measured: the record that goes into pytest-benchmark's JSON, the summary and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from statistics import median
from typing import Any

import numpy as np

from benchmarks.floor import Rates
from benchmarks.work import Traffic

TOO_NOISY = 0.03  # A/A off by more cannot tell: the issue's own limit for what is called a difference
BELOW = 0.9  # of the rounds below the floor: then it is not noise


class BelowFloor(AssertionError):
    """A time shorter than the bytes that must move can be moved in: an error of the harness, or work that was not done."""


@dataclass(frozen=True)
class Result:
    """One path of one group.

    Attributes
    ----------
    median, spread : float
        Seconds of one call; interquartile range over median.
    floor, times_floor : float
        Seconds that the bytes which must move take; the median of the rounds' quotients.
    at_floor : bool
        Whether noise put that median below 1; it is then given as 1.
    times_exponentials : float or None
        Over the time of the exponentials alone; None where there are none.
    bytes : int
        What must move.
    bandwidth, copy_bandwidth : float
        Those bytes over the median, and what the copy reached, in bytes a second.
    speed : float
        Torch's time over this path's, the median of the rounds' quotients. For torch itself: A/A.
    page_faults : float or None
        In one call; None where the system does not count them.
    peak, peak_over_input : float or None
        The most memory held beyond what was there; as a multiple of the input.
    ulps, fraction : float
        The worst error in ulps, and worst error / allowed, of all claims.
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
    times_floor: float
    at_floor: bool
    times_exponentials: float | None
    bytes: int
    bandwidth: float
    copy_bandwidth: float
    speed: float
    first_call: float
    page_faults: float | None
    peak: int | None
    peak_over_input: float | None
    no_peak: str
    ulps: float
    fraction: float
    divergences: tuple[str, ...] = ()
    compiles: bool = False

    @property
    def group(self) -> tuple[str, str, str, str]:
        return self.work, self.mode, self.shape, self.dtype

    @property
    def group_name(self) -> str:
        return f"{self.work}, {self.mode}, {self.shape}, {self.dtype}"

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
        missing = [f.name for f in fields(cls) if f.name not in info]
        if missing:
            raise ValueError(f"the benchmark was not measured by these benchmarks, or by older ones: it lacks {', '.join(missing)}")
        known = {f.name: info[f.name] for f in fields(cls)}
        return cls(**known | {"divergences": tuple(known["divergences"])})


@dataclass(frozen=True)
class Wrong:
    """A path that returned something wrong, or that took less time than is possible: it has no time."""

    group: tuple[str, str, str, str]
    path: str
    reason: str


def times_floor(times: Sequence[float], rates: Sequence[Rates], traffic: Traffic) -> tuple[float, bool]:
    """The median quotient of a round and its floor, and whether noise put it below 1: it is then 1.

    Raises
    ------
    BelowFloor
        If nine of ten rounds are below the floor: those that a neighbour disturbed are not enough.
    """
    quotients = np.asarray([t / rate.floor(traffic) for t, rate in zip(times, rates, strict=True)])
    if np.quantile(quotients, BELOW) < 1:
        least = median(rate.floor(traffic) for rate in rates)
        raise BelowFloor(
            f"{np.median(quotients):.2f} times the floor: {traffic.bytes} bytes cannot be moved in {median(times):.3g} s, when moving as "
            f"many beside it takes {least:.3g} s. The work was not done in the time that was taken"
        )
    middle = float(np.median(quotients))
    return max(middle, 1.0), middle < 1


def spread(times: Sequence[float]) -> float:
    """The interquartile range over the median."""
    low, middle, high = np.quantile(times, [0.25, 0.5, 0.75])
    return float((high - low) / middle)
