"""What a run is going to ask of a subject, written down instead of asked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch_loss_parity.processes import watchdog
from torch_loss_parity.subjects.declined import NotObserved
from torch_loss_parity.subjects.observing.container import Reader, Writer
from torch_loss_parity.subjects.observing.encoding import decoded, encoded
from torch_loss_parity.subjects.observing.source import Request, Source

FORMAT = "torch-loss-parity plan"
FOR = "for"  # in a header: the command that works with what is observed by the plan
JUDGE, AUDIT, BENCHMARK = "judge", "audit", "benchmark"
ABOUT = ("test", "claim", "operator", "dtype", "case")


class Planning(Source):
    """Functions that keep what they are asked for, in the order in which a run asks: what is telling comes
    first.

    Attributes
    ----------
    about : mapping
        What is asked now, where that is no test that is watched.
    """

    def __init__(self, path: Path, operators: tuple[str, ...], header: Mapping[str, Any]) -> None:
        self._operators = operators
        self._file = Writer(path, {**header, "format": FORMAT})
        self._keys: set[str] = set()
        self.about: Mapping[str, Any] = {}

    def _answer(self, key: str, request: Request) -> Any:
        if key not in self._keys:
            self._keys.add(key)
            doing = self.about or watchdog.doing_now()
            about = {name: doing[name] for name in ABOUT if doing.get(name)}
            fields = {"drive": request.drive, "call": request.call, "given": dict(request.given)}
            self._file.add({"key": key, **about, "request": encoded(fields, self._file.keep)})
        raise NotObserved("it is planned")

    def close(self) -> int:
        """The file is whole; the number of requests."""
        self._file.close({"why": "done", "requests": len(self._keys)})
        return len(self._keys)


class Plan:
    """A plan that was written.

    Raises
    ------
    DamagedFile
        If it cannot be read, or is not whole.
    """

    def __init__(self, path: Path) -> None:
        self._file = Reader(path, FORMAT)
        self._file.must_be_whole()
        self.header, self.records = self._file.header, self._file.records

    def request(self, record: Mapping[str, Any]) -> Request:
        """What a record asks for."""
        return Request(**decoded(record["request"], self._file.load))
