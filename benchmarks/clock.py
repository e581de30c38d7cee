"""Time on the CPU, on a CUDA device by its own clock, and on others by the CPU's, which waits for them.

Note [Stamps]
    pytest-benchmark calls its timer before and after a round and subtracts. Here a reading is a *stamp* that
    knows what its subtraction takes: on CUDA the device has to reach an event first. A round is a block of
    calls, so that what the harness does once a round does not count; the difference is divided by their
    number, and pytest-benchmark's figures are those of one call.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch

from torch_loss_parity.processes.devices import synchronize


@dataclass(frozen=True)
class Stamp:
    """A reading of the CPU's clock, in seconds."""

    at: float
    calls: int

    def __sub__(self, earlier: Stamp) -> float:
        return (self.at - earlier.at) / self.calls


@dataclass(frozen=True)
class DeviceStamp:
    """An event in the stream of a CUDA device; milliseconds lie between two of them."""

    event: Any
    calls: int

    def __sub__(self, earlier: DeviceStamp) -> float:
        self.event.synchronize()
        return float(earlier.event.elapsed_time(self.event)) / 1e3 / self.calls


class Replay:
    """A timer for pytest-benchmark that takes no time: its rounds take the seconds of those of another run.

    Parameters
    ----------
    name : str
        Of the clock by which they were timed.
    """

    def __init__(self, name: str = "observed") -> None:
        self.name = name
        self.seconds: list[float] = []  # of the rounds to come
        self._began = False

    def __call__(self) -> Stamp:
        self._began = not self._began
        return Stamp(0.0 if self._began else self.seconds.pop(0), 1)

    def __str__(self) -> str:
        return self.name


class Clock:
    """A timer for pytest-benchmark: seconds of one call, in a round of ``calls``."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.calls = 1

    def __call__(self) -> Any:
        if not self.device.startswith("cuda"):
            synchronize(self.device)
            return Stamp(perf_counter(), self.calls)
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return DeviceStamp(event, self.calls)

    def __str__(self) -> str:
        return "CUDA events" if self.device.startswith("cuda") else "perf_counter"
