"""What one run of the benchmarks holds: the settings, the inputs that cells share, and what was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from statistics import median
from time import monotonic
from typing import Any

import torch

from torch_loss_parity.benchmarks import allocator, observed
from torch_loss_parity.benchmarks.buffers import Buffers, buffers, draw
from torch_loss_parity.benchmarks.clock import Clock, Replay
from torch_loss_parity.benchmarks.interval import interval
from torch_loss_parity.benchmarks.matrix import Cell, Effort, shape_name
from torch_loss_parity.benchmarks.paths import SUBJECT, Path, Step
from torch_loss_parity.benchmarks.products import MULTIPLIED
from torch_loss_parity.benchmarks.pytest_benchmark_api import rounds_of
from torch_loss_parity.benchmarks.result import BelowFloor, Group, Result, Wrong, possible, spread
from torch_loss_parity.benchmarks.timing import Timer, Timing
from torch_loss_parity.benchmarks.verify import Judgement, Truth, stale
from torch_loss_parity.benchmarks.workload import FORWARD, WORKS, Work, seeded, traffic
from torch_loss_parity.claims.transforms.compilers import NoCompiler
from torch_loss_parity.judging.judge import of_the_subject
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.declined import NotOffered
from torch_loss_parity.subjects.run_subject import WrongResult


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
    effort_name: str = "quick"
    results: list[Result] = field(default_factory=list)
    wrong: list[Wrong] = field(default_factory=list)
    not_begun: list[Cell] = field(default_factory=list)
    not_offered: Counter[str] = field(default_factory=Counter)
    quotients: dict[tuple[Group, str], list[float]] = field(default_factory=dict)
    started: float = field(default_factory=monotonic)
    _inputs: Inputs | None = None
    _truths: tuple[Any, tuple[Truth, ...]] | None = None  # of a cell that was timed elsewhere

    def late(self, cell: Cell) -> bool:
        """Whether the time of the effort is used up; ``cell`` is then noted as not begun."""
        if self.subject.is_elsewhere or not self.timed or monotonic() - self.started < self.effort.limit:
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

    def measure(self, cell: Cell, fixture: Any, clock: Clock | Replay) -> Result:
        """Time a cell, judge what it returned, and only then believe the time."""
        with self._noted(cell):
            if isinstance(clock, Replay):
                return self._looked_up(cell, fixture, clock)
            return self._measure(cell, fixture, clock)

    def _check(self, cell: Cell, fixture: Any) -> None:
        path, inputs = self.paths[cell.path], self.inputs(cell)
        with self._of(path):
            step, _ = self.timer.first(path, cell, self.works[cell.work], inputs.buffers)
            output = fixture.pedantic(step.call, setup=lambda: ((step.prepare(0),), {}))
        self.judge(cell, step, output, 0)

    def _measure(self, cell: Cell, fixture: Any, clock: Clock) -> Result:
        path, work, held = self.paths[cell.path], self.works[cell.work], self.inputs(cell).buffers

        def run(function: Any, setup: Any, rounds: int) -> list[float]:
            fixture.pedantic(function, setup=setup, rounds=rounds)
            return rounds_of(fixture)

        def judged(step: Step, output: Any, buffer: int) -> list[Judgement]:
            return self.judge(cell, step, output, buffer)

        seed = seeded(str(cell), self.seed)
        return self.result(cell, *self.timer.time(cell, path, work, held, clock, run, seed, judged))

    def _looked_up(self, cell: Cell, fixture: Any, clock: Replay) -> Result:
        """What a file says of a cell: its times, and what is to be judged."""
        path, work = self.paths[cell.path], self.works[cell.work]
        with of_the_subject(self.subject):
            found = observed.looked_up(self.subject, self.device, cell, work, self.effort_name, self.seed)
        timing, answers = found
        clock.seconds = list(timing.path)
        fixture.pedantic(int, setup=lambda: ((), {}), rounds=len(timing.path))
        key = cell.work, cell.dtype, cell.shape
        if self._truths is None or self._truths[0] != key:
            drawn = observed.datasets(cell, work, self.seed)
            self._truths = key, tuple(Truth(each) for each in drawn)
        judged: list[Judgement] = []
        for answer in answers:
            judged += self._judged(
                cell, answer.quantities, self._truths[1], answer.dataset, path, answer.exchanged
            )
        return self.result(cell, timing, judged)

    @property
    def timer(self) -> Timer:
        """What times a cell of this run."""
        return Timer(self.device, self.effort.seconds, self.effort.rounds, self.cold, self._of)

    def result(self, cell: Cell, timing: Timing, judged: Sequence[Judgement]) -> Result:
        """What is known of a cell that was timed, and judged right.

        Raises
        ------
        BelowFloor
            If it took less time than is possible.
        """
        path, work = self.paths[cell.path], self.works[cell.work]
        must = traffic(work, cell.mode, cell.shape, cell.dtype)
        over_floor = interval([t / f for t, f in zip(timing.path, timing.floor, strict=True)])
        quotients = [b / t for b, t in zip(timing.torch, timing.path, strict=True)]
        speed = interval(quotients)
        self.quotients[(cell.work, cell.mode, shape_name(cell.shape), cell.dtype), cell.path] = quotients
        flops = work.flops(cell.mode, cell.shape)
        multiplied = timing.moved in MULTIPLIED
        limit = f"{flops} flops cannot be done" if multiplied else f"{must.bytes} bytes cannot be moved"
        cold = possible(over_floor, lambda: timing.cold, limit)
        middle = median(timing.path)
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
            spread=spread(timing.path),
            rounds=len(timing.path),
            calls=timing.calls,
            floor=median(timing.floor),
            moved=timing.moved,
            times_floor=over_floor.middle,
            times_floor_low=over_floor.low,
            times_floor_high=over_floor.high,
            times_floor_cold=cold,
            times_exponentials=middle / timing.exponentials if timing.exponentials else None,
            bytes=must.bytes,
            flops=flops,
            bandwidth=must.bytes / middle,
            speed=speed.middle,
            speed_low=speed.low,
            speed_high=speed.high,
            first_call=timing.first_call,
            page_faults=timing.page_faults,
            peak=timing.peak,
            peak_over_input=None if timing.peak is None else timing.peak / timing.operand,
            no_peak=timing.no_peak,
            ulps=max(each.ulps for each in judged),
            fraction=max(each.fraction for each in judged),
            divergences=tuple(sorted({each.divergence for each in judged if each.divergence})),
            ways=tuple(sorted({f"{each.quantity}: {each.way}" for each in judged if each.way})),
            compiles=path.compiles,
            profile=path.profile.name,
        )

    def judge(self, cell: Cell, step: Step, output: Any, buffer: int) -> list[Judgement]:
        """Judge the last result of the rounds, and then of each buffer once it holds other numbers, see Note
        [Rotating inputs].

        Raises
        ------
        WrongPath
            If any of them is wrong.
        """
        inputs, path = self.inputs(cell), self.paths[cell.path]
        order, truths = inputs.buffers.order, inputs.truths
        judgements = list(self._judged(cell, step.read(output), truths, order[buffer], path))
        del output
        inputs.buffers.exchange()
        for number in inputs.buffers.beginning_with(buffer):
            with self._of(path):
                output = step.call(step.prepare(number))
            judgements += self._judged(cell, step.read(output), truths, order[number], path, exchanged=True)
            del output
        return judgements

    def _judged(
        self,
        cell: Cell,
        returned: Mapping[str, Any],
        truths: Sequence[Truth],
        dataset: int,
        path: Path,
        exchanged: bool = False,
    ) -> Iterator[Judgement]:
        truth = truths[dataset]
        for quantity, value in returned.items():
            judgement = truth.judge(quantity, value, path, self.device)
            if not judgement.passes:
                reason = (
                    f"{'the result' if quantity == FORWARD else 'the gradient'} is wrong: {judgement.reason}"
                )
                if exchanged and any(
                    stale(returned, other, path, self.device) for other in truths if other is not truth
                ):
                    reason += "; it is what belongs to other numbers, which lay at the same address before"
                self._refuse(cell, reason)
                raise WrongPath(
                    f"{cell.path} has no time in {cell.work}, {cell.mode}, "
                    f"{shape_name(cell.shape)}, {cell.dtype}: {reason}"
                )
            yield judgement

    def _of(self, path: Path) -> AbstractContextManager[None]:
        """Whatever the subject raises is its doing."""
        return of_the_subject(self.subject) if path.name == SUBJECT else nullcontext()
