"""The README's section on what a run covers, and on what it knows about torch: written from a run's counts
and from the ledger.

    python -m pytest -n 2 --counts=counts.json
    python -m torch_loss_parity.reports.coverage counts.json --check      # or --write

``--check`` fails if the README says anything else. The numbers hold for the versions that they name: with
others, hypothesis draws other cases, and only what is said of the ledger is compared.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import torch

from torch_loss_parity.ledger import ledger
from torch_loss_parity.operators import DTYPES, OPERATORS, Operator
from torch_loss_parity.reports import readme

SECTION = "coverage"
OF_LEDGER = "Where torch falls short of the derived bound"  # begins the part that depends on no version
Counts = Mapping[str, Mapping[str, Mapping[str, int]]]  # operator -> dtype -> claim -> cases


def section(counts: Counts) -> str:
    """The section as Markdown."""
    every = sum(n for dtypes in counts.values() for claims in dtypes.values() for n in claims.values())
    return "\n".join(
        [
            f"{every:,} cases in a run at standard effort ({made_with()}); a case is one call of the subject "
            f"compared with an",
            "expectation.",
            "",
            *_table(("operator", "options", *DTYPES), _by_dtype(counts)),
            "",
            *_table(("claim", *OPERATORS, "all"), _by_claim(counts)),
            "",
            f"{OF_LEDGER}, and what it does otherwise than it should (`torch-loss-parity "
            f"upstream ID` prints a report with a script):",
            "",
            *_table(("id", "operators", "dtypes", "measured, or what happens"), _divergences()),
        ]
    )


def made_with() -> str:
    """What the number of cases depends on."""
    version = torch.__version__.partition("+")[0]
    return f"torch {version}, hypothesis {hypothesis.__version__}, {torch.backends.cpu.get_cpu_capability()}"


def _by_dtype(counts: Counts) -> Iterator[Sequence[Any]]:
    for name, operator in OPERATORS.items():
        cells = [sum(counts.get(name, {}).get(dtype, {}).values()) for dtype in DTYPES]
        yield f"`{name}`", _options(operator), *(f"{n:,}" for n in cells)


def _options(operator: Operator) -> str:
    named = ", ".join(f"{name} ({len(values)})" for name, values in operator.options.items())
    return f"{named}; values ({len(operator.values)})"


def _by_claim(counts: Counts) -> Iterator[Sequence[Any]]:
    claims = sorted({claim for dtypes in counts.values() for cell in dtypes.values() for claim in cell})
    for claim in claims:
        cells = [sum(cell.get(claim, 0) for cell in counts.get(name, {}).values()) for name in OPERATORS]
        yield claim, *(f"{n:,}" for n in cells), f"{sum(cells):,}"


def _divergences() -> Iterator[Sequence[Any]]:
    for entry in ledger.entries_of("torch"):
        modes = f" ({', '.join(entry.modes)})" if entry.modes else ""
        yield f"`{entry.id}`", ", ".join(entry.operators) + modes, ", ".join(entry.dtypes), entry.measured
    for shortfall in ledger.shortfalls_of("torch"):
        yield (
            f"`{shortfall.id}`",
            ", ".join(shortfall.operators),
            ", ".join(shortfall.dtypes) or "all",
            shortfall.what,
        )


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |"


def main(arguments: list[str] | None = None) -> int:
    """Print the section, write it into the README, or check that the README has it."""
    parser = argparse.ArgumentParser(
        prog="python -m torch_loss_parity.reports.coverage",
        description=__doc__.splitlines()[0] if __doc__ else None,
    )
    parser.add_argument("counts", type=Path, help="what pytest --counts wrote")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--write", action="store_true", help="write the section into README.md")
    choice.add_argument("--check", action="store_true", help="fail if README.md says anything else")
    options = parser.parse_args(arguments)
    generated = section(json.loads(options.counts.read_text()))
    if not (options.write or options.check):
        print(generated)
        return 0
    inside = readme.section(SECTION)
    if options.write:
        readme.write(SECTION, generated)
        return 0
    if made_with() not in inside and OF_LEDGER in inside:
        print(f"numbers are not compared: README.md was written with other versions than {made_with()}")
        inside, generated = (text[text.index(OF_LEDGER) :] for text in (inside, generated))
    drift = readme.drift(inside, generated, "this run")
    print("\n".join(drift))
    return 1 if drift else 0


if __name__ == "__main__":
    sys.exit(main())
