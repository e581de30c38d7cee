"""Value distributions: the rows on which implementations differ.

Each takes a generator, a shape, the axis of the rows and the format of the numbers, and returns float64
numbers; whoever draws rounds them to the format, and takes its largest number for finite ones beyond it.
Names say what is peculiar about a row.

What is named in `LOGITS` and its like is met by every random claim. The extremes are for the claim about the
domain: not every claim decides something there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.random import Generator

from torch_loss_parity.reference.arithmetic.formats import Format

FAR_BELOW = -(2.0**15)  # what every format has
Shape = tuple[int, ...]
Distribution = Callable[[Generator, Shape, int, Format], np.ndarray]


def normal(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    return rng.normal(0, 3, shape)


def wide(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """Differences up to 160: exp amplifies the rounding of the shift 160 times, and underflows in float32."""
    return rng.uniform(-80, 80, shape)


def nearly_equal(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    return rng.normal(0, 1e-6, shape)


def ties(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    return rng.integers(0, 2, shape) * 4.0


def one_dominant(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """One logit 30 above the rest: its log-probability is a small difference of large numbers."""
    return rng.normal(0, 1, shape) + 30.0 * (_position(shape, axis) == 0)


def stagnating(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """exp(-17) is below the unit roundoff of float32: once a partial sum holds the 1, nothing is added any
    more.
    """
    return np.broadcast_to(np.where(_position(shape, axis) == 0, 0.0, -17.0), shape)


def all_equal(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """A row sum of exact ones: exact at any length, so one dropped term shows."""
    return np.full(shape, 1.5)


def few_survivors(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """All but a few at -inf, as under a mask; the first survives, so that no row is empty."""
    survives = (rng.random(shape) < 0.1) | (_position(shape, axis) == 0)
    return np.where(survives, rng.normal(0, 3, shape), -np.inf)


def underflowing(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """Probabilities around the smallest normal number of float32."""
    return np.where(_position(shape, axis) == 0, 0.0, rng.uniform(-106, -84, shape))


def offset(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """A common offset of 1000, which a formula that does not shift first would lose or overflow on; of every
    second row it is -1000, where the largest number of a neighbour is of no use.
    """
    others = sum(index for i, index in enumerate(np.indices(shape)) if i != axis % len(shape)) if shape else 0
    return np.where(np.asarray(others) % 2, -1000.0, 1000.0) + rng.normal(0, 3, shape)


def integer_losses(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """One logit of each row is 256, the others 0: losses are integers, so sums over many rows are exact in
    every order.
    """
    winner = np.argmax(rng.random(shape), axis=axis, keepdims=True) if shape and 0 not in shape else 0
    return np.broadcast_to(np.where(_position(shape, axis) == winner, 256.0, 0.0), shape)


def signed_integer_losses(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    return 512.0 * rng.integers(0, 2, shape) - 256.0


def log_probabilities(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    return -rng.exponential(3.0, shape)


def integers(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    return -rng.integers(0, 8, shape).astype(float)


def any_sign(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    return rng.normal(0, 1, shape)


def uniform_probabilities(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    return rng.random(shape)


def confident_probabilities(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """Close to 0 and, on the other half, as close to 1 as the format allows."""
    small = 10.0 ** rng.uniform(-12, 0, shape)
    return np.where(rng.random(shape) < 0.5, small, 1.0 - small)


def boundary_probabilities(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """0, 1/2 and 1: where the logarithms are clamped and where the target's gradient vanishes."""
    return rng.choice([0.0, 0.5, 1.0], shape)


