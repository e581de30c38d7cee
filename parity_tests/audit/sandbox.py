"""A process of its own for what a subject does: one that does not return, or dies, costs what it was asked
and nothing else.

Beside that, variables that a library reads once, when it is loaded, take other values here than in the
process that asks.

Note [Fork or start]
    A fork has the libraries loaded, but only the thread that forks goes on in it, and it reads no variable
    anew. So a process with one thread, a worker of the local pool, forks; where other variables are asked
    for, in a worker of a cluster, which has threads, and where the system has no fork, a process is started.
    The subject is loaded in the sandbox in any case, so that what it loads (a driver, threads of its own) is
    not forked.

    multiprocessing starts processes on every system, but not from a daemon, and workers of Dask are daemons:
    where there is a fork, an open file is handed to a process that is started by hand.
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing import Pipe, current_process, get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from torch_loss_parity.processes import system, watchdog
from torch_loss_parity.processes.child_environment import ENVIRONMENT, started_with

START_LIMIT = 600.0  # seconds to load the libraries and the subject, on a machine that is busy
GRACE = 2.0  # times the limit: from then on a process whose owner is gone ends by itself
PATIENCE = 3600.0  # seconds for what the audit does itself with what a subject returned
READY, RUNNING, ALIVE, DONE, RAISED = "ready", "running", "alive", "done", "raised"


class Lost(Exception):
    """What was asked did not come back; the message completes "it ..."."""


class Sandbox:
    """A process that is started when it is needed, and started again when it is lost.

    Parameters
    ----------
    subject : str
        Loaded before anything is asked.
    limit : float
        Seconds that the subject may run without a break. The time that the audit takes itself is not the
        subject's.
    environment : mapping, optional
        Changes of the variables it is started with; None takes one away.
    """

    def __init__(
        self, subject: str, limit: float, environment: Mapping[str, str | None] | None = None
    ) -> None:
        self.subject, self.limit, self.environment = subject, limit, environment
        self._process: _Process | None = None
        self._connection: Connection | None = None

    def call(self, function: str, *arguments: Any) -> Any:
        """What ``function``, as in ``package.module:name``, returns.

        Raises
        ------
        Lost
            If it does not return within the limit, or its process dies.
        RuntimeError
            If it raises: what a subject may raise is for the function to catch.
        """
        if self._connection is None:
            self._start()
        assert self._connection is not None
        try:
            self._connection.send((function, arguments, self.limit))
            kind, result = self._receive(PATIENCE)
        except (EOFError, ConnectionError):
            raise Lost(f"{self._ended()}") from None
        if kind == RAISED:
            raise RuntimeError(result)
        return result

    def close(self) -> None:
        """End the process, whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._ended()

    def _receive(self, limit: float) -> tuple[str, Any]:
        assert self._connection is not None
        while True:
            if not self._connection.poll(limit):
                self.close()
                raise Lost(f"did not return within {limit:g} s")
            kind, result = self._connection.recv()
            if kind not in (RUNNING, ALIVE):
                return kind, result
            limit = self.limit if kind == RUNNING else PATIENCE

    def _ended(self) -> str:
        """How the process ended; it is over."""
        assert self._process is not None
        assert self._connection is not None
        code = self._process.wait()
        self._connection.close()
        self._process = self._connection = None
        return f"ended the process ({how_it_ended(code)})"

    def _start(self) -> None:
        """See Note [Fork or start]."""
        self._connection, theirs = Pipe()
        if self.environment is None and system.FORK and system.threads() == 1:
            self._process = _fork(theirs, self.subject)
        else:
            start = _started if system.FORK else _spawned
            self._process = start(theirs, self.subject, self.environment or {})
        theirs.close()
        try:
            kind, result = self._receive(START_LIMIT)
        except EOFError:
            raise Lost(f"{self._ended()} while it was loaded") from None
        if kind == RAISED:
            self.close()
            raise RuntimeError(result)


def how_it_ended(code: int) -> str:
    """Of a process that ended with the exit status ``code``."""
    try:
        return signal.Signals(-code).name
    except ValueError:  # no signal; on Windows a large number says what went wrong
        return f"exit status {code if abs(code) < 2**16 else hex(code)}"


class _Process(Protocol):
    """A process, however it came to be."""

    def kill(self) -> None: ...

    def wait(self) -> int:
        """How it ended; negative where a signal ended it."""


@dataclass(frozen=True)
class _Forked:
    pid: int

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@dataclass(frozen=True)
class _Spawned:
    process: BaseProcess

    def kill(self) -> None:
        self.process.kill()

    def wait(self) -> int:
        self.process.join()
        assert self.process.exitcode is not None
        return self.process.exitcode


def _fork(theirs: Connection, subject: str) -> _Process:
    process = os.fork()
    if process:
        return _Forked(process)
    try:
        descriptor = theirs.fileno()
        _say_nothing()
        # Nothing of the owner is held open: whoever waits for its end shall hear of it.
        os.closerange(3, descriptor)
        os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))
        serve(Connection(descriptor), subject)
    finally:
        os._exit(0)


def _started(theirs: Connection, subject: str, environment: Mapping[str, str | None]) -> _Process:
    # As the standard library starts processes: they find modules where this one does, wherever it was
    # started.
    imports = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve_on"
    code = f"{imports}; serve_on({theirs.fileno()}, {subject!r})"
    variables = {**ENVIRONMENT, **os.environ, **environment}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        pass_fds=(theirs.fileno(),),
        env={name: value for name, value in variables.items() if value is not None},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _spawned(theirs: Connection, subject: str, environment: Mapping[str, str | None]) -> _Process:
    """
    Raises
    ------
    RuntimeError
        In a process that may start no other.
    """
    if current_process().daemon:
        why = "a worker that is a daemon starts no process on this system"
        raise RuntimeError(f"{why}; start workers with `dask worker --no-nanny`")
    # A daemon is ended with its owner; for others the owner would wait, and they for its next question.
    process = get_context("spawn").Process(target=_serve_alone, args=(theirs, subject), daemon=True)
    with started_with({**ENVIRONMENT, **os.environ, **environment}):
        process.start()
    return _Spawned(process)


# --- within -------------------------------------------------------------------------------------------------


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


def _serve_alone(connection: Connection, subject: str) -> None:
    _say_nothing()
    serve(connection, subject)


def serve_on(descriptor: int, subject: str) -> None:
    """`serve` on an open file that was handed on."""
    serve(Connection(descriptor), subject)


def serve(connection: Connection, subject: str) -> None:
    """Do what is asked until nobody asks any more."""
    # Of a terminal it reaches every process: the owner is to notice, not this one to die.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with connection:
        try:
            import torch

            from torch_loss_parity.audit.measure import loaded

            torch.set_num_threads(1)
            loaded(subject)
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
            module, _, name = function.partition(":")
            try:
                answer = (DONE, getattr(importlib.import_module(module), name)(*arguments))
            except Exception:
                answer = (RAISED, traceback.format_exc())
            faulthandler.cancel_dump_traceback_later()
            watchdog.unlisten()
            connection.send(answer)
