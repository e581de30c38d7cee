"""The floor, and what is done with a time below it."""

from __future__ import annotations

from dataclasses import replace
from time import sleep
from typing import Any

import pytest
import torch

from torch_loss_parity.benchmarks import timing
from torch_loss_parity.benchmarks.buffers import buffers, bytes_of, draw
from torch_loss_parity.benchmarks.clock import Clock
from torch_loss_parity.benchmarks.floor import ITEM, Floor, Plan, exponentials, floors, plan
from torch_loss_parity.benchmarks.interval import Interval
from torch_loss_parity.benchmarks.matrix import Cell
from torch_loss_parity.benchmarks.meta.planted_paths import Stopwatch, copies
from torch_loss_parity.benchmarks.meta.results import run_of
from torch_loss_parity.benchmarks.paths import BASELINE, PATHS, Path, Step
from torch_loss_parity.benchmarks.result import BelowFloor, Result, possible, spread
from torch_loss_parity.benchmarks.workload import FORWARD, MODES, WORKS, Traffic, traffic
from torch_loss_parity.operators import DTYPES

N = 1000  # elements of an operand, of eight bytes


@pytest.mark.parametrize(
    ("reads", "writes", "sources", "expected"),
    [
        (1, 1, [N], Plan(((0, 0, N),), (), ())),  # softmax, forward
        (2, 1, [N, N], Plan(((0, 0, N),), ((1, 0, N),), ())),  # softmax, backward
        (2, 2, [N, N], Plan(((0, 0, N), (1, 0, N)), (), ())),  # softmax, forward and backward
        (1.01, 0, [N], Plan((), ((0, 0, N),), ())),  # cross_entropy, forward
        (1.01, 1.001, [N], Plan(((0, 0, N),), (), ())),  # cross_entropy, forward and backward
        (0.01, 1, [N], Plan((), (), (N,))),  # nll_loss, backward
        (0.5, 1, [N], Plan(((0, 0, 500),), (), (500,))),  # nll_loss with few classes, forward and backward
        (0.01, 0, [N], Plan((), ((0, 0, N),), ())),  # nll_loss, forward
        (0.01, 0.02, [N], Plan((), (), (N,))),
    ],
)
def test_a_plan_moves_whole_operands(reads: float, writes: float, sources: list[int], expected: Plan) -> None:
    assert plan(Traffic(round(reads * N) * ITEM, round(writes * N) * ITEM), sources) == expected


def test_without_copies_a_plan_moves_the_same() -> None:
    together = plan(Traffic(2 * N * ITEM, N * ITEM), [N, N])
    assert together.apart == Plan((), ((0, 0, N), (1, 0, N)), (N,))
    assert together.apart.elements == together.elements == 3 * N


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", WORKS)
def test_every_way_moves_the_plan(name: str, mode: str, dtype: str) -> None:
    """Of the buffer that it is called on, into new memory; what is left over is a small part."""
    held = buffers(draw(WORKS[name], dtype, (64, 64), 0), "cpu")
    held.require_grad(mode != FORWARD)
    must, addresses = traffic(WORKS[name], mode, (64, 64), dtype), set()
    moved: Any
    for way in floors(must, held, mode):
        for number in range(2):
            sources = [bytes_of(each) for each in held.read(number, mode)]
            moves = plan(must, [len(each) for each in sources])
            if way.name == "added":
                (a, start, end), (b, begin, stop) = moves.copied[0], moves.read[0]
                (moved,) = way.step.call(way.step.prepare(number))
                assert bits(moved) == bits(sources[a][start:end] + sources[b][begin:stop])
                continue
            moves = moves if way.name.startswith("copied") else moves.apart
            moved = way.step.call(way.step.prepare(number))
            copied, rest = moved[: len(moves.copied)], moved[len(moves.copied) :]
            read, written = rest[: len(moves.read)], rest[len(moves.read) :]
            pieces = [sources[i][start:end] for i, start, end in moves.copied]
            assert [bits(each) for each in copied] == [bits(each) for each in pieces]
            sums = [sources[i][start:end].sum() for i, start, end in moves.read]
            assert [bits(each) for each in read] == [bits(each) for each in sums]
            assert tuple(len(each) for each in written) == moves.written
            assert way.share * moves.elements * ITEM == pytest.approx(must.bytes)
            assert 1 <= way.share < 1.13 or "nll" in name
            addresses |= {each.data_ptr() for each in sources}
            assert not addresses & {each.data_ptr() for each in moved}


def bits(tensor: torch.Tensor) -> list[int]:
    """To be compared, as some may be nan."""
    words: list[int] = tensor.reshape(-1).view(torch.int64).tolist()
    return words


