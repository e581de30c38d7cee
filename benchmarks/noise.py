"""What a run can tell apart, shown by torch against itself.

Torch's cell measures torch against torch, round beside round (A/A). Its interval holds 1, but for one in
twenty by the meaning of an interval, unless something other than noise sets the two apart; how wide it is
says which differences this run tells. In a group whose A/A is beside 1, nothing within its interval is told
either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from torch_loss_parity.benchmarks.interval import CONFIDENCE, Interval
from torch_loss_parity.benchmarks.paths import BASELINE
from torch_loss_parity.benchmarks.result import Group, Result

MILLISECOND = 1e-3


@dataclass(frozen=True)
class Noise:
    """The intervals of A/A."""

    groups: Mapping[Group, Interval]
    long: Mapping[Group, Interval]  # ... of the groups whose calls take a millisecond and more

    def tells_apart(self, result: Result) -> bool:
        """Whether a path is told from torch: no noise as large as that of its rounds makes this
        difference."""
        own, speed = self.groups.get(result.group), result.against_torch
        if result.path == BASELINE or speed.holds(1.0):
            return False
        return own is None or own.holds(1.0) or speed.low > own.high or speed.high < own.low

    @property
    def verdict(self) -> str:
        """What the run can tell, in a sentence."""
        if not self.groups:
            return "A/A: torch was not among the paths, so what the run tells from noise was not tried"
        which, name = (self.long, " of a millisecond and more") if self.long else (self.groups, "")
        held = sum(each.holds(1.0) for each in which.values())
        half, most = np.quantile([each.resolution for each in which.values()], [0.5, 0.9])
        count = f"{held} of {len(which)} groups{name}"
        return (
            f"A/A, torch against itself: {count} hold 1 in their {CONFIDENCE:.0%} "
            f"intervals; half of the groups tell a difference of {half:.1%}, nine in ten one of {most:.1%}"
        )


def noise(results: Iterable[Result]) -> Noise:
    """The noise of a run, from its A/A measurements."""
    own = {result.group: result for result in results if result.path == BASELINE}
    groups = {group: result.against_torch for group, result in own.items()}
    long = {group: groups[group] for group, result in own.items() if result.median >= MILLISECOND}
    return Noise(groups, long)
