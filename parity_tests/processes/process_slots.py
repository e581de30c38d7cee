"""As many processes at a time as there are cores, whoever starts them.

A slot is a file that is locked. Whoever starts a process holds its slot until the process has ended; the
system unlocks it when the holder ends, however that came.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from torch_loss_parity.processes.child import FORKED, end_of

POLL = 0.02  # seconds


@dataclass(frozen=True)
class Slots:
    """``number`` slots, the files in ``directory``."""

    directory: Path
    number: int

    def free(self) -> FileLock | None:
        """A slot, which is held until it is released; None where none is free."""
        for number in range(self.number):
            slot = FileLock(self.directory / f"slot {number}")
            try:
                slot.acquire(timeout=0)
            except Timeout:
                continue
            return slot
        return None

    @contextmanager
    def one(self) -> Iterator[None]:
        """Wait for a slot, and hold it."""
        while (slot := self.free()) is None:
            time.sleep(POLL)
        try:
            yield
        finally:
            slot.release()


@dataclass
class Children:
    """Processes of this one, each in a slot; those that have not ended after ``limit`` seconds are killed.

    Where the system has a fork they have everything that this process has, elsewhere their arguments.
    """

    slots: Slots
    limit: float
    exitcodes: dict[str, int] = field(default_factory=dict)
    _running: dict[str, tuple[BaseProcess, float, FileLock]] = field(default_factory=dict)

    def start(self, name: str, work: Callable[..., None], *arguments: Any) -> None:
        """Start a process as soon as a slot is free."""
        while (slot := self.slots.free()) is None:
            self._reap()
            time.sleep(POLL)
        process = FORKED.Process(target=work, args=arguments)
        process.start()
        self._running[name] = process, time.monotonic() + self.limit, slot

    def join(self) -> None:
        """Wait until all have ended; ``exitcodes`` says how, negative where a signal ended one."""
        while self._running:
            self._reap()
            time.sleep(POLL)

    def _reap(self) -> None:
        for name, (process, deadline, slot) in list(self._running.items()):
            if process.exitcode is None and time.monotonic() > deadline:
                end_of(process, 0)
            if process.exitcode is not None:
                slot.release()
                self.exitcodes[name] = process.exitcode
                del self._running[name]
