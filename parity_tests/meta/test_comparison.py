"""The verdict can fail, says what is wrong, and passes what rounding explains.

Planted faults are small changes of a correct result; each must be rejected, in every dtype in which it is
one. A correct result, a stagnating sum and an error that a whole row shares must pass.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from torch_loss_parity import reference
from torch_loss_parity.judging import comparison
from torch_loss_parity.judging.comparison import Verdict, judge
from torch_loss_parity.reference.arithmetic.error import Error, Unknown
from torch_loss_parity.reference.arithmetic.formats import (
    BFLOAT16,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    FORMATS,
    Arithmetic,
)
from torch_loss_parity.reference.arithmetic.round_once import store
from torch_loss_parity.reference.arithmetic.rounding import Rounded

F32 = Arithmetic.for_dtype("float32")
WIDE = 131072
DTYPES = list(FORMATS)


def normal_row(n: int, dtype: str) -> np.ndarray:
    return FORMATS[dtype].round(np.random.default_rng(n).normal(0, 3, (1, n)))


def bound_on(x: np.ndarray, dtype: str, function: Callable[..., Any] = reference.softmax) -> Rounded:
    return store(function(Rounded(x, Arithmetic.for_dtype(dtype)), -1))


def correct(bound: Rounded, dtype: str) -> np.ndarray:
    """The true value, rounded once."""
    return np.asarray(FORMATS[dtype].round(bound.value), dtype=np.float64)


def verdict_of(observed: Any, bound: Rounded, dtype: str = "float32") -> Verdict:
    return judge(np.asarray(observed, dtype=np.float64), bound, FORMATS[dtype])


def stored(x: Any, dtype: str) -> np.ndarray:
    return np.asarray(FORMATS[dtype].round(np.asarray(x, dtype=np.float64)))


# --- what passes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", [reference.softmax, reference.log_softmax])
def test_the_true_value_rounded_once_and_torch_pass(function: Callable[..., Any], dtype: str) -> None:
    x = normal_row(1000, dtype)
    bound = bound_on(x, dtype, function)
    assert verdict_of(correct(bound, dtype), bound, dtype).passes
    by_torch = getattr(torch, function.__name__)(
        torch.from_numpy(x).to(torch.float64 if dtype == "float64" else torch.float32), -1
    )
    verdict = verdict_of(stored(by_torch, dtype), bound, dtype)
    assert (verdict.passes, verdict.elements, verdict.undecided, verdict.reason) == (True, 1000, 0, "")


def test_a_sequential_float32_sum_that_stagnates_passes_with_a_fraction_near_1() -> None:
    x = np.where(np.arange(WIDE) == 0, 0.0, -17.0)[None]
    exponentials = np.exp(x.astype(np.float32))
    sequential = np.add.accumulate(exponentials, axis=-1)[:, -1:]
    assert sequential == 1
    verdict = verdict_of(exponentials / sequential, bound_on(x, "float32"))
    assert verdict.passes
    assert verdict.fraction > 0.9
    assert verdict.ulps > 10000


def test_an_error_that_the_row_shares_passes_where_one_element_alone_with_it_fails() -> None:
    bound = bound_on(normal_row(WIDE, "float32"), "float32")
    ((r, _),) = bound.error.shared.values()
    off = np.exp(0.5 * np.max(np.abs(r)))
    assert off > 1 + 100 * FLOAT32.unit_roundoff * np.log(WIDE)
    everywhere = stored(bound.value * off, "float32")
    assert verdict_of(everywhere, bound).passes
    one = correct(bound, "float32")
    one[0, 77] = everywhere[0, 77]
    verdict = verdict_of(one, bound)
    assert not verdict.passes
    assert verdict.index == (0, 77)
    # So each element's own allowance accepts it.
    assert np.abs(one - bound.value)[0, 77] < bound.total_error()[0, 77]


# --- planted faults -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_zeros_fail_for_a_softmax_over_131072(dtype: str) -> None:
    bound = bound_on(normal_row(WIDE, dtype), dtype)
    assert not verdict_of(np.zeros((1, WIDE)), bound, dtype).passes


def scaled_at(index: int, factor: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda p: np.where(np.arange(p.shape[-1]) == index, p * factor, p)


def alternating(size: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda p: p * np.where(np.arange(p.shape[-1]) % 2, 1 + size, 1 - size)


@pytest.mark.parametrize(
    ("fault", "index"),
    [
        pytest.param(scaled_at(500, 1.001), 500, id="one element in 131072 by 1e-3"),
        pytest.param(scaled_at(77, 1 + 1e-5), 77, id="one element in 131072 by 1e-5"),
        pytest.param(lambda p: p * (1 + 1e-2), None, id="the whole row by 1e-2"),
        pytest.param(alternating(1e-4), None, id="alternate elements by 1e-4"),
        pytest.param(lambda p: -p, None, id="the sign is flipped"),
        pytest.param(lambda p: np.roll(p, 1), None, id="the next element's"),
        pytest.param(lambda p: p[:, ::-1], None, id="the row is reversed"),
        pytest.param(lambda p: p.astype(np.float16), None, id="float16 on the way"),
    ],
)
def test_a_change_of_a_float32_softmax_over_131072_fails(
    fault: Callable[[np.ndarray], np.ndarray], index: int | None
) -> None:
    bound = bound_on(normal_row(WIDE, "float32"), "float32")
    verdict = verdict_of(stored(fault(correct(bound, "float32")), "float32"), bound)
    assert not verdict.passes
    assert index is None or verdict.index == (0, index)


@pytest.mark.parametrize(
    ("dtype", "size"),
    [("float16", 2.0**-8), ("bfloat16", 2.0**-5), ("float32", 1e-5), ("float64", 1e-13)],
    ids=lambda v: str(v),
)
def test_a_temperature_one_element_and_alternate_elements_that_are_off_fail_in_every_dtype(
    dtype: str, size: float
) -> None:
    x = normal_row(1000, dtype)
    bound = bound_on(x, dtype)
    right, largest = correct(bound, dtype), int(np.argmax(bound.nearest))
    for fault in (
        scaled_at(largest, 1 + size),
        alternating(size),
        lambda p: bound_on(x * (1 + size), dtype).value,
    ):
        assert not verdict_of(stored(fault(right), dtype), bound, dtype).passes


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_last_class_dropped_from_the_sum_fails_for_131072_equal_logits(dtype: str) -> None:
    bound = bound_on(np.full((1, WIDE), 1.5), dtype)
    assert verdict_of(correct(bound, dtype), bound, dtype).passes
    assert not verdict_of(stored(np.full((1, WIDE), 1 / (WIDE - 1)), dtype), bound, dtype).passes
    bound = bound_on(np.full((1, WIDE), 1.5), dtype, reference.log_softmax)
    assert verdict_of(correct(bound, dtype), bound, dtype).passes
    assert not verdict_of(stored(np.full((1, WIDE), -np.log(WIDE - 1)), dtype), bound, dtype).passes


def test_float32_arithmetic_inside_float64_fails() -> None:
    x = normal_row(5, "float32")
    assert not verdict_of(
        reference.softmax(x.astype(np.float32), -1), bound_on(x, "float64"), "float64"
    ).passes


def test_a_float16_result_that_was_rounded_to_bfloat16_first_fails() -> None:
    bound = bound_on(normal_row(100, "float16"), "float16")
    assert not verdict_of(FLOAT16.round(BFLOAT16.round(bound.value)), bound, "float16").passes


def test_a_result_that_lies_on_the_wrong_side_of_a_tie_fails_by_that_alone() -> None:
    exact = Rounded(1 + 2.0**-9 - 2.0**-20, Arithmetic.for_dtype("bfloat16"))
    assert verdict_of(1.0, store(exact), "bfloat16").passes
    assert not verdict_of(1 + 2.0**-7, store(exact), "bfloat16").passes


# --- what is wrong besides the size of an error -------------------------------------------------------------

VALUES = Rounded([1.0, np.nan, np.inf, -np.inf], F32)
KINDS = ("a finite number", "nan", "inf", "-inf")


def test_every_kind_of_value_passes_where_it_is_expected() -> None:
    assert verdict_of(VALUES.value, VALUES).passes


@pytest.mark.parametrize(
    ("index", "wrong"),
    [
        (0, np.nan),
        (0, np.inf),
        (1, 1.0),
        (1, np.inf),
        (2, -np.inf),
        (2, 3e38),
        (2, np.nan),
        (3, np.inf),
        (3, 0.0),
    ],
)
def test_a_value_of_the_wrong_kind_fails_and_says_so(index: int, wrong: float) -> None:
    observed = VALUES.value.copy()
    observed[index] = wrong
    verdict = verdict_of(observed, VALUES)
    assert verdict.fraction == np.inf
    assert verdict.index == (index,)
    observed_kind = "a finite number" if np.isfinite(wrong) else str(wrong)
    assert verdict.reason == f"{observed_kind} where {KINDS[index]} is expected"
    assert np.array_equal(verdict.observed, wrong, equal_nan=True)


@pytest.mark.parametrize("shape", [(4, 1), (1,), (), (5,), (2, 2)])
def test_a_wrong_shape_fails_and_names_both(shape: tuple[int, ...]) -> None:
    verdict = verdict_of(np.zeros(shape), VALUES)
    assert not verdict.passes
    assert verdict.reason == f"shape is {shape}, expected (4,)"


def test_infinity_is_right_only_where_the_true_value_overflows_the_dtype() -> None:
    half = Arithmetic.for_dtype("float16")
    # From 65520 on, a number rounds to infinity.
    bound = store(Rounded([65515.0, 65530.0, -65530.0, 65504.0], half))
    right = correct(bound, "float16")
    assert np.array_equal(right, [65504.0, np.inf, -np.inf, 65504.0])
    assert verdict_of(right, bound, "float16").passes
    for index, wrong in ((0, np.inf), (1, -np.inf), (1, 65504.0), (2, np.inf), (3, np.inf)):
        observed = right.copy()
        observed[index] = wrong
        assert not verdict_of(observed, bound, "float16").passes, (index, wrong)


def test_an_infinite_bound_leaves_an_element_undecided_and_hides_no_other() -> None:
    bound = Rounded([1.0, 1.0], F32, Error(absolute=np.asarray([np.inf, 0.5])))
    verdict = verdict_of([np.nan, 1.25], bound)
    assert (verdict.passes, verdict.undecided, verdict.elements) == (True, 1, 2)
    assert not verdict_of([np.nan, 2.0], bound).passes


def test_nothing_to_compare_passes_with_no_elements() -> None:
    verdict = verdict_of(np.zeros((0, 3)), Rounded(np.zeros((0, 3)), F32))
    assert (verdict.passes, verdict.elements) == (True, 0)


# --- the numbers --------------------------------------------------------------------------------------------


def test_the_worst_element_is_reported_with_its_numbers() -> None:
    bound = Rounded([[1.0, 2.0], [4.0, 8.0]], F32, Error(absolute=0.5))
    verdict = verdict_of([[1.0, 2.25], [4.0, 7.0]], bound)
    assert (verdict.index, verdict.observed, verdict.expected, verdict.allowed, verdict.fraction) == (
        (1, 1),
        7.0,
        8.0,
        0.5,
        2.0,
    )
    assert verdict.ulps == 1 / FLOAT32.spacing(8.0)
    assert verdict_of([[1.0, 2.25], [4.0, 8.0]], bound).index == (0, 1)


def test_the_error_of_a_wrong_zero_is_given_in_ulps_of_zero() -> None:
    assert verdict_of([FLOAT32.smallest_subnormal], Rounded([0.0], F32)).ulps == 1


def test_a_row_off_by_a_multiple_of_its_shared_error_has_a_fraction_that_grows_with_it() -> None:
    row = np.asarray([[1.0, 2.0, -3.0]])
    for shared in ((0.25, 0.0), (0.0, np.ones((1, 3)))):
        bound = Rounded(row, F32, Error(2.0**-20, 2.0**-20, {Unknown(-1): shared}))
        slope = row * shared[0] + shared[1]
        fractions = [verdict_of(row + t * slope, bound).fraction for t in np.linspace(0, 3, 25)]
        assert all(before <= after for before, after in pairwise(fractions))
        assert fractions[7] < 1 < fractions[10]
        # Two values of the one unknown.
        assert not verdict_of(row + np.asarray([[0.5, -0.5, 0.5]]) * slope, bound).passes


def test_a_larger_error_of_one_element_never_has_a_smaller_fraction() -> None:
    bound = bound_on(normal_row(50, "float64"), "float64")
    previous = 0.0
    for size in np.geomspace(FLOAT64.unit_roundoff, 1, 60):
        verdict = verdict_of(scaled_at(20, 1 + size)(bound.value), bound, "float64")
        assert verdict.fraction >= previous / comparison.RESOLUTION
        previous = verdict.fraction
    assert previous > 1e10
