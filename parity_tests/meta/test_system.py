"""What is not there is said, and so is what a processor is told to keep to."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import torch

from torch_loss_parity.audit.capabilities import CAPABILITY, capabilities
from torch_loss_parity.claims.domain import int32_overflow
from torch_loss_parity.processes import system
from torch_loss_parity.processes.child_environment import started_with
from torch_loss_parity.processes.machine import by_numbers
from torch_loss_parity.processes.machine_facts import facts_of


def test_what_is_missing_is_named_with_what_is_done_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tuple(replace(facility, there=False) for facility in system.FACILITIES)
    monkeypatch.setattr(system, "FACILITIES", gone)
    said = [line.split(":")[0] for line in system.missing()]
    assert said == [f"without {facility.name}" for facility in gone]
    monkeypatch.setattr(system, "FACILITIES", tuple(replace(facility, there=True) for facility in gone))
    assert system.missing() == []


def test_where_free_memory_is_not_known_nothing_huge_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "SYSCONF", replace(system.SYSCONF, there=False))
    assert system.free_memory() is None
    assert int32_overflow.memory_free("cpu") == 0
    monkeypatch.setattr(system, "AFFINITY", replace(system.AFFINITY, there=False))
    assert system.cores() >= 1


@pytest.mark.parametrize(
    ("machine", "in_force", "others", "unavailable"),
    [
        ("x86_64", "AVX512", ("default", "avx2"), ()),
        ("AMD64", "AVX2", ("default",), ("avx512",)),
        ("x86_64", "DEFAULT", (), ("avx2", "avx512")),
        ("aarch64", "DEFAULT", (), ("sve128", "sve256")),
        ("aarch64", "SVE256", ("default",), ("sve128",)),
        ("aarch64", "SVE128", ("default",), ("sve256",)),
        ("arm64", "DEFAULT", (), ()),  # of macOS
        ("ppc64le", "VSX", (), ()),
        ("x86_64", "AVX1024", (), ("default", "avx2", "avx512")),
    ],
)
def test_capabilities_are_those_of_the_kind_of_processor(
    machine: str,
    in_force: str,
    others: tuple[str, ...],
    unavailable: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(CAPABILITY, raising=False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: in_force)
    _, supported, why = capabilities(machine)
    assert (supported, tuple(why)) == (others, unavailable)
    assert all(in_force in reason for reason in why.values())


def test_the_processor_has_a_name_or_numbers() -> None:
    assert facts_of("cpu")["processor"] not in ("", "unknown")
    core = "processor\t: {}\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: 0xd40\n\n"
    assert by_numbers(core.format(0) + core.format(1)) == "implementer 0x41, part 0xd40"
    assert by_numbers("model name\t: some x86\n") == ""


def test_variables_are_set_for_what_is_started_and_put_back() -> None:
    there, other = "PARITY_TEST_THERE", "PARITY_TEST_OTHER"
    os.environ[there] = "before"
    try:
        with started_with({there: None, other: "1"}):
            assert (os.environ.get(there), os.environ.get(other)) == (None, "1")
        assert (os.environ.get(there), os.environ.get(other)) == ("before", None)
    finally:
        del os.environ[there]
