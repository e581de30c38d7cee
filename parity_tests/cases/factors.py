"""Distributions of the two factors of a matrix product, for operators whose logits are one.

Each takes a generator, a shape (N, M, D), an axis that means nothing here and the format of the numbers, and
returns N + M rows of D numbers: those of the input, and then those of the layer, one for each logit of a row.
A name says what is peculiar about the logits, or about the products that they are sums of.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.random import Generator

from torch_loss_parity.cases.distributions import FAR_BELOW, Distribution, Shape
from torch_loss_parity.reference.arithmetic.formats import Format


def products(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """Logits of the size of 3, as of a layer that has been trained a little."""
    rows, outputs, features = shape
    scale = 3 / np.sqrt(max(features, 1))
    return np.concatenate([rng.normal(0, 1, (rows, features)), rng.normal(0, scale, (outputs, features))])


def wide_products(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """Logits of the size of 60, more than 90 apart: an exponential that is not shifted overflows."""
    factors = products(rng, shape, axis, format)
    factors[shape[0] :] *= 20
    return factors


def small_products(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """Logits that are nearly 0, as of a layer before training: every probability is nearly the same."""
    factors = products(rng, shape, axis, format)
    factors[shape[0] :] *= 2.0**-9
    return factors


def cancelling_products(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """Pairs of features that nearly cancel: ordinary logits from products 64 times as large."""
    rows, _, features = shape
    factors = products(rng, shape, axis, format)
    pairs = features // 2
    for part, sign in ((slice(0, rows), 1.0), (slice(rows, None), -1.0)):
        own = factors[part, :pairs]
        near = own * (1 + rng.normal(0, 2.0**-6, own.shape))
        factors[part, : 2 * pairs : 2], factors[part, 1 : 2 * pairs : 2] = 8 * own, 8 * sign * near
    return factors


def dominant_product(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """One class 30 above the others in every row: its loss is small, and so are its gradients."""
    factors = products(rng, shape, axis, format)
    if factors.size:
        factors[: shape[0], 0] = 1.0
        factors[shape[0] :, 0] = 30.0 * (np.arange(shape[1]) == 0)
    return factors


def common_offset(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """A feature that is the same in all rows and all classes: every logit is off by 1024 (pytorch#195829)."""
    factors = products(rng, shape, axis, format)
    if factors.size:
        factors[: shape[0], -1], factors[shape[0] :, -1] = 32.0, 32.0
    return factors


def single_products(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """One feature in each row of the input, which is 1: a logit is a number of the layer, and exact."""
    rows, _, features = shape
    factors = products(rng, shape, axis, format)
    if factors.size:
        factors[:rows] = 1.0 * (np.arange(features) == rng.integers(0, features, (rows, 1)))
    return factors


def products_at_the_ends(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """As `single_products`, the last and the first feature in turn: whoever leaves out a remainder of the
    features leaves out rows.
    """
    rows, _, features = shape
    factors = products(rng, shape, axis, format)
    if factors.size:
        factors[:rows] = 0.0
        factors[np.arange(rows), np.resize([features - 1, 0], rows)] = 1.0
    return factors


def integer_products(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """One logit of each row is 256 and the others are 0: losses are integers, and every sum is exact."""
    rows, outputs, features = shape
    factors = np.zeros((rows + outputs, features))
    if factors.size and outputs:
        factors[:rows] = 1.0 * (np.arange(features) == rng.integers(0, features, (rows, 1)))
        winner = rng.integers(0, outputs, features)
        factors[rows:] = 256.0 * (np.arange(outputs)[:, None] == winner)
    return factors


def equal_products(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """Every logit is the same: each probability is one over the number of classes."""
    factors = products(rng, shape, axis, format)
    factors[shape[0] :] = factors[shape[0] : shape[0] + 1]
    return factors


# --- extremes -----------------------------------------------------------------------------------------------


def tiny_products(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """Products below the smallest number of the format."""
    factors = rng.choice([-1.0, 1.0], (shape[0] + shape[1], shape[2]))
    return np.asarray(factors * rng.uniform(1, 2, factors.shape) * np.sqrt(format.smallest_normal) / 4)


def subnormal_factors(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """An input of subnormal numbers, and a layer that brings them back to ordinary size, or half way."""
    factors = rng.choice([-1.0, 1.0], (shape[0] + shape[1], shape[2]))
    steps = np.floor(2.0 ** rng.uniform(0, format.precision - 1, factors.shape))
    factors[: shape[0]] *= steps[: shape[0]] * format.smallest_subnormal
    factors[shape[0] :] *= rng.uniform(1, 2) * 2.0 ** (format.max_exponent - 6)
    return factors


def large_factors(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """A layer of large numbers and an input of small ones: their products are ordinary."""
    factors = products(rng, shape, axis, format)
    scale = 2.0 ** (format.max_exponent // 2)
    factors[: shape[0]] /= scale
    factors[shape[0] :] *= scale
    return factors


def far_products(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """Logits that are thousands apart: each row has one class."""
    factors = products(rng, shape, axis, format)
    factors[shape[0] :] *= 2000.0
    return factors


def nan_in_a_row(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """Every second row of the input is nan: it is as all of its logits are, and no other row is."""
    factors = products(rng, shape, axis, format)
    factors[0 : shape[0] : 2] = np.nan
    return factors


def infinite_feature(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """An infinite number in every second row: its logits are infinite, of either sign."""
    factors = products(rng, shape, axis, format)
    factors[0 : shape[0] : 2, :1] = np.inf
    return factors


def nan_in_the_layer(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """One class is nan, and so is the loss of every row."""
    factors = products(rng, shape, axis, format)
    factors[-1:] = np.nan
    return factors


def equal_factors(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """Every row is the same: whatever tells them apart is wrong."""
    factors = products(rng, shape, axis, format)
    factors[: shape[0]] = factors[:1]
    return factors


def zeros(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """An input of zeros, of either sign."""
    factors = products(rng, shape, axis, format)
    factors[: shape[0]] = rng.choice([-0.0, 0.0], (shape[0], shape[2]))
    return factors


def equal_products_but_one(rng: Generator, shape: Shape, axis: int, format: Format) -> np.ndarray:
    """Logits of 0, in every second row of -32768, of which the first of a row is the same, 1000 below, or
    1000 above; of two features.
    """
    rows, outputs, features = shape
    factors = np.zeros((rows + outputs, features))
    if factors.size:
        factors[:rows, 0] = np.resize([0.0, 1.0], rows)
        factors[rows:, 0] = FAR_BELOW
        factors[:rows, -1] += np.resize(np.roll([0.0, -1.0, 1.0], -rng.integers(2)), rows)
        factors[rows : rows + 1, -1] += 1000.0
    return factors


def _named(*functions: Distribution) -> dict[str, Distribution]:
    return {getattr(f, "__name__", ""): f for f in functions}


FACTORS: Mapping[str, Distribution] = _named(
    products,
    wide_products,
    small_products,
    cancelling_products,
    dominant_product,
    common_offset,
    single_products,
    integer_products,
    equal_products,
)
EXTREME_FACTORS: Mapping[str, Distribution] = _named(
    tiny_products,
    subnormal_factors,
    large_factors,
    far_products,
    nan_in_a_row,
    infinite_feature,
    nan_in_the_layer,
    equal_factors,
    zeros,
)
MARKED: Mapping[str, Distribution] = _named(equal_products_but_one, products_at_the_ends)
BY_NAME: Mapping[str, Distribution] = {**FACTORS, **EXTREME_FACTORS, **MARKED}
