"""What changed from an old audit to a new one, figure by figure.

Note [What is worse]
    Figures are matched by what they measure, `Figure.key`. Their order is that of the growth of the largest
    error, new / old, after those whose standing got worse. Numbers that are exact for every purpose are not
    told apart: below the first bin, 2^-12 ulps, an error counts as 2^-12 ulps, so that a growth from 0 is a
    growth from there, and one from 1e-320 to 1e-310 is none. Infinite to infinite is a ratio of 1. Of a bias
    the size is compared. A number that is nan is worse than any that is not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from torch_loss_parity.audit.record import EDGES, Audit, Figure

STANDINGS = ("pass", "known", "fail")  # each worse than the one before
# Of float64, whose ulps are the smallest; of other fields the first edge.
SMALLEST = {"max_relative": EDGES[0] * 2.0**-53}


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
        if not math.isfinite(new):
            return math.inf
        smallest = SMALLEST.get(field, EDGES[0])
        return max(new, smallest) / max(old, smallest) if math.isfinite(old) else 0.0

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
        return tuple(
            change for change in self.changes if not (change.is_equal or change.is_worse or change.is_better)
        )

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
        return (
            (f"Of {len(self.changes) + len(self.gone) + len(self.added)} figures, {said}.")
            if said
            else "There are no figures to compare."
        )


def compare(old: Audit, new: Audit) -> Comparison:
    """Match the figures of two audits."""
    before, after = ({figure.key: figure for figure in audit.figures} for audit in (old, new))
    changes = [Change(before[key], after[key]) for key in after if key in before]
    return Comparison(
        old=old,
        new=new,
        changes=tuple(
            sorted(
                changes, key=lambda change: (-change.standing, -change.ratio(), change.is_equal, change.key)
            )
        ),
        gone=tuple(before[key] for key in sorted(before) if key not in after),
        added=tuple(after[key] for key in sorted(after) if key not in before),
        settings=tuple(_settings(_described(old), _described(new))),
    )


def _described(audit: Audit) -> dict[str, str]:
    settings = audit.settings.model_dump()
    return {
        name: ", ".join(value) if isinstance(value, tuple) else str(value) for name, value in settings.items()
    } | audit.environment


def _settings(old: Mapping[str, str], new: Mapping[str, str]) -> Iterable[Setting]:
    names = [*old, *(name for name in new if name not in old)]
    return (
        Setting(name, old.get(name, ""), new.get(name, ""))
        for name in names
        if old.get(name, "") != new.get(name, "")
    )
