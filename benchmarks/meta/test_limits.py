"""The floor, and what is done with a time below it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks.floor import Rates, movers
from benchmarks.result import BelowFloor, spread, times_floor
from benchmarks.work import Traffic
from parity_tests.observe import TORCH_DTYPES
from parity_tests.operators import DTYPES

RATES = Rates(size=1000, copy=2.0, read=0.5, write=0.75)


@pytest.mark.parametrize(
    ("rates", "traffic", "seconds"),
    [
        (Rates(1000, 2.0, 1.5, 1.5), Traffic(1000, 1000), 2.0),  # as much as a copy
        (Rates(1000, 2.0, 1.5, 1.5), Traffic(3000, 1000), 2.0 + 2 * 1.0),  # reading is no dearer than half a copy
        (RATES, Traffic(1000, 1000), 1.25),  # reading and writing apart were faster than the copy
        (RATES, Traffic(1000, 0), 0.5),
        (RATES, Traffic(0, 1000), 0.625),
        (RATES, Traffic(500, 2500), 0.625 + 2 * 0.625),
        (RATES, Traffic(0, 0), 0.0),
    ],
)
def test_the_floor_is_what_moving_the_bytes_takes(rates: Rates, traffic: Traffic, seconds: float) -> None:
    assert rates.floor(traffic) == pytest.approx(seconds, rel=1e-15)


def test_bandwidth_counts_what_is_read_and_written() -> None:
    assert RATES.bandwidth == 1000.0


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_movers_move_the_operand(dtype: str) -> None:
    kind = TORCH_DTYPES[dtype]
    operands = [torch.randn(32, 16).to(kind), torch.randn(32, 16).to(kind).requires_grad_()]
    moving = movers(operands)
    assert moving.size == operands[0].nbytes
    for i, operand in enumerate(operands):
        copied: Any = moving.copy(i)
        assert copied.view(kind).equal(operand.detach().reshape(-1))
        assert copied.data_ptr() != operand.data_ptr()
        read: Any = moving.read(i)
        added = operand.detach().reshape(-1).view(torch.float64).sum()
        assert read.view(torch.int64).equal(added.view(torch.int64))  # to the bit, as it may be nan
        exponentials: Any = moving.exponentials(i)
        assert exponentials.equal(operand.detach().exp())
    written: Any = moving.write(0)
    assert written.nbytes == moving.size


def test_an_operand_that_cannot_be_moved_is_refused() -> None:
    with pytest.raises(ValueError, match="the operand has 4 bytes"):
        movers([torch.ones(1)])


def test_a_time_below_the_floor_is_rejected() -> None:
    """As of a harness that measured nothing: half of what the bytes take."""
    with pytest.raises(BelowFloor, match=r"0\.50 times the floor: 2000 bytes cannot be moved"):
        times_floor([0.625] * 7, [RATES] * 7, Traffic(1000, 1000))


def test_a_few_disturbed_rounds_are_no_error() -> None:
    """A neighbour slows the copy of some rounds: their quotients are small and say nothing."""
    slowed = Rates(1000, 20.0, 5.0, 7.5)
    figure, at_floor = times_floor([1.5] * 9, [RATES] * 7 + [slowed] * 2, Traffic(1000, 1000))
    assert figure == pytest.approx(1.2)
    assert not at_floor


def test_a_figure_that_noise_puts_below_one_is_not_given() -> None:
    """Neither is it an error: some rounds are above."""
    assert times_floor([1.0] * 6 + [2.0] * 3, [RATES] * 9, Traffic(1000, 1000)) == (1.0, True)


def test_quotients_are_taken_within_a_round() -> None:
    """The machine gets twice as slow half-way: times spread, quotients do not."""
    slow = Rates(1000, 4.0, 1.0, 1.5)
    times = [2.5] * 4 + [5.0] * 5
    assert times_floor(times, [RATES] * 4 + [slow] * 5, Traffic(1000, 1000))[0] == pytest.approx(2.0)
    assert spread(times) == pytest.approx(0.5)
