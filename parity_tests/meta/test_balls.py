"""The true value is inside the ball, and the bound that a failure is certified with is around the true value.

Claims shown here: balls of 128 bits contain what 512 bits find, for every definition and derivative; numbers
become balls exactly; what float64 evaluates, in NumPy and in the rounding arithmetic itself, is within its
bound of the ball; precision is raised where 128 bits cannot tell, and None says that nothing can.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from fractions import Fraction

import flint
import numpy as np
import pytest

from torch_loss_parity import reference
from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.expectation import (
    FORWARD,
    certified,
    certify,
    expected,
    upstream_gradient,
)
from torch_loss_parity.judging.comparison import judge
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.operators.sampling import EFFORTS, grid
from torch_loss_parity.reference.arithmetic import balls
from torch_loss_parity.reference.arithmetic.double_double import DoubleDouble
from torch_loss_parity.reference.arithmetic.formats import FLOAT64
from torch_loss_parity.reference.arithmetic.rounding import Rounded
from torch_loss_parity.reference.ways.rows import log_softmax_textbook

TINY = float(np.nextafter(0.0, 1.0))
LARGEST = float(np.finfo(np.float64).max)


def exactly(ball: flint.arb) -> Fraction:
    """The one number of a ball of radius zero."""
    assert ball.is_exact()
    mantissa, exponent = ball.man_exp()
    return Fraction(int(mantissa)) * Fraction(2) ** int(exponent)


def of_every_quantity(name: str, dtype: str) -> list[tuple[Call, str, np.ndarray]]:
    """Small calls in which every option is met, with each quantity that has a finite value and an upstream
    gradient.
    """
    operator = OPERATORS[name]
    calls = [
        (operator.call(case), case)
        for case in grid(operator, dtype, EFFORTS["quick"], 3)
        if np.prod(case.shape) < 200
    ]
    pairs = [(call, upstream_gradient(call, case)) for call, case in calls]
    quantities = [(call, quantity, g) for call, g in pairs for quantity in (FORWARD, *call.differentiable)]
    return [
        (call, quantity, g)
        for call, quantity, g in quantities
        if np.isfinite(expected(call, (quantity,), g)[quantity].value).any()
    ]


def at(bits: int, call: Call, quantity: str, g: np.ndarray) -> np.ndarray:
    """The quantity on balls of so many bits."""
    arguments = {k: v for k, v in call.arguments.items() if k != "dtype"}
    operator = OPERATORS[call.operator]
    ball = balls.evaluate(
        *([operator.forward] if quantity == FORWARD else [operator.backward, g]), **arguments, bits=bits
    )
    return np.asarray(getattr(ball, quantity) if isinstance(ball, tuple) else ball, dtype=object)


@pytest.mark.parametrize("name", OPERATORS)
def test_balls_of_128_bits_contain_what_512_bits_find(name: str) -> None:
    finite = 0
    for call, quantity, g in of_every_quantity(name, "float64"):
        for coarse, fine in zip(
            at(128, call, quantity, g).reshape(-1), at(512, call, quantity, g).reshape(-1), strict=True
        ):
            coarse, fine = flint.arb(coarse), flint.arb(fine)
            assert coarse.is_finite() == fine.is_finite()
            assert not coarse.is_finite() or coarse.contains(fine), (call, quantity, coarse, fine)
            finite += coarse.is_finite()
    assert finite > 100


@pytest.mark.parametrize("name", OPERATORS)
def test_what_float64_finds_is_within_its_bound_of_the_ball(name: str) -> None:
    decided = 0
    for call, quantity, g in of_every_quantity(name, "float64"):
        if call.output_dtype != "float64":
            continue
        arguments = {k: v for k, v in call.arguments.items() if k != "dtype"}
        operator = OPERATORS[name]
        with np.errstate(all="ignore"):
            computed = (
                operator.forward(**arguments) if quantity == FORWARD else operator.backward(g, **arguments)
            )
        computed = getattr(computed, quantity) if isinstance(computed, tuple) else computed
        bound = expected(call, (quantity,), g)[quantity]
        truth = certified(call, quantity, g, bound)
        assert truth is not None, (call, quantity)
        # Float64, and the double-double that the rounding arithmetic evaluates.
        for result in (np.asarray(computed), bound.value):
            verdict = judge(result, truth, FLOAT64)
            assert verdict.passes, (call, quantity, verdict)
            decided += verdict.elements - verdict.undecided
    assert decided > 100


@pytest.mark.parametrize(
    "number", [0.0, -0.0, 1.0, 0.1, TINY, -3 * TINY, 2.0**-1022, LARGEST, -LARGEST, float(np.float32(0.1))]
)
def test_a_ball_is_the_float64_number_itself(number: float) -> None:
    assert exactly(balls.ball(number)) == Fraction(number)
    assert exactly(balls.ball(np.float64(number))) == Fraction(number)


def test_a_ball_is_the_float16_float32_or_longdouble_number_itself() -> None:
    third = np.longdouble(1) / 3  # of 53, 64 or 113 bits
    for number in (
        np.float16(0.1),
        np.float32(1e-45),
        third,
        -third * np.longdouble(2) ** 900,
        third * np.longdouble(2) ** -900,
    ):
        assert exactly(balls.ball(number)) == Fraction(*number.as_integer_ratio())


def test_a_ball_is_the_double_double_itself_however_far_apart_its_halves_are() -> None:
    for high, low in ((1 / 3, 1 / 3 * 2.0**-54), (1.0, TINY), (-LARGEST, 2.0**-1000), (0.5, 0.0)):
        assert exactly(balls.ball(DoubleDouble(np.float64(high), np.float64(low)))) == Fraction(
            high
        ) + Fraction(low)
    ball = balls.balls(DoubleDouble(np.asarray([1.0, 0.5]), np.asarray([TINY, 0.0])))
    assert [exactly(b) for b in ball] == [1 + Fraction(TINY), Fraction(1, 2)]


def test_infinities_and_nan_become_balls_that_are_not_finite() -> None:
    assert balls.ball(np.inf) == flint.arb("inf")
    assert balls.ball(-np.inf) == flint.arb("-inf")
    assert balls.ball(np.nan).is_nan()


def test_balls_keep_the_shape_repeated_numbers_and_integers() -> None:
    array = np.asarray([[0.1, 0.2, 0.1], [-np.inf, 0.2, 0.1]])
    converted = balls.balls(array)
    assert converted.shape == (2, 3)
    assert [exactly(b) for b in converted[0]] == [Fraction(x) for x in array[0]]
    assert np.array_equal(balls.balls(np.asarray([2, 3])), [2, 3])
    assert balls.balls(np.asarray(0.5)).shape == ()


def test_an_enclosure_keeps_what_the_midpoint_leaves_and_is_nan_where_no_number_encloses_it() -> None:
    with balls.precision(200):
        third = flint.arb(1) / 3
        midpoint, remainder, radius = balls.enclosure(
            np.asarray([third, flint.arb("nan"), flint.arb("inf"), flint.arb(2) ** 1100])
        )
        assert abs(third - flint.arb(midpoint[0]) - flint.arb(remainder[0])) <= flint.arb(radius[0])
    assert (midpoint[0], radius[0] <= 2.0**-100) == (1 / 3, True)
    assert np.isnan([midpoint[1:], remainder[1:], radius[1:]]).all()


def test_logits_of_minus_infinity_have_a_probability_of_exactly_zero() -> None:
    x = np.asarray([[0.5, -np.inf, 2.0, -np.inf]])
    assert [exactly(p) for p in balls.evaluate(reference.softmax, x, -1)[0, 1::2]] == [0, 0]
    g = np.asarray([[1.0, -2.0, 0.5, 3.0]])
    assert [exactly(p) for p in balls.evaluate(reference.softmax_backward, g, x, -1)[0, 1::2]] == [0, 0]


# --- the certified bound ------------------------------------------------------------------------------------


def gap_of(gap: float, dtype: str = "float64") -> tuple[Call, Rounded]:
    """log_softmax of a row with a gap: the first log-probability is -exp(-gap), as nearly as no number of
    bits in use can tell.
    """
    call = Call("log_softmax", {"input": np.asarray([gap, 0.0]), "dim": 0, "dtype": None}, dtype, dtype)
    return call, expected(call, (FORWARD,))[FORWARD]


def test_precision_is_raised_until_a_confident_log_probability_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used: list[int] = []
    precision = balls.precision

    def recorded(bits: int) -> AbstractContextManager[None]:
        used.append(bits)
        return precision(bits)

    monkeypatch.setattr(balls, "precision", recorded)
    call, bound = gap_of(256.0)
    x = balls.balls(call.arguments["input"])
    # In the textbook's form, which cancels; what it is worth in float64 is its own bound.
    bound = expected(call, (FORWARD,), function=log_softmax_textbook)[FORWARD]
    truth = certify(bound, lambda: log_softmax_textbook(x, 0))
    assert truth is not None
    assert len(used) > 1
    assert used == [128 * 2**i for i in range(len(used))]
    assert abs(truth.value[0] + np.exp(-256.0)) <= np.spacing(np.exp(-256.0))
    assert bound.value[0] == 0  # 1 + exp(-256) is rounded to 1, and that is charged
    # And what no float64 implementation could either.
    assert judge(np.asarray([0.0, -256.0]), truth, FLOAT64).passes
    assert not judge(np.asarray([-1e-16, -256.0]), truth, FLOAT64).passes
    used.clear()
    call, bound = gap_of(2.0)
    assert certified(call, FORWARD, None, bound) is not None
    assert used == [128]


def test_where_no_precision_is_enough_or_nothing_is_finite_none_is_returned() -> None:
    call, bound = gap_of(2.0)
    sharp = Rounded(bound.value, bound.arithmetic)  # log(1 + exp(-2)) to within nothing
    assert certified(call, FORWARD, None, sharp) is None
    nothing = Call("softmax", {"input": np.full(3, -np.inf), "dim": 0, "dtype": None}, "float64", "float64")
    assert certified(nothing, FORWARD, None, expected(nothing, (FORWARD,))[FORWARD]) is None


def test_the_certified_bound_is_the_bound_around_the_truth_and_keeps_what_is_not_finite() -> None:
    x = np.asarray([[0.5, -1.0, 3.0], [-np.inf, -np.inf, -np.inf]])
    call = Call("softmax", {"input": x, "dim": 1, "dtype": None}, "float32", "float32")
    bound = expected(call, (FORWARD,))[FORWARD]
    truth = certified(call, FORWARD, None, bound)
    assert truth is not None
    assert np.isnan(truth.value[1]).all()
    assert np.array_equal(truth.total_error()[1], [0, 0, 0])
    assert np.all(np.abs(truth.value[0] - bound.value[0]) <= bound.total_error()[0] / 2**20)
    with balls.precision(300):
        for value, ball in zip(
            truth.value[0], balls.evaluate(reference.softmax, x[0], 0, bits=300), strict=True
        ):
            assert abs(balls.ball(value) - ball) < flint.arb(2) ** -60
    # judged around the truth, an error of the allowed size passes and twice the allowed size does not
    for times, passes in ((0.99, True), (2.0, False)):
        observed = truth.value + times * truth.total_error()
        assert judge(observed, truth, FLOAT64).passes is passes
