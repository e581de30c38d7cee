"""The workers of a Dask scheduler, as a pool of processes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

ANSWER = 10.0  # seconds in which a scheduler must answer
ALONE = 60.0  # seconds for which a cluster may be without a worker
ADDRESS = re.compile(r"(tcp|tls|ucx|ws|wss)://[^/\s]+:\d+")


class SchedulerError(ValueError):
    """There is no cluster at the address, or nothing to reach it with; the message says what to do."""


class ClusterLost(RuntimeError):
    """Nothing will ever come back from a cluster; the message says why."""


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
            raise ClusterLost(f"the scheduler at {self.address} is gone")
        if self._client.scheduler_info(n_workers=-1)["workers"]:
            self._since = None
        elif self._since is None:
            self._since = time.monotonic()
        elif time.monotonic() - self._since > ALONE:
            raise ClusterLost(f"the scheduler at {self.address} has had no worker for {ALONE:g} s")

    def close(self) -> None:
        self._executor.shutdown(wait=False)  # whatever is in flight is given up with the client
        self._client.close()
