"""Named chunks of work, through local processes or a cluster; what is finished is kept.

Note [Killed and continued]
    The result of a chunk is written to the store, whole or not at all, as soon as it is there, under a key
    that everything the result depends on goes into. Whoever starts again, in whatever way, begins with what
    is not in the store; results come in the order of the chunks, so that sums come out the same to the last
    bit.

    A local worker that dies takes the pool with it: what was not finished is run in a new one. Any of the
    chunks in flight may have killed it, so each of them is run alone once; a chunk that has killed
    ``STRIKES`` workers is named, and the run ends. A cluster does its own part of this: Dask runs a chunk
    elsewhere, and gives up on it when it has lost that many workers.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import Any, Protocol

import flint
import numpy as np
import torch

from torch_loss_parity.audit.record import VERSION
from torch_loss_parity.processes import system
from torch_loss_parity.processes.child_environment import ENVIRONMENT, started_with
from torch_loss_parity.processes.folders import CHECKOUT
from torch_loss_parity.subjects import BUILTIN

STRIKES = 3  # workers that a chunk may kill
ANSWER = 10.0  # seconds in which a scheduler must answer
ALONE = 60.0  # seconds for which a cluster may be without a worker
LOOK = 1.0  # seconds between two looks at a cluster
MOST = 61  # processes that a pool of the standard library can wait for on Windows
ADDRESS = re.compile(r"(tcp|tls|ucx|ws|wss)://[^/\s]+:\d+")
VARIABLES = {**ENVIRONMENT, "OMP_NUM_THREADS": "1"}  # of workers
# By what they are forked from; the last one is loaded by the first gradient that is asked of torch.
LOADED = (__name__, "torch_loss_parity.audit.tasks", "torch.fx.experimental.symbolic_shapes")
# The precision of balls belongs to the process, and a worker of Dask may have several threads.
_ONE_AT_A_TIME = threading.Lock()


class ChunkError(RuntimeError):
    """A chunk cannot be finished; the message names it."""


class SchedulerError(ValueError):
    """There is no cluster at the address, or nothing to reach it with; the message says what to do."""


@dataclass(frozen=True)
class Chunk:
    """A piece of work that another process can do.

    Attributes
    ----------
    name : str
        Unique in a run; names the chunk in messages and in the store.
    function : callable
        Of a module that can be imported, not of ``__main__``; returns what JSON can hold.
    arguments : tuple
        Whose ``repr`` says all about them.
    state : str
        What the result depends on besides: `state_of` the subject.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    state: str = ""

    def key(self, environment: str) -> str:
        """Names its result: a hash of everything that the result depends on."""
        what = (
            self.name,
            self.function.__module__,
            self.function.__qualname__,
            repr(self.arguments),
            self.state,
            environment,
        )
        return hashlib.sha256("\0".join(what).encode()).hexdigest()


