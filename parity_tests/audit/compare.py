"""Two audits, an old and a new one: what changed, as the terminal shows it, and a gate for those who want
nothing to grow.

Note [The gate]
    A figure trips a gate where it grew by more than is allowed, from what counts as exact if it was below
    (Note [What is worse]); to infinity or nan, by whatever is allowed; never where it was as bad before. A
    figure of the old audit that the new one does not have trips every gate: nobody knows whether it grew.
    Figures that only the new audit has trip none, as there is nothing that they grew from. If there is no
    figure to compare, every gate trips. Bits can be compared only where the inputs are identical: where they
    are not, ``differing`` trips.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import partial

from torch_loss_parity.audit.diff import Change, Comparison, Setting, compare
from torch_loss_parity.judging.wrapping import wrapped
from torch_loss_parity.reports.formatting import ulps

__all__ = [
    "ALLOWED",
    "FIELDS",
    "Change",
    "Comparison",
    "Gate",
    "GateError",
    "Setting",
    "compare",
    "gate",
    "parse_gate",
    "table",
]

FIELDS = ("max_ulp", "p999_ulp", "median_ulp", "mean_signed_ulp", "max_relative", "fraction")
DIFFERING = "differing"
_NUMBER = r"(?P<number>\d+(\.\d*)?(e[+-]?\d+)?|\.\d+(e[+-]?\d+)?)"
_GROWTH = re.compile(rf"(?P<field>\w+)\s*:\s*{_NUMBER}\s*(?P<percent>%?)", re.IGNORECASE)
ALLOWED = (
    f"a gate is FIELD:10% (grew by more than 10 %), FIELD:0.5 (grew by more than 0.5) or {DIFFERING} (any "
    f"bit "
    f"of a result changed), where "
    f"FIELD is {', '.join(FIELDS[:-1])} or {FIELDS[-1]}; several are separated by commas"
)


class GateError(ValueError):
    """An expression that is no gate; the message says what is."""


@dataclass(frozen=True)
class Gate:
    """What may not happen: that ``field`` grows by more than ``growth``, of itself if it is a percentage; or
    that any bit differs.
    """

    field: str
    growth: float = 0.0
    percent: bool = False

    def __str__(self) -> str:
        return self.field if self.field == DIFFERING else f"{self.field}:{self.growth:g}{'%' * self.percent}"

    def trips(self, change: Change) -> str:
        """Why ``change`` is not allowed; empty where it is."""
        if self.field == DIFFERING:
            if not change.same_inputs:
                return "the inputs are not the same, so that bits cannot be compared"
            return "" if change.same_outputs else "bits of the result changed"
        old, new = change.values(self.field)
        if not self._grew(old, new, change.ratio(self.field)):
            return ""
        inputs = "" if change.same_inputs else ", on other inputs"
        return f"{self.field} grew from {old:.4g} to {new:.4g}{inputs}"

    def _grew(self, old: float, new: float, ratio: float) -> bool:
        if ratio <= 1:
            return False
        if not math.isfinite(new):
            return True
        return ratio > 1 + self.growth / 100 if self.percent else new - old > self.growth


def parse_gate(expression: str) -> tuple[Gate, ...]:
    """What an expression such as ``max_ulp:10%,differing`` asks for.

    Raises
    ------
    GateError
        If it asks for something else; the message says what it can.
    """
    return tuple(_parse(part.strip(), expression) for part in expression.split(","))


def _parse(part: str, whole: str) -> Gate:
    if part == DIFFERING:
        return Gate(DIFFERING)
    match = _GROWTH.fullmatch(part)
    if not match:
        raise GateError(f"{whole!r}: {part!r} is no gate: {ALLOWED}")
    if match["field"] not in FIELDS:
        raise GateError(f"{whole!r}: {match['field']!r} is no field: {ALLOWED}")
    growth = float(match["number"])
    if not math.isfinite(growth):
        raise GateError(f"{whole!r}: {match['number']} is not finite: {ALLOWED}")
    return Gate(match["field"], growth, bool(match["percent"]))


def gate(comparison: Comparison, expression: str) -> list[str]:
    """What a gate does not let pass, a line each; see Note [The gate].

    Raises
    ------
    GateError
        If the expression is none.
    """
    gates = parse_gate(expression)
    tripped = [
        f"{one}: {change.key}: {why}"
        for one in gates
        for change in comparison.changes
        if (why := one.trips(change))
    ]
    narrower = ", ".join(
        setting.name
        for setting in comparison.settings
        if setting.name in ("dtypes", "operators", "effort", "seed")
    )
    because = f" (the two were asked for other {narrower})" if narrower else ""
    gone = [f"{expression}: {figure.key}: is not in the new audit{because}" for figure in comparison.gone]
    nothing = [] if comparison.changes or gone else [f"{expression}: there is no figure to compare"]
    return [*tripped, *gone, *nothing]


# --- what the terminal shows --------------------------------------------------------------------------------


def table(comparison: Comparison, shown: int = 20) -> list[str]:
    """What changed, worst first, the numbers of a figure below its name; at most ``shown`` figures, and how
    many more there are.
    """
    lines = wrapped(comparison.sentence)
    for setting in comparison.settings:
        lines += wrapped(f"{setting.name}: {setting.old or '(none)'} -> {setting.new or '(none)'}")
    changed = [change for change in comparison.changes if not change.is_equal]
    if changed:
        header = (
            f"{'old ulp':>12}{'new ulp':>10}{'ratio':>9}{'/allowed':>10}  "
            f"{'standing':<14}{'inputs':<8}{'bits':<8}".rstrip()
        )
        lines += ["", header, "-" * len(header)]
        for change in changed[:shown]:
            lines += [*wrapped(str(change.key)), _numbers(change)]
    if len(changed) > shown:
        lines.append(f"... and {len(changed) - shown} more")
    for name, figures in (("only in the old", comparison.gone), ("only in the new", comparison.added)):
        for figure in figures[:shown]:
            lines += wrapped(f"{name}: {figure.key}")
        if len(figures) > shown:
            lines.append(f"{name}: ... and {len(figures) - shown} more")
    return lines


def _numbers(change: Change) -> str:
    shown = partial(ulps, typeset=False)
    (old, new), stood, stands = (
        change.values("max_ulp"),
        change.old.subject.standing,
        change.new.subject.standing,
    )
    standing = stands if stood == stands else f"{stood} -> {stands}"
    numbers = f"{shown(old):>12}{shown(new):>10}{change.ratio():>9.3g}{change.new.subject.fraction:>10.3g}"
    inputs, bits = "same" if change.same_inputs else "differ", "same" if change.same_outputs else "differ"
    return f"{numbers}  {standing:<14}{inputs:<8}{bits}"
