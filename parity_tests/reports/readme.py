"""Sections of the README that a command writes, between marks that name it."""

from __future__ import annotations

import difflib

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
        raise ValueError(f"README.md has no section between {first} and {last}")
    return before + begin, inside, end + after


def section(name: str) -> str:
    """What a section says."""
    return split(README.read_text(encoding="utf-8"), name)[1]


def drift(written: str, generated: str, of: str) -> list[str]:
    """The lines in which a section differs from what was made ``of`` something; none where it does not."""
    return list(
        difflib.unified_diff(written.splitlines(), generated.splitlines(), "README.md", of, lineterm="")
    )


def write(name: str, generated: str) -> None:
    """Replace a section."""
    before, _, after = split(README.read_text(encoding="utf-8"), name)
    README.write_text(before + generated + after, encoding="utf-8")
