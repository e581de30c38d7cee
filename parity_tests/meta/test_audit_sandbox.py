"""What a subject does in a sandbox costs what it was asked, and nothing else."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from torch_loss_parity.audit.capabilities import CAPABILITY
from torch_loss_parity.audit.tasks import sandbox_of
from torch_loss_parity.meta import sandboxed
from torch_loss_parity.meta.sandboxed import LIMIT
from torch_loss_parity.processes import sandbox as module
from torch_loss_parity.processes import system
from torch_loss_parity.processes.child import how_it_ended
from torch_loss_parity.processes.sandbox import Lost, Sandbox

pytestmark = pytest.mark.whole_runs


@pytest.fixture(params=["forked where the system forks", "spawned"])
def sandbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    if request.param == "spawned":
        monkeypatch.setattr(system, "FORK", replace(system.FORK, there=False))
    fresh = Sandbox(("math:sqrt", (1.0,)), LIMIT)  # a subject, which would take seconds to load, does no more
    yield fresh
    fresh.close()


def test_it_returns_what_a_function_returns_from_another_process(sandbox: Sandbox) -> None:
    assert sandbox.call("math:sqrt", 2.0) == 2.0**0.5
    assert sandbox.call("os:getpid") != os.getpid()
    assert sandbox.call("os:getpid") == sandbox.call("os:getpid")


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        ("hang", (), r"did not return within 0\.5 s"),
        ("die", (-1,), r"ended the process \(SIGABRT\)"),
        ("die", (3,), r"ended the process \(exit status 3\)"),
    ],
)
def test_what_hangs_or_dies_is_lost_and_the_next_call_is_answered(
    sandbox: Sandbox, function: str, arguments: tuple[int, ...], message: str
) -> None:
    with pytest.raises(Lost, match=message):
        sandbox.call(f"{sandboxed.__name__}:{function}", *arguments)
    assert sandbox.call("math:sqrt", 4.0) == 2.0


def test_only_the_time_of_the_subject_counts_and_each_call_anew(sandbox: Sandbox) -> None:
    assert sandbox.call(f"{sandboxed.__name__}:slow") == "done"


def test_what_a_function_of_the_audit_raises_is_an_error_of_the_audit(sandbox: Sandbox) -> None:
    with pytest.raises(RuntimeError, match="ValueError: "):
        sandbox.call("math:sqrt", -1.0)


def test_variables_that_torch_reads_when_it_is_loaded_are_set_before() -> None:
    told = sandbox_of("torch", LIMIT, {CAPABILITY: "default"})
    try:
        assert told.call("torch.backends.cpu:get_cpu_capability") == "DEFAULT"
    finally:
        told.close()


@pytest.mark.skipif(not system.FORK, reason="there is no fork")
def test_a_process_with_threads_starts_another_rather_than_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    class Stop(Exception):
        pass

    def note(*arguments: object) -> None:
        started.append("started")
        raise Stop

    monkeypatch.setattr(module, "_by_hand", note)
    wait = threading.Event()
    other = threading.Thread(target=wait.wait)
    other.start()
    try:
        with pytest.raises(Stop):
            sandbox_of("torch", LIMIT).call("math:sqrt", 1.0)
    finally:
        wait.set()
        other.join()
    assert started


@pytest.mark.parametrize(
    ("code", "how"),
    [
        (3, "exit status 3"),
        (-6, "SIGABRT"),
        (-63, "exit status -63"),  # a signal that has no name
        (3221225477, "exit status 0xc0000005"),  # as Windows says it
    ],
)
def test_how_a_process_ended_is_said_in_words(code: int, how: str) -> None:
    assert how_it_ended(code) == how
