"""One cell measured: rounds of the path, each beside a round of torch's own function and of the floor.

Note [Rounds]
    A round is three blocks of calls: of the path, of torch.nn.functional on the same work, and of the floor.
    A neighbour on the machine or a change of the clock meets all of them, so that quotients within a round
    hold where times do not: what is reported as a multiple of the floor, or of torch, is the median of the
    rounds' quotients. Each block finds its inputs just written; and which of the three comes first is drawn
    for each round, so that none always finds what the same other one has left. pytest-benchmark times the
    path; what comes before it is measured in its ``setup``, and what comes after in the next one.

    For torch itself the quotient is one of a path with itself, A/A. Nothing tells the two apart but luck, so
    its interval holds 1 as often as an interval is right.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice, permutations
from math import ceil
from time import perf_counter
from typing import Any

import torch

from torch_loss_parity.benchmarks.allocator import page_faults
from torch_loss_parity.benchmarks.buffers import Buffers
from torch_loss_parity.benchmarks.clock import Clock
from torch_loss_parity.benchmarks.paths import BASELINE, Step
from torch_loss_parity.benchmarks.workload import BACKWARD
from torch_loss_parity.processes.devices import synchronize

LEAST = 1e-3  # seconds of a block: a thousand times what the harness does in it
CERTAIN = 10  # times as long: no neighbour takes a core for that
MOST_CALLS = 500
HELD = 2**26  # bytes that a block's prepared graphs may hold
LAST_CACHE = "SC_LEVEL3_CACHE_SIZE"
PATH, FLOOR = "path", "floor"
Order = tuple[str, ...]


@dataclass(frozen=True)
class Block:
    """Calls of one step, ``calls`` in a row, on the buffers in turn."""

    step: Step
    calls: int


class Bench:
    """Measures steps on a device, warm or with its caches emptied before each call.

    Parameters
    ----------
    device : str
    clock : Clock
        pytest-benchmark's timer in this cell.
    buffers : Buffers
        What the steps are called on, in turn.
    mode : str
    cold : bool
        Whether the caches are emptied before each block, which then is one call.
    """

    def __init__(self, device: str, clock: Clock, buffers: Buffers, mode: str, *, cold: bool = False) -> None:
        self.device, self.clock, self.buffers, self.mode, self.cold = device, clock, buffers, mode, cold
        self.output: Any = None
        self._prepared: list[Any] = []
        self.start = 0  # the buffer that the blocks of this round begin with
        self._flush = torch.zeros(flushed() // 8, dtype=torch.float64, device=device) if cold else None

    def sized(self, step: Step, *, holds: bool = False, least: float = LEAST) -> Block:
        """A block of as many calls as it takes to last ``least``; the calls that find out also warm up."""
        if self.cold:
            self.seconds(Block(step, 1))
            return Block(step, 1)
        most = min(MOST_CALLS, max(1, HELD // self.buffers.operand)) if holds else MOST_CALLS
        calls = 1
        while True:
            block = Block(step, calls)
            took = self.seconds(block) * calls
            if least <= took < CERTAIN * least:
                took = min(took, self.seconds(block) * calls)  # unless it was a neighbour who lasted
            if took >= least or calls >= most:
                return block
            calls = min(most, max(2 * calls, ceil(1.2 * calls * least / max(took, 1e-9))))

    def empty_caches(self) -> None:
        """Read and write more than they hold."""
        if self._flush is not None:
            self._flush.add_(1.0)

    def numbers(self, calls: int) -> list[int]:
        """The buffers that the calls of a block are on."""
        return [(self.start + i) % len(self.buffers.order) for i in range(calls)]

    def ready(self, block: Block) -> list[Any]:
        """What the calls of a block take, once all that a block finds is as it is before each: the memory of
        the block before free, the inputs just written (see Note [Just written]) or the caches empty."""
        self.output = None
        self._prepared.clear()  # pytest-benchmark still holds what it was given
        numbers = self.numbers(block.calls)
        written = list(reversed(numbers[: len(self.buffers.order)]))  # the first to be read comes last
        if not self.cold:
            for number in written:
                self.buffers.rewrite_upstream(number)
                self.buffers.rewrite_arguments(number)
        self._prepared = [block.step.prepare(number) for number in numbers]
        if not self.cold and self.mode == BACKWARD:
            for number in written:
                self.buffers.rewrite_upstream(number)
        self.empty_caches()
        return self._prepared

    def run(self, call: Callable[[Any], Any], prepared: Sequence[Any]) -> None:
        """What is timed. The last result is kept until the next block begins."""
        output = None
        for argument in prepared:
            output = None  # its memory may be used again, as where a result is used up
            output = call(argument)
        self.output = output

    def seconds(self, block: Block) -> float:
        """The seconds of one call, of a block that pytest-benchmark does not time."""
        own = Clock(self.device)
        own.calls = block.calls
        prepared = self.ready(block)
        start = own()
        self.run(block.step.call, prepared)
        return float(own() - start)

    def lasts(self, blocks: Iterable[Block]) -> float:
        """Seconds that one round takes, with all that goes before the blocks."""
        start = perf_counter()
        for block in blocks:
            self.seconds(block)
        return perf_counter() - start

    def least(self, steps: Sequence[Step], trials: int = 3) -> list[float]:
        """The least seconds that a call of each step takes."""
        took = [[self.seconds(Block(step, 1)) for step in steps] for _ in range(trials)]
        return [min(each) for each in zip(*took, strict=True)]


@dataclass
class Rounds:
    """The rounds of a cell.

    Attributes
    ----------
    bench : Bench
    blocks : mapping
        The block of the path, of torch and of the floor, by name.
    orders : iterator
        The order of each round to come.
    seconds : mapping
        Of one call of torch and of the floor, for each round.
    page_faults : int or None
        In all rounds of the path; None where the system does not count them.
    last : int
        The buffer that the last call of the path was on.
    """

    bench: Bench
    blocks: dict[str, Block]
    orders: Iterator[Order]
    seconds: dict[str, list[float]] = field(default_factory=lambda: {BASELINE: [], FLOOR: []})
    page_faults: int | None = 0
    last: int = -1
    _after: Order = ()
    _faults: int | None = None

    def begin(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What comes before the path in its next round; what `Bench.run` then is called with."""
        self.finish()
        bench, order, block = self.bench, next(self.orders), self.blocks[PATH]
        turn = order.index(PATH)
        self._after = order[turn + 1 :]
        bench.start = (self.last + 1) % len(bench.buffers.order)  # never twice in a row on one buffer
        self.last = bench.numbers(block.calls)[-1]
        self._measure(order[:turn])
        prepared = bench.ready(block)
        bench.clock.calls = block.calls
        self._faults = page_faults()
        return (block.step.call, prepared), {}

    def finish(self) -> None:
        """What comes after the path in its last round."""
        now = page_faults()
        if now is None:
            self.page_faults = None
        elif self._faults is not None and self.page_faults is not None:
            self.page_faults += now - self._faults
        self._faults = None
        self._measure(self._after)
        self._after = ()

    def _measure(self, names: Sequence[str]) -> None:
        for name in names:
            self.seconds[name].append(self.bench.seconds(self.blocks[name]))


def orders(rounds: int, seed: int) -> Iterator[Order]:
    """Orders of path, torch and floor: each as often as any other, in random succession; the last ends with
    the path, whose result is still there then to be judged."""
    drawn, every = random.Random(seed), list(permutations((PATH, BASELINE, FLOOR)))
    before = chain.from_iterable(drawn.sample(every, len(every)) for _ in range(rounds))
    yield from islice(before, rounds - 1)
    yield drawn.choice([order for order in every if order[-1] == PATH])


def flushed() -> int:
    """The bytes that are read and written to empty the caches: more than any holds, as far as the system
    says."""
    known = LAST_CACHE in getattr(os, "sysconf_names", ())
    return max(2**28, 2 * os.sysconf(LAST_CACHE) if known else 0)


def first_call(step: Step, device: str) -> float:
    """Seconds of the first call, its preparation included: under a compiler that is where it compiles."""
    start = perf_counter()
    step.call(step.prepare(0))
    synchronize(device)
    return perf_counter() - start


def number_of_rounds(once: float, seconds: float, least: int, most: int) -> int:
    """As many rounds of ``once`` seconds as fit into ``seconds``, within limits."""
    return max(least, min(most, int(seconds / max(once, 1e-9))))
