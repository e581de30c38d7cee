"""Clock and rounds: what is divided, what rotates, what a block finds, and what the harness itself costs."""

from __future__ import annotations

import itertools
import mmap
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from torch_loss_parity.benchmarks import allocator
from torch_loss_parity.benchmarks.buffers import Buffers, buffers, bytes_of, draw
from torch_loss_parity.benchmarks.clock import Clock, DeviceStamp, Stamp
from torch_loss_parity.benchmarks.measure import (
    FLOOR,
    LAST_CACHE,
    LEAST,
    MOST_CALLS,
    PATH,
    Bench,
    Block,
    Rounds,
    flushed,
    number_of_rounds,
    orders,
)
from torch_loss_parity.benchmarks.paths import BASELINE, PATHS, Step
from torch_loss_parity.benchmarks.workload import BACKWARD, FORWARD, MODES, WORKS

SMALL = (64, 64)


def step_of(call: Callable[[Any], Any]) -> Step:
    return Step(lambda i: i, call, lambda output: {"forward": output})


NOTHING = step_of(lambda i: i)


def held(name: str = "nll_loss", shape: tuple[int, int] = SMALL) -> Buffers:
    return buffers(draw(WORKS[name], "float32", shape, 0), "cpu")


def a_bench(mode: str = FORWARD, **named: Any) -> Bench:
    return Bench("cpu", Clock("cpu"), held(), mode, **named)


def rounds_of(bench: Bench, block: Block, number: int = 6) -> Rounds:
    """Rounds in which torch and the floor do nothing."""
    nothing = Block(NOTHING, 1)
    return Rounds(bench, {PATH: block, BASELINE: nothing, FLOOR: nothing}, orders(number, 0))


def timed(bench: Bench, block: Block) -> float:
    """Seconds of one call in a round, by the very lines that pytest-benchmark runs."""
    clock = bench.clock
    clock.calls = block.calls
    prepared = bench.ready(block)
    start = clock()
    bench.run(block.step.call, prepared)
    return float(clock() - start)


def test_a_round_is_divided_by_its_calls() -> None:
    assert Stamp(3.0, 4) - Stamp(1.0, 4) == 0.5
    later, earlier = (
        SimpleNamespace(waited=0),
        SimpleNamespace(elapsed_time=lambda other: 2.0 if other is later else None),
    )
    later.synchronize = lambda: setattr(later, "waited", later.waited + 1)
    assert DeviceStamp(later, 4) - DeviceStamp(earlier, 4) == 0.5e-3  # an event gives milliseconds
    assert later.waited == 1


def test_blocks_last_long_enough() -> None:
    bench = a_bench()
    done: list[int] = []
    block = bench.sized(step_of(done.append))
    assert 1 < block.calls <= MOST_CALLS
    slow = bench.sized(step_of(lambda i: sum(range(300_000))))
    assert slow.calls < block.calls


def test_prepared_graphs_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch_loss_parity.benchmarks.measure.HELD", 2 * 4 * SMALL[0] * SMALL[1])
    assert a_bench().sized(NOTHING, holds=True).calls <= 2


CALLS = 200


def cost_of_a_round(bench: Bench) -> float:
    """What the harness does once a round, over the shortest round: an empty function takes nothing itself.

    The smallest of many measurements, here and below, since others run on this machine.
    """
    return min(timed(bench, Block(NOTHING, 1)) for _ in range(300)) / LEAST


def cost_of_a_call(bench: Bench) -> float:
    """What the harness does in every call, over the fastest call of all that is timed: beyond what calling an
    empty function costs."""
    fastest = PATHS[BASELINE].step(WORKS["nll_loss"], FORWARD, bench.buffers)
    measured = min(timed(bench, Block(NOTHING, CALLS)) for _ in range(100))
    own = min(_called(NOTHING.call) for _ in range(100))
    return (measured - own) / min(timed(bench, Block(fastest, CALLS)) for _ in range(50))


def _called(function: Callable[[Any], Any]) -> float:
    """Seconds of one call, where nobody measures anything else."""
    arguments = list(range(CALLS))
    start = perf_counter()
    for argument in arguments:
        function(argument)
    return (perf_counter() - start) / CALLS


ATTEMPTS = 5


