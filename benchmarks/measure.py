"""One cell measured: rounds of the path, each beside a round of torch's own function and of what sets the floor.

Note [Rounds]
    A round is a block of calls that lasts a millisecond or more. Just before it, in pytest-benchmark's ``setup`` and so untimed, the same
    number of buffers is copied, read and written, and torch.nn.functional computes the same work. A neighbour on the machine or a change
    of the clock meets all of them, so that quotients within a round hold where times do not: what is reported as a multiple of the
    floor, or of torch, is the median of the rounds' quotients. For torch itself the quotient is one of a path with itself, A/A: how far
    it is from 1 is noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil
from time import perf_counter
from typing import Any

import torch

from benchmarks.allocator import page_faults
from benchmarks.clock import Clock, synchronize
from benchmarks.floor import Movers, Rates
from benchmarks.paths import Step

LEAST = 1e-3  # seconds of a block: a thousand times what the harness does in it
MOST_CALLS = 500
HELD = 2**26  # bytes that a block's prepared graphs may hold
FLUSHED = 2**28  # bytes written to empty the caches
EXPONENTIALS_IN = 3  # rounds: no bound depends on them


@dataclass(frozen=True)
class Block:
    """Calls of one step, ``calls`` in a row, on the buffers in turn."""

    step: Step
    calls: int

    def prepared(self, start: int, buffers: int) -> list[Any]:
        return [self.step.prepare((start + i) % buffers) for i in range(self.calls)]


@dataclass
class Rounds:
    """What was measured beside the path: seconds of one call for each round."""

    rates: list[Rates] = field(default_factory=list)
    baseline: list[float] = field(default_factory=list)
    exponentials: list[float] = field(default_factory=list)
    page_faults: int | None = 0  # in all rounds of the path; None where the system does not count them


class Bench:
    """Measures steps on a device, warm or with its caches emptied before each call.

    Parameters
    ----------
    device : str
    clock : Clock
        pytest-benchmark's timer in this cell.
    buffers : int
        How many there are to rotate over.
    cold : bool
        Whether the caches are emptied before each block, which then is one call.
    """

    def __init__(self, device: str, clock: Clock, buffers: int, *, cold: bool = False) -> None:
        self.device, self.clock, self.buffers, self.cold = device, clock, buffers, cold
        self.output: Any = None
        self.last = 0  # the buffer that the last call of the path was on
        self._start = 0
        self._faults: int | None = None
        self._moves: dict[Callable[[int], object], Block] = {}
        self._flush = torch.zeros(FLUSHED // 8, dtype=torch.float64, device=device) if cold else None

    def sized(self, step: Step, operand: int, *, holds: bool = False) -> Block:
        """A block of as many calls as it takes to last `LEAST`; the calls that find out also warm up."""
        if self.cold:
            self.seconds(Block(step, 1))
            return Block(step, 1)
        most = min(MOST_CALLS, max(1, HELD // operand)) if holds else MOST_CALLS
        calls = 1
        while True:
            took = self.seconds(Block(step, calls)) * calls
            if took >= LEAST or calls >= most:
                return Block(step, calls)
            calls = min(most, max(2 * calls, ceil(1.2 * calls * LEAST / max(took, 1e-9))))

    def empty_caches(self) -> None:
        if self._flush is not None:
            self._flush.zero_()

    def seconds(self, block: Block) -> float:
        """The seconds of one call, of a block that is not the path's own."""
        prepared, call = block.prepared(self._start, self.buffers), block.step.call
        self.empty_caches()
        own = Clock(self.device)
        own.calls = block.calls
        start = own()
        for argument in prepared:
            call(argument)
        return float(own() - start)

    def run(self, call: Callable[[Any], Any], prepared: Sequence[Any]) -> None:
        """The block that pytest-benchmark times; the last result is kept to be judged."""
        output = None
        for argument in prepared:
            output = None  # its memory may be used again, as where a result is used up
            output = call(argument)
        self.output = output

    def next_round(self, block: Block, baseline: Block, movers: Movers, rounds: Rounds, exponentials: bool) -> tuple[tuple[Any, ...], dict]:
        """What goes before a round of the path: everything that it is compared with, measured now."""
        self.output = None
        self.count_faults(rounds)
        self._start = (self.last + 1) % self.buffers  # never twice in a row on one buffer
        moved = [self.seconds(each) for each in self._movers(movers)]
        rounds.rates.append(Rates(movers.size, *moved))
        rounds.baseline.append(self.seconds(baseline))
        if exponentials and len(rounds.exponentials) < EXPONENTIALS_IN:
            rounds.exponentials.append(self.seconds(self._of(movers.exponentials)))
        prepared = block.prepared(self._start, self.buffers)
        self.last = (self._start + block.calls - 1) % self.buffers
        self.clock.calls = block.calls
        self.empty_caches()
        self._faults = page_faults()
        return (block.step.call, prepared), {}

    def count_faults(self, rounds: Rounds) -> None:
        """Add the page faults of the last round, if there was one, just after it."""
        now = page_faults()
        if now is None or rounds.page_faults is None:
            rounds.page_faults = None
        elif self._faults is not None:
            rounds.page_faults += now - self._faults
            self._faults = None

    def _movers(self, movers: Movers) -> list[Block]:
        return [self._of(each) for each in (movers.copy, movers.read, movers.write)]

    def _of(self, mover: Callable[[int], object]) -> Block:
        """As many moves as last a quarter of a block: three of them go before each."""
        if mover not in self._moves:
            step = Step(lambda i: i, mover, lambda output: {})
            block = self.sized(step, 1)
            self._moves[mover] = Block(step, ceil(block.calls / 4))
        return self._moves[mover]


def first_call(step: Step, device: str) -> float:
    """Seconds of the first call, its preparation included: under a compiler that is where it compiles."""
    start = perf_counter()
    step.call(step.prepare(0))
    synchronize(device)
    return perf_counter() - start


def number_of_rounds(once: float, seconds: float, least: int, most: int) -> int:
    """As many rounds of ``once`` seconds as fit into ``seconds``, within limits."""
    return max(least, min(most, int(seconds / max(once, 1e-9))))
