"""Where the rounding arithmetic says something else than "a few roundoffs more".

Claims shown here: what cannot round is not charged, so that one loss in 65536 and one logit in 131072 are
seen; formats round as NumPy's and torch's do, on every 16-bit number, tie and subnormal; what may overflow on
the way is undecided and counted so; what is below the smallest normal number may be flushed to zero, at every
step.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from torch_loss_parity import reference
from torch_loss_parity.expectation.expectation import FORWARD, expected
from torch_loss_parity.judging.comparison import judge
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.reference.arithmetic import rounding_functions as bounds
from torch_loss_parity.reference.arithmetic.formats import (
    BFLOAT16,
    FLOAT16,
    FLOAT32,
    FORMATS,
    Arithmetic,
    Format,
)
from torch_loss_parity.reference.arithmetic.rounding import Rounded

F32 = Arithmetic.for_dtype("float32")


def is_inside(computed: Any, bound: Rounded, format: Format = FLOAT32) -> bool:
    verdict = judge(np.asarray(computed), bound, format)
    return verdict.passes and not verdict.undecided


# --- what cannot round --------------------------------------------------------------------------------------

MANY = 65536
EXACT = {
    "nll_loss": "integers",
    "cross_entropy": "integer_losses",
    "binary_cross_entropy": "certain_probabilities",
    "binary_cross_entropy_with_logits": "signed_integer_losses",
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", EXACT)
def test_one_loss_dropped_or_doubled_among_65536_integers_is_seen(
    name: str, reduction: str, dtype: str
) -> None:
    operator = OPERATORS[name]
    shape = (MANY, 2) if operator.targets_classes else (MANY,)
    call = operator.call(operator.case(dtype, shape, EXACT[name], {"reduction": reduction}, 0))
    bound = expected(call, (FORWARD,))[FORWARD]
    assert bound.total_error() <= 4 * FORMATS[dtype].unit_roundoff * bound.value
    with np.errstate(divide="ignore"):
        losses = operator.forward(**{**call.arguments, "reduction": "none"})
    one = np.min(losses[losses > 0.5]) / (MANY if reduction == "mean" else 1)
    assert is_inside(bound.value, bound, FORMATS[dtype])
    for wrong in (bound.value - one, bound.value + one):
        assert not judge(wrong, bound, FORMATS[dtype]).passes


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_row_of_131072_equal_logits_is_known_to_a_few_roundoffs_and_masked_logits_cost_nothing(
    dtype: str,
) -> None:
    arithmetic, format = Arithmetic.for_dtype(dtype), FORMATS[dtype]
    for equal, per_roundoff in ((reference.softmax, 3), (reference.log_softmax, 10)):
        bound = equal(Rounded(np.full((1, 131072), 1.5), arithmetic), -1)
        assert np.all(bound.total_error() <= per_roundoff * format.unit_roundoff * np.abs(bound.value))
        row = np.asarray([[0.5, -3.0]])
        masked = np.full((1, 131072), -np.inf)
        masked[:, :2] = row
        short, long = (equal(Rounded(x, arithmetic), -1) for x in (row, masked))
        assert np.array_equal(
            long.total_error()[:, :2].astype(np.float64), short.total_error().astype(np.float64)
        )
        assert not long.total_error()[:, 2:].any()


# --- formats ------------------------------------------------------------------------------------------------


def patterns(dtype: torch.dtype) -> np.ndarray:
    """Every number of a 16-bit dtype, in float64."""
    return np.asarray(torch.arange(-(2**15), 2**15, dtype=torch.int16).view(dtype).to(torch.float64))


@pytest.mark.parametrize(
    ("format", "dtype"), [(FLOAT16, torch.float16), (BFLOAT16, torch.bfloat16)], ids=["float16", "bfloat16"]
)
def test_a_16_bit_format_rounds_as_torch_does_on_every_number_every_tie_and_next_to_it(
    format: Format, dtype: torch.dtype
) -> None:
    numbers = patterns(dtype)
    finite = np.unique(numbers[np.isfinite(numbers)])
    assert np.all(format.holds(numbers))
    assert np.array_equal(format.round(numbers), numbers, equal_nan=True)
    assert (finite[-1], finite[finite > 0][0]) == (format.largest, format.smallest_subnormal)
    away = np.diff(finite[finite >= 0])
    assert np.array_equal(format.spacing(finite[finite >= 0][:-1]), away)
    assert np.array_equal(format.spacing(finite[finite <= 0][1:][::-1]), away)
    ties = np.append((finite[1:] + finite[:-1]) / 2, [format.overflow_threshold, -format.overflow_threshold])
    narrow = ties.astype(np.float32)
    assert np.array_equal(narrow, ties)
    for x in (narrow, np.nextafter(narrow, np.float32(np.inf)), np.nextafter(narrow, np.float32(-np.inf))):
        assert np.array_equal(
            format.round(x.astype(np.float64)), torch.from_numpy(x).to(dtype).to(torch.float64).numpy()
        )
        assert not np.any(format.holds(x.astype(np.float64)))


def test_float32_rounds_as_numpy_does_on_random_bits_ties_subnormals_and_overflow() -> None:
    rng = np.random.default_rng(8)
    numbers = rng.integers(0, 2**32, 20000, dtype=np.uint32).view(np.float32)
    numbers = np.append(
        numbers[np.isfinite(numbers)],
        np.asarray([0, FLOAT32.smallest_subnormal, 1e-41, FLOAT32.smallest_normal, 1], dtype=np.float32),
    )
    wide = numbers.astype(np.float64)
    assert np.all(FLOAT32.holds(wide))
    assert np.array_equal(FLOAT32.spacing(wide), np.abs(np.spacing(numbers)))
    edges = [
        FLOAT32.overflow_threshold,
        np.nextafter(FLOAT32.overflow_threshold, 0),
        FLOAT32.largest,
        2.0**-150,
        np.inf,
        np.nan,
    ]
    others = np.concatenate([wide + np.spacing(numbers) / 2, wide * rng.uniform(0.5, 2, wide.shape), edges])
    with np.errstate(over="ignore"):
        assert np.array_equal(
            FLOAT32.round(others), others.astype(np.float32).astype(np.float64), equal_nan=True
        )
        assert np.array_equal(
            FLOAT32.holds(others), (others == others.astype(np.float32)) | ~np.isfinite(others)
        )


def test_an_unknown_dtype_and_an_unknown_order_name_the_choices() -> None:
    with pytest.raises(ValueError, match="'int8' is not one of float16, bfloat16, float32, float64"):
        Arithmetic.for_dtype("int8")
    with pytest.raises(ValueError, match="'random' is not one of 'any', 'cascade'"):
        bounds.sum(Rounded([1.0, 2.0], Arithmetic.for_dtype("float32", total_order="random")))


# --- overflow and underflow ---------------------------------------------------------------------------------


CLASS_0 = Rounded(np.zeros(4, dtype=np.int64), F32)


def test_a_mean_whose_sum_may_overflow_is_undecided_and_counted_so() -> None:
    bound = reference.nll_loss(Rounded(np.full((4, 1), -3e38), F32), CLASS_0)
    assert np.isinf(bound.total_error())
    for observed in (3e38, 0.0, np.inf):
        assert judge(np.asarray(observed), bound, FLOAT32).undecided == 1
    decided = reference.nll_loss(Rounded(np.full((4, 1), -3e37), F32), CLASS_0)
    assert judge(np.asarray(0.0), decided, FLOAT32).undecided == 0
    assert not judge(np.asarray(0.0), decided, FLOAT32).passes


def test_results_below_the_smallest_normal_number_may_be_flushed_to_zero_and_only_those() -> None:
    x = np.asarray([0.0, -86.0, -87.0, -88.0, -100.0, -200.0])
    correct = reference.softmax(x, 0).astype(np.float32).astype(np.float64)
    flushed = np.where(correct < FLOAT32.smallest_normal, 0.0, correct)
    assert 0 < np.sum(flushed == 0) < 5
    bound = reference.softmax(Rounded(x, F32), 0)
    assert is_inside(flushed, bound)
    assert not is_inside(np.where(x < -86.5, 0, correct), bound)
    strict = reference.softmax(Rounded(x, replace(F32, flushes_subnormals=False)), 0)
    assert is_inside(correct, strict)
    assert not is_inside(flushed, strict)


def test_a_sum_of_subnormal_numbers_may_be_flushed_at_every_step() -> None:
    assert is_inside(0.0, bounds.sum(Rounded(np.full(4, FLOAT32.smallest_normal / 4), F32)))


def test_the_ulps_of_an_exponential_hold_for_subnormal_results_too() -> None:
    x = np.asarray([-90.0, -100.0])
    off = F32.exp_ulps * FLOAT32.smallest_subnormal
    assert is_inside(np.exp(x) + off, bounds.exp(Rounded(x, replace(F32, flushes_subnormals=False))))