def least(cost: Callable[[Bench], float], bench: Bench, enough: float) -> float:
    """The smallest cost of a few measurements, none of them after one that is small enough.

    A cost is a difference of two times over a third. What else runs on the machine falls on one of the three,
    and makes the cost too large as often as too small; a harness that really costs more does so every time.
    """
    costs: list[float] = []
    while len(costs) < ATTEMPTS and min(costs, default=enough) >= enough:
        costs.append(cost(bench))
    return min(costs)


@pytest.mark.parametrize("cost", [cost_of_a_round, cost_of_a_call])
def test_the_cost_of_the_harness_is_below_one_per_cent(cost: Callable[[Bench], float]) -> None:
    assert least(cost, a_bench(), 0.01) < 0.01


def test_a_harness_that_costs_more_is_found() -> None:
    """One that looks at every argument, which takes a microsecond or two."""

    class Slow(Bench):
        def run(self, call: Callable[[Any], Any], prepared: Sequence[Any]) -> None:
            super().run(lambda argument: (repr([argument] * 20), call(argument))[1], prepared)

    assert least(cost_of_a_call, Slow("cpu", Clock("cpu"), held(), FORWARD), 0.01) > 0.01


def test_inputs_rotate_from_call_to_call_and_from_round_to_round() -> None:
    bench = a_bench()
    met: list[int] = []
    for calls in (3, 4):
        met.clear()
        rounds = rounds_of(bench, Block(step_of(met.append), calls))
        for _ in range(6):
            arguments, named = rounds.begin()
            bench.run(*arguments, **named)
        assert all(before != after for before, after in itertools.pairwise(met))
        assert rounds.last == met[-1]
        rounds.finish()
        assert {len(each) for each in rounds.seconds.values()} == {6}


@pytest.mark.parametrize("number", [1, 2, 9, 41])
def test_every_order_is_as_frequent_and_the_path_ends(number: int) -> None:
    drawn = list(orders(number, 3))
    assert len(drawn) == number
    assert drawn[-1][-1] == PATH
    assert all(sorted(order) == sorted((PATH, BASELINE, FLOOR)) for order in drawn)
    counts = Counter(drawn[:-1]).values()
    assert max(counts, default=0) - (min(counts) if len(counts) == 6 else 0) <= 1
    assert drawn == list(orders(number, 3))
    if number > 6:
        assert drawn != list(orders(number, 4))


def test_a_round_keeps_to_its_order() -> None:
    bench = a_bench()
    met: list[str] = []
    blocks = {name: Block(step_of(partial(_noted, met, name)), 1) for name in (PATH, BASELINE, FLOOR)}
    orders = [(FLOOR, PATH, BASELINE), (PATH, FLOOR, BASELINE), (BASELINE, FLOOR, PATH)]
    rounds = Rounds(bench, blocks, iter(orders))
    for _ in range(3):
        arguments, named = rounds.begin()
        bench.run(*arguments, **named)
    rounds.finish()
    assert met == [name for turn in orders for name in turn]


def _noted(met: list[str], name: str, number: int) -> int:
    met.append(name)
    return number


def test_the_result_of_the_last_round_is_there_to_be_judged() -> None:
    bench = a_bench()
    rounds = rounds_of(bench, Block(step_of(lambda i: f"made of {i}"), 1))
    for _ in range(6):
        arguments, named = rounds.begin()
        bench.run(*arguments, **named)
    assert bench.output == f"made of {rounds.last}"


def test_what_a_block_has_used_up_is_gone_before_the_next() -> None:
    """Whoever still holds the block: else its graphs would lie in the memory beside those of the next one."""
    bench = a_bench()
    block = Block(Step(lambda i: torch.zeros(3), lambda argument: argument, lambda output: {}), 2)
    held_on = bench.ready(block)
    bench.run(block.step.call, held_on)
    used_up = weakref.ref(held_on[0])
    assert used_up() is not None
    bench.ready(Block(NOTHING, 1))
    assert held_on == []
    assert used_up() is None
    assert bench.output is None


