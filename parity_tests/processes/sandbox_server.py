"""The process of a sandbox, from within: it calls what it is asked for until nobody asks any more."""

from __future__ import annotations

import faulthandler
import importlib
import os
import signal
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from torch_loss_parity.processes import watchdog

GRACE = 2.0  # times the limit: from then on a process whose owner is gone ends by itself
PATIENCE = 3600.0  # seconds for what is not the subject's own: what is done with what it returned
READY, RUNNING, ALIVE, DONE, RAISED = "ready", "running", "alive", "done", "raised"

Step = tuple[str, tuple[Any, ...]]  # a function, as in ``package.module:name``, and its arguments


def serve_forked(connection: Connection, first: Step) -> None:
    """`serve` in a fork: nothing of the owner is held open, so whoever waits for its end hears of it."""
    _say_nothing()
    descriptor = connection.fileno()
    os.closerange(3, descriptor)
    os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))
    serve(connection, first)


def serve_spawned(connection: Connection, first: Step) -> None:
    """`serve` in a process that multiprocessing has started."""
    _say_nothing()
    serve(connection, first)


def serve_on(descriptor: int, first: Step) -> None:
    """`serve` on an open file that was handed on."""
    serve(Connection(descriptor), first)


def serve(connection: Connection, first: Step) -> None:
    """Do the ``first`` step, and then what is asked until nobody asks any more."""
    # Of a terminal it reaches every process: the owner is to notice, not this one to die.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with connection:
        try:
            _do(*first)
        except Exception:
            connection.send((RAISED, traceback.format_exc()))
            return
        connection.send((READY, None))
        while True:
            try:
                function, arguments, limit = connection.recv()
            except (EOFError, ConnectionError):
                return
            tell = _told(connection, limit)
            tell(False)
            watchdog.listen(tell)
            try:
                answer = (DONE, _do(function, arguments))
            except Exception:
                answer = (RAISED, traceback.format_exc())
            faulthandler.cancel_dump_traceback_later()
            watchdog.unlisten()
            connection.send(answer)


def _do(function: str, arguments: tuple[Any, ...]) -> Any:
    module, _, name = function.partition(":")
    return getattr(importlib.import_module(module), name)(*arguments)


def _told(connection: Connection, limit: float) -> Callable[[bool], None]:
    """What tells the owner whether the subject runs, and ends this process where nobody is left who would."""

    def tell(running: bool) -> None:
        connection.send((RUNNING if running else ALIVE, None))
        faulthandler.dump_traceback_later((limit if running else PATIENCE) * GRACE, exit=True)

    return tell


def _say_nothing() -> None:
    """What a subject prints is for nobody."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
