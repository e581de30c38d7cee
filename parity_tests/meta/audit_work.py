"""What chunks do in the tests of chunks, in a module that workers can import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from torch_loss_parity.audit import result_store
from torch_loss_parity.audit.result_store import Chunk

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # on Windows the latter cannot be caught either


def square(n: int) -> int:
    return n * n


def slow_square(n: int, seconds: float) -> int:
    time.sleep(seconds)
    return n * n


def square_at_the_second_try(n: int, mark: str) -> int:
    """Kills the first worker that tries."""
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), KILL)
    return n * n


def die(mark: str) -> None:
    """Kills its worker, and leaves a trace of it."""
    with Path(mark).open("a") as file:
        file.write("x")
    os.kill(os.getpid(), KILL)


def count_square(n: int, marks: str) -> int:
    """Leaves a trace of every time that it is run."""
    with Path(marks, str(n)).open("a") as file:
        file.write("x")
    return n * n


def refuse(n: int) -> int:
    raise ValueError(f"{n} is refused")


def process(seconds: float) -> int:
    """Takes its time, and says which process it was in."""
    time.sleep(seconds)
    return os.getpid()


def be_killed(marks: str) -> None:
    """Writes down the processes of a pool that begins to work, and is killed."""
    with result_store.executor(2) as pool:
        first = [Chunk(f"process {n}", process, (0.5,)) for n in range(2)]
        Path(marks).write_text(" ".join(str(result) for _, result in result_store.run(first, pool)))
        os.kill(os.getpid(), KILL)
