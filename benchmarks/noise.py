"""What a run can tell apart: a path against itself.

Torch's cell measures torch against torch, round beside round (A/A). How far that quotient is from 1 is what a difference must exceed to
be shown as one. A single A/A may be close to 1 by luck, so no group is taken to be quieter than half of the groups are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import exp, log, log1p
from statistics import median

from benchmarks.paths import BASELINE
from benchmarks.result import TOO_NOISY, Result

MILLISECOND = 1e-3
Group = tuple[str, str, str, str]
SAME, UNKNOWN = "same", "too noisy"


@dataclass(frozen=True)
class Noise:
    """How far A/A was from 1, as a factor - 1, in each group, and in half of the groups at least."""

    groups: Mapping[Group, float]
    long: Mapping[Group, float]  # ... of those whose calls take a millisecond and more

    @property
    def usual(self) -> float:
        return median(self.groups.values()) if self.groups else 0.0

    def of(self, group: Group) -> float:
        """What a difference in this group must exceed."""
        return max(self.groups.get(group, 0.0), self.usual)

    def speed(self, result: Result) -> str:
        """A path's speed against torch: a factor, or that there is no difference, or that none can be told."""
        if result.path == BASELINE:
            return "1"
        noise = self.of(result.group)
        if abs(log(result.speed)) > log1p(noise):
            return f"{result.speed:.3g}"
        return SAME if noise <= TOO_NOISY else UNKNOWN

    @property
    def verdict(self) -> str:
        """What the run can tell, in a sentence."""
        if not self.groups:
            return "A/A: torch was not among the paths, so what is noise is not known"
        if not self.long:
            return f"A/A: half of the {len(self.groups)} groups within {self.usual:.1%}; none takes a millisecond or more"
        middle, worst = median(self.long.values()), max(self.long.values())
        noisy = sum(each > TOO_NOISY for each in self.long.values())
        said = f"A/A of the {len(self.long)} groups of a millisecond and more: half within {middle:.1%}, the worst {worst:.1%}"
        if middle > TOO_NOISY:
            return f"{said}. This run was too noisy to tell: a path differs from itself by more than {TOO_NOISY:.0%}"
        return f"{said}; {noisy} of them above {TOO_NOISY:.0%}, too noisy to tell" if noisy else said


def noise(results: Iterable[Result]) -> Noise:
    """The noise of a run, from its A/A measurements."""
    own = [result for result in results if result.path == BASELINE]
    apart = {result.group: exp(abs(log(result.speed))) - 1 for result in own}
    return Noise(apart, {result.group: apart[result.group] for result in own if result.median >= MILLISECOND})
