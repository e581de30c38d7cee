"""What a subject does in a sandbox costs what it was asked, and nothing else."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from parity_tests.audit.environment import CAPABILITY
from parity_tests.audit.sandbox import Lost, Sandbox

LIMIT = 0.5  # seconds


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox("torch", LIMIT)
    yield made
    made.close()


def test_it_returns_what_a_function_returns_from_another_process(sandbox: Sandbox) -> None:
    assert sandbox.call("math:sqrt", 2.0) == 2.0**0.5
    assert sandbox.call("os:getpid") != os.getpid()
    assert sandbox.call("os:getpid") == sandbox.call("os:getpid")


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        ("time:sleep", (60,), r"did not return within 0\.5 s"),
        ("os:abort", (), r"ended the process \(SIGABRT\)"),
        ("os:_exit", (3,), r"ended the process \(exit status 3\)"),
    ],
)
def test_what_hangs_or_dies_is_lost_and_the_next_call_is_answered(
    sandbox: Sandbox, function: str, arguments: tuple[int, ...], message: str
) -> None:
    with pytest.raises(Lost, match=message):
        sandbox.call(function, *arguments)
    assert sandbox.call("math:sqrt", 4.0) == 2.0


def test_signs_of_life_extend_the_limit(sandbox: Sandbox) -> None:
    assert sandbox.call(f"{__name__}:slow_and_alive") == "done"


def slow_and_alive() -> str:
    import time

    from parity_tests.audit.sandbox import alive

    for _ in range(6):
        time.sleep(LIMIT / 2)
        alive()
    return "done"


def test_what_a_function_of_the_audit_raises_is_an_error_of_the_audit(sandbox: Sandbox) -> None:
    with pytest.raises(RuntimeError, match="ValueError: "):
        sandbox.call("math:sqrt", -1.0)


def test_variables_that_torch_reads_when_it_is_loaded_are_set_before() -> None:
    told = Sandbox("torch", LIMIT, {CAPABILITY: "default"})
    try:
        assert told.call("torch.backends.cpu:get_cpu_capability") == "DEFAULT"
    finally:
        told.close()


def test_a_process_with_threads_starts_another_rather_than_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    from parity_tests.audit import sandbox as module

    started: list[str] = []

    class Stop(Exception):
        pass

    def note(*arguments: object) -> None:
        started.append("started")
        raise Stop

    monkeypatch.setattr(module, "_started", note)
    wait = threading.Event()
    other = threading.Thread(target=wait.wait)
    other.start()
    try:
        with pytest.raises(Stop):
            Sandbox("torch", LIMIT).call("math:sqrt", 1.0)
    finally:
        wait.set()
        other.join()
    assert started
