"""The matrix product in every arithmetic: what it is, and that its bound holds for what libraries compute."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from torch_loss_parity.operators import DTYPES
from torch_loss_parity.reference.arithmetic import balls, rounding_functions
from torch_loss_parity.reference.arithmetic.double_double import DoubleDouble
from torch_loss_parity.reference.arithmetic.dual import Dual
from torch_loss_parity.reference.arithmetic.formats import FORMATS, TF32, Arithmetic
from torch_loss_parity.reference.arithmetic.round_once import store
from torch_loss_parity.reference.arithmetic.rounding import Rounded
from torch_loss_parity.reference.arithmetic.tape import Taped, pull_back
from torch_loss_parity.reference.linear_cross_entropy import linear, linear_backward
from torch_loss_parity.reference.softmax import log_softmax
from torch_loss_parity.tensors.arrays import TORCH_DTYPES

SHAPES = ((1, 1, 1), (3, 2, 5), (5, 33, 7), (2, 1025, 3), (40, 8, 300))


def factors(seed: int, shape: tuple[int, int, int], dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Two matrices of the dtype; the last columns of the one nearly cancel those of the other."""
    rng = np.random.default_rng(seed)
    rows, terms, columns = shape
    x, y = rng.normal(0, 1, (rows, terms)), rng.normal(0, 1, (terms, columns))
    if terms > 2:
        x[:, -1], y[-1] = -x[:, 0], y[0] * (1 + 2.0**-7)
    return FORMATS[dtype].round(x), FORMATS[dtype].round(y)


