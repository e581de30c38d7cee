"""Value distributions: the rows on which implementations differ.

Each takes a generator, a shape and the axis of the rows, and returns float64 numbers; whoever draws rounds them to the dtype
of the case. Names say what is peculiar about a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Distribution = Callable[[np.random.Generator, tuple[int, ...], int], np.ndarray]


def normal(rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> np.ndarray:
    return rng.normal(0, 3, shape)


def wide(rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """Differences up to 160: exp amplifies the rounding of the shift 160 times, and underflows in float32."""
    return rng.uniform(-80, 80, shape)


def nearly_equal(rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> np.ndarray:
    return rng.normal(0, 1e-6, shape)


def ties(rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> np.ndarray:
    return rng.integers(0, 2, shape) * 4.0


def one_dominant(rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """One logit 30 above the rest: its log-probability is a small difference of large numbers."""
    return rng.normal(0, 1, shape) + 30.0 * (_position(shape, axis) == 0)


def stagnating(rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """exp(-17) is below the unit roundoff of float32: once a partial sum holds the 1, nothing is added any more."""
    return np.broadcast_to(np.where(_position(shape, axis) == 0, 0.0, -17.0), shape)


def all_equal(rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """A row sum of exact ones: exact at any length, so one dropped term shows."""
    return np.full(shape, 1.5)


def few_survivors(rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """All but a few at -inf, as under a mask; the first survives, so that no row is empty."""
    survives = (rng.random(shape) < 0.1) | (_position(shape, axis) == 0)
    return np.where(survives, rng.normal(0, 3, shape), -np.inf)


def underflowing(rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """Probabilities around the smallest normal number of float32."""
    return np.where(_position(shape, axis) == 0, 0.0, rng.uniform(-106, -84, shape))


def offset(rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """A common offset of 1000, which a formula that does not shift first would lose or overflow on."""
    return 1000.0 + rng.normal(0, 3, shape)


def integer_losses(rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """One logit of each row is 256, the others 0: losses are integers, so sums over many rows are exact in every order."""
    winner = np.argmax(rng.random(shape), axis=axis, keepdims=True) if shape and 0 not in shape else 0
    return np.broadcast_to(np.where(_position(shape, axis) == winner, 256.0, 0.0), shape)


def signed_integer_losses(rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> np.ndarray:
    return 512.0 * rng.integers(0, 2, shape) - 256.0


def log_probabilities(rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> np.ndarray:
    return -rng.exponential(3.0, shape)


def integers(rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> np.ndarray:
    return -rng.integers(0, 8, shape).astype(float)


def any_sign(rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> np.ndarray:
    return rng.normal(0, 1, shape)


def uniform_probabilities(rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> np.ndarray:
    return rng.random(shape)


def confident_probabilities(rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """Close to 0 and, on the other half, as close to 1 as the format allows."""
    small = 10.0 ** rng.uniform(-12, 0, shape)
    return np.where(rng.random(shape) < 0.5, small, 1.0 - small)


def boundary_probabilities(rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """0, 1/2 and 1: where the logarithms are clamped and where the target's gradient vanishes."""
    return rng.choice([0.0, 0.5, 1.0], shape)


def certain_probabilities(rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """0 and 1 only: every loss is 0 or 100, and sums are exact."""
    return rng.integers(0, 2, shape).astype(float)


LOGITS: Mapping[str, Distribution] = {
    f.__name__: f
    for f in (
        normal,
        wide,
        nearly_equal,
        ties,
        one_dominant,
        stagnating,
        all_equal,
        few_survivors,
        underflowing,
        offset,
        integer_losses,
    )
}
BINARY_LOGITS: Mapping[str, Distribution] = {f.__name__: f for f in (normal, wide, nearly_equal, ties, signed_integer_losses)}
LOG_PROBABILITIES: Mapping[str, Distribution] = {f.__name__: f for f in (log_probabilities, integers, any_sign)}
PROBABILITIES: Mapping[str, Distribution] = {
    f.__name__: f for f in (uniform_probabilities, confident_probabilities, boundary_probabilities, certain_probabilities)
}


def _position(shape: tuple[int, ...], axis: int) -> Any:
    """The index along ``axis``, broadcast to ``shape``."""
    if not shape:
        return np.zeros(())
    along = [1] * len(shape)
    along[axis] = shape[axis]
    return np.arange(shape[axis]).reshape(along)
