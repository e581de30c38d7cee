"""What a report of pytest says of a test that failed."""

from __future__ import annotations

import re

import pytest

from torch_loss_parity.judging.causes import first_sentence

COUNTED = re.compile(r"\A(\w*Error: )?\d+ of \d+ cases fail[^\n]*\n+")  # says how many fail, and not why

CASE = re.compile(r"^  case +(\S.*(?:\n {12}.*)*)", re.MULTILINE)


def case_in(report: pytest.TestReport) -> str:
    """The first case that a line of the message names; empty where none does."""
    named = CASE.search(str(report.longrepr))
    return " ".join(named[1].split()) if named else ""


def first_line(report: pytest.TestReport) -> str:
    """What the message begins with, a sentence of several lines whole; empty where there is none."""
    crash = getattr(report.longrepr, "reprcrash", None)
    message = str(crash.message if crash else report.longrepr)
    return first_sentence(COUNTED.sub("", message) or message)
