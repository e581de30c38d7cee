"""What a run covers, and what is known of torch: sections of the pages of parity_tests/ and of its ledger,
written from a run's counts and from the ledger.

    python -m pytest -n 2 --counts=counts.json
    python -m torch_loss_parity.reports.coverage counts.json --check      # or --write

``--check`` fails if a page says anything else. The numbers hold for the versions that they name: with others,
hypothesis draws other cases, and only what is said of the ledger is compared.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import hypothesis
import torch

from torch_loss_parity.ledger import ledger
from torch_loss_parity.operators import DTYPES, OPERATORS, Operator
from torch_loss_parity.reports import front, readme
from torch_loss_parity.reports.readme import markdown_table

SECTION = "coverage"
Counts = Mapping[str, Mapping[str, Mapping[str, int]]]  # operator -> dtype -> claim -> cases


def section(counts: Counts) -> str:
    """What a run covers, as Markdown."""
    every = sum(n for dtypes in counts.values() for claims in dtypes.values() for n in claims.values())
    return "\n".join(
        [
            f"{every:,} cases in a run at standard effort ({made_with()}); a case is one call of the subject "
            f"compared with an",
            "expectation.",
            "",
            markdown_table(["operator", "options", *DTYPES], list(_by_dtype(counts))),
            "",
            markdown_table(["claim", *OPERATORS, "all"], list(_by_claim(counts))),
        ]
    )


def made_with() -> str:
    """What the number of cases depends on."""
    version = torch.__version__.partition("+")[0]
    return f"torch {version}, hypothesis {hypothesis.__version__}, {torch.backends.cpu.get_cpu_capability()}"


def _by_dtype(counts: Counts) -> Iterator[list[str]]:
    for name, operator in OPERATORS.items():
        cells = [sum(counts.get(name, {}).get(dtype, {}).values()) for dtype in DTYPES]
        yield [f"`{name}`", _options(operator), *(f"{n:,}" for n in cells)]


def _options(operator: Operator) -> str:
    named = ", ".join(f"{name} ({len(values)})" for name, values in operator.options.items())
    return f"{named}; values ({len(operator.values)})"


def _by_claim(counts: Counts) -> Iterator[list[str]]:
    claims = sorted({claim for dtypes in counts.values() for cell in dtypes.values() for claim in cell})
    for claim in claims:
        cells = [sum(cell.get(claim, 0) for cell in counts.get(name, {}).values()) for name in OPERATORS]
        yield [claim, *(f"{n:,}" for n in cells), f"{sum(cells):,}"]


def divergences() -> str:
    """Every entry of the ledger about torch, as Markdown."""
    rows = []
    for entry in ledger.entries_of("torch"):
        modes = f" ({', '.join(entry.modes)})" if entry.modes else ""
        where = "" if "cpu" in entry.devices else f" on {', '.join(entry.devices)}"
        dtypes = ", ".join(entry.dtypes)
        rows.append([f"`{entry.id}`", ", ".join(entry.operators) + where + modes, dtypes, entry.measured])
    for shortfall in ledger.shortfalls_of("torch"):
        dtypes = ", ".join(shortfall.dtypes) or "all"
        rows.append([f"`{shortfall.id}`", ", ".join(shortfall.operators), dtypes, shortfall.what])
    return markdown_table(["id", "operators", "dtypes", "measured, or what happens"], rows)


OF_LEDGER = {"ledger": divergences, "torch": front.gravest}  # which depend on no version


def main(arguments: list[str] | None = None) -> int:
    """Print the section, write all of them, or check that the pages have them."""
    parser = argparse.ArgumentParser(
        prog="python -m torch_loss_parity.reports.coverage",
        description=__doc__.splitlines()[0] if __doc__ else None,
    )
    parser.add_argument("counts", type=Path, help="what pytest --counts wrote")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--write", action="store_true", help="write the sections")
    choice.add_argument("--check", action="store_true", help="fail if a page says anything else")
    options = parser.parse_args(arguments)
    generated = section(json.loads(options.counts.read_text()))
    if not (options.write or options.check):
        print(generated)
        return 0
    sections = {SECTION: generated, **{name: make() for name, make in OF_LEDGER.items()}}
    if options.write:
        for name, text in sections.items():
            readme.write(name, text)
        return 0
    if made_with() not in readme.section(SECTION):
        print(f"numbers are not compared: they were written with other versions than {made_with()}")
        del sections[SECTION]
    drift = [line for name, text in sections.items() for line in readme.drift(name, text, "this run")]
    print("\n".join(drift))
    return 1 if drift else 0


if __name__ == "__main__":
    sys.exit(main())
