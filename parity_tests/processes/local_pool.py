"""Processes of this machine that do one task after the other, and end with the one that started them."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection, parent_process
from typing import Any

from torch_loss_parity.processes import child, system
from torch_loss_parity.processes.child_environment import ENVIRONMENT, started_with

MOST = 61  # processes that a pool of the standard library can wait for on Windows
VARIABLES = {**ENVIRONMENT, "OMP_NUM_THREADS": "1"}  # of workers


def prepare(modules: Sequence[str]) -> None:
    """Start the process that workers are forked from, where the system has one: it loads ``modules`` while
    this one goes on.
    """
    child.preload(modules)
    with _unless_set(VARIABLES):
        child.start_server()


class LocalPool:
    """Processes of this machine, one thread of OpenMP each.

    Parameters
    ----------
    workers : int
    modules : sequence of str
        Loaded where workers are forked from.
    """

    def __init__(self, workers: int, modules: Sequence[str] = ()) -> None:
        self.size = min(workers, MOST) if sys.platform == "win32" else workers
        self._modules = modules
        self._executor: ProcessPoolExecutor | None = None

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        if self._executor is None:
            prepare(self._modules)
            self._executor = ProcessPoolExecutor(self.size, mp_context=child.FROM_SERVER, initializer=_begin)
        try:
            with _unless_set(VARIABLES):  # a process is started when there is work for it
                return self._executor.submit(function, *arguments)
        except BrokenProcessPool:  # its last worker died just now
            self.close()
            return self.submit(function, *arguments)

    def renew(self) -> None:
        self.close()

    def check(self) -> None:
        pass  # whoever waits for a process hears of its end

    def close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None


def _begin() -> None:
    """In a new process: an interruption is for the one that started it, and the end of that one, however it
    came, is its own.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is None:
        return
    if system.FORK and system.FCNTL and hasattr(os, "O_ASYNC"):
        import fcntl

        # A killed process says nothing, but its end of this pipe closes, and SIGIO ends who owns the other. A
        # thread that waits for it would do as well, but from a process with threads a sandbox cannot be
        # forked.
        fcntl.fcntl(parent.sentinel, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(parent.sentinel, fcntl.F_SETFL, fcntl.fcntl(parent.sentinel, fcntl.F_GETFL) | os.O_ASYNC)
    else:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


@contextmanager
def _unless_set(variables: Mapping[str, str]) -> Iterator[None]:
    """In the environment of the processes that are started within, unless they are there."""
    with started_with({name: value for name, value in variables.items() if name not in os.environ}):
        yield
