"""Lines no wider than a terminal's hundred columns."""

from __future__ import annotations

import textwrap

COLUMNS = 100


def wrapped(line: str, indent: int = 8) -> list[str]:
    """A line in as many as it takes, the others indented; what is longer than a line by itself, a path say,
    is cut where it must be.
    """
    if len(line) <= COLUMNS and "\n" not in line:
        return [line]
    more = " " * indent
    return textwrap.wrap(line, COLUMNS, subsequent_indent=more, break_on_hyphens=False) or [""]