def certain_probabilities(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """0 and 1 only: every loss is 0 or 100, and sums are exact."""
    return rng.integers(0, 2, shape).astype(float)


# --- extremes -----------------------------------------------------------------------------------------------


def scaled(scale: float) -> Distribution:
    return lambda rng, shape, axis, format: rng.normal(0, scale, shape)


def shifted(offset: float) -> Distribution:
    """Ordinary differences on top of an offset, as far as the format holds both."""
    return lambda rng, shape, axis, format: offset + rng.normal(0, 3, shape)


def constant(*values: float) -> Distribution:
    return lambda rng, shape, axis, format: rng.choice(np.asarray(values), shape)


def among_ordinary(special: float, share: float = 0.1) -> Distribution:
    """Ordinary numbers with a few special ones; most rows have none."""
    return lambda rng, shape, axis, format: np.where(
        rng.random(shape) < share, special, rng.normal(0, 3, shape)
    )


def largest(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """The largest number of the format, of one sign or the other, and zeros: no difference of two
    overflows.
    """
    return rng.choice([-1.0, 1.0]) * rng.choice([0.0, format.largest], shape)


def largest_and_ordinary(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    return np.where(rng.random(shape) < 0.3, -format.largest, rng.normal(0, 3, shape))


def below_largest(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """Up to a 64th of the largest number, of both signs: neither differences nor sums over a small batch
    overflow.
    """
    return rng.uniform(-1, 1, shape) * format.largest / 64


def equal_rows(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """Every row is the same: whatever tells them apart is wrong."""
    rows = [n if i == axis % len(shape) else 1 for i, n in enumerate(shape)]
    return np.broadcast_to(rng.normal(0, 3, rows), shape)


def last_dominant(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """The last logit is 30 above the rest: whoever drops a remainder drops the row."""
    return rng.normal(0, 1, shape) + 30.0 * _is_last(shape, axis)


def last_survives(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """All but the last at -inf: the probability is exactly 1."""
    return np.where(_is_last(shape, axis), rng.normal(0, 3, shape), -np.inf)


def masked_rows(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """Half of the rows are all -inf: they are nan, and no other row is."""
    rows = [1 if i == axis % len(shape) else n for i, n in enumerate(shape)]
    masked = (np.arange(int(np.prod(rows))) % 2 == 0).reshape(rows)
    return np.where(masked, -np.inf, rng.normal(0, 3, shape))


def all_masked(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    return np.full(shape, -np.inf)


def subnormal(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """Below the smallest normal number, of both signs."""
    return rng.choice([-1.0, 1.0], shape) * _steps(rng, shape, format) * format.smallest_subnormal


def signed_zeros(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    return rng.choice([-0.0, 0.0], shape)


def large_losses(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """Log-probabilities whose sums stay below the largest number, but not far."""
    return -rng.uniform(0.5, 1, shape) * format.largest / 64


def subnormal_probabilities(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """Half of them below the smallest normal number: a logarithm that flushes them is off by up to 36 in
    float64.
    """
    return np.where(
        rng.random(shape) < 0.5, _steps(rng, shape, format) * format.smallest_subnormal, rng.random(shape)
    )


def nearly_certain_probabilities(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """1 less a few ulp."""
    return 1.0 - rng.integers(0, 4, shape) * format.unit_roundoff


def extreme_probabilities(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """Each end of [0, 1] and its neighbour: 0, the smallest number, 1 less an ulp, 1; and zero
    with a sign.
    """
    return rng.choice(
        [0.0, -0.0, format.smallest_subnormal, format.smallest_normal, 1.0 - format.unit_roundoff, 1.0], shape
    )


def equal_probabilities(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    return np.broadcast_to(rng.random(shape[-1:]), shape)


def equal_but_one(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """Equal numbers but in the first place of a row: the same there, 1000 below, or 1000 above.

    Sums are of exact ones, and zeros, at any length. Of the numbers of the first row, zeros, that is so in
    every form of an operator, also where numbers are scaled or not shifted first: a term that is dropped
    shows. Those of the second are -32768: a lane beside the row that is filled with 0, or with -10000 for
    -inf, shows.
    """
    return _of_rows(shape, (0.0, FAR_BELOW)) + _in_first_place(rng, shape, (0.0, -1000.0, 1000.0))


def masked_but_ends(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """-inf everywhere but in the first place of a row, or in the first and the last: whole blocks are masked,
    before the first number, between two, and after the last. Numbers are equal, so sums are exact; those of
    every second row are -32768, and far above what was masked all the same.
    """
    along = int(np.argmax(shape)) if shape else 0
    ends = _of_rows(shape, tuple(np.roll((True, False, True), -rng.integers(2)).tolist()))
    place = _position(shape, along)
    left = (place == 0) | (_is_last(shape, along) & ends)
    return np.where(left, _of_rows(shape, (0.0, FAR_BELOW)), -np.inf)


def costless_but_one(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """-1000 everywhere but in the first place of a row: a confident negative whose loss is exactly 0."""
    return -1000.0 + _in_first_place(rng, shape, (0.0, -256.0, 256.0))


def zero_but_one(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """0 everywhere but in the first place of a row."""
    return _in_first_place(rng, shape, (0.25, 0.5, 0.75))


def _in_first_place(rng: Generator, shape: Shape, numbers: tuple[float, ...]) -> np.ndarray:
    """One of the numbers in the first place along the longest dimension: rows take them in turn."""
    numbers = tuple(np.roll(numbers, -rng.integers(2)).tolist())  # a single row has one of the first two
    if not shape:
        return np.full(shape, numbers[0])
    return np.where(_position(shape, int(np.argmax(shape))) == 0, _of_rows(shape, numbers), 0.0)


def _of_rows(shape: Shape, numbers: tuple[float, ...]) -> np.ndarray:
    """One of the numbers for each row along the longest dimension, in turn."""
    along = int(np.argmax(shape)) if shape else 0
    return np.resize(np.asarray(numbers), [n if i != along else 1 for i, n in enumerate(shape)])


def simplex(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    raw = rng.exponential(1.0, shape)
    return np.asarray(raw / np.sum(raw, axis=axis, keepdims=True))


def one_hot(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    raw = rng.random(shape)
    return np.where(raw == np.max(raw, axis=axis, keepdims=True, initial=0.0), 1.0, 0.0)


def part_zero(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """Half of the classes have no share: they count for nothing, unless their logarithm is infinite."""
    return np.where(rng.random(shape) < 0.5, 0.0, rng.random(shape))


def unnormalised(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """torch accepts any real numbers as class probabilities."""
    return rng.normal(0, 1, shape)


def positive(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    return rng.uniform(0.25, 2.0, shape)


def some_zero(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    return np.where(rng.random(shape) < 0.3, 0.0, rng.uniform(0.25, 2.0, shape))


def negative(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    return -rng.uniform(0.25, 2.0, shape)


def either_sign(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    return rng.choice([-1.0, 1.0], shape) * rng.uniform(0.25, 2.0, shape)


def tiny(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    return rng.uniform(0.25, 2.0, shape) * format.smallest_normal**0.5  # their sum is below an epsilon


def _steps(rng: Generator, shape: Shape, format: Format) -> np.ndarray:
    """Counts of the smallest subnormal number that stay subnormal: of every length, as many of each."""
    return np.floor(2.0 ** rng.uniform(0, format.precision - 1, shape))


def _is_last(shape: Shape, axis: int) -> np.ndarray:
    return np.asarray(_position(shape, axis) == (shape[axis] - 1 if shape else 0))


def _position(shape: Shape, axis: int) -> np.ndarray:
    """The index along ``axis``, broadcast to ``shape``."""
    if not shape:
        return np.zeros(())
    along = [1] * len(shape)
    along[axis] = shape[axis]
    return np.arange(shape[axis]).reshape(along)


def _named(*functions: Distribution) -> dict[str, Distribution]:
    return {getattr(f, "__name__", ""): f for f in functions}


LOGITS: Mapping[str, Distribution] = _named(
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
BINARY_LOGITS: Mapping[str, Distribution] = _named(normal, wide, nearly_equal, ties, signed_integer_losses)
LOG_PROBABILITIES: Mapping[str, Distribution] = _named(log_probabilities, integers, any_sign)
PROBABILITIES: Mapping[str, Distribution] = _named(
    uniform_probabilities, confident_probabilities, boundary_probabilities, certain_probabilities
)
WEIGHTS: Mapping[str, Distribution] = {"positive": positive, "some zero": some_zero}

_ANY_NUMBER: Mapping[str, Distribution] = {
    **{f"normal_times_{scale:g}": scaled(scale) for scale in (1e-6, 1e-3, 1.0, 1e2, 1e4)},
    **_named(largest, largest_and_ordinary, below_largest, subnormal, signed_zeros, equal_rows),
    "some_nan": among_ordinary(np.nan),
    "some_inf": among_ordinary(np.inf),
    "some_minus_inf": among_ordinary(-np.inf, 0.3),
    "all_inf": constant(np.inf),
    "infinities": constant(-np.inf, np.inf),
    "all_masked": all_masked,
}
EXTREME_LOGITS: Mapping[str, Distribution] = {
    **_ANY_NUMBER,
    **{f"offset_{size:g}": shifted(size) for size in (1e3, -1e3, 1e4, 1e5, 1e6, 1e8, -1e8)},
    **_named(last_dominant, last_survives, masked_rows),
}
EXTREME_BINARY_LOGITS: Mapping[str, Distribution] = {
    **_ANY_NUMBER,
    **{f"offset_{size:g}": shifted(size) for size in (1e3, -1e3, 1e4, -1e4, 1e8, -1e8)},
}
EXTREME_LOG_PROBABILITIES: Mapping[str, Distribution] = {**_ANY_NUMBER, **_named(large_losses)}
EXTREME_PROBABILITIES: Mapping[str, Distribution] = _named(
    subnormal_probabilities,
    nearly_certain_probabilities,
    extreme_probabilities,
    signed_zeros,
    equal_probabilities,
)
EXTREME_WEIGHTS: Mapping[str, Distribution] = {
    "zero": constant(0.0),
    "negative": negative,
    "either sign": either_sign,
    "tiny": tiny,
}
MARKED: Mapping[str, Distribution] = _named(equal_but_one, masked_but_ends, costless_but_one, zero_but_one)
CLASS_PROBABILITIES: Mapping[str, Distribution] = _named(one_hot, part_zero, unnormalised)

BY_NAME: Mapping[str, Distribution] = {
    **{**LOGITS, **EXTREME_LOGITS, **BINARY_LOGITS, **EXTREME_BINARY_LOGITS},
    **{**LOG_PROBABILITIES, **EXTREME_LOG_PROBABILITIES, **PROBABILITIES, **EXTREME_PROBABILITIES},
    **{**WEIGHTS, **EXTREME_WEIGHTS, **CLASS_PROBABILITIES, **MARKED, "simplex": simplex},
}
