"""What was skipped, by reason: how often, in a line each."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from torch_loss_parity.judging.wrapping import COLUMNS
from torch_loss_parity.processes.folders import BENCHMARKS, PACKAGE, REFERENCE

SHOWN = 12  # reasons
CUT = " ..."


class Skips:
    """Counts the skips of the suite's own tests; ``root`` is what the names of tests are relative to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.reasons: Counter[str] = Counter()

    def count(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        """Count a test, or a file of them, if it was skipped."""
        said = report.longrepr
        if not report.skipped or hasattr(report, "wasxfail") or not isinstance(said, tuple):
            return
        place = (self.root / report.nodeid.partition("::")[0]).resolve()
        if any(folder in place.parents for folder in (PACKAGE, REFERENCE, BENCHMARKS)):
            self.reasons[" ".join(str(said[2]).removeprefix("Skipped: ").split())] += 1

    def lines(self) -> list[str]:
        """The commonest reasons first, each in a line that is cut where it is too long."""
        lines = [f"{number:>6}  {reason}" for reason, number in self.reasons.most_common(SHOWN)]
        lines = [line if len(line) <= COLUMNS else line[: COLUMNS - len(CUT)] + CUT for line in lines]
        more = len(self.reasons) - SHOWN
        return [*lines, f"  and {more} more"] if more > 0 else lines
