"""Intervals on rounds that were measured: torch against itself, beside other work of lower priority.

They are what ``python -m torch_loss_parity.benchmarks.meta.slowdown --record benchmarks/meta/rounds.json``
has written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from torch_loss_parity.benchmarks.interval import Interval, interval

FILE = Path(__file__).with_name("rounds.json")
RECORDED: dict[str, list[float]] = json.loads(FILE.read_text(encoding="utf-8"))
SLOWER = 1.05


@pytest.fixture(scope="module")
def measured() -> list[Interval]:
    """One for each group whose calls take a millisecond and more."""
    return [interval(rounds) for rounds in RECORDED.values()]


def held(intervals: Sequence[Interval]) -> float:
    """The part of the intervals that holds 1."""
    return sum(each.holds(1.0) for each in intervals) / len(intervals)


def test_of_recorded_rounds_the_intervals_are_right(measured: list[Interval]) -> None:
    assert len(measured) >= 30
    assert held(measured) >= 0.85
    assert held([each.times(SLOWER) for each in measured]) < 0.85  # a fault: torch is not against itself


def test_in_recorded_rounds_a_slowdown_is_told(measured: list[Interval]) -> None:
    """5 %, in three quarters of the groups; and none where there is none."""
    told = [each.times(1 / SLOWER).high < 1 for each in measured]
    assert sum(told) >= 0.75 * len(told)
    assert sum(each.high < 1 for each in measured) <= 0.1 * len(told)


def autocorrelation(rounds: Sequence[float]) -> float:
    """Of rounds with the next ones. What is far off counts as what is nine of ten rounds from the median."""
    logs = np.log(rounds)
    apart = np.clip(logs, *np.quantile(logs, [0.05, 0.95]))
    apart = apart - apart.mean()
    return float((apart[1:] * apart[:-1]).sum() / (apart * apart).sum())


def test_recorded_rounds_do_not_depend_on_each_other() -> None:
    """What the bootstrap assumes. The mean over the groups is that of rounds which are independent, -1 / n,
    within three of its errors."""
    correlations = np.asarray([autocorrelation(rounds) for rounds in RECORDED.values()])
    expected = -np.mean([1 / len(rounds) for rounds in RECORDED.values()])
    error = correlations.std() / np.sqrt(len(correlations))
    assert abs(correlations.mean() - expected) < 3 * error
    twice = [np.repeat(rounds[::2], 2).tolist() for rounds in RECORDED.values()]  # a fault: noise that lasts
    assert np.mean([autocorrelation(rounds) for rounds in twice]) - expected > 3 * error
