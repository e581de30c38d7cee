"""Progress of a run: a bar where somebody watches, and a line for every tenth where not."""

from __future__ import annotations

import os
import sys
import time
from typing import Any, TextIO

from tqdm import tqdm

LINES = 10  # of a whole run, where nobody watches


def uncaptured_stderr() -> TextIO:
    """Standard error as it is now, whatever pytest captures later."""
    return os.fdopen(os.dup(sys.stderr.fileno()), "w")


class Terminal:
    """pytest's terminal, which is not captured, as a file."""

    encoding = "utf-8"

    def __init__(self, writer: Any) -> None:
        self.writer = writer

    def write(self, text: str) -> int:
        self.writer.write(text, flush=True)
        return len(text)

    def flush(self) -> None:
        self.writer.flush()

    def close(self) -> None:
        """Nothing: it is pytest's."""


class Progress:
    """How far a run is.

    Parameters
    ----------
    file : TextIO or Terminal
        Where it is written.
    watched : bool
        Whether that is a screen, on which a bar can move.
    bar, line : str
        What is written on a screen, and elsewhere, as tqdm's ``bar_format``; ``{desc}`` is what was named.
    columns : int, optional
        Width of the screen, if ``file`` cannot tell.
    """

    def __init__(
        self, file: TextIO | Terminal, *, watched: bool, bar: str, line: str, columns: int | None = None
    ) -> None:
        self.file, self.watched, self.line = file, watched, line
        self._how: dict[str, Any] = {"bar_format": bar, "ncols": columns}
        self._bar: tqdm | None = None
        self._name = ""
        self._done: float = 0
        self._total, self._tenths, self._began = 1.0, 0, 0.0

    def start(self, total: float) -> None:
        """The run begins, of so many units."""
        self._total, self._began = total, time.monotonic()
        if self.watched:
            self._bar = tqdm(total=total, file=self.file, leave=False, mininterval=0.1, **self._how)

    def name(self, what: str, *, shown: bool = True) -> None:
        """Name what is being done, or was last done; ``shown`` at once or with the next advance."""
        self._name = what
        if self._bar is not None:
            self._bar.set_description_str(what, refresh=shown)

    def advance(self, units: float = 1) -> None:
        """So many units are done."""
        self._done += units
        if self._bar is not None:
            self._bar.update(units)
        elif (tenths := int(self._done / self._total * LINES)) > self._tenths:
            self._tenths = tenths
            taken = time.monotonic() - self._began
            self.file.write(
                tqdm.format_meter(
                    self._done, self._total, taken, prefix=self._name, ascii=True, bar_format=self.line
                )
            )
            self.file.flush()

    def clear(self) -> None:
        """Make room for a line of somebody else."""
        if self._bar is not None:
            self._bar.clear()

    def close(self) -> None:
        """Take the bar away, and close the file."""
        if self._bar is not None:
            self._bar.close()
        self.file.close()
