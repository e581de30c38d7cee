"""Kinds of claim of which too little was tested to mean anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Shortage:
    """A kind of claim of which too few cases were answered to mean anything: fewer than half of those that
    were asked inside the promise."""

    kind: str
    operator: str
    dtype: str
    cases: int
    declined: int

    def __str__(self) -> str:
        number = f"{self.cases} of {self.cases + self.declined} cases"
        return f"{self.kind} of {self.operator}, {self.dtype}: {number}"


def shortages(
    properties: Iterable[Mapping[str, Any]], excludes: Callable[[str], bool]
) -> tuple[list[Shortage], list[tuple[str, str]]]:
    """The kinds of claim of which too few cases were answered, by operator and dtype; and those that lie
    outside the promise as a whole, by operator.

    Parameters
    ----------
    excludes : callable
        Whether a reason for which a case was declined is that it lies outside the promise.
    """
    counted: dict[tuple[str, str, str], list[int]] = {}
    for reported in properties:
        cell = counted.setdefault((reported["claim"], reported["operator"], reported["dtype"]), [0, 0])
        cell[0] += reported["cases"]
        cell[1] += sum(n for reason, n in reported["declined"].items() if not excludes(reason))
    short = [
        Shortage(*key, cases, declined) for key, (cases, declined) in counted.items() if declined > cases
    ]
    of_operator: dict[tuple[str, str], int] = {}
    for (kind, operator, _), (cases, declined) in counted.items():
        of_operator[kind, operator] = of_operator.get((kind, operator), 0) + cases + declined
    return short, [key for key, number in of_operator.items() if not number]
