"""What chunks do in the tests of chunks, in a module that workers can import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def square(n: int) -> int:
    return n * n


def slow_square(n: int, seconds: float) -> int:
    time.sleep(seconds)
    return n * n


def square_at_the_second_try(n: int, mark: str) -> int:
    """Kills the first worker that tries."""
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return n * n


def die(mark: str) -> None:
    """Kills its worker, and leaves a trace of it."""
    with Path(mark).open("a") as file:
        file.write("x")
    os.kill(os.getpid(), signal.SIGKILL)


def count_square(n: int, marks: str) -> int:
    """Leaves a trace of every time that it is run."""
    with Path(marks, str(n)).open("a") as file:
        file.write("x")
    return n * n


def refuse(n: int) -> int:
    raise ValueError(f"{n} is refused")
