"""Paths with a planted property that a subject cannot have: what is timed of them is chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from torch_loss_parity.benchmarks.buffers import Buffers
from torch_loss_parity.benchmarks.paths import BASELINE, PATHS, RESULT, Path, Step
from torch_loss_parity.benchmarks.workload import FORWARD, Work


def copies(share: float = 1.0) -> Path:
    """The result is made before the time is taken, and copied within it: as fast as bytes move, and right. Of
    the rows a ``share`` is copied in time, and the others when the result is read."""

    def step(work: Work, mode: str, buffers: Buffers) -> Step:
        own = PATHS[BASELINE].step(work, FORWARD, buffers)
        kept = [torch.empty_like(each["input"]) for each in buffers.arguments]

        def prepare(i: int) -> torch.Tensor:
            return kept[i].copy_(own.call(own.prepare(i)))

        def call(copy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            new, rows = torch.empty_like(copy), round(share * len(copy))
            new[:rows].copy_(copy[:rows])
            return new, copy

        def read(returned: Any) -> dict[str, torch.Tensor]:
            new, copy = returned
            rows = round(share * len(copy))
            new[rows:].copy_(copy[rows:])
            return {RESULT: new}

        return Step(prepare, call, read)

    return replace(PATHS[BASELINE], name="copies", what="copies a result", step=step, lacks=_forward_alone)


def _forward_alone(work: Work, mode: str) -> str:
    return "" if mode == FORWARD else "copies has no gradients"


class Stopwatch:
    """Takes times as pytest-benchmark's fixture does."""

    def __init__(self, clock: Callable[[], Any]) -> None:
        self.clock = clock
        self.data: list[float] = []

    @property
    def stats(self) -> Any:
        """The fixture has its rounds in ``stats.stats.data``."""
        return self

    def pedantic(self, target: Callable[..., Any], setup: Callable[[], Any], rounds: int) -> None:
        for _ in range(rounds):
            arguments, named = setup()
            start = self.clock()
            target(*arguments, **named)
            self.data.append(self.clock() - start)
