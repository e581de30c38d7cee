"""A process of its own for what a subject does: one that does not return, or dies, costs what it was asked
and nothing else.

Beside that, variables that a library reads once, when it is loaded, take other values here than in the
process that asks.

Note [How a sandbox is started]
    See Note [Fork, fork server or start] in `torch_loss_parity.processes.child`. A process with one thread, a
    worker of the local pool, forks; where other variables are asked for, in a worker of a cluster, which has
    threads, and where the system has no fork, a process is started. The subject is loaded in the sandbox in
    any case, so that what it loads (a driver, threads of its own) is not forked.

    Workers of Dask are daemons, from which multiprocessing starts nothing: where there is a fork, an open
    file is handed to a process that is started by hand.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing import Pipe, current_process, get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from torch_loss_parity.processes import child, sandbox_server, system
from torch_loss_parity.processes.child_environment import ENVIRONMENT, started_with
from torch_loss_parity.processes.sandbox_server import ALIVE, PATIENCE, RAISED, RUNNING, Step

START_LIMIT = 600.0  # seconds to load the libraries and the subject, on a machine that is busy


class Lost(Exception):
    """What was asked did not come back; the message completes "it ..."."""


class Sandbox:
    """A process that is started when it is needed, and started again when it is lost.

    Parameters
    ----------
    first : (str, tuple)
        A function, as in ``package.module:name``, and its arguments: called before anything is asked.
    limit : float
        Seconds that the subject may run without a break, see `torch_loss_parity.processes.watchdog.running`.
        The time that whoever asks takes itself is not the subject's.
    environment : mapping, optional
        Changes of the variables it is started with; None takes one away.
    """

    def __init__(
        self, first: Step, limit: float, environment: Mapping[str, str | None] | None = None
    ) -> None:
        self.first, self.limit, self.environment = first, limit, environment
        self._process: BaseProcess | subprocess.Popen[bytes] | None = None
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
        process = self._process
        code = child.end_of(process) if isinstance(process, BaseProcess) else process.wait()
        self._connection.close()
        self._process = self._connection = None
        return f"ended the process ({child.how_it_ended(code)})"

    def _start(self) -> None:
        """See Note [How a sandbox is started]."""
        self._connection, theirs = Pipe()
        forks = system.FORK and system.threads() == 1 and not current_process().daemon
        if self.environment is None and forks:
            self._process = _forked(theirs, self.first)
        else:
            start = _by_hand if system.FORK else _spawned
            self._process = start(theirs, self.first, self.environment or {})
        theirs.close()
        try:
            kind, result = self._receive(START_LIMIT)
        except EOFError:
            raise Lost(f"{self._ended()} while it was loaded") from None
        if kind == RAISED:
            self.close()
            raise RuntimeError(result)


# A daemon is ended with its owner; for others the owner would wait, and they for its next question.


def _forked(theirs: Connection, first: Step) -> BaseProcess:
    process = child.FORKED.Process(target=sandbox_server.serve_forked, args=(theirs, first), daemon=True)
    process.start()
    return process


def _spawned(theirs: Connection, first: Step, environment: Mapping[str, str | None]) -> BaseProcess:
    """
    Raises
    ------
    RuntimeError
        In a process that may start no other.
    """
    if current_process().daemon:
        why = "a worker that is a daemon starts no process on this system"
        raise RuntimeError(f"{why}; start workers with `dask worker --no-nanny`")
    process = get_context("spawn").Process(
        target=sandbox_server.serve_spawned, args=(theirs, first), daemon=True
    )
    with started_with({**ENVIRONMENT, **os.environ, **environment}):
        process.start()
    return process


def _by_hand(
    theirs: Connection, first: Step, environment: Mapping[str, str | None]
) -> subprocess.Popen[bytes]:
    # As the standard library starts processes: they find modules where this one does, wherever it was
    # started.
    imports = f"import sys; sys.path[:] = {sys.path!r}; from {sandbox_server.__name__} import serve_on"
    code = f"{imports}; serve_on({theirs.fileno()}, {first!r})"
    variables = {**ENVIRONMENT, **os.environ, **environment}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        pass_fds=(theirs.fileno(),),
        env={name: value for name, value in variables.items() if value is not None},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
