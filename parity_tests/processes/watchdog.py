"""A subject that does not return, or that takes the process with it, costs a test and not the run.

*Time.* A test that counts no case for as long as the limit allows is ended: by an exception where Python runs
(`torch_loss_parity.processes.alarm`), and where a call into other code never comes back to it, by ending the
process, which pytest-xdist survives.

*Crashes.* Each process writes down what it is doing, in a file that outlives it.

*Strikes.* Once an operator has not returned, or has killed a process, as often as
`torch_loss_parity.processes.strikes` allows, its other tests fail without being run: a run ends, and its
report is whole.
"""

from __future__ import annotations

import faulthandler
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from torch_loss_parity.processes.alarm import Alarm, alarm

GRACE = 2.0  # times the limit: from then on nothing but the end of the process helps
REARM = 0.5  # seconds: a watchdog is a thread, and is not made anew for every case


class NotReturned(BaseException):
    """A call did not return within the limit.

    No `Exception`: nobody between the call and the test is to catch it.
    """

    def __init__(self) -> None:  # whoever raises it in another thread can give it nothing
        within = f" within {_watches[-1].limit:g} s" if _watches else ""
        super().__init__(f"it did not return{within}")


@dataclass
class Watch:
    """What is watched in one process.

    Parameters
    ----------
    directory : Path
        Shared by all processes of a run.
    process : str
        The name of this one.
    limit : float
        Seconds that a test may take from one case to the next.
    """

    directory: Path
    process: str
    limit: float
    record: dict[str, Any] = field(default_factory=dict)
    _armed: float = 0.0
    _file: BinaryIO | None = None
    _alarm: Alarm = field(default_factory=lambda: alarm(NotReturned))

    def begin(self, **record: Any) -> None:
        """A test begins; ``record`` says which."""
        self.record = record
        self._write()
        self.feed()

    def doing(self, what: str) -> None:
        """A case begins."""
        if self.record:
            self.record["case"] = what
            self._write()
            self.feed()

    def feed(self) -> None:
        """Something was counted: from here the limit counts anew."""
        if not self.record:
            return
        self._alarm.set(self.limit)
        now = time.monotonic()
        if now - self._armed > REARM:
            self._armed = now
            faulthandler.dump_traceback_later(self.limit * GRACE, exit=True)

    def end(self) -> None:
        """The test is over."""
        self.record = {}
        self._alarm.cancel()
        faulthandler.cancel_dump_traceback_later()
        self._armed = 0.0

    def close(self) -> None:
        """The run is over."""
        self.end()
        self._alarm.close()
        if self._file is not None:
            self._file.close()
            self._file = None

    def last(self, process: str) -> dict[str, Any]:
        """What a process was doing when it last wrote it down."""
        path = self._path(process)
        return dict(json.loads(path.read_text().partition("\n")[0])) if path.exists() else {}

    def forget(self, process: str) -> None:
        """What a process was doing is dealt with."""
        self._path(process).unlink(missing_ok=True)

    def strike(self, operator: str) -> None:
        """An operator did not return, or killed a process."""
        if operator:
            (self.directory / f"strike {operator} {time.monotonic_ns()}").touch()

    def strikes(self, operator: str) -> int:
        return len(list(self.directory.glob(f"strike {operator} *")))

    def _write(self) -> None:
        if self._file is None:
            self._file = self._path(self.process).open("wb", buffering=0)
        self._file.seek(0)
        # up to the line's end: what a longer one left comes after it
        self._file.write(f"{json.dumps(self.record)}\n".encode())

    def _path(self, process: str) -> Path:
        return self.directory / f"process {process}"


Listener = Callable[[bool], None]  # told when a subject begins to run, and when it no longer does
_listeners: list[Listener] = []
_watches: list[Watch] = []  # of runs within runs, the innermost last


def start(directory: Path, process: str, limit: float) -> Watch:
    """Watch this process from now on."""
    _watches.append(Watch(directory, process, limit))
    return _watches[-1]


def stop() -> None:
    """The run is over."""
    _watches.pop().close()


def listen(listener: Listener) -> None:
    """Tell ``listener`` from now on, in this process."""
    _listeners.append(listener)


def unlisten() -> None:
    """Tell nobody any more."""
    _listeners.clear()


@contextmanager
def running() -> Iterator[None]:
    """The subject runs within."""
    for listener in _listeners:
        listener(True)
    try:
        yield
    finally:
        for listener in _listeners:
            listener(False)


def doing(what: str) -> None:
    """A case begins, in a run that is watched."""
    if _watches:
        _watches[-1].doing(what)


def feed() -> None:
    """Something was counted, in a run that is watched."""
    if _watches:
        _watches[-1].feed()
