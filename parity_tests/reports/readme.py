"""Sections of the README, and of the folders', that commands write, between marks that name them."""

from __future__ import annotations

import difflib
from pathlib import Path

from torch_loss_parity.processes.folders import CHECKOUT

# Of each section, the page that it stands on.
PAGES: dict[str, Path] = {
    name: CHECKOUT / page
    for name, page in {
        "worth": "README.md",
        "torch": "README.md",
        "coverage": "parity_tests/README.md",
        "ledger": "parity_tests/ledger/README.md",
        "campaign": "parity_tests/faults/README.md",
        "right": "parity_tests/faults/README.md",
        "versions": "parity_tests/versions/README.md",
        "catalogue": "reference/ways/README.md",
        "benchmarks": "benchmarks/README.md",
    }.items()
}


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


def section(name: str) -> str:
    """What a section says."""
    return split(PAGES[name].read_text(encoding="utf-8"), name)[1]


def drift(name: str, generated: str, of: str) -> list[str]:
    """The lines in which a section differs from what was made ``of`` something; none where it does not."""
    written = section(name)
    page = PAGES[name].name
    return list(difflib.unified_diff(written.splitlines(), generated.splitlines(), page, of, lineterm=""))


def write(name: str, generated: str) -> None:
    """Replace a section."""
    page = PAGES[name]
    before, _, after = split(page.read_text(encoding="utf-8"), name)
    page.write_text(before + generated + after, encoding="utf-8")


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """A table, with bars in its cells escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
