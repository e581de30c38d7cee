"""Double-double is as accurate as its page says, by balls, and nothing depends on NumPy's long double.

Claims shown here: the errors of Note [How accurate], on random numbers of all sizes, on the edges of the
tables and next to 0 and 1; what is exact is known to be; infinities, nan, overflow and underflow are
float64's; rounding to a format is rounding once.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from hashlib import blake2b
from pathlib import Path
from typing import Any

import flint
import numpy as np
import pytest

import torch_loss_parity
from torch_loss_parity import reference
from torch_loss_parity.reference.arithmetic import balls, double_double_functions
from torch_loss_parity.reference.arithmetic.double_double import (
    FUNCTION_ROUNDOFF,
    ROUNDOFF,
    SUM_ROUNDOFF,
    DoubleDouble,
)
from torch_loss_parity.reference.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format

MANY = 400


def numbers(sizes: np.ndarray, seed: int) -> DoubleDouble:
    """Random halves for numbers of these sizes."""
    rng = np.random.default_rng(seed)
    return DoubleDouble.of(sizes) + sizes * rng.uniform(-(2.0**-54), 2.0**-54, sizes.shape)


def of_all_sizes(exponents: float, seed: int) -> DoubleDouble:
    rng = np.random.default_rng(seed)
    return numbers(np.exp2(rng.uniform(-exponents, exponents, MANY)) * rng.choice([-1.0, 1.0], MANY), seed)


def relative_errors(computed: DoubleDouble, true: Callable[..., Any], *operands: DoubleDouble) -> list[float]:
    with balls.precision(400):
        exact = [true(*each) for each in zip(*(balls.balls(operand) for operand in operands), strict=True)]
        errors = [
            abs((ball - number) / number)
            for ball, number in zip(balls.balls(computed), exact, strict=True)
            if number != 0
        ]
        return [float(error.upper()) for error in errors]


OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y,
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("exponents", [1.0, 60.0, 400.0])
def test_an_operation_is_within_its_roundoff(name: str, exponents: float) -> None:
    x, y = of_all_sizes(exponents, 0), of_all_sizes(exponents, 1)
    for a, b in (
        (x, y),
        (x, DoubleDouble(y.high)),
        (DoubleDouble(x.high), y),
        (DoubleDouble(x.high), DoubleDouble(y.high)),
    ):
        assert max(relative_errors(OPERATIONS[name](a, b), OPERATIONS[name], a, b)) < ROUNDOFF
    near = x * (DoubleDouble.of(1.0) + 2.0**-60)
    assert max(relative_errors(x - near, lambda a, b: a - b, x, near)) < ROUNDOFF  # what cancels


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_on_one_number_is_that_on_many(name: str) -> None:
    """An array without dimensions becomes a number of NumPy's own at every turn; its second half is one all
    the same.
    """
    x, y = of_all_sizes(1.0, 2), of_all_sizes(1.0, 3)
    for a, b in ((x, y), (x, DoubleDouble(y.high)), (DoubleDouble(x.high), y), (-x, abs(y))):
        many = OPERATIONS[name](a, b)
        ones = [OPERATIONS[name](a[i], b[i]) for i in range(20)]
        assert all(one.shape == () and (one == many[i]) for i, one in enumerate(ones))
        assert any(np.any(one.low) for one in ones)


def test_a_product_and_a_quotient_of_the_largest_and_the_smallest_numbers_are_as_accurate() -> None:
    large, tiny = (
        numbers(np.asarray([1.7e308, 1e300, 2.0**1000]), 0),
        DoubleDouble(np.asarray([3e-310, 5e-324, 2.0**-1000])),
    )
    little = numbers(np.asarray([0.3, 1e-200, 0.7]), 1)
    assert max(relative_errors(large * little, lambda a, b: a * b, large, little)) < ROUNDOFF
    assert max(relative_errors(large / (1 + little), lambda a, b: a / b, large, 1 + little)) < ROUNDOFF
    assert max(relative_errors(tiny / (tiny * 3), lambda a, b: a / b, tiny, tiny * 3)) < ROUNDOFF
    assert (
        max(
            relative_errors(large / (3 * large * 2.0**-600), lambda a, b: a / b, large, 3 * large * 2.0**-600)
        )
        < ROUNDOFF
    )


def around(*centres: float) -> np.ndarray:
    """Numbers next to each centre, on both sides, from 2^-52 of it to a third."""
    away = np.exp2(-np.arange(2.0, 53.0, 2.5))
    return np.concatenate([centre * (1 + sign * away) for centre in centres for sign in (-1, 1)])


STEPS = np.log(2) / 256 * (np.arange(-300, 300) + 0.5)  # halfway between what the table of exp holds
CELLS = (np.arange(181, 364) + 0.5) / 256  # halfway between what the table of log does
ARGUMENTS = {
    "exp": np.concatenate(
        [STEPS, around(1.0, -1.0, 700.0, -690.0), np.random.default_rng(0).normal(0, 100, MANY)]
    ),
    "log": np.concatenate(
        [CELLS, around(1.0, 2.0, 0.5, np.sqrt(0.5)), np.exp(np.random.default_rng(1).normal(0, 100, MANY))]
    ),
    "log1p": np.concatenate(
        [
            CELLS - 1,
            around(2.0**-9, -(2.0**-9), 1e-300, -0.5, 1e-17),
            np.exp(np.random.default_rng(2).normal(0, 9, MANY)),
        ]
    ),
    "tanh": np.concatenate(
        [around(0.25, -0.25, 1e-300, 1.0, -20.0), np.random.default_rng(4).normal(0, 1, MANY)]
    ),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_elementary_function_is_within_its_roundoff(name: str) -> None:
    x = numbers(ARGUMENTS[name], 3)
    x = x[np.abs(x.high) < 708] if name == "exp" else x
    computed = getattr(np, name)(x)
    assert max(relative_errors(computed, lambda ball: getattr(ball, name)(), x)) < FUNCTION_ROUNDOFF


@pytest.mark.parametrize("n", [1, 2, 3, 7, 64, 1001])
def test_a_sum_is_within_its_roundoff_of_the_magnitudes(n: int) -> None:
    x = numbers(np.random.default_rng(n).normal(0, 1, (3, n)), n)
    size = np.sum(np.abs(x.high), axis=1)
    with balls.precision(400):
        true = np.sum(balls.balls(x), axis=1)
        for axis, computed in ((1, np.sum(x, axis=1)), (0, np.sum(np.transpose(x, (1, 0)), axis=0))):
            assert computed.shape == (3,), axis
            for ball, each, of in zip(balls.balls(computed), true, size, strict=True):
                assert abs(ball - each) <= n * SUM_ROUNDOFF * of
        assert np.sum(x).shape == ()
        assert np.sum(x, axis=(0, 1), keepdims=True).shape == (1, 1)


def test_what_needs_one_float64_or_two_is_exact() -> None:
    x = DoubleDouble(np.asarray([1.0, 3.0, 2.0**53, -1.0]))
    assert isinstance((x - 1.0).low, float)
    assert isinstance((x * 3.0).low, float)
    assert isinstance((x / 4.0).low, float)
    far = x + 2.0**-300
    assert np.array_equal(far.high, x.high)
    assert np.all(far.low == 2.0**-300)
    assert np.array_equal((far - x).high, np.full(4, 2.0**-300))
    assert isinstance(np.sum(DoubleDouble(np.arange(1000.0))).low, float)
    assert float(np.exp(DoubleDouble.of(0.0))) == 1
    assert isinstance(double_double_functions.exp(DoubleDouble.of(0.0)).low, float)


SPECIAL = np.asarray(
    [np.inf, -np.inf, np.nan, 0.0, -0.0, -1.0, -2.0, 800.0, -800.0, 1.7e308, -1.7e308, 5e-324]
)


@pytest.mark.parametrize("name", ["exp", "log", "log1p", "tanh"])
def test_a_function_of_what_is_special_is_that_of_float64(name: str) -> None:
    with np.errstate(all="ignore"):
        computed, plain = getattr(np, name)(DoubleDouble(SPECIAL)), getattr(np, name)(SPECIAL)
    special = ~np.isfinite(plain) | (plain == 0)
    assert np.array_equal(computed.high[special], plain[special], equal_nan=True)
    assert np.all(np.isfinite(computed.high[~special]))
    assert not np.any(np.broadcast_to(computed.low, SPECIAL.shape)[special])


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_on_what_is_special_is_that_of_float64(name: str) -> None:
    x, y = np.meshgrid(SPECIAL, np.append(SPECIAL, [3.0, 1e-17]))
    with np.errstate(all="ignore"):
        plain, computed = OPERATIONS[name](x, y), OPERATIONS[name](DoubleDouble(x), DoubleDouble(y))
    special = ~np.isfinite(plain)
    assert np.array_equal(computed.high[special], plain[special], equal_nan=True)
    assert np.all(np.isfinite(computed.high[~special]))
    assert np.all(np.isfinite(computed.low))


def test_what_underflows_is_within_what_it_may_miss() -> None:
    x = DoubleDouble(np.asarray([-720.0, -740.0, -744.0, -746.0]))
    with balls.precision(200):
        for ball, of in zip(balls.balls(np.exp(x)), balls.balls(x), strict=True):
            assert abs(ball - of.exp()) <= flint.arb(2) ** -1072
        a, b = (
            numbers(np.asarray([1e-160, 3e-155, 1e-150]), 0),
            numbers(np.asarray([7e-150, 3e-160, 1e-170]), 1),
        )
        for ball, of_a, of_b in zip(balls.balls(a * b), balls.balls(a), balls.balls(b), strict=True):
            assert abs(ball - of_a * of_b) <= flint.arb(2) ** -1072


def test_numbers_compare_by_both_halves() -> None:
    one, more = DoubleDouble(np.asarray(1.0)), DoubleDouble(np.asarray(1.0), np.asarray(2.0**-80))
    assert one < more
    assert more > one
    assert one <= one
    assert more >= one
    assert one != more
    assert one == DoubleDouble.of(1.0)
    both = DoubleDouble(np.asarray([1.0, 1.0]), np.asarray([0.0, 2.0**-80]))
    assert float(double_double_functions.max(both).low) == 2.0**-80
    assert float(double_double_functions.maximum(both[:1], both[1:]).low[0]) == 2.0**-80


def test_a_function_that_knows_nothing_of_two_halves_is_refused() -> None:
    x = DoubleDouble(np.asarray([1.0, 2.0]))
    for function in (np.sqrt, np.mean, np.sort, np.rint):
        with pytest.raises(TypeError):
            function(x)
    assert np.array_equal(np.asarray(x), [1.0, 2.0])


@pytest.mark.parametrize(
    "format", [FLOAT16, BFLOAT16, FLOAT32, FLOAT64, Format("wide", 67, -1022, 1022)], ids=lambda f: f.name
)
def test_a_double_double_is_rounded_to_a_format_once_ties_to_even(format: Format) -> None:
    rng = np.random.default_rng(5)
    places = (
        rng.integers(2**10, 2**11, 200) * 2.0 ** (format.precision - 11)
        if format.precision < 53
        else rng.integers(2**52, 2**53, 200)
    )
    whole = np.asarray(places, dtype=np.float64)
    off = rng.choice([0.0, 0.5, -0.5, 0.25, 0.5 + 2.0**-40, 0.5 - 2.0**-40, 2.0**-45], 200)
    x = (DoubleDouble(whole) + off) * 2.0 ** (3 - format.precision)
    rounded = format.round(x)
    assert np.all(format.holds(rounded))
    for each, ball in zip(range(200), balls.balls(rounded), strict=True):
        exact = Fraction(float(x.high[each])) + Fraction(float(np.broadcast_to(x.low, 200)[each]))
        unit = Fraction(float(format.spacing(x.high[each : each + 1])[0]))
        mantissa, exponent = ball.man_exp()
        assert Fraction(int(mantissa)) * Fraction(2) ** int(exponent) == round(exact / unit) * unit


def test_no_module_knows_the_long_double() -> None:
    """It has 53, 64 or 113 bits; what depends on it is another thing on another machine."""
    folders = [Path(str(module.__file__)).parent for module in (reference, torch_loss_parity)]
    sources = [path for folder in folders for path in folder.rglob("*.py") if path.parent.name != "meta"]
    assert len(sources) > 100
    assert [
        path.name
        for path in sources
        if "longdouble" in path.read_text("utf-8") or "finfo" in path.read_text("utf-8")
    ] == []


def test_the_bits_of_exp_and_log_are_the_same_everywhere() -> None:
    """Recorded once: nothing but float64's own operations is in them."""
    x = numbers(np.linspace(0.01, 30.0, 500), 9)
    results: list[Any] = [np.exp(-x), np.log(x), np.log1p(x), np.exp(x) / x, np.sum(np.exp(-x))]
    halves = [half for each in results for half in (each.high, np.broadcast_to(each.low, each.shape))]
    digest = blake2b(b"".join(np.asarray(half, dtype="<f8").tobytes() for half in halves), digest_size=8)
    assert digest.hexdigest() == "fff568dbf3341bb9"


def test_what_is_huge_is_far_for_every_function_of_exponentials() -> None:
    huge = DoubleDouble(np.asarray([1.7e308, -1.7e308, 1e300])) / 30.0
    np.testing.assert_array_equal(double_double_functions.tanh(huge).high, [1.0, -1.0, 1.0])
    np.testing.assert_array_equal(double_double_functions.exp(-huge).high, [0.0, np.inf, 0.0])
