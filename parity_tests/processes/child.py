"""Processes of this one: how they are started, and how they ended.

Note [Fork, fork server or start]
    A fork has everything that its process has, but only the thread that forks goes on in it, and it reads no
    variable anew. A fork server is a process that has loaded libraries and does nothing else: what is forked
    from it has those, and nothing that this process has done. Where the system has no fork, every process is
    started, and loads what it needs.

    multiprocessing does all three on behalf of everybody here, but starts nothing from a daemon: see
    `torch_loss_parity.processes.sandbox`, the one place that starts a process otherwise.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch_loss_parity.processes import system

if TYPE_CHECKING:  # the first two are not there on Windows
    from multiprocessing.context import ForkContext, ForkServerContext, SpawnContext

FORKED: ForkContext | SpawnContext = get_context("fork") if system.FORK else get_context("spawn")
FROM_SERVER: ForkServerContext | SpawnContext = (
    get_context("forkserver") if system.FORK else get_context("spawn")
)


def preload(modules: Sequence[str]) -> None:
    """Have the fork server load ``modules``, where there is one and it does not run yet."""
    if system.FORK:
        FROM_SERVER.set_forkserver_preload(list(modules))


def start_server() -> None:
    """Start the fork server, where there is one: it loads its modules while this process goes on."""
    if system.FORK:
        from multiprocessing import forkserver  # which cannot be imported on Windows

        forkserver.ensure_running()


def end_of(process: BaseProcess, limit: float | None = None) -> int:
    """The exit status of a process, which is killed after ``limit`` seconds; negative where a signal
    ended it.
    """
    process.join(limit)
    if process.exitcode is None:
        process.kill()
        process.join()
    assert process.exitcode is not None  # it was joined
    return process.exitcode


def how_it_ended(code: int) -> str:
    """Of a process that ended with the exit status ``code``."""
    try:
        return signal.Signals(-code).name
    except ValueError:  # no signal; on Windows a large number says what went wrong
        return f"exit status {code if abs(code) < 2**16 else hex(code)}"


def call(function: Callable[..., None], *arguments: Any, limit: float | None = None) -> None:
    """Call a function in a process of its own, which is killed after ``limit`` seconds.

    Raises
    ------
    RuntimeError
        If the function does not return; the message has its traceback.
    """
    with tempfile.TemporaryDirectory() as directory:
        said = Path(directory, "traceback")
        process = FROM_SERVER.Process(target=_call, args=(function, arguments, said))
        process.start()
        if exitcode := end_of(process, limit):
            why = said.read_text(encoding="utf-8") if said.exists() else ""
            raise RuntimeError(f"the process of {function.__name__} ended with {exitcode}\n{why}")


def _call(function: Callable[..., None], arguments: tuple[Any, ...], said: Path) -> None:
    try:
        function(*arguments)
    except Exception:
        said.write_text(traceback.format_exc(), encoding="utf-8")
        sys.exit(1)
