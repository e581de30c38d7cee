"""Clock and rounds: what is divided, what rotates, and what the harness itself costs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks import allocator
from benchmarks.buffers import buffers, draw
from benchmarks.clock import Clock, DeviceStamp, Stamp
from benchmarks.floor import movers
from benchmarks.measure import LEAST, MOST_CALLS, Bench, Block, Rounds, number_of_rounds
from benchmarks.paths import BASELINE, PATHS, Step
from benchmarks.work import FORWARD, WORKS


def step_of(call: Callable[[Any], Any]) -> Step:
    return Step(lambda i: i, call, lambda output: {"forward": output})


def timed(bench: Bench, block: Block) -> float:
    """Seconds of one call in a round, by the very lines that pytest-benchmark runs."""
    clock = bench.clock
    clock.calls = block.calls
    prepared = block.prepared(0, bench.buffers)
    start = clock()
    bench.run(block.step.call, prepared)
    return float(clock() - start)


def test_a_round_is_divided_by_its_calls() -> None:
    assert Stamp(3.0, 4) - Stamp(1.0, 4) == 0.5
    later, earlier = SimpleNamespace(waited=0), SimpleNamespace(elapsed_time=lambda other: 2.0 if other is later else None)
    later.synchronize = lambda: setattr(later, "waited", later.waited + 1)
    assert DeviceStamp(later, 4) - DeviceStamp(earlier, 4) == 0.5e-3  # an event gives milliseconds
    assert later.waited == 1


def test_blocks_last_long_enough() -> None:
    bench = Bench("cpu", Clock("cpu"), 2)
    done: list[int] = []
    block = bench.sized(step_of(done.append), 1)
    assert 1 < block.calls <= MOST_CALLS
    slow = bench.sized(step_of(lambda i: sum(range(300_000))), 1)
    assert slow.calls < block.calls


def test_prepared_graphs_do_not_fill_the_memory() -> None:
    bench = Bench("cpu", Clock("cpu"), 2)
    assert bench.sized(step_of(lambda i: i), 2**25, holds=True).calls <= 2


CALLS = 200


def cost_of_a_round(bench: Bench) -> float:
    """What the harness does once a round, over the shortest round: an empty function takes nothing itself.

    The smallest of many measurements, here and below, since others run on this machine.
    """
    return min(timed(bench, Block(step_of(lambda i: None), 1)) for _ in range(300)) / LEAST


def cost_of_a_call(bench: Bench) -> float:
    """What the harness does in every call, over the fastest call of all that is timed: beyond what calling an empty function costs."""
    empty, held = step_of(lambda i: None), buffers(draw(WORKS["nll_loss"], "float32", (64, 64), 0), "cpu")
    fastest = PATHS[BASELINE].step(WORKS["nll_loss"], FORWARD, held)
    measured = min(timed(bench, Block(empty, CALLS)) for _ in range(100))
    own = min(_called(empty.call) for _ in range(100))
    return (measured - own) / min(timed(bench, Block(fastest, CALLS)) for _ in range(50))


def _called(function: Callable[[Any], Any]) -> float:
    """Seconds of one call, where nobody measures anything else."""
    arguments = list(range(CALLS))
    start = perf_counter()
    for argument in arguments:
        function(argument)
    return (perf_counter() - start) / CALLS


def test_the_cost_of_the_harness_is_below_one_per_cent() -> None:
    bench = Bench("cpu", Clock("cpu"), 2)
    assert cost_of_a_round(bench) < 0.01
    assert cost_of_a_call(bench) < 0.01


def test_a_harness_that_costs_more_is_found() -> None:
    """One that looks at every argument, which takes a microsecond or two."""

    class Slow(Bench):
        def run(self, call: Callable[[Any], Any], prepared: Sequence[Any]) -> None:
            super().run(lambda argument: (repr([argument] * 20), call(argument))[1], prepared)

    assert cost_of_a_call(Slow("cpu", Clock("cpu"), 2)) > 0.01


def test_inputs_rotate_from_call_to_call_and_from_round_to_round() -> None:
    bench = Bench("cpu", Clock("cpu"), 2)
    met: list[int] = []
    moving, rounds = movers([torch.randn(64), torch.randn(64)]), Rounds()
    for calls in (3, 4):
        block = Block(step_of(met.append), calls)
        for _ in range(3):
            arguments, named = bench.next_round(block, Block(step_of(lambda i: i), 1), moving, rounds, True)
            bench.run(*arguments, **named)
    assert all(before != after for before, after in itertools.pairwise(met))
    assert len(rounds.rates) == len(rounds.baseline) == 6
    assert bench.last == met[-1]


def test_page_faults_are_counted_in_rounds() -> None:
    bench, rounds = Bench("cpu", Clock("cpu"), 2), Rounds()
    moving = movers([torch.randn(64), torch.randn(64)])
    kept: list[Any] = []
    block = Block(step_of(lambda i: kept.append(bytearray(2**24))), 1)  # 4096 pages that nobody had before
    arguments, named = bench.next_round(block, block, moving, rounds, False)
    bench.run(*arguments, **named)
    bench.count_faults(rounds)
    assert rounds.page_faults is not None
    assert rounds.page_faults > 0


def test_without_the_resource_module_page_faults_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows."""
    monkeypatch.setattr(allocator, "resource", None)
    bench, rounds = Bench("cpu", Clock("cpu"), 2), Rounds()
    block = Block(step_of(lambda i: i), 1)
    arguments, named = bench.next_round(block, block, movers([torch.randn(64), torch.randn(64)]), rounds, False)
    bench.run(*arguments, **named)
    bench.count_faults(rounds)
    assert rounds.page_faults is None


def test_cold_caches_are_emptied_before_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.measure.FLUSHED", 2**12)
    bench, emptied = Bench("cpu", Clock("cpu"), 2, cold=True), []
    monkeypatch.setattr(bench, "empty_caches", lambda: emptied.append(1))
    block = bench.sized(step_of(lambda i: i), 1)
    assert block.calls == 1
    emptied.clear()
    bench.next_round(block, block, movers([torch.randn(64), torch.randn(64)]), Rounds(), False)
    assert len(emptied) >= 5  # copy, read, write, torch and the path, each alone


def test_rounds_are_as_many_as_fit() -> None:
    assert number_of_rounds(0.01, 0.1, 5, 15) == 10
    assert number_of_rounds(1.0, 0.1, 5, 15) == 5
    assert number_of_rounds(1e-6, 0.1, 5, 15) == 15
