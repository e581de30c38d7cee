"""The rounding arithmetic is sound: what float32 computes, in any order and as far off as each operation may
be, is inside the bound.

Claims shown here: of each operation on operands that carry errors of every kind (an error that a row shares
among them), of whole definitions and derivatives, of sums in every order, and of each second-order term, by
the smallest example that needs it. That the bound is not too wide is for test_rounding_limits.py and
test_tightness.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from torch_loss_parity.expectation.expectation import FORWARD, expected, upstream_gradient
from torch_loss_parity.judging.comparison import judge
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.operators.sampling import EFFORTS, grid
from torch_loss_parity.reference.arithmetic import rounding_functions as bounds
from torch_loss_parity.reference.arithmetic.error import Error, Unknown
from torch_loss_parity.reference.arithmetic.formats import (
    FLOAT16,
    FLOAT32,
    FLOAT64,
    FORMATS,
    Arithmetic,
    Format,
)
from torch_loss_parity.reference.arithmetic.round_once import store
from torch_loss_parity.reference.arithmetic.rounding import Rounded

F32 = Arithmetic.for_dtype("float32")
U = FLOAT32.unit_roundoff
ROW, COLUMN = Unknown(-1), Unknown(-2)


def is_inside(computed: Any, bound: Rounded, format: Format = FLOAT32) -> bool:
    """Each element by itself, and each row with one shared error; nothing undecided."""
    computed = np.asarray(computed).astype(np.float64)
    verdict = judge(computed, bound, format)
    finite = np.isfinite(bound.value)  # judged by kind where it is not
    each = np.abs(np.where(finite, computed, 0.0) - np.where(finite, bound.value, 0.0)) <= bound.total_error()
    return bool(verdict.passes and not verdict.undecided and np.all(each))


# --- operations on operands that carry errors ---------------------------------------------------------------

KINDS = ("exact", "relative", "absolute", "shared relative", "shared absolute", "every kind")


def carrying(
    kind: str, size: float, shape: tuple[int, int], seed: int, positive: bool = False
) -> tuple[np.ndarray, Rounded]:
    """Random float32 numbers, and a bound of ``size`` on an error that they do carry: the true values are
    made to be that far off.
    """
    rng = np.random.default_rng(seed)
    sign = np.ones(shape) if positive else rng.choice([-1.0, 1.0], shape)
    computed = (np.exp2(rng.uniform(-1, 3, shape)) * sign).astype(np.float32)
    if kind == "exact":
        return computed, Rounded(computed, F32)
    relative, absolute, largest_r, largest_a = (size * (kind in (k, "every kind")) for k in KINDS[1:5])
    r, a = largest_r * rng.uniform(-1, 1, shape), largest_a * rng.uniform(-1, 1, shape)
    # Of the row: of every operand the same.
    tau = np.clip(np.random.default_rng(0).uniform(-2, 2, (shape[0], 1)), -1, 1)
    rho, alpha = np.clip(rng.uniform(-2, 2, (2, *shape)), -1, 1)
    value = (computed.astype(np.float64) - absolute * alpha - a * tau) / np.exp(relative * rho + r * tau)
    own = 2.0**-50  # the float64 rounding of the line above
    return computed, Rounded(value, F32, Error(relative + own, absolute + own * size, {ROW: (r, a)}))


def erring(function: Callable[[Any], Any], ulps: float) -> Callable[[Any], Any]:
    """``function`` in float32, off by almost as many ulps as the contract allows."""

    def err(x: Any) -> Any:
        nearest = function(x.astype(np.float64)).astype(np.float32)
        return nearest + np.spacing(nearest) * np.random.default_rng(1).integers(
            -int(ulps - 0.5), int(ulps - 0.5) + 1, x.shape
        )

    return err


FLOATS = SimpleNamespace(
    exp=erring(np.exp, F32.exp_ulps),
    log=erring(np.log, F32.log_ulps),
    log1p=erring(np.log1p, F32.log1p_ulps),
    tanh=erring(np.tanh, F32.tanh_ulps),
    maximum=np.maximum,
    max=np.max,
    where=np.where,
    take_along_axis=np.take_along_axis,
    sum=np.sum,
)
CHOOSE = np.random.default_rng(2).random((24, 33)) < 0.5
INDEX = np.random.default_rng(3).integers(0, 24, (24, 33))
BINARY: dict[str, Callable[[Any, Any, Any], Any]] = {
    "add": lambda xp, x, y: x + y,
    "subtract": lambda xp, x, y: x - y,
    "multiply": lambda xp, x, y: x * y,
    "divide": lambda xp, x, y: x / y,
    "reciprocal and product": lambda xp, x, y: x / y if xp is bounds else x * (np.float32(1) / y),
    "maximum": lambda xp, x, y: xp.maximum(x, y),
    "where": lambda xp, x, y: xp.where(CHOOSE, x, y),
}
UNARY: dict[str, Callable[[Any, Any], Any]] = {
    "negate and abs": lambda xp, x: abs(-x),
    "exp": lambda xp, x: xp.exp(x),
    "tanh": lambda xp, x: xp.tanh(x),
    "tanh where it is nearly 1": lambda xp, x: xp.tanh(x * 4),
    "tanh where it is nearly linear": lambda xp, x: xp.tanh(x / 64),
    "max": lambda xp, x: xp.max(x, axis=-1, keepdims=True),
    "take_along_axis of the row": lambda xp, x: xp.take_along_axis(x, INDEX, axis=-1),
    "take_along_axis of the column": lambda xp, x: xp.take_along_axis(x, INDEX, axis=-2),
    "sum": lambda xp, x: xp.sum(x, axis=-1, keepdims=True),
    "sum of the columns": lambda xp, x: xp.sum(x, axis=-2, keepdims=True),
    "sum of all": lambda xp, x: xp.sum(x),
    "what a row's sum leaves": lambda xp, x: x - xp.sum(x, axis=-1, keepdims=True),
    "shares of a row's sum": lambda xp, x: abs(x) / xp.sum(abs(x), axis=-1, keepdims=True),
    "logarithm of the shares": lambda xp, x: x - xp.log(xp.sum(xp.exp(x), axis=-1, keepdims=True)),
    "exp of the logarithm of the shares": lambda xp, x: xp.exp(
        x - xp.log(xp.sum(xp.exp(x), axis=-1, keepdims=True))
    ),
}


@pytest.mark.parametrize("name", BINARY)
def test_a_binary_operation_stays_inside_the_bound_whatever_its_operands_carry(name: str) -> None:
    for number, (of_x, of_y) in enumerate([(x, y) for x in KINDS for y in KINDS]):
        for size in (2.0**-22, 2.0**-4):
            (x, bound_x), (y, bound_y) = (
                carrying(of_x, size, (24, 33), number),
                carrying(of_y, size, (24, 33), 100 + number),
            )
            assert is_inside(BINARY[name](FLOATS, x, y), BINARY[name](bounds, bound_x, bound_y)), (
                of_x,
                of_y,
                size,
            )


@pytest.mark.parametrize("name", [*UNARY, "log", "log1p"])
def test_a_unary_operation_stays_inside_the_bound_whatever_its_operand_carries(name: str) -> None:
    apply = UNARY.get(name, lambda xp, x: getattr(xp, name)(x))
    for number, kind in enumerate(KINDS):
        for size in (2.0**-22, 2.0**-7):
            x, bound = carrying(kind, size, (24, 33), number, positive=name not in UNARY)
            assert is_inside(apply(FLOATS, x), apply(bounds, bound)), (kind, size)


def added_up(x: np.ndarray) -> dict[str, np.ndarray]:
    """The sum of each row in several orders; NumPy's accumulation adds one by one in float32."""
    ascending = np.take_along_axis(x, np.argsort(np.abs(x), axis=-1), axis=-1)
    orders = {
        "sequential": x,
        "reversed": x[..., ::-1],
        "ascending": ascending,
        "descending": ascending[..., ::-1],
    }
    return {name: np.add.accumulate(row, axis=-1)[..., -1:] for name, row in orders.items()} | {
        "pairwise": np.sum(x, -1, keepdims=True)
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", ["any sign", "positive", "stagnating"])
def test_a_sum_in_any_order_stays_inside_the_bound(rows: str, kind: str) -> None:
    for size in (2.0**-22, 2.0**-4):
        x, bound = carrying(kind, size, (8, 1025), 7, positive=rows == "positive")
        if rows == "stagnating":  # a single 1, and behind it what is lost on it term by term
            scale = np.where(np.arange(1025) == 0, 1.0, 2.0**-28).astype(np.float32)
            x, bound = abs(x) * scale, abs(bound) * Rounded(scale, F32)
        for order, total in added_up(x).items():
            assert is_inside(total, bounds.sum(bound, axis=-1, keepdims=True)), (order, size)


# --- whole definitions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPERATORS)
def test_a_definition_and_its_derivative_stay_inside_their_bounds(name: str, dtype: str) -> None:
    operator, format = OPERATORS[name], FORMATS[dtype]
    for case in grid(operator, dtype, EFFORTS["quick"], 0):
        call = operator.call(case)
        arguments = {
            k: v.astype(dtype) if isinstance(v, np.ndarray) and v.dtype.kind == "f" else v
            for k, v in call.arguments.items()
        }
        working = FORMATS[call.output_dtype]
        if arguments.pop("dtype", None):
            arguments["input"] = arguments["input"].astype(call.output_dtype)
        g = upstream_gradient(call, case).astype(call.output_dtype)
        with np.errstate(all="ignore"):
            observed = {FORWARD: operator.forward(**arguments)}
            gradients = operator.backward(g, **arguments)
        observed |= {k: getattr(gradients, k, gradients) for k in call.differentiable}
        for quantity, result in observed.items():
            stored = working if quantity == FORWARD else format
            with np.errstate(over="ignore"):
                result = np.asarray(result).astype(stored.name)
            bound = expected(call, (quantity,), g.astype(np.float64))[quantity]
            verdict = judge(result.astype(np.float64), bound, stored)
            assert verdict.passes, (case, quantity, verdict)
            assert not verdict.undecided, (case, quantity)


@pytest.mark.whole_runs
@pytest.mark.parametrize(
    "name", ["nll_loss", "cross_entropy", "binary_cross_entropy", "binary_cross_entropy_with_logits"]
)
def test_the_losses_of_a_batch_may_be_added_up_in_any_order(name: str) -> None:
    operator = OPERATORS[name]
    shape = (4096, 3) if operator.targets_classes else (4096,)
    for values in operator.values:
        call = operator.call(operator.case("float32", shape, values, {"reduction": "sum"}, 5))
        arguments = {
            k: v.astype(np.float32) if getattr(v, "dtype", None) == np.float64 else v
            for k, v in call.arguments.items()
        }
        with np.errstate(all="ignore"):
            losses = operator.forward(**arguments | {"reduction": "none"})
        for order, total in added_up(losses).items():
            for count, reduction in ((1, "sum"), (4096, "mean")):
                bound = expected(
                    replace(call, arguments={**call.arguments, "reduction": reduction}), (FORWARD,)
                )[FORWARD]
                assert is_inside(total[0] / np.float32(count), bound), (values, order, reduction)


# --- second-order terms, each with the smallest example that needs it ---------------------------------------


def test_what_is_rounded_is_the_sum_with_its_shared_error() -> None:
    x = np.asarray([[2.0, 2.0]])
    bound = Rounded(x - 0.5, F32, Error(shared={ROW: (0.0, np.asarray([[0.5, 0.5]]))})) + Rounded(
        [[U, 3 * U]], F32
    )
    # One is rounded down and one up, both by U.
    assert is_inside((x + np.asarray([[U, 3 * U]])).astype(np.float32), bound)


def test_a_product_may_be_multiplied_in_any_order() -> None:
    a, b, c = (
        np.asarray(x, dtype=np.float32)
        for x in np.meshgrid([3.0, 5.0, 2.0], [7.0, 0.75, 1.0], np.geomspace(0.1, 10, 50))
    )
    bound = (Rounded(a, F32) * Rounded(b, F32)) * Rounded(c, F32)
    for product in ((a * b) * c, a * (b * c), (a * c) * b):
        assert is_inside(product, bound)


def test_a_quotient_that_rounds_twice_rounds_its_absolute_error_twice() -> None:
    bound = Rounded(1.0, F32, Error(absolute=0.75)) / Rounded(3.0, F32)
    assert bound.total_error() >= (1.75 * (1 + U) ** 2 - 1) / 3


def test_what_is_lost_of_a_small_addend_is_as_large_as_its_error_makes_it() -> None:
    x = np.asarray([1.0, U * (1 + 2.0**-23)])  # is rounded up to 2 U, and truly is a little less than U
    bound = Rounded(x * [1, 1 - 2.0**-20], F32, Error(np.asarray([0.0, 2.0**-20 + 2.0**-23])))
    assert is_inside(np.sum(x.astype(np.float32)), bounds.sum(bound))


def test_a_sum_is_rounded_together_with_the_error_that_its_addends_share() -> None:
    # (1 + 1/2) + (3/2 + 1/2) is 7/2.
    x = Rounded([[1.0, 1.5]], F32, Error(shared={ROW: (0.0, np.asarray([[0.5, 0.5]]))}))
    assert bounds.sum(x, axis=-1, keepdims=True).total_error() >= 1 + 3.5 * U / (1 + U)


def test_abs_turns_the_shared_error_of_a_number_that_may_change_its_sign() -> None:
    x = Rounded([[0.25, 8.0]], F32, Error(shared={ROW: (0.0, np.asarray([[1.0, 1.0]]))}))
    assert is_inside([[0.75, 7.0]], abs(x))


def test_a_conversion_rounds_twice_where_it_lies_between_the_formats_and_allows_no_more() -> None:
    beyond = 1 + 2.0**-11 + 2.0**-40  # just beyond the middle of 1 and the next number of float16
    assert FLOAT16.round(np.asarray(beyond)) == 1 + 2.0**-10
    once, through = (
        Arithmetic.for_dtype("float64", storage=FLOAT16, conversion=conversion)
        for conversion in (None, FLOAT32)
    )
    errors = [
        float(store(Rounded(np.asarray([beyond]), arithmetic)).total_error()[0])
        for arithmetic in (once, through)
    ]
    assert errors[0] < beyond - 1 <= errors[1] < beyond - 1 + 2.0**-24
    assert through.between(FLOAT64, FLOAT16) == FLOAT32
    assert {
        through.between(*pair)
        for pair in ((FLOAT64, FLOAT32), (FLOAT64, FLOAT64), (FLOAT32, FLOAT16), (FLOAT16, FLOAT64))
    } == {None}


def test_a_number_next_to_zero_may_be_stored_as_the_smallest_subnormal() -> None:
    smallest = FLOAT16.smallest_subnormal
    assert (
        store(Rounded(0.0, Arithmetic.for_dtype("float16"), Error(absolute=0.75 * smallest))).total_error()
        >= smallest
    )
