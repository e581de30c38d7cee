"""What one run of the benchmarks holds: the settings, the inputs that cells share, and what was found."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from statistics import median
from time import monotonic
from typing import Any

import torch

from torch_loss_parity.benchmarks import allocator, memory
from torch_loss_parity.benchmarks.buffers import Buffers, buffers, draw
from torch_loss_parity.benchmarks.clock import Clock
from torch_loss_parity.benchmarks.floor import Floor, exponentials, floors
from torch_loss_parity.benchmarks.interval import interval
from torch_loss_parity.benchmarks.matrix import Cell, Effort, shape_name
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
from torch_loss_parity.benchmarks.paths import BASELINE, PATHS, SUBJECT, Path, Step
from torch_loss_parity.benchmarks.pytest_benchmark_api import rounds_of
from torch_loss_parity.benchmarks.result import BelowFloor, Group, Result, Wrong, possible, spread
from torch_loss_parity.benchmarks.verify import Judgement, Truth, seeded, stale
from torch_loss_parity.benchmarks.workload import FORWARD, WORKS, Work, traffic
from torch_loss_parity.claims.transforms.compilation import UNCOMPILABLE, NoCompiler
from torch_loss_parity.judging.judge import of_the_subject
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.declined import NotOffered
from torch_loss_parity.subjects.run_subject import WrongResult

LEAST_FLOOR = 1e-12  # seconds
COLD_ROUNDS = 11  # where a time below the floor has to be explained
EXPONENTIALS_IN = 3  # rounds


class WrongPath(AssertionError):
    """What was timed is wrong, so it has no time; the message says in what."""


@dataclass
class Inputs:
    """The datasets of a work in a dtype and shape, where they are on the device, and what is true of them."""

    key: tuple[Any, ...]
    buffers: Buffers
    truths: tuple[Truth, ...]


@dataclass
class Benchmarks:
    """A run.

    Attributes
    ----------
    works : mapping
        By name.
    promised : tuple of str
        Sentences on what the subject promises otherwise than is timed without it.
    not_timed : tuple of str
        The operators that were asked for and have no workload, each with the reason.
    quotients : dict
        Torch's time over the path's in each round, by group and path.
    started : float
        When the run began, on the monotonic clock: the time of the effort counts from there.
    """

    subject: Subject
    paths: dict[str, Path]
    effort: Effort
    device: str
    threads: int
    seed: int
    cold: bool
    timed: bool
    cells: tuple[Cell, ...] = ()
    left_out: tuple[str, ...] = ()
    not_timed: tuple[str, ...] = ()
    works: Mapping[str, Work] = field(default_factory=lambda: WORKS)
    promised: tuple[str, ...] = ()
    allocator: str = allocator.AS_IT_IS
    results: list[Result] = field(default_factory=list)
    wrong: list[Wrong] = field(default_factory=list)
    not_begun: list[Cell] = field(default_factory=list)
    not_offered: Counter[str] = field(default_factory=Counter)
    quotients: dict[tuple[Group, str], list[float]] = field(default_factory=dict)
    started: float = field(default_factory=monotonic)
    _inputs: Inputs | None = None

    def late(self, cell: Cell) -> bool:
        """Whether the time of the effort is used up; ``cell`` is then noted as not begun."""
        if not self.timed or monotonic() - self.started < self.effort.limit:
            return False
        self.not_begun.append(cell)
        return True

    def inputs(self, cell: Cell) -> Inputs:
        """The inputs of a cell; those of the last one are kept, as the next one mostly has the same."""
        key = cell.work, cell.dtype, cell.shape
        if self._inputs is None or self._inputs.key != key:
            self._inputs = None  # its memory may be used again
            torch.compiler.reset()
            datasets = draw(self.works[cell.work], cell.dtype, cell.shape, seeded(str(key), self.seed))
            self._inputs = Inputs(
                key, buffers(datasets, self.device), tuple(Truth(each) for each in datasets)
            )
        return self._inputs

    @contextmanager
    def _noted(self, cell: Cell) -> Iterator[None]:
        """What a subject raises, or does not offer, is told at the end too."""
        try:
            yield
        except (NotOffered, NoCompiler) as error:
            self.not_offered[str(error)] += 1
            raise
        except (WrongResult, BelowFloor) as error:
            self._refuse(cell, str(error))
            raise

    def _refuse(self, cell: Cell, reason: str) -> None:
        self.wrong.append(
            Wrong((cell.work, cell.mode, shape_name(cell.shape), cell.dtype), cell.path, reason)
        )

    def check(self, cell: Cell, fixture: Any) -> None:
        """Compute a cell once, untimed, and judge it."""
        with self._noted(cell):
            self._check(cell, fixture)

    def measure(self, cell: Cell, fixture: Any, clock: Clock) -> Result:
        """Time a cell, judge what it returned, and only then believe the time."""
        with self._noted(cell):
            return self._measure(cell, fixture, clock)

    def _check(self, cell: Cell, fixture: Any) -> None:
        path, inputs = self.paths[cell.path], self.inputs(cell)
        with self._of(path):
            step, _ = self._first(path, cell, inputs.buffers)
            output = fixture.pedantic(step.call, setup=lambda: ((step.prepare(0),), {}))
        self.judge(cell, step, output, 0)

    def _measure(self, cell: Cell, fixture: Any, clock: Clock) -> Result:
        path, work, inputs = self.paths[cell.path], self.works[cell.work], self.inputs(cell)
        held, must = inputs.buffers, traffic(work, cell.mode, cell.shape, cell.dtype)
        bench = Bench(self.device, clock, held, cell.mode, cold=self.cold)
        moving, holds = floors(must, held, cell.mode), cell.mode != FORWARD
        with self._of(path):
            step, first = self._first(path, cell, held)
            block = bench.sized(step, holds=holds)
        baseline = PATHS[BASELINE].step(work, cell.mode, held)
        fastest = moving[bench.fastest([each.step for each in moving])]
        itself = cell.path == BASELINE
        blocks = {
            PATH: block,
            BASELINE: Block(baseline, block.calls) if itself else bench.sized(baseline, holds=holds),
            FLOOR: bench.sized(fastest.step, least=LEAST / 4),
        }
        number = number_of_rounds(bench.lasts(blocks.values()), self.effort.seconds, *self.effort.rounds)
        rounds = Rounds(bench, blocks, orders(number, seeded(str(cell), self.seed)))
        with self._of(path):
            fixture.pedantic(bench.run, setup=rounds.begin, rounds=number)
        output, bench.output = bench.output, None
        rounds.finish()
        judged = self.judge(cell, step, output, rounds.last)
        del output
        times = rounds_of(fixture)
        floor = [each * fastest.share for each in rounds.seconds[FLOOR]]
        over_floor = interval([t / f for t, f in zip(times, floor, strict=True)])
        quotients = [b / t for b, t in zip(rounds.seconds[BASELINE], times, strict=True)]
        speed = interval(quotients)
        self.quotients[(cell.work, cell.mode, shape_name(cell.shape), cell.dtype), cell.path] = quotients
        cold = possible(over_floor, lambda: self._cold(path, cell.mode, step, moving, held), must.bytes)
        peak, no_peak = self._peak(step, held)
        middle = median(times)
        exponentials = self._exponentials(bench, work.transcendental(cell.mode))
        return Result(
            work=cell.work,
            mode=cell.mode,
            shape=shape_name(cell.shape),
            dtype=cell.dtype,
            path=cell.path,
            device=self.device,
            threads=self.threads,
            cache="cold" if self.cold else "warm",
            median=middle,
            spread=spread(times),
            rounds=number,
            calls=block.calls,
            floor=median(floor),
            moved=fastest.name,
            times_floor=over_floor.middle,
            times_floor_low=over_floor.low,
            times_floor_high=over_floor.high,
            times_floor_cold=cold,
            times_exponentials=middle / exponentials if exponentials else None,
            bytes=must.bytes,
            bandwidth=must.bytes / middle,
            speed=speed.middle,
            speed_low=speed.low,
            speed_high=speed.high,
            first_call=first,
            page_faults=None if rounds.page_faults is None else rounds.page_faults / (number * block.calls),
            peak=peak,
            peak_over_input=None if peak is None else peak / held.operand,
            no_peak=no_peak,
            ulps=max(each.ulps for each in judged),
            fraction=max(each.fraction for each in judged),
            divergences=tuple(sorted({each.divergence for each in judged if each.divergence})),
            ways=tuple(sorted({f"{each.quantity}: {each.way}" for each in judged if each.way})),
            compiles=path.compiles,
            profile=path.profile.name,
        )

    def _cold(self, path: Path, mode: str, step: Step, moving: list[Floor], held: Buffers) -> list[float]:
        """Times the floor, of rounds in which all begins with empty caches; the floor is the fastest then,
        without what its calls take where they move next to nothing, see Note [The floor].
        """
        bench = Bench(self.device, Clock(self.device), held, mode, cold=True)
        taken: list[float] = []
        floor: list[list[float]] = [[] for _ in moving]
        idle: list[list[float]] = [[] for _ in moving]
        for number in range(COLD_ROUNDS):
            bench.start = number % len(held.order)
            for each, times, calls in zip(moving, floor, idle, strict=True):
                times.append(bench.seconds(Block(each.step, 1)) * each.share)
                calls.append(bench.seconds(Block(each.idle, 1)) * each.share)
            with self._of(path):
                taken.append(bench.seconds(Block(step, 1)))
        bench.output = None
        times, calls = min(zip(floor, idle, strict=True), key=lambda way: median(way[0]))
        without = median(calls)  # 0 or less is left where moving the bytes is lost in it: nothing is known
        return [t / max(f - without, LEAST_FLOOR) for t, f in zip(taken, times, strict=True)]

    def _exponentials(self, bench: Bench, number: float) -> float:
        """Seconds of ``number`` exponentials of each element; no bound depends on it, so few rounds do."""
        if not number:
            return 0.0
        operands = [each["input"] for each in bench.buffers.arguments]
        block = bench.sized(exponentials(operands), least=LEAST / 4)
        return number * median(bench.seconds(block) for _ in range(EXPONENTIALS_IN))

    def _first(self, path: Path, cell: Cell, held: Buffers) -> tuple[Step, float]:
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
                step = path.step(self.works[cell.work], cell.mode, held)
                return step, first_call(step, self.device)
            except Exception as error:
                if path.compiles and any(name in f"{type(error).__name__}: {error}" for name in UNCOMPILABLE):
                    raise NoCompiler(
                        f"torch.compile finds no compiler on this machine ({type(error).__name__})"
                    ) from error
                raise

    def judge(self, cell: Cell, step: Step, output: Any, buffer: int) -> list[Judgement]:
        """Judge the last result of the rounds, and then of each buffer once it holds other numbers, see Note
        [Rotating inputs].

        Raises
        ------
        WrongPath
            If any of them is wrong.
        """
        inputs, path = self.inputs(cell), self.paths[cell.path]
        judgements = list(self._judged(cell, step.read(output), inputs, buffer, path))
        del output
        inputs.buffers.exchange()
        for number in [buffer, *(i for i in range(len(inputs.buffers.order)) if i != buffer)]:
            with self._of(path):
                output = step.call(step.prepare(number))
            judgements += self._judged(cell, step.read(output), inputs, number, path, exchanged=True)
            del output
        return judgements

    def _judged(
        self, cell: Cell, returned: Any, inputs: Inputs, buffer: int, path: Path, exchanged: bool = False
    ) -> Iterator[Judgement]:
        truth = inputs.truths[inputs.buffers.order[buffer]]
        for quantity, value in returned.items():
            judgement = truth.judge(quantity, value, path, self.device)
            if not judgement.passes:
                reason = (
                    f"{'the result' if quantity == FORWARD else 'the gradient'} is wrong: {judgement.reason}"
                )
                if exchanged and any(
                    stale(returned, other, path, self.device) for other in inputs.truths if other is not truth
                ):
                    reason += "; it is what belongs to other numbers, which lay at the same address before"
                self._refuse(cell, reason)
                raise WrongPath(
                    f"{cell.path} has no time in {cell.work}, {cell.mode}, "
                    f"{shape_name(cell.shape)}, {cell.dtype}: {reason}"
                )
            yield judgement

    def _peak(self, step: Step, held: Buffers) -> tuple[int | None, str]:
        argument = step.prepare(0)
        try:
            return memory.peak(lambda: step.call(argument), self.device, held.operand), ""
        except memory.NotMeasurable as error:
            return None, str(error)

    def _of(self, path: Path) -> AbstractContextManager[None]:
        """Whatever the subject raises is its doing."""
        return of_the_subject(self.subject) if path.name == SUBJECT else nullcontext()
