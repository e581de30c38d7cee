"""The record of the right kernels: which are rejected, and by what; beside the faults that are missed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from torch_loss_parity.campaign.right_runs import RightRun
from torch_loss_parity.faults import FAULTS
from torch_loss_parity.faults.right import RIGHT_KERNELS
from torch_loss_parity.judging import report
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.reports import readme

RECORD = Path(__file__).with_name("right.json")
Matrix = Mapping[str, RightRun]


def table(matrix: Matrix) -> list[str]:
    """Below the name of each right kernel the number of failing tests of each claim."""
    if not matrix:
        return []
    claims = sorted({claim for run in matrix.values() for claim in (*run.claims, *run.passed)})
    lines = ["right kernels", report.of_claims(claims)]
    for name, run in matrix.items():
        lines += [name, report.of_claims(claims, {**dict.fromkeys(run.passed, "."), **run.claims})]
    return lines


def rejections(matrix: Matrix) -> list[str]:
    """Which right kernels are rejected, and by what: every one is a fault of the suite."""
    return [
        f"{name} is right, and rejected by {', '.join(sorted(run.claims)) or f'exit status {run.exitcode}'}"
        for name, run in matrix.items()
        if run.rejected
    ]


def drift(matrix: Matrix) -> list[str]:
    """What does not hold of the record: a right kernel that is new to it, or no longer there."""
    known = recorded()
    return [
        *(f"{name} is not in the record" for name in matrix if name not in known),
        *(f"{name} is recorded, and no longer there" for name in known if name not in RIGHT_KERNELS),
    ]


def section(matrix: Matrix, missed: Mapping[str, bool]) -> str:
    """The README's section: of each operator how many right kernels are rejected, and how many faults are
    missed.

    Parameters
    ----------
    missed : mapping of str to bool
        Of each fault, whether no check catches it.
    """
    head = ["| | right kernels | false alarms | faults | misses |", "|---|---|---|---|---|"]
    rows = [_row(operator, matrix, missed, {operator}) for operator in OPERATORS]
    return "\n".join([*head, *rows, _row("**all**", matrix, missed, set(OPERATORS))])


def _row(name: str, matrix: Matrix, missed: Mapping[str, bool], operators: set[str]) -> str:
    right = [run.rejected for kernel, run in matrix.items() if RIGHT_KERNELS[kernel].operator in operators]
    faults = [is_missed for fault, is_missed in missed.items() if FAULTS[fault].operator in operators]
    return f"| {name} | {len(right)} | {sum(right)} | {len(faults)} | {sum(faults)} |"


def write(matrix: Matrix, missed: Mapping[str, bool]) -> None:
    """Record the right kernels that were run, and write the README's section; of others the record stays."""
    runs = {name: run for name, run in recorded().items() if name in RIGHT_KERNELS} | {
        name: asdict(run) for name, run in matrix.items()
    }
    RECORD.write_text(
        json.dumps({"torch": torch.__version__, "right": runs}, indent=1, sort_keys=True) + "\n"
    )
    readme.write("right", section(as_recorded(), missed))


def recorded() -> dict[str, dict[str, Any]]:
    """The right kernels as they were recorded, by name."""
    return {} if not RECORD.exists() else dict(json.loads(RECORD.read_text())["right"])


def as_recorded() -> dict[str, RightRun]:
    """The record, in the order of the catalogue."""
    known = recorded()
    return {
        name: RightRun(**known[name] | {"passed": tuple(known[name]["passed"])})
        for name in RIGHT_KERNELS
        if name in known
    }