def test_exponentials_are_those_of_the_operand() -> None:
    operands = [torch.randn(32, 16), torch.randn(32, 16).requires_grad_()]
    for i, operand in enumerate(operands):
        assert exponentials(operands).call(i).equal(operand.detach().exp())


TRIES = 6  # of what a busy machine may hide
LIMIT = "1000 bytes cannot be moved"
BELOW, ABOVE = [0.5, 0.52, 0.48] * 5, [1.1, 1.2, 1.0] * 5


def test_a_time_above_the_floor_needs_no_explanation() -> None:
    def cold() -> list[float]:
        raise AssertionError("measured although there is nothing to explain")

    assert possible(Interval(0.8, 0.95, 1.1), cold, LIMIT) is None  # as fast as bytes are known to move
    assert possible(Interval(1.9, 2.0, 2.1), cold, LIMIT) is None


def test_a_time_below_the_floor_is_explained_by_a_cache() -> None:
    assert possible(Interval(0.6, 0.68, 0.7), lambda: ABOVE, LIMIT) == 1.1


def test_a_time_that_no_cache_explains_is_rejected() -> None:
    with pytest.raises(
        BelowFloor,
        match=r"0\.68 times the floor, and neither a cache nor .* explains it: 0\.50 times .* 1000 bytes",
    ):
        possible(Interval(0.6, 0.68, 0.7), lambda: BELOW, LIMIT)


def test_noise_is_not_rejected() -> None:
    """Half of the cold rounds are above: nothing is known against this path."""
    assert possible(Interval(0.6, 0.68, 0.7), lambda: BELOW[:7] + ABOVE[:8], LIMIT) is not None


def test_a_wide_interval_hides_nothing() -> None:
    """On a noisy machine the interval may reach beyond 1; with empty caches the path is looked at all the
    same."""
    with pytest.raises(BelowFloor):
        possible(Interval(0.3, 0.6, 1.7), lambda: BELOW, LIMIT)


def measured(path: Path, shape: tuple[int, int]) -> Result:
    """Softmax forward on a path, measured as in a run."""
    run = run_of(path)
    clock = Clock("cpu")
    return run.measure(Cell("softmax", FORWARD, shape, "float32", path.name), Stopwatch(clock), clock)


@pytest.mark.whole_runs
def test_a_path_that_only_copies_is_at_the_floor_and_right() -> None:
    result = measured(copies(), (1024, 1024))
    assert result.fraction <= 1


def caught(path: Path) -> bool:
    try:
        measured(path, (2048, 1024))
    except BelowFloor as error:
        return "the work was not done in it" in str(error)
    return False


@pytest.mark.whole_runs
def test_a_path_that_skips_half_of_its_work_is_caught() -> None:
    """What it returns is right: the other half was done, but not in the time that was taken. Others run on
    this machine, and beside them an interval may be too wide for most of the tries."""
    assert any(caught(copies(0.5)) for _ in range(TRIES))


@pytest.mark.whole_runs
def test_a_floor_that_finds_less_in_the_cache_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The floor is put into another state than the path, as by a harness that moves other bytes than those
    just written. It is then that a path is below the floor, and it is the cache that explains it."""
    flushed = torch.zeros(2**24, dtype=torch.float64)

    def flush(number: int) -> int:
        flushed.add_(1.0)
        return number

    def colder(*arguments: Any) -> list[Floor]:
        return [replace(each, step=replace(each.step, prepare=flush)) for each in floors(*arguments)]

    monkeypatch.setattr(timing, "floors", colder)
    assert any(measured(copies(), (1024, 1024)).cached for _ in range(TRIES))  # once, for the same reason


@pytest.mark.whole_runs
def test_a_floor_whose_calls_cost_more_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 16 KiB the calls take longer than the bytes, and those of the floor longer than softmax's."""

    def costing(step: Step) -> Step:
        def call(number: int) -> Any:
            sleep(1e-3)
            return step.call(number)

        return replace(step, call=call)

    def dearer(*arguments: Any) -> list[Floor]:
        return [
            replace(each, step=costing(each.step), idle=costing(each.idle)) for each in floors(*arguments)
        ]

    monkeypatch.setattr(timing, "floors", dearer)
    result = measured(PATHS[BASELINE], (64, 64))
    assert result.times_floor < 0.5
    assert result.times_floor_cold is not None


def test_the_spread_is_that_of_the_times() -> None:
    assert spread([2.5] * 4 + [5.0] * 5) == pytest.approx(0.5)
