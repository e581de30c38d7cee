"""Tasks in a pool of processes, local ones or those of a cluster: one that dies costs no task.

Note [Who kills workers]
    A local worker that dies takes the pool with it: what was not finished is run in a new one. Any of the
    tasks in flight may have killed it, so each of them is run alone once; a task that has killed
    ``STRIKES_OF_WORKERS`` workers is named, and the run ends. A cluster does its own part of this: Dask runs
    a task elsewhere, and gives up on it when it has lost that many workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from torch_loss_parity.processes.cluster_pool import ClusterLost, ClusterPool
from torch_loss_parity.processes.local_pool import LocalPool
from torch_loss_parity.processes.strikes import STRIKES_OF_WORKERS

LOOK = 1.0  # seconds between two looks at a cluster


class TaskError(RuntimeError):
    """A task cannot be finished; the message names it."""


@dataclass(frozen=True)
class Task:
    """What a worker is to do.

    Attributes
    ----------
    name : str
        Unique in a run; names the task in messages.
    function : callable
        Of a module that can be imported, not of ``__main__``.
    arguments : tuple
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()


class Pool(Protocol):
    """Where tasks run."""

    @property
    def size(self) -> int:
        """How many tasks may be in flight."""

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]: ...

    def renew(self) -> None:
        """Begin again after a worker died."""

    def check(self) -> None:
        """Raise `ClusterLost` if nothing will ever come back."""


@contextmanager
def executor(workers: int = 1, scheduler: str | None = None, modules: Sequence[str] = ()) -> Iterator[Pool]:
    """Where tasks run: ``workers`` local processes, or the cluster of a scheduler at ``tcp://HOST:PORT``.

    Local workers are forked, where the system forks, from a process that has loaded ``modules``.

    Raises
    ------
    ValueError
        If there are fewer than one worker.
    SchedulerError
        If Dask is not installed, the address is none, or nobody answers there in time.
    """
    if workers < 1:
        raise ValueError(f"--workers is {workers}; it must be at least 1")
    pool = ClusterPool(scheduler) if scheduler else LocalPool(workers, modules)
    try:
        yield pool
    finally:
        pool.close()


def finished(tasks: Sequence[Task], pool: Pool) -> Iterator[tuple[Task, Any]]:
    """The tasks and their results as they are finished, see Note [Who kills workers].

    Raises
    ------
    TaskError
        If a task raises, kills its workers again and again, or a cluster is lost.
    """
    waiting, suspects, strikes = list(reversed(tasks)), list[Task](), dict[str, int]()
    flying: dict[Future[Any], Task] = {}
    while waiting or suspects or flying:
        if suspects:
            if not flying:  # alone, it is known who kills a worker
                # The innocent are finished first.
                task = min(suspects, key=lambda suspect: strikes.get(suspect.name, 0))
                suspects.remove(task)
                flying[pool.submit(task.function, *task.arguments)] = task
        else:
            while waiting and len(flying) < pool.size:
                task = waiting.pop()
                flying[pool.submit(task.function, *task.arguments)] = task
        ready, _ = wait(flying, timeout=LOOK, return_when=FIRST_COMPLETED)
        if not ready:
            _check(pool)
        lost: list[Task] = []
        for future in ready:
            task = flying.pop(future)
            try:
                result = future.result()
            except BrokenProcessPool:
                lost.append(task)
                continue
            except Exception as error:
                for other in flying:
                    other.cancel()
                raise TaskError(_why(task, error)) from error
            yield task, result
        if lost:
            wait(flying)  # all of them fail together
            lost += [
                task for future, task in flying.items() if isinstance(future.exception(), BrokenProcessPool)
            ]
            for future, task in flying.items():
                if future.exception() is None:
                    yield task, future.result()
            flying.clear()
            if len(lost) == 1:
                strikes[lost[0].name] = strikes.get(lost[0].name, 0) + 1
                if strikes[lost[0].name] >= STRIKES_OF_WORKERS:
                    raise TaskError(
                        f"{lost[0].name} has killed {STRIKES_OF_WORKERS} workers; what is finished is kept"
                    )
            suspects += lost
            pool.renew()


def _check(pool: Pool) -> None:
    try:
        pool.check()
    except ClusterLost as error:
        raise TaskError(f"{error}; what is finished is kept") from error


def _why(task: Task, error: Exception) -> str:
    if type(error).__name__ == "KilledWorker":  # of Dask, which may not be installed
        return f"{task.name} has killed its workers again and again; what is finished is kept"
    return f"{task.name}: {error if isinstance(error, TaskError) else f'{type(error).__name__}: {error}'}"