@pytest.mark.parametrize("mode", MODES)
def test_every_block_finds_its_inputs_just_written(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what backward reads besides what forward left: the upstream gradient, after forward."""
    done: list[str] = []
    bench = Bench("cpu", Clock("cpu"), held("softmax"), mode)
    monkeypatch.setattr(Buffers, "rewrite_arguments", lambda self, i: done.append(f"arguments {i}"))
    monkeypatch.setattr(Buffers, "rewrite_upstream", lambda self, i: done.append(f"upstream {i}"))

    def prepare(number: int) -> int:
        return _noted(done, f"prepare {number}", number)

    step = Step(prepare, lambda i: done.append(f"call {i}"), lambda output: {})
    bench.start = 1
    bench.seconds(Block(step, 3))
    before = ["upstream 0", "arguments 0", "upstream 1", "arguments 1", "prepare 1", "prepare 0", "prepare 1"]
    assert done == before + (["upstream 0", "upstream 1"] if mode == BACKWARD else []) + [
        "call 1",
        "call 0",
        "call 1",
    ]


def test_writing_anew_changes_no_bit() -> None:
    for name in ("softmax", "cross_entropy, weight", "binary_cross_entropy"):
        there = held(name)
        given = (*there.arguments[0].values(), there.grad_outputs[0])
        tensors = [each for each in given if isinstance(each, torch.Tensor)]
        odd = torch.tensor([0x7F800001, 1, -(2**31)])  # a signalling nan, a subnormal number, -0
        tensors[0].view(torch.int32)[0, :3] = odd
        before = [each.detach().reshape(-1).view(torch.uint8).tolist() for each in tensors]
        there.require_grad(True)
        there.rewrite_arguments(0)
        there.rewrite_upstream(0)
        assert before == [each.detach().reshape(-1).view(torch.uint8).tolist() for each in tensors]


def test_an_operand_that_cannot_be_moved_is_refused() -> None:
    with pytest.raises(ValueError, match="the operand has 4 bytes"):
        bytes_of(torch.ones(1))


def test_page_faults_are_counted_in_rounds() -> None:
    bench = a_bench()
    new_pages = step_of(lambda i: mmap.mmap(-1, 2**24).write(bytes(2**24)))
    rounds = rounds_of(bench, Block(new_pages, 1))
    arguments, named = rounds.begin()
    bench.run(*arguments, **named)
    rounds.finish()
    assert rounds.page_faults is not None
    assert rounds.page_faults > 0


def test_without_the_resource_module_page_faults_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows."""
    monkeypatch.setattr(allocator, "resource", None)
    bench = a_bench()
    rounds = rounds_of(bench, Block(NOTHING, 1))
    arguments, named = rounds.begin()
    bench.run(*arguments, **named)
    rounds.finish()
    assert rounds.page_faults is None


def test_cold_caches_are_emptied_before_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch_loss_parity.benchmarks.measure.flushed", lambda: 2**12)
    bench, emptied = a_bench(cold=True), []
    monkeypatch.setattr(bench, "empty_caches", lambda: emptied.append(1))
    monkeypatch.setattr(Buffers, "rewrite_arguments", lambda self, i: pytest.fail("it would be in the cache"))
    block = bench.sized(NOTHING)
    assert block.calls == 1
    emptied.clear()
    rounds = rounds_of(bench, block)
    arguments, named = rounds.begin()
    bench.run(*arguments, **named)
    rounds.finish()
    assert len(emptied) == 3  # torch, the floor and the path, each alone


def test_more_is_flushed_than_the_last_cache_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert flushed() >= 2**28
    large = SimpleNamespace(sysconf_names={LAST_CACHE: 1}, sysconf=lambda name: 2**29)
    monkeypatch.setattr("torch_loss_parity.benchmarks.measure.os", large)
    assert flushed() == 2**30
    monkeypatch.setattr("torch_loss_parity.benchmarks.measure.os", SimpleNamespace())  # as on Windows
    assert flushed() == 2**28


def test_the_fastest_is_found() -> None:
    slow = step_of(lambda i: sum(range(100_000)))
    times = a_bench().least([slow, NOTHING, slow])
    assert times.index(min(times)) == 1


def test_rounds_are_as_many_as_fit() -> None:
    assert number_of_rounds(0.01, 0.1, 5, 15) == 10
    assert number_of_rounds(1.0, 0.1, 5, 15) == 5
    assert number_of_rounds(1e-6, 0.1, 5, 15) == 15
