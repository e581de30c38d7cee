"""What a cell takes: the rounds of a path beside those of torch and of the floor, and what is measured
besides. Needs torch and NumPy alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from statistics import median
from typing import Any, TypeVar

from torch_loss_parity.benchmarks import memory
from torch_loss_parity.benchmarks.buffers import Buffers
from torch_loss_parity.benchmarks.clock import Clock
from torch_loss_parity.benchmarks.floor import Floor, exponentials, floors
from torch_loss_parity.benchmarks.matrix import Cell
from torch_loss_parity.benchmarks.measure import (
    FLOOR,
    LEAST,
    PATH,
    Bench,
    Block,
    Rounds,
    first_call,
    number_of_rounds,
    orders,
)
from torch_loss_parity.benchmarks.paths import BASELINE, PATHS, Path, Step
from torch_loss_parity.benchmarks.products import products
from torch_loss_parity.benchmarks.result import AS_FAST
from torch_loss_parity.benchmarks.workload import FORWARD, Work, traffic
from torch_loss_parity.claims.transforms.compilers import UNCOMPILABLE, NoCompiler

LEAST_FLOOR = 1e-12  # seconds
COLD_ROUNDS = 11  # where a time below the floor has to be explained
EXPONENTIALS_IN = 3  # rounds
Judged = TypeVar("Judged")
# The seconds of a call in each of some rounds: what is run, what comes before each round, their number.
Run = Callable[[Callable[..., None], Callable[[], Any], int], list[float]]


@dataclass(frozen=True)
class Timing:
    """What was timed of a cell.

    Attributes
    ----------
    path, torch, floor : list of float
        The seconds of one call in each round.
    calls : int
        Of the path in a round.
    moved : str
        How the bytes of the floor are moved fastest, or its products computed.
    first_call : float
        Seconds, with what is prepared for it.
    cold : list of float
        Times the floor with empty caches, where a time below the floor is to be explained.
    exponentials : float
        Seconds of those that the work cannot do without; 0 where there are none.
    page_faults : float or None
        In one call.
    peak : int or None
        The most memory held, in bytes; None where ``no_peak`` says why not.
    operand : int
        The bytes of the input, or of the logits of a layer.
    """

    path: list[float]
    torch: list[float]
    floor: list[float]
    calls: int
    moved: str
    first_call: float
    cold: list[float]
    exponentials: float
    page_faults: float | None
    peak: int | None
    no_peak: str
    operand: int


@dataclass(frozen=True)
class Timer:
    """Times cells on a device.

    Attributes
    ----------
    seconds, rounds : float, (int, int)
        How long the rounds of a cell take together, roughly; the fewest and the most of them.
    of : callable
        What a path is called in, so that what it raises is told as its own.
    """

    device: str
    seconds: float
    rounds: tuple[int, int]
    cold: bool = False
    of: Callable[[Path], AbstractContextManager[None]] = field(default=lambda path: nullcontext())

    def time(
        self,
        cell: Cell,
        path: Path,
        work: Work,
        held: Buffers,
        clock: Clock,
        run: Run,
        seed: int,
        returned: Callable[[Step, Any, int], Judged],
    ) -> tuple[Timing, Judged]:
        """Time a cell.

        Parameters
        ----------
        seed : int
            Of the order within the rounds.
        returned : callable
            Told the step, what its last call returned, and on which buffer, before anything else is measured.
        """
        must = traffic(work, cell.mode, cell.shape, cell.dtype)
        bench = Bench(self.device, clock, held, cell.mode, cold=self.cold)
        kinds = floors(must, held, cell.mode), products(work.products(cell.mode), held, path.profile)
        holds = cell.mode != FORWARD
        with self.of(path):
            step, first = self.first(path, cell, work, held)
            block = bench.sized(step, holds=holds)
        baseline = PATHS[BASELINE].step(work, cell.mode, held)
        limiting, fastest = _limit(bench, [ways for ways in kinds if ways])
        itself = path.name == BASELINE
        blocks = {
            PATH: block,
            BASELINE: Block(baseline, block.calls) if itself else bench.sized(baseline, holds=holds),
            FLOOR: bench.sized(fastest.step, least=LEAST / 4),
        }
        number = number_of_rounds(bench.lasts(blocks.values()), self.seconds, *self.rounds)
        rounds = Rounds(bench, blocks, orders(number, seed))
        with self.of(path):
            times = run(bench.run, rounds.begin, number)
        output, bench.output = bench.output, None
        rounds.finish()
        judged = returned(step, output, rounds.last)
        del output
        floor = [each * fastest.share for each in rounds.seconds[FLOOR]]
        # As `possible` asks, which needs SciPy for the rest of what it says.
        below = median(t / f for t, f in zip(times, floor, strict=True)) < AS_FAST
        cold = self._cold(path, cell.mode, step, limiting, held) if below else []
        peak, no_peak = self._peak(step, held)
        timing = Timing(
            path=times,
            torch=rounds.seconds[BASELINE],
            floor=floor,
            calls=block.calls,
            moved=fastest.name,
            first_call=first,
            cold=cold,
            exponentials=_exponentials(bench, work.transcendental(cell.mode)),
            page_faults=None if rounds.page_faults is None else rounds.page_faults / (number * block.calls),
            peak=peak,
            no_peak=no_peak,
            operand=held.operand,
        )
        return timing, judged

    def first(self, path: Path, cell: Cell, work: Work, held: Buffers) -> tuple[Step, float]:
        """The step of a path, and the seconds of its first call, without the warnings of the compiler about
        itself.

        Raises
        ------
        NoCompiler
            If the path needs one and there is none on this machine.
        """
        with warnings.catch_warnings():
            if path.compiles:
                warnings.simplefilter("ignore")
            try:
                step = path.step(work, cell.mode, held)
                return step, first_call(step, self.device)
            except Exception as error:
                if path.compiles and any(name in f"{type(error).__name__}: {error}" for name in UNCOMPILABLE):
                    raise NoCompiler(
                        f"torch.compile finds no compiler on this machine ({type(error).__name__})"
                    ) from error
                raise

    def _cold(self, path: Path, mode: str, step: Step, ways: Sequence[Floor], held: Buffers) -> list[float]:
        """Times the floor, of rounds in which all begins with empty caches; the floor is the fastest then,
        without what its calls take where they move next to nothing, see Note [The floor].
        """
        bench = Bench(self.device, Clock(self.device), held, mode, cold=True)
        taken: list[float] = []
        floor: list[list[float]] = [[] for _ in ways]
        idle: list[list[float]] = [[] for _ in ways]
        for number in range(COLD_ROUNDS):
            bench.start = number % len(held.order)
            for each, times, calls in zip(ways, floor, idle, strict=True):
                times.append(bench.seconds(Block(each.step, 1)) * each.share)
                calls.append(bench.seconds(Block(each.idle, 1)) * each.share)
            with self.of(path):
                taken.append(bench.seconds(Block(step, 1)))
        bench.output = None
        times, calls = min(zip(floor, idle, strict=True), key=lambda way: median(way[0]))
        without = median(calls)  # 0 or less is left where moving the bytes is lost in it: nothing is known
        return [t / max(f - without, LEAST_FLOOR) for t, f in zip(taken, times, strict=True)]

    def _peak(self, step: Step, held: Buffers) -> tuple[int | None, str]:
        argument = step.prepare(0)
        try:
            return memory.peak(lambda: step.call(argument), self.device, held.operand), ""
        except memory.NotMeasurable as error:
            return None, str(error)


def _limit(bench: Bench, kinds: Sequence[Sequence[Floor]]) -> tuple[Sequence[Floor], Floor]:
    """Of moving bytes and of multiplying, what takes longest by its fastest way: all ways of it, and that."""
    fastest = []
    for ways in kinds:
        taken = bench.least([way.step for way in ways])
        seconds = [each * way.share for each, way in zip(taken, ways, strict=True)]
        fastest.append((min(seconds), ways, ways[seconds.index(min(seconds))]))
    _, ways, way = max(fastest, key=lambda kind: kind[0])
    return ways, way


def _exponentials(bench: Bench, number: float) -> float:
    """Seconds of ``number`` exponentials of each element; no bound depends on it, so few rounds do."""
    if not number:
        return 0.0
    block = bench.sized(exponentials(bench.buffers.exponents), least=LEAST / 4)
    return number * median(bench.seconds(block) for _ in range(EXPONENTIALS_IN))
