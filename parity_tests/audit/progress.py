"""How far a run is: a bar where somebody watches, and a line for every tenth where not."""

from __future__ import annotations

import os
import sys
import time

from tqdm import tqdm

LINES = 10  # of a whole run, where nobody watches


class Progress:
    """The progress of a run on standard error, as it was when this was made: before pytest captured it."""

    def __init__(self) -> None:
        self._stream = os.fdopen(os.dup(sys.stderr.fileno()), "w")
        self.watched = self._stream.isatty()
        self._bar: tqdm | None = None
        self._said, self._done, self._total, self._began = 0, 0.0, 1.0, 0.0

    def begin(self, total: float) -> None:
        """A run begins, of so many units of weight."""
        self._total, self._began = max(total, 1.0), time.monotonic()
        if self.watched:
            self._bar = tqdm(
                total=100.0,
                file=self._stream,
                leave=False,
                bar_format="audit {percentage:3.0f}%|{bar}| {elapsed}<{remaining} {postfix}",
            )

    def done(self, name: str, weight: float) -> None:
        """A unit of this weight is done."""
        self._done += weight
        share = min(self._done / self._total, 1.0)
        if self._bar is not None:
            self._bar.set_postfix_str(name, refresh=False)
            self._bar.update(100 * share - self._bar.n)
        elif int(share * LINES) > self._said:
            self._said = int(share * LINES)
            spent = time.monotonic() - self._began
            left = tqdm.format_interval(spent / share * (1 - share))
            self._stream.write(
                f"\naudit: {share:.0%} after {tqdm.format_interval(spent)}, about {left} left ({name})\n"
            )
            self._stream.flush()

    def clear(self) -> None:
        """Make room for a line of somebody else."""
        if self._bar is not None:
            self._bar.clear()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._stream.close()
