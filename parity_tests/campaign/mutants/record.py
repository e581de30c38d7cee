"""The record of the mutants: by which claim each is caught, and which are shown to be no fault."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from torch_loss_parity.campaign.mutants.mutated_kernels import all_mutants, sources
from torch_loss_parity.reports import readme

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RECORD, EQUIVALENT = (Path(__file__).with_name(name) for name in ("mutants.json", "equivalent.toml"))


def equivalents() -> dict[str, str]:
    """Why each mutant that is no fault is none: the same numbers, or nowhere reached."""
    entries = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))["equivalent"]
    return {key: str(entry["reason"]).strip() for entry in entries for key in entry["mutants"]}


def recorded() -> dict[str, str]:
    """By which claim each mutant is caught, as recorded; "" where none catches it."""
    return {} if not RECORD.exists() else dict(json.loads(RECORD.read_text(encoding="utf-8"))["caught"])


def write(caught: Mapping[str, str]) -> None:
    """Record what was judged; of others the record stays, if they are still there."""
    known = recorded()
    kept = {each.key: caught.get(each.key, known.get(each.key)) for each in all_mutants()}
    document: dict[str, Any] = {
        "torch": torch.__version__,
        "caught": {key: claim for key, claim in kept.items() if claim is not None},
    }
    RECORD.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    readme.write("mutants", section())


def section() -> str:
    """The record in a table and a sentence, as Markdown."""
    known, excused = recorded(), equivalents()
    rows = []
    for module in sources():
        of_module = {key: claim for key, claim in known.items() if key.startswith(f"{module}.")}
        faults = [key for key in of_module if key not in excused]
        caught = sum(bool(of_module[key]) for key in faults)
        rows.append(
            [
                f"`{module}`",
                *map(str, (len(of_module), len(of_module) - len(faults), caught, len(faults) - caught)),
            ]
        )
    table = readme.markdown_table(["module", "mutants", "no faults", "caught", "missed"], rows)
    return f"{table}\n\n{score(known)}."


def survivors(caught: Mapping[str, str]) -> list[str]:
    """The mutants that no claim catches, and that are not shown to be no fault."""
    excused = equivalents()
    return [key for key, claim in caught.items() if not claim and key not in excused]


def drift(caught: Mapping[str, str]) -> list[str]:
    """What of the mutants does not hold of the record, and what is said of those that are none."""
    known, excused = recorded(), equivalents()
    there = {mutant.key for mutant in all_mutants()}
    return [
        *(f"{key} is not in the record" for key in caught if key not in known),
        *(
            f"{key} is caught by {claim}, and said to be no fault"
            for key, claim in caught.items()
            if claim and key in excused
        ),
        *(
            f"{key} is said to be no fault, and there is no such mutant"
            for key in excused
            if key not in there
        ),
    ]


def score(caught: Mapping[str, str]) -> str:
    """How many are caught of those that are faults, in a sentence."""
    excused = equivalents()
    faults = [key for key in caught if key not in excused]
    hits = sum(bool(caught[key]) for key in faults)
    share = f"{hits / len(faults):.2%}" if faults else "none"
    return (
        f"{len(caught)} mutants, {len(caught) - len(faults)} of them no faults; "
        f"{hits} of {len(faults)} caught ({share})"
    )
