"""Two results as log-probabilities: the units of those who match a trainer with a sampler.

A policy is updated by the ratio exp(a - b) of what the trainer and the sampler say of the same token, clipped
to a range around 1. Ratios that rounding alone moves out of it are noise that looks like a signal.

Note [KL divergence]
    Of a row it is sum_j exp(a_j) (a_j - b_j) - exp(a_j) + exp(b_j), never below 0. Where both sum to 1 the
    last two terms cancel; where rounding lets them sum to a little more or less, they take that out: it is
    of first order, the divergence of second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from torch_loss_parity.cases.case import Call
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.operators.facets import Gap

CLIP = (0.8, 1.2)


@dataclass(frozen=True)
class LogProbabilities:
    """How far two results are apart as log-probabilities.

    Attributes
    ----------
    largest, mean : float
        Of the magnitudes of the differences a - b.
    divergence, largest_divergence : float or None
        The KL divergence of b from a, expected under a, in nats: the mean over rows, and that of the worst
        row. None where the results are the log-probabilities of single tokens.
    clip : tuple of float
        The range of ratios exp(a - b) that is asked about.
    within : float
        The share of ratios that lie in it.
    """

    largest: float
    mean: float
    divergence: float | None
    largest_divergence: float | None
    clip: tuple[float, float]
    within: float

    def __str__(self) -> str:
        low, high = self.clip
        lines = [f"  log-probabilities differ by at most {self.largest:.4g}, by {self.mean:.4g} on average"]
        if self.divergence is not None:
            mean, worst = f"{self.divergence:.4g}", f"{self.largest_divergence:.4g}"
            lines.append(f"  KL divergence of b from a, expected under a: {mean} nats a row, at most {worst}")
        lines.append(f"  exp(a - b) lies between {low:g} and {high:g} in {self.within:.4%} of them")
        return "\n".join(lines)


def clip_range(clip: Any) -> tuple[float, float]:
    """A range of ratios.

    Raises
    ------
    ValueError
        If it is none around 1.
    """
    pair = tuple(clip) if isinstance(clip, Sequence) and not isinstance(clip, str) else ()
    if (
        len(pair) != 2
        or not all(isinstance(each, int | float) for each in pair)
        or not pair[0] <= 1 <= pair[1]
    ):
        raise ValueError(f"clip is {clip!r}; it must be two numbers around 1, such as {CLIP}")
    return float(pair[0]), float(pair[1])


def log_probabilities(
    call: Call, a: np.ndarray, b: np.ndarray, clip: tuple[float, float]
) -> LogProbabilities | None:
    """Two results of a call as log-probabilities; None where they are none.

    What they are is in the operator's record.
    """
    facet = OPERATORS[call.operator].log_probabilities
    if isinstance(facet, Gap):
        return None
    first, second = facet(call.arguments, a), facet(call.arguments, b)
    if first is None or second is None:
        return None
    return _apart(first[0], second[0], clip, first[1])


def _apart(
    a: np.ndarray, b: np.ndarray, clip: tuple[float, float], dim: int | None
) -> LogProbabilities | None:
    if not a.size:
        return None
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.where(a == b, 0.0, a - b)  # both may be -inf
        terms = np.where(np.isneginf(a), np.exp(b), np.exp(a) * (np.expm1(-difference) + difference))
        rows = np.atleast_1d(np.sum(np.where(a == b, 0.0, terms), axis=dim)) if dim is not None else None
        ratios = np.exp(difference)
    size = np.abs(difference)
    return LogProbabilities(
        float(np.max(size)),
        float(np.mean(size)),
        None if rows is None else float(np.mean(rows)),
        None if rows is None else float(np.max(rows)),
        clip,
        float(np.mean((ratios >= clip[0]) & (ratios <= clip[1]))),
    )
