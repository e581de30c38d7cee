"""The worst error / allowed of a result on a range of float32 inputs.

Note [Worst error / allowed]
    The bound is smooth: over 2**15 neighbouring numbers error / |true| is allowed to change by little. It is
    evaluated at ``SAMPLES`` elements of each block, among them the worst; by their smallest bound and their
    spread the other elements are ranked, and evaluated themselves as long as they may exceed the worst that
    was found. Where the bound is broken, what the ledger's entry allows is sampled in the same way, and
    evaluated for every element of a block that may exceed it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from torch_loss_parity.audit.float32_result import SweepResult
from torch_loss_parity.audit.float32_tally import Tally
from torch_loss_parity.judging.explanations import Explanation
from torch_loss_parity.judging.judge import Finding

SAMPLES = 12
MARGIN = 1.02  # beyond the spread of the samples
RESOLUTION = 1.05  # of a fraction, as of the verdict's
AT_ONCE = 2**11  # inputs that are judged together


def worst_fraction(result: SweepResult, tally: Tally) -> Finding:
    """The worst error / allowed; see the note. The finding passes, or is known, where all elements are."""
    inputs, size = len(tally.observed), tally.block
    blocks = np.arange(0, inputs, size)
    rng = np.random.default_rng(result.first)
    drawn = (
        blocks[:, None] + rng.integers(0, np.minimum(size, inputs - blocks)[:, None], (len(blocks), SAMPLES))
    ).reshape(-1)
    sampled = np.unique(np.concatenate([drawn, tally.worst]))
    worst = result.finding(sampled, tally.observed)
    least, spread = _least_allowed(result, tally, sampled)
    with np.errstate(all="ignore"):
        smallest = least / (MARGIN * spread)
        of_blocks = np.asarray(
            [
                (tally.relative[at : at + size].max(axis=0) / s).max()
                for at, s in zip(blocks, smallest, strict=True)
            ]
        )
    may, ranks = [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
    for block in np.flatnonzero(of_blocks > _enough(worst)):
        with np.errstate(all="ignore"):
            rank = (tally.relative[blocks[block] : blocks[block] + size] / smallest[block]).max(axis=1)
        at = np.flatnonzero(rank > _enough(worst))
        may.append(blocks[block] + at)
        ranks.append(rank[at])
    left, rank = np.concatenate(may), np.concatenate(ranks)
    order = np.argsort(-rank, kind="stable")
    left, rank = left[order], rank[order]
    # Largest first, until no other can be worse. A fraction is judged by whole rows, whose shared error can
    # only make it larger.
    while len(left) and rank[0] > _enough(worst):
        candidate = result.finding(left[:AT_ONCE], tally.observed)
        worst = max(
            worst, candidate, key=lambda finding: (not finding.verdict.passes, finding.strict.fraction)
        )
        left, rank = left[AT_ONCE:], rank[AT_ONCE:]
    if worst.strict.fraction <= 1 or not worst.verdict.passes:
        return worst
    return _known(result, tally, sampled, smallest, worst)


def _enough(worst: Finding) -> float:
    """What another fraction may be without being looked at: as in the verdict, five per cent more, but that
    it is at most 1 is certain.
    """
    fraction = worst.strict.fraction
    return fraction * RESOLUTION if fraction > 1 else min(fraction * RESOLUTION, 1.0)


def _least_allowed(
    result: SweepResult, tally: Tally, sampled: np.ndarray, by: Explanation | None = None
) -> tuple[Any, Any]:
    """For each block and element of an input the smallest allowed error / |value|, or the smallest allowed
    error for an explanation, among the samples; and how many times larger the largest is."""
    allowed, value = result.allowed(sampled, by)
    with np.errstate(all="ignore"):
        ratio = allowed if by else (allowed / np.abs(value)).astype(np.float64)
    # What has no error to speak of, or none that can be said, ranks nothing.
    usable = np.isfinite(ratio) & (ratio > 0)
    least = np.full((len(tally.largest_absolute), ratio.shape[1]), np.inf)
    most = np.zeros_like(least)
    np.minimum.at(least, sampled // tally.block, np.where(usable, ratio, np.inf))
    np.maximum.at(most, sampled // tally.block, np.where(usable, ratio, 0.0))
    return least, np.where(most > 0, most / least, 1.0)


def _known(
    result: SweepResult, tally: Tally, sampled: np.ndarray, smallest: np.ndarray, worst: Finding
) -> Finding:
    """Whether what explains the worst explains every broken bound."""
    least, spread = _least_allowed(result, tally, sampled, worst.explanation)
    with np.errstate(all="ignore"):
        room = (least / (MARGIN * spread)).min(axis=1)
        doubtful = np.asarray(tally.largest_absolute) > room
    for block in np.flatnonzero(doubtful):
        broken = (tally.relative[block * tally.block : (block + 1) * tally.block] > smallest[block]).any(
            axis=1
        )
        at = block * tally.block + np.flatnonzero(broken)
        if len(at):
            candidate = result.finding(at, tally.observed)
            if not candidate.verdict.passes:
                return candidate
    return worst
