"""Sections of the README, or of a folder's, that a command writes, between marks that name it."""

from __future__ import annotations

import difflib
from pathlib import Path

from torch_loss_parity.processes.folders import CHECKOUT

README = CHECKOUT / "README.md"


def split(text: str, name: str) -> tuple[str, str, str]:
    """What stands before, in and after a section.

    Raises
    ------
    ValueError
        If the marks that enclose the section are not there.
    """
    first, last = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, begin, rest = text.partition(first + "\n")
    inside, end, after = rest.partition("\n" + last)
    if not begin or not end:
        raise ValueError(f"the page has no section between {first} and {last}")
    return before + begin, inside, end + after


def section(name: str, page: Path | None = None) -> str:
    """What a section of a page says."""
    return split((page or README).read_text(encoding="utf-8"), name)[1]


def drift(written: str, generated: str, of: str) -> list[str]:
    """The lines in which a section differs from what was made ``of`` something; none where it does not."""
    return list(
        difflib.unified_diff(written.splitlines(), generated.splitlines(), "README.md", of, lineterm="")
    )


def write(name: str, generated: str, page: Path | None = None) -> None:
    """Replace a section of a page."""
    page = page or README
    before, _, after = split(page.read_text(encoding="utf-8"), name)
    page.write_text(before + generated + after, encoding="utf-8")
