"""An exception in the thread that runs tests, once it has taken too long.

Note [By a signal, or by a thread]
    SIGALRM interrupts whatever the main thread does in Python, and most of what it waits for. Where there is
    no such signal, or tests do not run in the main thread, another thread looks at the clock and asks the
    interpreter to raise: it does so as soon as it is back in Python. A thread that waits elsewhere is not
    woken up, as it is not by a signal where other code does not let go; then faulthandler ends the process,
    see `torch_loss_parity.processes.watchdog`.

    The thread that is watched takes no lock: the exception might come while it holds it.
"""

from __future__ import annotations

import ctypes
import signal
import threading
import time
from typing import Protocol

from torch_loss_parity.processes import system

TICK = 0.05  # seconds between two looks at the clock


class Alarm(Protocol):
    """Raises once, in the thread that made it."""

    def set(self, seconds: float) -> None:
        """Raise after so many seconds, and not when it was set to before."""

    def cancel(self) -> None:
        """Do not raise."""

    def close(self) -> None:
        """It is not set any more."""


def alarm(error: type[BaseException]) -> Alarm:
    """See Note [By a signal, or by a thread]."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    return BySignal(error) if system.ALARM and in_main_thread else ByThread(error)


class BySignal:
    """Of a process there is one: whoever sets it takes it from the others."""

    def __init__(self, error: type[BaseException]) -> None:
        def ring(*_: object) -> None:
            raise error

        signal.signal(signal.SIGALRM, ring)

    def set(self, seconds: float) -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def cancel(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)

    def close(self) -> None:
        self.cancel()


class ByThread:
    """The thread that looks at the clock begins when it is first set."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error, self.watched = error, threading.get_ident()
        self._deadline: float | None = None
        self._closed = False
        self._thread: threading.Thread | None = None

    def set(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, name="time limit", daemon=True)
            self._thread.start()

    def cancel(self) -> None:
        self._deadline = None

    def close(self) -> None:
        self._deadline, self._closed = None, True

    def _look(self) -> None:
        while not self._closed:
            time.sleep(TICK)
            deadline = self._deadline
            if deadline is not None and time.monotonic() > deadline:
                self._deadline = None
                _raise_in(self.watched, self.error)


def _raise_in(thread: int, error: type[BaseException]) -> None:
    """When it next runs Python."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))
