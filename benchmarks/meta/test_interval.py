"""Intervals: how often they are right, and what they tell, on rounds that are made up and on rounds that were
measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from torch_loss_parity.benchmarks.interval import CONFIDENCE, Interval, interval
from torch_loss_parity.benchmarks.measure import PATH, orders
from torch_loss_parity.benchmarks.paths import BASELINE

Rounds = Callable[[np.random.Generator, int], np.ndarray]
MADE_UP: dict[str, Rounds] = {
    "normal": lambda drawn, n: drawn.normal(size=n),
    "few far off": lambda drawn, n: drawn.standard_t(2, size=n),
    "two states": lambda drawn, n: drawn.choice([-2.0, 2.0], n) + drawn.normal(size=n),
}


def coverage(intervals: Sequence[Interval], value: float = 1.0) -> float:
    """The part of the intervals that holds a value."""
    return sum(each.holds(value) for each in intervals) / len(intervals)


def of_made_up(name: str, rounds: int, spread: float = 0.05, trials: int = 100) -> list[Interval]:
    """Intervals of rounds whose median is 1."""
    drawn = np.random.default_rng(0)
    return [interval(np.exp(spread * MADE_UP[name](drawn, rounds)).tolist()) for _ in range(trials)]


@pytest.mark.parametrize("rounds", [11, 31])
@pytest.mark.parametrize("name", MADE_UP)
def test_an_interval_is_right_as_often_as_it_says(name: str, rounds: int) -> None:
    """19 of 20 times, within what a hundred trials show."""
    intervals = of_made_up(name, rounds)
    assert coverage(intervals) >= CONFIDENCE - 0.06
    assert coverage(narrowed(intervals)) < CONFIDENCE - 0.06  # a fault: intervals that promise too much


def narrowed(intervals: Sequence[Interval]) -> list[Interval]:
    """Intervals of half the width."""
    return [Interval((e.low + e.middle) / 2, e.middle, (e.high + e.middle) / 2) for e in intervals]


@pytest.mark.parametrize("rounds", [11, 31])
def test_a_slowdown_beyond_the_noise_is_told(rounds: int) -> None:
    """Of as much as the interval is wide on either side, in half of the trials; of more, in all."""
    intervals = of_made_up("normal", rounds)
    usual = float(np.median([each.resolution for each in intervals]))
    for factor, least, most in ((1.0, 0.0, 0.12), (1 + usual, 0.3, 0.9), (1 + 4 * usual, 0.99, 1.0)):
        told = sum(each.times(factor).low > 1 for each in intervals) / len(intervals)
        assert least <= told <= most, factor


def test_the_same_rounds_have_the_same_interval() -> None:
    quotients = np.exp(np.random.default_rng(1).normal(size=15)).tolist()
    assert interval(quotients) == interval(quotients)


def test_rounds_that_agree_have_no_width() -> None:
    assert interval([2.0] * 5) == Interval(2.0, 2.0, 2.0)
    assert interval([2.0] * 5).resolution == 0


def test_one_round_has_no_interval() -> None:
    with pytest.raises(ValueError, match="an interval takes two rounds or more, and there are 1"):
        interval([1.0])


def test_a_machine_that_gets_slower_changes_nothing() -> None:
    """Times double half-way; the quotients are of times of one round."""
    drawn = np.random.default_rng(2)
    torch, path = np.exp(0.02 * drawn.normal(size=(2, 31)))
    drift = np.linspace(1, 2, 31)
    bounds = interval((torch * drift / (path * drift)).tolist())
    assert bounds.holds(1.0)
    assert bounds.resolution < 0.05


def test_who_comes_first_does_not_matter_if_it_is_drawn() -> None:
    """Whatever comes after torch is a tenth slower, since torch leaves the cache full. Were torch always
    before the path, that would be a difference."""

    def quotients(each: Sequence[tuple[str, ...]]) -> list[float]:
        drawn = np.random.default_rng(3)
        late = [order.index(PATH) > order.index(BASELINE) for order in each]
        return [float(np.exp(0.02 * drawn.normal())) * (1 / 1.1 if last else 1.1) for last in late]

    drawn_orders = list(orders(60, 0))
    assert interval(quotients(drawn_orders)).holds(1.0)
    assert not interval(quotients([("floor", BASELINE, PATH)] * 60)).holds(1.0)
