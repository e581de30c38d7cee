"""A file of observations in the place of a subject."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch_loss_parity.subjects.declined import NotObserved
from torch_loss_parity.subjects.observing.answer import Answer, given_again
from torch_loss_parity.subjects.observing.container import Reader
from torch_loss_parity.subjects.observing.planning import FOR, JUDGE
from torch_loss_parity.subjects.observing.source import Request, Source

FORMAT = "torch-loss-parity observation"


class Recorded(Source):
    """What a file holds of a subject: its functions, whose answers are looked up.

    Raises
    ------
    DamagedFile
        If the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._file = Reader(path, FORMAT)
        self.path, self.header, self.end = path, self._file.header, self._file.end
        self._operators = self.header["operators"]
        self._answers: dict[str, Answer] = {each["key"]: each for each in self._file.records}

    def _answer(self, key: str, request: Request) -> Any:
        given = self._answers.get(key)
        if given is None:
            raise NotObserved(self.why_not)
        return given_again(given, self._file.load)

    @property
    def why_not(self) -> str:
        """Why a call may not be there."""
        return self.shortage or "the file holds no such call"

    @property
    def shortage(self) -> str:
        """Why fewer calls were run than were to be; empty where all were."""
        if not self.end:
            return "the file was cut short"
        return "" if self.end["why"] == "done" else str(self.end["why"])

    @property
    def meant_for(self) -> str:
        """The command that works with it: that which its plan was made for."""
        return str(self.header["plan"].get(FOR, JUDGE))  # there was one kind of plan before there were two

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def told(self) -> str:
        """How much there is, in a line."""
        planned = self.header["requests"]
        short = f"; {self.shortage}" if self.shortage else ""
        return f"{len(self)} of {planned} calls observed on {self.header['environment']['told']}{short}"
