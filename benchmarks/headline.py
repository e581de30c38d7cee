"""A run read out in sentences: which path is nearest the limit, and what torch's fused operator leaves on the
table.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import geometric_mean

from torch_loss_parity.benchmarks.noise import Noise, noise
from torch_loss_parity.benchmarks.paths import BASELINE
from torch_loss_parity.benchmarks.result import Result
from torch_loss_parity.benchmarks.summary import times
from torch_loss_parity.benchmarks.workload import TRAINING, is_plain
from torch_loss_parity.reports.formatting import figure


def telling(results: Sequence[Result]) -> list[Result]:
    """The training steps of the plain operators on one shape and dtype: the largest shape that torch has most
    of them at.
    """
    steps = [r for r in results if r.mode == TRAINING and is_plain(r.work) and r.dtype == "float32"]
    counted: dict[str, int] = {}
    for result in steps:
        if result.path == BASELINE:
            counted[result.shape] = counted.get(result.shape, 0) + 1
    if not counted:
        return []
    sizes = {result.shape: result.bytes for result in steps}
    shape = max(counted, key=lambda name: (counted[name], sizes[name]))
    return [result for result in steps if result.shape == shape]


def sentences(results: Sequence[Result]) -> list[str]:
    """Two sentences, or none where torch was not measured."""
    steps = telling(results)
    own = [result for result in steps if result.path == BASELINE]
    if not own:
        return []
    nearest = min(steps, key=lambda result: result.times_floor)
    typical = geometric_mean([result.times_floor for result in own])
    farthest = max(own, key=lambda result: result.times_floor)
    where = f"Forward and backward at {own[0].shape} in {own[0].dtype}"
    sentences = [
        f"{where}: nearest the limit is {nearest.path} in {nearest.work}, at {times(nearest)} times the "
        f"floor."
    ]
    apart = noise(results)
    gains = [_gain(result, steps, apart) for result in own]
    better = max((gain for gain in gains if gain), key=lambda gain: gain[1], default=None)
    left = (
        f"The fused operators of torch take {figure(typical)} times the floor (geometric mean of "
        f"{len(own)}), "
        f"at most "
        f"{figure(farthest.times_floor)} times ({farthest.work})"
    )
    if better:
        left += (
            f"; in {better[2]} they leave a factor of {figure(better[1])} on the table, which "
            f"{better[0]} "
            f"takes"
        )
    return [*sentences, left + "."]


def _gain(own: Result, steps: Sequence[Result], apart: Noise) -> tuple[str, float, str] | None:
    """The fastest other path of a group, its speed against torch, and the work; None where torch is as fast,
    or noise hides it.
    """
    others = [result for result in steps if result.group == own.group and result.path != BASELINE]
    fastest = max(others, key=lambda result: result.speed, default=None)
    if fastest is None or fastest.speed <= 1 or not apart.tells_apart(fastest):
        return None
    return fastest.path, fastest.speed, own.work
