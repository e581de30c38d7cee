"""Two files of observations, call by call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from torch_loss_parity.subjects.observing.answer import RETURNED
from torch_loss_parity.subjects.observing.container import Reader
from torch_loss_parity.subjects.observing.encoding import decoded
from torch_loss_parity.subjects.observing.recorded import FORMAT

SAID = ("text", "said", "returned")  # in words: two releases of torch may say the same otherwise


@dataclass
class Cell:
    """The calls of a claim, an operator and a dtype: those that both files have, of which both returned the
    same bits, both returned other bits, or one raised otherwise; and the largest difference, relative to the
    larger number.
    """

    calls: int = 0
    same: int = 0
    bits: int = 0
    otherwise: int = 0
    apart: float = 0.0


@dataclass(frozen=True)
class Comparison:
    """What two files have in common; false where some of it differs."""

    told: tuple[str, str]
    only: tuple[int, int]
    cells: Mapping[tuple[str, str, str], Cell]

    def __bool__(self) -> bool:
        return all(cell.same == cell.calls for cell in self.cells.values())

    def lines(self) -> Iterator[str]:
        """A table of the cells that differ, and a line for each file."""
        for name, told, only in zip("ab", self.told, self.only, strict=True):
            yield f"{name}  {told}" + (f"; {only} calls in this file only" if only else "")
        calls, same = (sum(getattr(cell, of) for cell in self.cells.values()) for of in ("calls", "same"))
        yield f"{same} of {calls} calls returned the same bits, or raised the same"
        if not self:
            heads = ("other bits", "otherwise", "largest relative difference")
            yield f"{'':<58}{'calls':>7}{heads[0]:>12}{heads[1]:>11}  {heads[2]}"
        for (claim, operator, dtype), cell in sorted(self.cells.items()):
            if cell.same < cell.calls:
                name = f"{claim}, {operator}, {dtype}"
                yield f"{name:<58}{cell.calls:>7}{cell.bits:>12}{cell.otherwise:>11}  {cell.apart:.3g}"


def compare(a: Path, b: Path) -> Comparison:
    """Compare what both of two files hold.

    Raises
    ------
    DamagedFile
        If one of them cannot be read.
    """
    files = [Reader(path, FORMAT) for path in (a, b)]
    answers = [{record["key"]: record for record in file.records} for file in files]
    cells: dict[tuple[str, str, str], Cell] = {}
    for key in answers[0].keys() & answers[1].keys():
        first, second = (each[key] for each in answers)
        place = first.get("claim", ""), first.get("operator", ""), first.get("dtype", "")
        cell = cells.setdefault(place, Cell())
        cell.calls += 1
        if not first["outcome"] == second["outcome"] == RETURNED:
            alike = [(each["outcome"], each.get("types")) for each in (first, second)]
            cell.same += alike[0] == alike[1]
            cell.otherwise += alike[0] != alike[1]
        elif first["value"] == second["value"]:  # digests
            cell.same += 1
        else:
            values = (decoded(r["value"], file.load) for r, file in zip((first, second), files, strict=True))
            apart = _apart(*values)
            cell.bits += apart is not None
            cell.otherwise += apart is None
            cell.apart = max(cell.apart, apart or 0.0)
    told = [
        f"{file.path}: {file.header['subject']} on {file.header['environment']['told']}" for file in files
    ]
    only = [len(answers[i].keys() - answers[1 - i].keys()) for i in (0, 1)]
    return Comparison((told[0], told[1]), (only[0], only[1]), cells)


def _apart(a: Any, b: Any) -> float | None:
    """The largest relative difference of two values' numbers; None where they differ in something else."""
    apart = 0.0
    for x, y in zip_longest(_leaves(a), _leaves(b), fillvalue=None):
        if not isinstance(x, np.ndarray) or not isinstance(y, np.ndarray):
            if type(x) is not type(y) or x != y:
                return None
            continue
        if x.shape != y.shape:
            return None
        with np.errstate(all="ignore"):
            relative = np.abs(x - y) / np.maximum(np.abs(x), np.abs(y))
        same = (x == y) | (np.isnan(x) & np.isnan(y))
        relative = np.where(same, 0.0, np.where(np.isnan(relative), np.inf, relative))
        apart = max(apart, float(np.max(relative, initial=0.0)))
    return apart


def _leaves(value: Any) -> Iterator[Any]:
    """The arrays, numbers and names in a value, in order; without what is said of it for a person."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            if name not in SAID:
                yield from _leaves(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _leaves(each)
    else:
        yield value
