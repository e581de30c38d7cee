"""The floor of a layer: its products, and no path below them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from torch_loss_parity.benchmarks.buffers import Buffers, buffers, draw
from torch_loss_parity.benchmarks.clock import Clock
from torch_loss_parity.benchmarks.floor import Floor
from torch_loss_parity.benchmarks.matrix import OF_A_LAYER, Cell
from torch_loss_parity.benchmarks.meta.planted_paths import Stopwatch
from torch_loss_parity.benchmarks.meta.results import run_of
from torch_loss_parity.benchmarks.paths import BASELINE, PATHS, Path, Step
from torch_loss_parity.benchmarks.products import CHUNK, MULTIPLIED, SINGLE, products
from torch_loss_parity.benchmarks.result import BelowFloor
from torch_loss_parity.benchmarks.timing import _limit
from torch_loss_parity.benchmarks.workload import BACKWARD, FORWARD, MODES, TRAINING, WORKS, Work
from torch_loss_parity.operators import DTYPES
from torch_loss_parity.reference.arithmetic.profiles import DEFAULT

LAYER = WORKS["linear_cross_entropy"]
TRIES = 6  # of what a busy machine may hide


def bounded(x: Tensor, error: Tensor, y: Tensor, dtype: str) -> tuple[Tensor, Tensor]:
    """A product of two matrices, the first of which errs, and the bound on its error in any order of
    summation (Higham, "Accuracy and Stability of Numerical Algorithms", 3.5), a total of chunks rounded as
    often as there are chunks.
    """
    terms = x.shape[1]
    unit = (terms + 1 + terms // CHUNK + 1) * torch.finfo(getattr(torch, dtype)).eps / 2
    grown = (x.abs() + error) @ y.abs() * (unit / (1 - unit))
    return x @ y, error @ y.abs() + grown


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", MODES)
def test_every_way_computes_the_products(mode: str, dtype: str) -> None:
    """Of rows that are no whole number of chunks."""
    held = buffers(draw(LAYER, dtype, (200, 48), 0), "cpu")
    held.require_grad(mode != FORWARD)
    ways = products(LAYER.products(mode), held, DEFAULT)
    assert (ways == []) == (mode == BACKWARD)
    for way in ways:
        assert way.name in MULTIPLIED
        for number in range(2):
            x, w = (each.detach().double() for each in held.operands(number))
            computed = way.step.call(way.step.prepare(number))
            if mode == FORWARD and isinstance(computed, tuple):
                continue  # chunks, which are not kept
            logits, carried = bounded(x, torch.zeros_like(x), w.T, dtype)
            right = [(logits, carried)]
            if mode == TRAINING:
                right = [bounded(logits, carried, w, dtype), bounded(logits.T, carried.T, x, dtype)]
            for got, (value, error) in zip([computed] if mode == FORWARD else computed, right, strict=True):
                assert torch.all((torch.as_tensor(got).double() - value).abs() <= error)
            assert way.idle.call(way.idle.prepare(number)) is not None
    assert any(way.name == SINGLE for way in ways) == (bool(ways) and dtype in ("float16", "bfloat16"))


def test_nothing_is_multiplied_without_a_layer() -> None:
    held = buffers(draw(WORKS["cross_entropy"], "float32", (16, 8), 0), "cpu")
    assert products(WORKS["cross_entropy"].products(TRAINING), held, DEFAULT) == []


def test_the_limit_is_what_takes_longest_by_its_fastest_way() -> None:
    def way(name: str, share: float = 1.0) -> Floor:
        step = Step(lambda i: i, lambda i: name, lambda output: {})
        return Floor(name, step, step, share)

    taken = {"copied": 1.0, "added": 3.0, "multiplied": 4.0, "multiplied in chunks": 2.0}

    class Bench:
        def least(self, steps: list[Step]) -> list[float]:
            return [taken[step.call(0)] for step in steps]

    moving, multiplying = [way("copied", 1.5), way("added")], [way("multiplied"), way("multiplied in chunks")]
    bench: Any = Bench()
    assert _limit(bench, [moving, multiplying]) == (multiplying, multiplying[1])
    moving[0] = way("copied", 2.5)
    assert _limit(bench, [moving, multiplying]) == (moving, moving[0])


def prepared() -> Path:
    """Everything is computed before the time is taken."""

    def step(work: Work, mode: str, buffers: Buffers) -> Step:
        own = PATHS[BASELINE].step(work, TRAINING, buffers)
        return Step(lambda i: own.call(own.prepare(i)), lambda results: results, own.read)

    return replace(PATHS[BASELINE], name="prepared", step=step)


@pytest.mark.whole_runs
def test_a_path_that_does_not_multiply_in_time_is_caught() -> None:
    """What it returns is right, and moving its bytes would take no longer."""

    def caught() -> bool:
        path, clock = prepared(), Clock("cpu")
        run = run_of(path)
        cell = Cell(LAYER.name, TRAINING, OF_A_LAYER, "float32", path.name)
        try:
            run.measure(cell, Stopwatch(clock), clock)
        except BelowFloor as error:
            return "flops cannot be done in that time" in str(error)
        return False

    assert any(caught() for _ in range(TRIES))
