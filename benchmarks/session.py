"""What one run of the benchmarks holds: the knobs, the inputs that cells share, and what was found."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from statistics import median
from time import monotonic
from typing import Any

import torch

from benchmarks import allocator, memory
from benchmarks.buffers import Buffers, buffers, draw
from benchmarks.clock import Clock
from benchmarks.floor import movers
from benchmarks.matrix import Cell, Effort, shape_name
from benchmarks.measure import Bench, Rounds, first_call, number_of_rounds
from benchmarks.paths import BASELINE, PATHS, SUBJECT, Path, Step
from benchmarks.result import BelowFloor, Result, Wrong, spread, times_floor
from benchmarks.verify import Judgement, Truth, seeded, stale
from benchmarks.work import FORWARD, WORKS, traffic
from parity_tests.compilation import UNCOMPILABLE, NoCompiler
from parity_tests.judging import of_the_subject
from parity_tests.observe import WrongResult
from parity_tests.subjects import Subject
from parity_tests.subjects.declined import NotOffered


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
    allocator: str = allocator.AS_IT_IS
    results: list[Result] = field(default_factory=list)
    wrong: list[Wrong] = field(default_factory=list)
    not_begun: list[Cell] = field(default_factory=list)
    not_offered: Counter[str] = field(default_factory=Counter)
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
            datasets = draw(WORKS[cell.work], cell.dtype, cell.shape, seeded(str(key), self.seed))
            self._inputs = Inputs(key, buffers(datasets, self.device), tuple(Truth(each) for each in datasets))
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
        self.wrong.append(Wrong((cell.work, cell.mode, shape_name(cell.shape), cell.dtype), cell.path, reason))

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
        path, work, inputs = self.paths[cell.path], WORKS[cell.work], self.inputs(cell)
        held, must = inputs.buffers, traffic(work, cell.mode, cell.shape, cell.dtype)
        bench, rounds = Bench(self.device, clock, len(held.order), cold=self.cold), Rounds()
        with self._of(path):
            step, first = self._first(path, cell, held)
            block = bench.sized(step, held.operand, holds=cell.mode != FORWARD)
        baseline_step = PATHS[BASELINE].step(work, cell.mode, held)
        baseline = bench.sized(baseline_step, held.operand, holds=cell.mode != FORWARD)
        moving = movers([each["input"] for each in held.arguments])
        once = bench.seconds(block) * block.calls + bench.seconds(baseline) * baseline.calls
        number = number_of_rounds(once, self.effort.seconds, *self.effort.rounds)
        with self._of(path):
            fixture.pedantic(
                bench.run,
                setup=lambda: bench.next_round(block, baseline, moving, rounds, work.transcendental(cell.mode) > 0),
                rounds=number,
            )
        bench.count_faults(rounds)
        output, bench.output = bench.output, None
        judged = self.judge(cell, step, output, bench.last)
        del output
        times = list(fixture.stats.stats.data)
        over_floor, at_floor = times_floor(times, rounds.rates, must)
        peak, no_peak = self._peak(step, held)
        middle = median(times)
        exponentials = median(rounds.exponentials or [0.0]) * work.transcendental(cell.mode)
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
            floor=median([rate.floor(must) for rate in rounds.rates]),
            times_floor=over_floor,
            at_floor=at_floor,
            times_exponentials=middle / exponentials if exponentials else None,
            bytes=must.bytes,
            bandwidth=must.bytes / middle,
            copy_bandwidth=median([rate.bandwidth for rate in rounds.rates]),
            speed=median([b / t for b, t in zip(rounds.baseline, times, strict=True)]),
            first_call=first,
            page_faults=None if rounds.page_faults is None else rounds.page_faults / (number * block.calls),
            peak=peak,
            peak_over_input=None if peak is None else peak / held.operand,
            no_peak=no_peak,
            ulps=max(each.ulps for each in judged),
            fraction=max(each.fraction for each in judged),
            divergences=tuple(sorted({each.divergence for each in judged if each.divergence})),
            compiles=path.compiles,
        )

    def _first(self, path: Path, cell: Cell, held: Buffers) -> tuple[Step, float]:
        """The step of a path, and the seconds of its first call, without the warnings of the compiler about itself.

        Raises
        ------
        NoCompiler
            If the path needs one and there is none on this machine.
        """
        with warnings.catch_warnings():
            if path.compiles:
                warnings.simplefilter("ignore")
            try:
                step = path.step(WORKS[cell.work], cell.mode, held)
                return step, first_call(step, self.device)
            except Exception as error:
                if path.compiles and any(name in f"{type(error).__name__}: {error}" for name in UNCOMPILABLE):
                    raise NoCompiler(f"torch.compile finds no compiler on this machine ({type(error).__name__})") from error
                raise

    def judge(self, cell: Cell, step: Step, output: Any, buffer: int) -> list[Judgement]:
        """Judge the last result of the rounds, and then of each buffer once it holds other numbers, see Note [Rotating inputs].

        Raises
        ------
        WrongPath
            If any of them is wrong.
        """
        inputs, path = self.inputs(cell), self.paths[cell.path]
        found = list(self._judged(cell, step.read(output), inputs, buffer, path))
        del output
        inputs.buffers.exchange()
        for number in [buffer, *(i for i in range(len(inputs.buffers.order)) if i != buffer)]:
            with self._of(path):
                output = step.call(step.prepare(number))
            found += self._judged(cell, step.read(output), inputs, number, path, exchanged=True)
            del output
        return found

    def _judged(self, cell: Cell, returned: Any, inputs: Inputs, buffer: int, path: Path, exchanged: bool = False) -> Iterator[Judgement]:
        truth = inputs.truths[inputs.buffers.order[buffer]]
        for claim, value in returned.items():
            judgement = truth.judge(claim, value, path, self.device)
            if not judgement.passes:
                reason = f"{'the result' if claim == FORWARD else 'the gradient'} is wrong: {judgement.reason}"
                if exchanged and any(stale(returned, other, path, self.device) for other in inputs.truths if other is not truth):
                    reason += "; it is what belongs to other numbers, which lay at the same address before"
                self._refuse(cell, reason)
                raise WrongPath(f"{cell.path} has no time in {cell.work}, {cell.mode}, {shape_name(cell.shape)}, {cell.dtype}: {reason}")
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
