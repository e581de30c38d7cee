"""How far a median of quotients can be trusted: its confidence interval, from the rounds themselves.

Note [Intervals]
    A quotient is of two times of one round, so that what slows the machine for longer than a round slows
    both. The rounds are drawn anew many times, with replacement, and the middle 95 % of the medians of what
    was drawn are the interval: the percentile bootstrap (Efron & Tibshirani, An Introduction to the
    Bootstrap, 13.3). No distribution is assumed, and no figure for what noise is. What is assumed is that
    rounds do not depend on each other: the order within a round is drawn, and ``python -m
    torch_loss_parity.benchmarks.meta.slowdown`` measures how often the interval of torch against itself holds
    1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 4999


@dataclass(frozen=True)
class Interval:
    """A median, and where the one of endlessly many rounds lies."""

    low: float
    middle: float
    high: float

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    @property
    def resolution(self) -> float:
        """The smallest difference that rounds as noisy as these tell from none, as a factor - 1."""
        return max(self.high / self.middle, self.middle / self.low) - 1

    def times(self, factor: float) -> Interval:
        return Interval(self.low * factor, self.middle * factor, self.high * factor)


def interval(quotients: Sequence[float]) -> Interval:
    """The median of ``quotients``, which are of one round each, with its interval; see Note [Intervals]. The
    same for the same rounds.

    Raises
    ------
    ValueError
        If there are fewer than two.
    """
    from scipy.stats import bootstrap  # takes most of a second, and a run that takes no times needs none

    if len(quotients) < 2:
        raise ValueError(f"an interval takes two rounds or more, and there are {len(quotients)}")
    resampled = bootstrap(
        (np.asarray(quotients, dtype=np.float64),),
        np.median,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Interval(float(resampled.low), float(np.median(quotients)), float(resampled.high))
