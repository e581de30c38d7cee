"""The machine that a benchmark records: what pytest-benchmark's machine_info does not say."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch

from torch_loss_parity.processes import machine
from torch_loss_parity.subjects.observing.recorded import Recorded

if TYPE_CHECKING:  # which needs what the suite needs
    from torch_loss_parity.benchmarks.session import Benchmarks

# Of py-cpuinfo: they differ in every run.
LIVE = ("hz_actual", "hz_actual_friendly", "hz_advertised", "hz_advertised_friendly")
PREFIXES = ("OMP_", "GOMP_", "KMP_", "MKL_", "MALLOC_", "ATEN_", "TORCHINDUCTOR_")


def complete(machine_info: dict[str, Any], *, threads: int, allocator: str, device: str) -> None:
    """Add what times depend on, and take out what changes between two looks at one machine."""
    for live in LIVE:
        machine_info.get("cpu", {}).pop(live, None)
    machine_info.update(_libraries(threads, allocator, device))


def machine_of(run: Benchmarks) -> dict[str, Any]:
    """The machine, as a page shows it."""
    source = run.subject.namespace
    if isinstance(source, Recorded):
        return machine_there(source)
    return machine_here(run.threads, run.allocator, run.device)


def machine_here(threads: int, allocator: str, device: str) -> dict[str, Any]:
    """What times of this process depend on."""
    return {
        "cpu": machine.processor(),
        "cores": os.cpu_count(),
        **_libraries(threads, allocator, device),
    }


def machine_there(source: Recorded) -> dict[str, Any]:
    """What the times of a file depend on; of a file without times nothing is known."""
    return {**source.header["environment"].get("machine_info", {}), "observed": source.header["made"]}


def _libraries(threads: int, allocator: str, device: str) -> dict[str, Any]:
    return {
        "torch": torch.__version__,
        "numpy": machine.installed("numpy"),
        "cpu_capability": machine.capability(),
        "threads": threads,
        "allocator": allocator,
        "device": machine.gpu(device) if device.startswith("cuda") else "cpu",
        "environment": machine.variables(PREFIXES),
    }
