"""What a report of pytest says of a test that failed."""

from __future__ import annotations

import pytest

from torch_loss_parity.judging.causes import first_sentence


def first_line(report: pytest.TestReport) -> str:
    """What the message begins with, a sentence of several lines whole; empty where there is none."""
    crash = getattr(report.longrepr, "reprcrash", None)
    return first_sentence(str(crash.message if crash else report.longrepr))
