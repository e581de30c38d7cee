"""What a report of pytest says of a test that failed."""

from __future__ import annotations

import pytest


def first_line(report: pytest.TestReport) -> str:
    """What the message begins with; empty where there is none."""
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = str(crash.message if crash else report.longrepr).strip().splitlines()
    return lines[0] if lines else ""
