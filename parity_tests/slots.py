"""As many processes at a time as there are cores, whoever starts them.

A slot is a file that is locked. The system unlocks it when the last process that holds it has ended, however it ended.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

FORK = multiprocessing.get_context("fork")
POLL = 0.02  # seconds


@dataclass(frozen=True)
class Slots:
    """``number`` slots, the files in ``directory``."""

    directory: Path
    number: int

    def free(self) -> int | None:
        """The descriptor of a slot, which is held until it is closed here and in every forked process; None where none is free."""
        for number in range(self.number):
            descriptor = os.open(self.directory / f"slot {number}", os.O_CREAT | os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
            else:
                return descriptor
        return None

    @contextmanager
    def one(self) -> Iterator[None]:
        """Wait for a slot, and hold it."""
        while (slot := self.free()) is None:
            time.sleep(POLL)
        try:
            yield
        finally:
            os.close(slot)


@dataclass
class Forks:
    """Processes forked from this one, each in a slot; those that have not ended after ``limit`` seconds are killed."""

    slots: Slots
    limit: float
    exitcodes: dict[str, int] = field(default_factory=dict)
    _running: dict[str, tuple[BaseProcess, float]] = field(default_factory=dict)

    def start(self, name: str, work: Callable[..., None], *arguments: Any) -> None:
        """Start a process as soon as a slot is free."""
        while (slot := self.slots.free()) is None:
            self._reap()
            time.sleep(POLL)
        process = FORK.Process(target=work, args=arguments)
        process.start()
        os.close(slot)  # the forked process has it
        self._running[name] = process, time.monotonic() + self.limit

    def join(self) -> None:
        """Wait until all have ended; ``exitcodes`` says how, negative where a signal ended one."""
        while self._running:
            self._reap()
            time.sleep(POLL)

    def _reap(self) -> None:
        for name, (process, deadline) in list(self._running.items()):
            if process.exitcode is None and time.monotonic() > deadline:
                process.kill()
                process.join()
            if process.exitcode is not None:
                self.exitcodes[name] = process.exitcode
                del self._running[name]