@cache
def environment() -> str:
    """A hash of all but the arguments that a result depends on: libraries, vector instructions, and the
    source of this project.
    """
    digest = hashlib.sha256()
    versions = (
        torch.__version__,
        torch.backends.cpu.get_cpu_capability(),
        np.__version__,
        flint.__version__,
        str(VERSION),
    )
    digest.update("\0".join(versions).encode())
    for folder in ("reference", "parity_tests"):
        for path in sorted((CHECKOUT / folder).rglob("*")):
            if path.suffix in (".py", ".toml"):
                digest.update(path.relative_to(CHECKOUT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def state_of(subject: str) -> str:
    """A hash of the source of a subject that is not part of this project; of a module, of the files beside it
    too.
    """
    if subject.endswith(".py"):
        files = [Path(subject)]
    elif subject in BUILTIN or ":" in subject:
        return ""  # in `environment`
    else:
        origin = getattr(find_spec(subject), "origin", None)
        files = sorted(Path(origin).parent.glob("*.py")) if origin and Path(origin).exists() else []
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


class Pool(Protocol):
    """Where chunks run."""

    @property
    def size(self) -> int:
        """How many chunks may be in flight."""

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]: ...

    def renew(self) -> None:
        """Begin again after a worker died."""

    def check(self) -> None:
        """Raise `ChunkError` if nothing will ever come back."""


def prepare() -> bool:
    """Start the process that local workers are forked from, where the system has one: it loads the libraries
    while this one goes on.
    """
    if not system.FORK:
        return False
    from multiprocessing import forkserver  # which cannot be imported on Windows

    get_context("forkserver").set_forkserver_preload(list(LOADED))
    with _unless_set(VARIABLES):
        forkserver.ensure_running()
    return True


class LocalPool:
    """Processes of this machine, one thread of torch each."""

    def __init__(self, workers: int) -> None:
        self.size = min(workers, MOST) if sys.platform == "win32" else workers
        self._executor: ProcessPoolExecutor | None = None

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        if self._executor is None:
            context = get_context("forkserver" if prepare() else "spawn")
            self._executor = ProcessPoolExecutor(self.size, mp_context=context, initializer=_begin)
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


class ClusterPool:
    """The workers of a Dask scheduler.

    They need this project, the same libraries and the same kind of processor.
    """

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            raise SchedulerError("--scheduler needs Dask: pip install 'torch-loss-parity[dask]'") from error
        if not ADDRESS.fullmatch(address):
            raise SchedulerError(f"--scheduler is {address!r}; it must be an address such as tcp://HOST:8786")
        try:
            self._client = Client(address, timeout=ANSWER, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise SchedulerError(
                f"no scheduler answers at {address} within {ANSWER:g} s; start one with `dask scheduler`"
            ) from error
        self.address = address
        self._executor = self._client.get_executor(pure=False)
        self._since: float | None = None

    @property
    def size(self) -> int:
        return max(4, 2 * sum(self._client.nthreads().values()))

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        return self._executor.submit(function, *arguments)

    def renew(self) -> None:
        pass  # Dask does

    def check(self) -> None:
        if self._client.status not in ("running", "connecting"):
            raise ChunkError(f"the scheduler at {self.address} is gone; what is finished is kept")
        if self._client.scheduler_info(n_workers=-1)["workers"]:
            self._since = None
        elif self._since is None:
            self._since = time.monotonic()
        elif time.monotonic() - self._since > ALONE:
            raise ChunkError(
                f"the scheduler at {self.address} has had no worker for {ALONE:g} s; what is finished is kept"
            )

    def close(self) -> None:
        self._executor.shutdown(wait=False)  # whatever is in flight is given up with the client
        self._client.close()


@contextmanager
def executor(workers: int = 1, scheduler: str | None = None) -> Iterator[Pool]:
    """Where chunks run: ``workers`` local processes, or the cluster of a scheduler at ``tcp://HOST:PORT``.

    Raises
    ------
    ValueError
        If there are fewer than one worker.
    SchedulerError
        If Dask is not installed, the address is none, or nobody answers there in time.
    """
    if workers < 1:
        raise ValueError(f"--workers is {workers}; it must be at least 1")
    pool = ClusterPool(scheduler) if scheduler else LocalPool(workers)
    try:
        yield pool
    finally:
        pool.close()


def run(
    chunks: Sequence[Chunk],
    executor: Pool,
    store: Path | None = None,
    *,
    progress: Callable[[Chunk, bool], None] | None = None,
) -> Generator[tuple[Chunk, Any], None, None]:
    """Run what is not in the store, and return every result in the order of the chunks.

    Parameters
    ----------
    store : Path, optional
        Results are kept in this folder, and found there.
    progress : callable, optional
        Told of every chunk as soon as it is finished, and whether it was found in the store.

    Raises
    ------
    ValueError
        If two chunks have the same name.
    ChunkError
        If a chunk raises, kills its workers again and again, or a cluster is lost.
    """
    names = [chunk.name for chunk in chunks]
    if len(set(names)) < len(names):
        raise ValueError(f"chunks share the name {next(name for name in names if names.count(name) > 1)!r}")
    done: dict[str, Any] = {}
    for chunk in chunks:
        found, result = _kept(chunk, store)
        if found:
            done[chunk.name] = result
            if progress:
                progress(chunk, True)
    work = _finish([chunk for chunk in chunks if chunk.name not in done], executor)
    for chunk in chunks:
        while chunk.name not in done:
            finished, result = next(work)
            _keep(finished, result, store)
            done[finished.name] = result
            if progress:
                progress(finished, False)
        yield chunk, done.pop(chunk.name)


def _finish(chunks: Sequence[Chunk], pool: Pool) -> Iterator[tuple[Chunk, Any]]:
    """The chunks and their results as they are finished."""
    waiting, suspects, strikes = list(reversed(chunks)), list[Chunk](), dict[str, int]()
    flying: dict[Future[Any], Chunk] = {}
    while waiting or suspects or flying:
        if suspects:
            if not flying:  # alone, it is known who kills a worker
                # The innocent are finished first.
                chunk = min(suspects, key=lambda suspect: strikes.get(suspect.name, 0))
                suspects.remove(chunk)
                flying[pool.submit(_work, chunk.function, chunk.arguments, environment())] = chunk
        else:
            while waiting and len(flying) < pool.size:
                chunk = waiting.pop()
                flying[pool.submit(_work, chunk.function, chunk.arguments, environment())] = chunk
        ready, _ = wait(flying, timeout=LOOK, return_when=FIRST_COMPLETED)
        if not ready:
            pool.check()
        lost: list[Chunk] = []
        for future in ready:
            chunk = flying.pop(future)
            try:
                result = future.result()
            except BrokenProcessPool:
                lost.append(chunk)
                continue
            except Exception as error:
                for other in flying:
                    other.cancel()
                raise ChunkError(_why(chunk, error)) from error
            yield chunk, result
        if lost:
            wait(flying)  # all of them fail together
            lost += [
                chunk for future, chunk in flying.items() if isinstance(future.exception(), BrokenProcessPool)
            ]
            for future, chunk in flying.items():
                if future.exception() is None:
                    yield chunk, future.result()
            flying.clear()
            if len(lost) == 1:
                strikes[lost[0].name] = strikes.get(lost[0].name, 0) + 1
                if strikes[lost[0].name] >= STRIKES:
                    raise ChunkError(
                        f"chunk {lost[0].name} has killed {STRIKES} workers; what is finished is kept"
                    )
            suspects += lost
            pool.renew()


def _why(chunk: Chunk, error: Exception) -> str:
    if type(error).__name__ == "KilledWorker":
        return f"chunk {chunk.name} has killed its workers again and again; what is finished is kept"
    return (
        f"chunk {chunk.name}: "
        f"{error if isinstance(error, ChunkError) else f'{type(error).__name__}: {error}'}"
    )


def _work(function: Callable[..., Any], arguments: tuple[Any, ...], expected: str) -> Any:
    """In a worker: the result, where this is the environment that the results are kept for."""
    with _ONE_AT_A_TIME:
        torch.set_num_threads(1)
        if environment() != expected:
            raise ChunkError(
                "this worker has other versions of torch, NumPy, python-flint or of this project, or another "
                "kind of processor "
                f"(torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}) than the process "
                f"that asked"
            )
        return function(*arguments)


def _begin() -> None:
    """In a new process: an interruption is for the one that started it, and the end of that one, however it
    came, is its own.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
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


def _path(chunk: Chunk, store: Path) -> Path:
    return store / f"{chunk.key(environment())}.json"


def _kept(chunk: Chunk, store: Path | None) -> tuple[bool, Any]:
    """Whether the store holds the result of a chunk, and the result.

    A file that is no result of it counts as none.
    """
    if store is None:
        return False, None
    with suppress(OSError, ValueError, KeyError, TypeError):
        held = json.loads(_path(chunk, store).read_text())
        if held["chunk"] == chunk.name:
            return True, held["result"]
    return False, None


def _keep(chunk: Chunk, result: Any, store: Path | None) -> None:
    """Write a result, whole or not at all."""
    if store is None:
        return
    store.mkdir(parents=True, exist_ok=True)
    path = _path(chunk, store)
    with tempfile.NamedTemporaryFile("w", dir=store, prefix=".", suffix=".part", delete=False) as file:
        json.dump({"chunk": chunk.name, "result": result}, file)
    os.replace(file.name, path)
