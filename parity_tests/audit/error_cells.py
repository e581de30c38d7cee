"""Errors are counted in cells: all that is in one prints the same three digits, so that what is counted in
parts can be reported of the whole.

Note [Cells]
    Cell 0 holds errors below ``FLOOR``, the smallest edge of `record.EDGES`, which count as none: they are
    reported as 0. From there on a cell ends where three digits print differently, at each (k + 1/2) 10**j
    with k from 100 to 999, and at each edge of `record.EDGES`. A percentile is an element of a known rank;
    the cell in which that rank lies has its three digits. The cells go as far as float64 does, and what is
    infinite has the last one.
"""

from __future__ import annotations

from math import inf, nextafter

import numpy as np

from torch_loss_parity.audit.record import EDGES

FLOOR = EDGES[0]
HALF = 0.5
_PER_OCTAVE = 11  # bits: 2048 slots, each narrower than the narrowest cell
_SHIFT = 52 - _PER_OCTAVE
_FIRST, _LAST = (
    int(np.float64(EDGES[0]).view(np.int64) >> _SHIFT),
    int(np.float64(EDGES[-1]).view(np.int64) >> _SHIFT),
)


def _printed() -> tuple[np.ndarray, np.ndarray]:
    """Where the printed digits change, and what is printed from there on."""
    exponents = range(-6, 307)
    middles = [float(f"{k}.5e{j}") for j in exponents for k in range(100, 1000)]
    following = [float(f"{k + 1}e{j}") for j in exponents for k in range(100, 1000)]
    # Python prints a tie with an even digit, and what lies below a middle that float64 cannot hold with the
    # smaller one.
    boundaries = [
        m if float(f"{m:.2e}") == f else nextafter(m, inf) for m, f in zip(middles, following, strict=True)
    ]
    keep = np.searchsorted(boundaries, FLOOR)
    return np.asarray(boundaries[keep:]), np.asarray([FLOOR_PRINTED, *following[keep:]])


FLOOR_PRINTED = float(f"{FLOOR:.3g}")
_CHANGES, _PRINTS = _printed()
# The smallest error of each cell.
LOWER = np.concatenate([[0.0], np.unique(np.concatenate([_CHANGES, EDGES])), [np.inf]])
INFINITE = len(LOWER) - 1
PRINTED = np.concatenate([[0.0], _PRINTS[np.searchsorted(_CHANGES, LOWER[1:-1], side="right")], [np.inf]])
# Of `record.EDGES`, for each cell.
BIN = np.concatenate([[0], np.searchsorted(EDGES, LOWER[1:], side="right")])


def _slots() -> tuple[np.ndarray, np.ndarray]:
    """For each slot the cell at its lower end, and the one boundary inside, or infinity; the first slot is
    for all that is below.
    """
    edges = (np.arange(_FIRST, _LAST + 1, dtype=np.int64) << _SHIFT).view(np.float64)
    cell = np.searchsorted(LOWER, edges, side="right") - 1
    following = LOWER[cell[:-1] + 1]
    inside = np.where(following < edges[1:], following, np.inf)
    assert np.all(LOWER[np.minimum(cell[:-1] + 2, INFINITE)] >= edges[1:])  # one at most
    return np.append([0], cell[:-1]).astype(np.int32), np.append([np.inf], inside)


_CELL, _INSIDE = _slots()


def cells_of(errors: np.ndarray) -> np.ndarray:
    """The cell of each error (float64, not negative, not nan).

    A slot is the exponent and eleven bits of the significand; it holds one boundary at most, so that two
    tables tell the cell.
    """
    slot = errors.view(np.int64) >> _SHIFT
    slot -= _FIRST - 1
    np.maximum(slot, 0, out=slot)
    largest = int(slot.max(initial=0))
    if largest >= len(_CELL):
        beyond = slot >= len(_CELL)
        slot[beyond] = 0
    cells = _CELL[slot]
    cells += errors >= _INSIDE[slot]
    if largest >= len(_CELL):
        cells[beyond] = np.searchsorted(LOWER, errors[beyond], side="right") - 1
    return cells
