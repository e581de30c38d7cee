"""A fault: a wrong implementation of one operator, with what it is modelled on and what is expected to catch it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

KINDS = {
    "DEN": "denominator of the mean",
    "IGN": "ignore_index",
    "SMO": "label smoothing",
    "WGT": "weights and probability targets",
    "UPG": "upstream gradient, or backward formula",
    "STB": "unstable composition",
    "INF": "infinite and nan logits",
    "ACC": "accumulation in low precision",
    "SAT": "clamps and saturated probabilities",
    "OOB": "arguments that are not refused",
    "EMP": "empty, all ignored, uninitialised",
    "SHP": "shapes, broadcasting, dim",
    "LAY": "memory layout",
    "TIL": "tails of blocks",
    "IDX": "index overflow",
    "MUT": "something overwritten",
    "HOD": "second order, forward mode",
    "DTY": "dtypes",
    "CMP": "rewrites by a compiler",
    "REP": "dependence on run, batch or environment",
    "SHD": "sharded vocabulary",
    "ORC": "what fools a loose test",
}


@dataclass(frozen=True)
class Fault:
    """A wrong implementation.

    Attributes
    ----------
    name : str
        The name of its function, with hyphens: ``--subject fault:NAME``.
    operator : str
        What it implements.
    kind : str
        One of `KINDS`.
    thread : str
        The report that it is modelled on: a thread on GitHub, or the study that found a check blind to it.
    catches : tuple of str
        The claims that are expected to fail.
    effort : str
        The least effort that reaches what it gets wrong.
    function : callable
        The implementation.
    """

    name: str
    operator: str
    kind: str
    thread: str
    catches: tuple[str, ...]
    effort: str
    function: Callable[..., Any]

    @property
    def sentence(self) -> str:
        """What it gets wrong."""
        return (self.function.__doc__ or "").strip()

    def __str__(self) -> str:
        return self.name


FAULTS: dict[str, Fault] = {}


def fault(
    operator: str, kind: str, thread: str, *catches: str, effort: str = "quick"
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Record the decorated implementation.

    Raises
    ------
    ValueError
        If the kind is unknown, no check is expected to catch it, there is no docstring, or the name is taken.
    """

    def record(function: Callable[..., Any]) -> Callable[..., Any]:
        made = Fault(function.__name__.replace("_", "-"), operator, kind, thread, catches, effort, function)
        if kind not in KINDS or not catches or not made.sentence or made.name in FAULTS:
            raise ValueError(
                f"the fault {made.name} needs a kind among {', '.join(KINDS)}, what catches it, a docstring and a name of its own"
            )
        FAULTS[made.name] = made
        return function

    return record
