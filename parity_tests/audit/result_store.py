"""Named chunks of work, through local processes or a cluster; what is finished is kept.

Note [Killed and continued]
    The result of a chunk is written to the store, whole or not at all, as soon as it is there, under a key
    that everything the result depends on goes into. Whoever starts again, in whatever way, begins with what
    is not in the store; results come in the order of the chunks, so that sums come out the same to the last
    bit.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import flint
import numpy as np
import torch

from torch_loss_parity.audit.record import VERSION
from torch_loss_parity.processes import local_pool, task_pool
from torch_loss_parity.processes.folders import PACKAGE, REFERENCE
from torch_loss_parity.processes.task_pool import Pool, Task, TaskError
from torch_loss_parity.subjects import BUILTIN

# By what workers are forked from; the last one is loaded by the first gradient that is asked of torch.
LOADED = (__name__, "torch_loss_parity.audit.tasks", "torch.fx.experimental.symbolic_shapes")
# The precision of balls belongs to the process, and a worker of Dask may have several threads.
_ONE_AT_A_TIME = threading.Lock()


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
    for folder in (REFERENCE, PACKAGE):
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".py", ".toml"):
                digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
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


def prepare() -> None:
    """Have the libraries loaded where local workers are forked from, while this process goes on."""
    local_pool.prepare(LOADED)


def executor(workers: int = 1, scheduler: str | None = None) -> AbstractContextManager[Pool]:
    """Where chunks run: see `torch_loss_parity.processes.task_pool.executor`."""
    return task_pool.executor(workers, scheduler, LOADED)


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
    TaskError
        If a chunk raises, kills its workers again and again, or a cluster is lost.
    """
    names = [chunk.name for chunk in chunks]
    if len(set(names)) < len(names):
        raise ValueError(f"chunks share the name {next(name for name in names if names.count(name) > 1)!r}")
    done: dict[str, Any] = {}
    for chunk in chunks:
        stored, result = _kept(chunk, store)
        if stored:
            done[chunk.name] = result
            if progress:
                progress(chunk, True)
    todo = {task.name: (task, chunk) for chunk in chunks if chunk.name not in done for task in [_task(chunk)]}
    work = task_pool.finished([task for task, _ in todo.values()], executor)
    for chunk in chunks:
        while chunk.name not in done:
            task, result = next(work)
            _, finished = todo[task.name]
            _keep(finished, result, store)
            done[finished.name] = result
            if progress:
                progress(finished, False)
        yield chunk, done.pop(chunk.name)


def _task(chunk: Chunk) -> Task:
    return Task(f"chunk {chunk.name}", _work, (chunk.function, chunk.arguments, environment()))


def _work(function: Callable[..., Any], arguments: tuple[Any, ...], expected: str) -> Any:
    """In a worker: the result, where this is the environment that the results are kept for."""
    with _ONE_AT_A_TIME:
        torch.set_num_threads(1)
        if environment() != expected:
            raise TaskError(
                "this worker has other versions of torch, NumPy, python-flint or of this project, or another "
                "kind of processor "
                f"(torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}) than the process "
                f"that asked"
            )
        return function(*arguments)


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
