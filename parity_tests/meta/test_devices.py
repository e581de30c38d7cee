"""Devices are found by name, those of backends outside torch's tree too, and waited for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from torch_loss_parity.benchmarks.clock import Clock, Stamp
from torch_loss_parity.processes import devices
from torch_loss_parity.subjects.settings import Settings, WrongOption


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A backend of two devices, and how often it was waited for."""
    waited: list[str] = []
    backend = SimpleNamespace(
        is_available=lambda: True, device_count=lambda: 2, synchronize=lambda: waited.append("npu")
    )
    monkeypatch.setattr(torch, "npu", backend, raising=False)
    return waited


def test_a_backend_outside_of_torchs_tree_is_welcome_by_name(waits: list[str]) -> None:
    names = devices.there()
    assert names[0] == "cpu"
    assert names[-3:] == ["npu", "npu:0", "npu:1"]
    assert Settings.of("torch", "npu:1", "float32", "quick", 0).device == "npu:1"
    with pytest.raises(WrongOption, match=r"--device is 'npu:2'; on this machine there is cpu, .*npu:1"):
        Settings.of("torch", "npu:2", "float32", "quick", 0)


def test_the_clock_of_the_cpu_waits_for_another_device(waits: list[str]) -> None:
    clock = Clock("npu")
    first, second = clock(), clock()
    assert isinstance(first, Stamp)
    assert second - first >= 0
    assert waits == ["npu", "npu"]
    Clock("cpu")()
    assert len(waits) == 2
