"""One line that says which cell is being measured and how long the rest will take."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

EVERY = 10.0  # seconds, where lines cannot be written over


class _Screen:
    """pytest's terminal, which is not captured, as the file that tqdm writes to; where it is none, each state
    is a line.
    """

    encoding = "utf-8"

    def __init__(self, writer: Any) -> None:
        self.writer = writer

    def write(self, text: str) -> int:
        if not self.writer.hasmarkup:
            text = text.replace("\r", "").strip() + "\n" if text.strip() else ""
        self.writer.write(text, flush=True)
        return len(text)

    def flush(self) -> None:
        self.writer.flush()


class Progress:
    """A bar over the cells of a run."""

    def __init__(self, writer: Any, total: int) -> None:
        interactive = bool(writer.hasmarkup)
        writer.line()
        self._bar = tqdm(
            total=total,
            file=_Screen(writer),
            ncols=max(40, min(writer.fullwidth - 1, 140)),
            mininterval=0.1 if interactive else EVERY,
            maxinterval=EVERY,
            bar_format="{n_fmt}/{total_fmt} {bar:12} {elapsed}, {remaining} left: {desc}",
            ascii=not interactive,
            leave=False,
        )

    def begin(self, what: str) -> None:
        self._bar.set_description_str(what, refresh=self._bar.mininterval < EVERY)

    def advance(self) -> None:
        self._bar.update()

    def close(self) -> None:
        self._bar.close()
