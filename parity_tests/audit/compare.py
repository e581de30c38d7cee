"""Two audits, an old and a new one: what changed in each figure, and a gate for those who want none to grow.

Note [What is worse]
    Figures are matched by what they measure, `Figure.key`. Their order is that of the growth of the largest error, new / old, after
    those whose standing got worse. Where the old figure is 0 and the new one is not, the ratio is infinite; 0 to 0 and infinite to
    infinite is a ratio of 1. Of a bias the size is compared. A number that is nan is worse than any that is not.

Note [The gate]
    A figure trips a gate where it grew by more than is allowed: from 0, by any percentage; to infinity or nan, by whatever is
    allowed; never where it was as bad before. A figure of the old audit that the new one does not have trips every gate: nobody knows
    whether it grew. Figures that only the new audit has trip none, as there is nothing that they grew from. If there is no figure to
    compare, every gate trips. Bits can be compared only where the inputs are identical: where they are not, ``differing`` trips.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from parity_tests.audit.record import Audit, Figure

FIELDS = ("max_ulp", "p999_ulp", "median_ulp", "mean_signed_ulp", "max_relative", "fraction")
DIFFERING = "differing"
STANDINGS = ("pass", "known", "fail")  # each worse than the one before


class GateError(ValueError):
    """An expression that is no gate; the message says what is."""


@dataclass(frozen=True)
class Change:
    """One figure in both audits."""

    old: Figure
    new: Figure

    @property
    def key(self) -> str:
        return self.new.key

    @property
    def same_inputs(self) -> bool:
        return self.old.inputs == self.new.inputs

    @property
    def same_outputs(self) -> bool:
        """Whether no bit of the result changed."""
        return self.old.subject.outputs == self.new.subject.outputs

    @property
    def standing(self) -> int:
        """How many steps worse the standing is; negative where it is better."""
        return STANDINGS.index(self.new.subject.standing) - STANDINGS.index(self.old.subject.standing)

    def values(self, field: str) -> tuple[float, float]:
        """The old and the new number; of a bias, its size."""
        return abs(getattr(self.old.subject, field)), abs(getattr(self.new.subject, field))

    def ratio(self, field: str = "max_ulp") -> float:
        """New / old; see Note [What is worse]."""
        old, new = self.values(field)
        if old == new or (math.isnan(old) and math.isnan(new)):
            return 1.0
        if math.isnan(new) or math.isinf(new) or old == 0:
            return math.inf
        return 0.0 if math.isnan(old) else new / old

    @property
    def is_equal(self) -> bool:
        """Whether nothing about the subject changed."""
        return self.old.subject == self.new.subject and self.same_inputs

    @property
    def is_worse(self) -> bool:
        return self.standing > 0 or (self.standing == 0 and self.ratio() > 1)

    @property
    def is_better(self) -> bool:
        return self.standing < 0 or (self.standing == 0 and self.ratio() < 1)


@dataclass(frozen=True)
class Setting:
    """Something that the two audits were run with, and that is not the same; "" where one has none of it."""

    name: str
    old: str
    new: str


@dataclass(frozen=True)
class Comparison:
    """What changed from one audit to another.

    Attributes
    ----------
    old, new : Audit
    changes : tuple of Change
        The figures of both, worst first; see Note [What is worse].
    gone, added : tuple of Figure
        The figures that only the old, and only the new audit has.
    settings : tuple of Setting
        Differences in what was asked for and in the environment.
    """

    old: Audit
    new: Audit
    changes: tuple[Change, ...]
    gone: tuple[Figure, ...]
    added: tuple[Figure, ...]
    settings: tuple[Setting, ...]

    @cached_property
    def worse(self) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.is_worse)

    @cached_property
    def better(self) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.is_better)

    @cached_property
    def otherwise(self) -> tuple[Change, ...]:
        """Those whose largest error is as it was, and something else is not."""
        return tuple(change for change in self.changes if not (change.is_equal or change.is_worse or change.is_better))

    @cached_property
    def equal(self) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.is_equal)

    @property
    def sentence(self) -> str:
        counted = (
            (len(self.worse), "got worse"),
            (len(self.better), "got better"),
            (len(self.otherwise), "changed otherwise"),
            (len(self.equal), "are unchanged"),
            (len(self.gone), "are gone"),
            (len(self.added), "are new"),
        )
        said = ", ".join(f"{number} {what}" for number, what in counted if number)
        return f"Of {len(self.changes) + len(self.gone) + len(self.added)} figures, {said}." if said else "There are no figures to compare."


def compare(old: Audit, new: Audit) -> Comparison:
    """Match the figures of two audits."""
    before, after = ({figure.key: figure for figure in audit.figures} for audit in (old, new))
    changes = [Change(before[key], after[key]) for key in after if key in before]
    return Comparison(
        old=old,
        new=new,
        changes=tuple(sorted(changes, key=lambda change: (-change.standing, -change.ratio(), change.is_equal, change.key))),
        gone=tuple(before[key] for key in sorted(before) if key not in after),
        added=tuple(after[key] for key in sorted(after) if key not in before),
        settings=tuple(_settings(_described(old), _described(new))),
    )


def _described(audit: Audit) -> dict[str, str]:
    asked = audit.settings.model_dump()
    return {name: ", ".join(value) if isinstance(value, tuple) else str(value) for name, value in asked.items()} | audit.environment


def _settings(old: Mapping[str, str], new: Mapping[str, str]) -> Iterable[Setting]:
    names = [*old, *(name for name in new if name not in old)]
    return (Setting(name, old.get(name, ""), new.get(name, "")) for name in names if old.get(name, "") != new.get(name, ""))


# --- the gate ------------------------------------------------------------------------------------------------------------

_NUMBER = r"(?P<number>\d+(\.\d*)?(e[+-]?\d+)?|\.\d+(e[+-]?\d+)?)"
_GROWTH = re.compile(rf"(?P<field>\w+)\s*:\s*{_NUMBER}\s*(?P<percent>%?)", re.IGNORECASE)
ALLOWED = (
    f"a gate is FIELD:10% (grew by more than 10 %), FIELD:0.5 (grew by more than 0.5) or {DIFFERING} (any bit of a result changed), where "
    f"FIELD is {', '.join(FIELDS[:-1])} or {FIELDS[-1]}; several are separated by commas"
)


@dataclass(frozen=True)
class Gate:
    """What may not happen: that ``field`` grows by more than ``growth``, of itself if it is a percentage; or that any bit differs."""

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
        return new > old * (1 + self.growth / 100) if self.percent else new - old > self.growth


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
    found = _GROWTH.fullmatch(part)
    if not found:
        raise GateError(f"{whole!r}: {part!r} is no gate: {ALLOWED}")
    if found["field"] not in FIELDS:
        raise GateError(f"{whole!r}: {found['field']!r} is no field: {ALLOWED}")
    growth = float(found["number"])
    if not math.isfinite(growth):
        raise GateError(f"{whole!r}: {found['number']} is not finite: {ALLOWED}")
    return Gate(found["field"], growth, bool(found["percent"]))


def gate(comparison: Comparison, expression: str) -> list[str]:
    """What a gate does not let pass, a line each; see Note [The gate].

    Raises
    ------
    GateError
        If the expression is none.
    """
    gates = parse_gate(expression)
    tripped = [f"{one}: {change.key}: {why}" for one in gates for change in comparison.changes if (why := one.trips(change))]
    narrower = ", ".join(setting.name for setting in comparison.settings if setting.name in ("dtypes", "operators", "effort", "seed"))
    because = f" (the two were asked for other {narrower})" if narrower else ""
    gone = [f"{expression}: {figure.key}: is not in the new audit{because}" for figure in comparison.gone]
    nothing = [] if comparison.changes or gone else [f"{expression}: there is no figure to compare"]
    return [*tripped, *gone, *nothing]


# --- what the terminal shows ---------------------------------------------------------------------------------------------


def table(comparison: Comparison, shown: int = 20) -> list[str]:
    """What changed, worst first; at most ``shown`` figures, and how many more there are."""
    lines = [comparison.sentence]
    lines += [f"{setting.name}: {setting.old or '(none)'} -> {setting.new or '(none)'}" for setting in comparison.settings]
    changed = [change for change in comparison.changes if not change.is_equal]
    if changed:
        header = f"{'old ulp':>10}{'new ulp':>10}{'ratio':>9}{'/allowed':>10}  {'standing':<14}{'inputs':<8}{'bits':<8}figure"
        lines += ["", header, "-" * len(header), *map(_row, changed[:shown])]
    if len(changed) > shown:
        lines.append(f"... and {len(changed) - shown} more")
    for name, figures in (("only in the old", comparison.gone), ("only in the new", comparison.added)):
        lines += [f"{name}: {figure.key}" for figure in figures[:shown]]
        if len(figures) > shown:
            lines.append(f"{name}: ... and {len(figures) - shown} more")
    return lines


def _row(change: Change) -> str:
    (old, new), stood, stands = change.values("max_ulp"), change.old.subject.standing, change.new.subject.standing
    standing = stands if stood == stands else f"{stood} -> {stands}"
    numbers = f"{old:>10.4g}{new:>10.4g}{change.ratio():>9.3g}{change.new.subject.fraction:>10.3g}"
    inputs, bits = "same" if change.same_inputs else "differ", "same" if change.same_outputs else "differ"
    return f"{numbers}  {standing:<14}{inputs:<8}{bits:<8}{change.key}"
