"""What an element that no ball has seen rests on, and how that is tried.

Note [Two witnesses]
    An enclosure comes from an evaluation with a running bound on its error. That bound rests on the rules of
    the rounding arithmetic, and on exp, log and log1p of this machine being as accurate as they are taken to
    be. A wrong one is noticed for certain only where balls look. So no enclosure is taken on its word:

    - All is evaluated twice, in float64 and in double-double, whose functions are other code. Where the two
      enclosures have no number in common, one is wrong, and the run ends, whichever element it is.
    - Two that agree are worth no more than the wider of them. Where they leave room for more than `FLOOR`
      ulps, which is what counts as an error at all, the element goes to balls. These are nearly all elements
      of float64, and what is next to nothing in other dtypes. So a figure is wrong by more than that only if
      both evaluations are wrong in the same element, by the same amount.
    - What both may have in common are the rules. Every element of a result with at most `FEW` goes to balls.
      Of a larger one go `SAMPLE`, drawn at random with a seed that follows from the arguments, as these do
      from that of the run: neither the machine nor what a subject returns chooses them. If a share f of the
      elements were outside, this would be missed with a probability of (1 - f)**SAMPLE: one in five is
      missed once in a million times.

    All 2**32 inputs of float32 are the exception (`torch_loss_parity.audit.float32_sweep`): they have one
    enclosure, a closed form whose bound is derived by hand, and the sample, of each part of the sweep.
"""

from __future__ import annotations

import numpy as np

from torch_loss_parity.audit.certify import Truth
from torch_loss_parity.audit.error_cells import FLOOR
from torch_loss_parity.audit.intervals import spacing

FEW = 2**12  # elements
SAMPLE = 64
CERTAIN = 20  # bits: a probability of one in a million


def compare_evaluations(truth: Truth) -> None:
    """Compare both evaluations of every element.

    Raises
    ------
    AssertionError
        If the two evaluations of an element exclude each other.
    """
    apart = exclusive(truth)
    if apart.any():
        which = f"the two evaluations of element {np.argmax(apart)}"
        raise AssertionError(f"{which} exclude each other: one is outside its own bound")


def in_doubt(truth: Truth, indices: np.ndarray) -> tuple[np.ndarray, int]:
    """Which of chosen elements, finite ones, balls are to see whatever their enclosure says, and how many
    were drawn for that."""
    if len(indices) <= FEW or truth.second is None:
        return np.ones(len(indices), dtype=bool), 0
    doubtful = ~_witnessed(truth)[indices]
    doubtful[sampled_elements(truth.key, len(indices))] = True
    return doubtful, SAMPLE


def exclusive(truth: Truth) -> np.ndarray:
    """Where the two evaluations have no number in common, or not the same kind (finite, infinite, nan)."""
    value = truth.value.reshape(-1)
    if truth.second is None:
        return np.zeros(value.shape, dtype=bool)
    other = truth.second.value.reshape(-1)
    room = truth.error.reshape(-1) + truth.second.error.reshape(-1)
    with np.errstate(all="ignore"):
        alike = (np.abs(value - other) <= room) | (value == other)
    return ~(alike | (np.isnan(value) & np.isnan(other)))


def _witnessed(truth: Truth) -> np.ndarray:
    """Where an evaluation that agrees with the second is within `FLOOR` ulps if either of them is right."""
    assert truth.second is not None
    # If the second is right, the first is off by at most its own bound and twice that of the second.
    room = truth.error.reshape(-1) + 2 * truth.second.error.reshape(-1)
    smallest = np.abs(truth.value.reshape(-1)).astype(np.float64) - room
    return room <= FLOOR * spacing(truth.format, smallest)


def sampled_elements(key: int, among: int) -> np.ndarray:
    """The elements of the sample, each drawn from all of them: one may be there twice."""
    return np.random.Generator(np.random.Philox(key)).integers(0, among, SAMPLE)


def noticed_share(draws: int) -> float:
    """The smallest share of elements outside their enclosures that so many draws miss with a probability of
    at most ``2**-CERTAIN``."""
    return 1 - 2.0 ** (-CERTAIN / draws) if draws else 1.0