def exact(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The product as fractions."""
    return np.asarray(
        [
            [
                sum((Fraction(a) * Fraction(b) for a, b in zip(r, c, strict=True)), Fraction(0))
                for c in y.T.tolist()
            ]
            for r in x.tolist()
        ],
        dtype=object,
    )


def bound(x: Any, y: Any, dtype: str, **changes: Any) -> Rounded:
    arithmetic = Arithmetic.for_dtype(dtype, **changes)
    return rounding_functions.matmul(Rounded(x, arithmetic), Rounded(y, arithmetic))


def in_torch(x: np.ndarray, dtype: str) -> torch.Tensor:
    return torch.from_numpy(x.copy()).to(TORCH_DTYPES[dtype])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_torch_multiplies_stays_within_the_bound(dtype: str, shape: tuple[int, int, int]) -> None:
    """Half precision is added up in float32 and stored once."""
    for seed in range(20):
        x, y = factors(seed, shape, dtype)
        allowed = store(bound(x, y, dtype))
        product = (in_torch(x, dtype) @ in_torch(y, dtype)).double().numpy()
        assert np.all(np.abs(product - np.asarray(allowed.value)) <= allowed.total_error())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_order_of_summation_stays_within_the_bound(dtype: str) -> None:
    x, y = factors(3, (1, 257, 1), dtype)
    allowed = bound(x, y, dtype)
    value, limit = float(np.asarray(allowed.value)[0, 0]), float(allowed.total_error()[0, 0])
    kind = np.dtype(dtype).type
    products, largest = (x[0] * y[:, 0]).astype(kind), 0.0
    for seed in range(200):
        order = np.random.default_rng(seed).permutation(257) if seed else np.argsort(-np.abs(products))
        total = kind(0)
        for product in products[order]:
            total = kind(total + product)
        largest = max(largest, abs(float(total) - value))
        assert largest <= limit
    assert largest >= limit / 500  # random orders err by the square root of what the worst may


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_value_is_the_product_within_the_error_of_its_evaluation(dtype: str) -> None:
    for seed, shape in enumerate(SHAPES[:3]):
        x, y = factors(seed, shape, dtype)
        allowed, truth = bound(x, y, dtype), exact(x, y)
        value = DoubleDouble.of(allowed.value)
        for index in np.ndindex(*truth.shape):
            high, low = float(value.high[index]), float(np.broadcast_to(value.low, value.high.shape)[index])
            away = abs(Fraction(high) + Fraction(low) - truth[index])
            assert away <= Fraction(float(allowed.total_error()[index]))


def test_balls_enclose_the_product() -> None:
    x, y = factors(1, (3, 9, 4), "float64")
    with balls.precision(128):
        product = balls.balls(x) @ balls.balls(y)
        enclosed = balls.enclosure(product)
    truth = exact(x, y)
    for index in np.ndindex(*truth.shape):
        middle = Fraction(float(enclosed.midpoint[index])) + Fraction(float(enclosed.remainder[index]))
        assert abs(middle - truth[index]) <= Fraction(float(enclosed.radius[index]))


def test_what_cannot_round_is_not_charged() -> None:
    """Sums of multiples of a quantum that stay small, products with zeros, and a single exact product."""
    integers = np.random.default_rng(0).integers(-9, 10, (4, 100)).astype(float)
    assert not bound(integers, integers.T / 8, "float32").total_error().any()
    assert bound(integers + 2.0**-20, integers.T, "float32").total_error().all()
    one_hot = np.eye(5)
    assert (
        not bound(
            one_hot, np.random.default_rng(1).normal(0, 1, (5, 3)).astype(np.float32).astype(float), "float32"
        )
        .total_error()
        .any()
    )
    third = np.float64(np.float32(1 / 3))
    halves = bound([[FORMATS["bfloat16"].round(1 / 3)]], [[FORMATS["bfloat16"].round(1 / 7)]], "bfloat16")
    assert not halves.total_error().any()
    assert bound([[third]], [[third]], "float32").total_error().all()


def test_a_product_kept_in_a_narrower_format_is_allowed_more() -> None:
    x, y = factors(0, (2, 40, 2), "bfloat16")
    in_float32 = bound(x, y, "bfloat16").total_error()
    assert np.all(bound(x, y, "bfloat16", product=FORMATS["bfloat16"]).total_error() > 1e4 * in_float32)
    x, y = factors(0, (2, 40, 2), "float32")
    size = np.abs(x) @ np.abs(y)
    tf32 = bound(x, y, "float32", factors=TF32).total_error()
    assert np.all((tf32 > size * 2.0**-11) & (tf32 < size * 2.0**-9))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_that_are_not_finite(dtype: str) -> None:
    special = [0.0, 1.0, -2.0, np.inf, -np.inf, np.nan]
    x, y = np.asarray([[a, b] for a in special for b in special]), np.asarray([special, special[::-1]])
    with np.errstate(all="ignore"):
        expected = np.asarray([[sum(a * b for a, b in zip(r, c, strict=True)) for c in y.T] for r in x])
    product = bound(x, y, dtype)
    assert np.array_equal(np.asarray(product.value, dtype=float), expected, equal_nan=True)
    assert not product.total_error().any()


def test_an_overflow_is_not_decided() -> None:
    large = FORMATS["float32"].largest
    assert np.isinf(bound([[large, large]], [[2.0], [-2.0]], "float32").total_error()).all()


def test_a_doubtful_largest_is_less_itself_exactly_where_it_is_alone() -> None:
    """The error of a logit is none of its distance to itself."""
    x, w = np.asarray([[1 / 3, 1 / 7]]), np.asarray([[30.0, 1.0], [1.0, 1.1], [1.0, 1.3]])
    arithmetic = Arithmetic.for_dtype("float32")
    a, layer = (Rounded(FORMATS["float32"].round(each), arithmetic) for each in (x, w))
    y = log_softmax(linear(a, layer), 1)
    confident = float(np.abs(np.asarray(y.value))[0, 0])
    assert y.total_error()[0, 0] < 1e-5 * confident  # and no unit of roundoff of the logits
    tie = log_softmax(linear(a, Rounded(np.asarray([[0.3, 0.7]] * 2), arithmetic)), 1)
    assert tie.total_error().all()


def test_derivatives_of_a_layer() -> None:
    rng = np.random.default_rng(5)
    x, w, b = rng.normal(0, 1, (3, 4)), rng.normal(0, 1, (5, 2, 4)), rng.normal(0, 1, (5, 2))
    v, g = rng.normal(0, 1, w.shape), rng.normal(0, 1, (3, 5, 2))
    tangent = linear(Dual(x), Dual(w, v), Dual(b)).tangent
    assert np.allclose(tangent, np.einsum("nd,ckd->nck", x, v))
    closed = linear_backward(g, x, w, b)
    taped = {name: Taped(a, variable=True) for name, a in (("x", x), ("w", w), ("b", b))}
    pulled = pull_back(linear(taped["x"], taped["w"], taped["b"]), g, taped)
    for one, other in zip(closed, pulled.values(), strict=True):
        assert np.allclose(one, other)
