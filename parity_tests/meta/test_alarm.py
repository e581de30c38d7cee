"""The exception that ends what does not return comes in time, once, and not when it is no longer wanted."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from torch_loss_parity.processes import system
from torch_loss_parity.processes.alarm import Alarm, BySignal, ByThread

LIMIT = 0.2  # seconds
LONG = 5.0  # within which even a busy machine gets there


class Rung(BaseException):
    pass


@pytest.fixture(params=[BySignal, ByThread])
def alarm(request: pytest.FixtureRequest) -> Iterator[Alarm]:
    if request.param is BySignal and not system.ALARM:
        pytest.skip("there is no SIGALRM")
    rung = request.param(Rung)
    yield rung
    rung.close()


def busy(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_it_rings_after_the_time_and_once(alarm: Alarm) -> None:
    began = time.monotonic()
    alarm.set(LIMIT)
    with pytest.raises(Rung):
        busy(LONG)
    assert time.monotonic() - began >= LIMIT
    busy(2 * LIMIT)


def test_what_is_set_anew_counts_from_there(alarm: Alarm) -> None:
    for _ in range(10):
        alarm.set(LIMIT)
        busy(LIMIT / 4)
    with pytest.raises(Rung):
        busy(LONG)


def test_what_is_cancelled_does_not_ring(alarm: Alarm) -> None:
    alarm.set(LIMIT)
    alarm.cancel()
    busy(2 * LIMIT)
    alarm.set(LIMIT)
    alarm.close()
    busy(2 * LIMIT)


def test_it_rings_in_the_thread_that_made_it() -> None:
    rung: list[str] = []

    def work() -> None:
        alarm = ByThread(Rung)
        alarm.set(LIMIT)
        try:
            busy(LONG)
        except Rung:
            rung.append(threading.current_thread().name)
        alarm.close()

    thread = threading.Thread(target=work, name="worker")
    thread.start()
    thread.join()
    assert rung == ["worker"]
