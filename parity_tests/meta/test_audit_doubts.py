"""An enclosure that does not hold the true value is noticed, whatever the machine and the subject.

Claims shown here: in a small result, or one of float64, balls see every element; in a larger one a wrong
evaluation of any single element, those named in the figures among them, is told by the other evaluation or by
balls; what is wrong in both evaluations is missed with the probability that is stated, wherever it lies; the
sample follows from the arguments alone; a closed form of a sweep that is wrong is noticed. Without what
notices it, each would pass in silence.

What is observed here is made from true values, never asked of torch.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np
import pytest

from torch_loss_parity.audit import doubts, float32_result, float32_sweep
from torch_loss_parity.audit.certify import Evaluation, Truth, truths
from torch_loss_parity.audit.doubts import CERTAIN, FEW, SAMPLE
from torch_loss_parity.audit.error_cells import FLOOR
from torch_loss_parity.audit.errors import MEDIAN, P999, Errors, measured
from torch_loss_parity.audit.exhaustive import Sweep
from torch_loss_parity.expectation.expectation import FORWARD
from torch_loss_parity.operators import DTYPES, OPERATORS
from torch_loss_parity.reference.arithmetic.formats import FORMATS

WITNESSED = ("float16", "bfloat16", "float32")
SMALL, LARGE = (4, 8), (700, 10)
BOUNDS = 4.0  # times its bound an error is noticed
OUTSIDE, EXCLUDED = "is outside its own bound: balls say so", "exclude each other"


def true_values(dtype: str, shape: tuple[int, int], seed: int = 0) -> Truth:
    operator = OPERATORS["log_softmax"]
    return truths(operator.call(operator.case(dtype, shape, "normal", {"dim": 1}, seed)), (FORWARD,))[FORWARD]


def observed_of(truth: Truth) -> np.ndarray:
    """A result that is a few ulps off here and there, and 300 in one element."""
    rng, units = np.random.default_rng(1), truth.format.spacing(np.asarray(truth.value, dtype=np.float64))
    off = rng.integers(-3, 4, truth.value.shape)
    off.reshape(-1)[truth.value.size // 3] = 300
    return truth.format.round(np.asarray(truth.value, dtype=np.float64)) + off * units


def errors_of(observed: np.ndarray, truth: Truth) -> Errors:
    """Of a result in which no element is undecided, nor of the wrong kind."""
    no = np.zeros(observed.shape, dtype=bool)
    return measured(observed, truth, no, no)


def moved(evaluation: Evaluation | Truth, at: Any, ulps: float, dtype: str) -> Any:
    """The values of an evaluation, those of chosen elements wrong."""
    value = evaluation.value
    off = np.zeros(value.shape)
    off.reshape(-1)[at] = ulps * FORMATS[dtype].spacing(np.asarray(value.reshape(-1)[at], dtype=np.float64))
    return value + off


def in_both(truth: Truth, at: Any, ulps: float) -> Truth:
    """Both evaluations wrong in the same elements, by the same amount."""
    assert truth.second is not None
    value = moved(truth, at, ulps, truth.format.name)
    second = truth.second._replace(value=truth.second.value + (value - truth.value))
    return replace(truth, value=value, second=second)


def bounds_of(truth: Truth) -> np.ndarray:
    """The bound of each element's evaluation, in ulps; at least what intervals of errors resolve."""
    units = truth.format.spacing(np.asarray(truth.value, dtype=np.float64))
    return np.maximum(truth.error / units, 2.0**-20).reshape(-1)


def named_in_figures(observed: np.ndarray, truth: Truth) -> list[int]:
    """The elements that figures rest on by themselves: the largest and the smallest errors, those of the
    percentiles and their neighbours, those nearest to half an ulp; the first, the last and some between."""
    value = np.asarray(truth.value, dtype=np.float64)
    errors = (np.abs(observed - value) / truth.format.spacing(value)).reshape(-1)
    order = np.argsort(errors)
    ranks = [ceil(share * len(order)) - 1 for share in (MEDIAN, P999)]
    nearest = np.argsort(np.abs(errors - 0.5))[:4]
    of_percentiles = [order[rank + d] for rank in ranks for d in (-1, 0, 1)]
    elements = [*order[-3:], *order[:3], *of_percentiles, *nearest, 0, len(order) - 1]
    return sorted({int(at) for at in elements} | set(range(7, len(order), 331)))


# --- every element ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [160.0, -160.0, BOUNDS])
@pytest.mark.parametrize("dtype", DTYPES)
def test_balls_see_every_element_of_a_small_result(dtype: str, times: float) -> None:
    """Off by so many ulps, or by a few times its own bound."""
    truth = true_values(dtype, SMALL)
    observed = observed_of(truth)
    assert errors_of(observed, truth).in_balls == truth.value.size <= FEW
    bounds = bounds_of(truth)
    for at in range(truth.value.size):
        ulps = times * bounds[at] if times == BOUNDS else times * max(1, bounds[at])
        with pytest.raises(AssertionError, match=f"element {at} {OUTSIDE}"):
            errors_of(observed, in_both(truth, at, ulps))


def test_balls_see_every_element_of_float64() -> None:
    truth = true_values("float64", LARGE)
    observed = observed_of(truth)
    errors = errors_of(observed, truth)
    assert errors.in_balls == errors.elements > FEW
    bounds = bounds_of(truth)
    for at in named_in_figures(observed, truth)[::3]:
        with pytest.raises(AssertionError, match=f"element {at} {OUTSIDE}"):
            errors_of(observed, in_both(truth, at, BOUNDS * bounds[at]))


@pytest.mark.parametrize("which", ["first", "second"])
@pytest.mark.parametrize("dtype", WITNESSED)
def test_a_wrong_evaluation_of_any_element_is_told_by_the_other(dtype: str, which: str) -> None:
    truth = true_values(dtype, LARGE)
    assert truth.second is not None
    observed = observed_of(truth)
    errors = errors_of(observed, truth)
    assert SAMPLE <= errors.in_balls < errors.elements / 10  # most rest on what is tried here
    for at in named_in_figures(observed, truth):
        if which == "first":
            planted = replace(truth, value=moved(truth, at, 160.0, dtype))
        else:
            second = truth.second._replace(value=moved(truth.second, at, 160.0, dtype))
            planted = replace(truth, second=second)
        with pytest.raises(AssertionError, match=f"the two evaluations of element {at} {EXCLUDED}"):
            errors_of(observed, planted)


@pytest.mark.parametrize("values", ["normal", "wide", "one_dominant"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_could_change_a_digit_is_told_in_every_element(dtype: str, values: str) -> None:
    """Twice the smallest error that counts, in all elements at once: each is told by the other evaluation, or
    goes to balls."""
    operator = OPERATORS["softmax"]
    truth = truths(operator.call(operator.case(dtype, LARGE, values, {"dim": 1}, 0)), (FORWARD,))[FORWARD]
    every = np.arange(truth.value.size)
    for ulps in (2 * FLOOR, -2 * FLOOR):
        told = doubts.exclusive(replace(truth, value=moved(truth, every, ulps, dtype)))
        seen, draws = doubts.in_doubt(truth, every)
        assert (told | seen).all()
        assert draws == SAMPLE
        assert told.any() or dtype == "float64"


def test_without_the_other_evaluation_the_largest_error_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """An evaluation that is wrong where the subject is, and by as much: the largest error is gone. The sample
    does not meet that element, and nothing else looks."""
    truth = true_values("float32", LARGE)
    observed = observed_of(truth)
    right = errors_of(observed, truth)
    worst = np.arange(truth.value.size).reshape(LARGE) == right.worst
    value = np.where(worst, observed, truth.value)
    assert right.worst not in doubts.sampled_elements(truth.key, truth.value.size)
    with pytest.raises(AssertionError, match=f"element {right.worst} {EXCLUDED}"):
        errors_of(observed, replace(truth, value=value))
    monkeypatch.setattr(doubts, "exclusive", lambda truth: np.zeros(truth.value.size, dtype=bool))
    assert right.max_ulp > 299
    assert errors_of(observed, replace(truth, value=value)).max_ulp < 4


# --- what both evaluations have wrong -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", WITNESSED)
def test_an_error_of_both_in_one_element_of_five_is_noticed(dtype: str) -> None:
    for seed in range(12):
        truth = true_values(dtype, LARGE, seed)
        at = np.flatnonzero(np.random.default_rng([2, seed]).random(truth.value.size) < 0.2)
        with pytest.raises(AssertionError, match=OUTSIDE):
            errors_of(observed_of(truth), in_both(truth, at, 0.25))


def test_it_is_the_sample_that_notices_what_both_have_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = true_values("float32", LARGE)
    at = np.flatnonzero(np.random.default_rng(2).random(truth.value.size) < 0.2)
    monkeypatch.setattr(doubts, "sampled_elements", lambda key, among: np.zeros(0, dtype=np.int64))
    right, wrong = (errors_of(observed_of(truth), one) for one in (truth, in_both(truth, at, 0.25)))
    assert wrong.cells != right.cells


@pytest.mark.parametrize("where", ["scattered", "one column", "the last rows"])
def test_the_sample_misses_what_it_is_said_to_miss(where: str) -> None:
    """A share of 1 / 50, wherever it lies: missed by (1 - 1/50) ** SAMPLE of all samples."""
    rows, columns, samples = 100, 50, 3000
    among = rows * columns
    wrong = np.zeros((rows, columns), dtype=bool)
    if where == "scattered":
        wrong.reshape(-1)[np.random.default_rng(3).choice(among, rows, replace=False)] = True
    elif where == "one column":
        wrong[:, 0] = True
    else:
        wrong[-rows // 50 :] = True
    missed = sum(not wrong.reshape(-1)[doubts.sampled_elements(key, among)].any() for key in range(samples))
    stated = (1 - 1 / 50) ** SAMPLE
    assert abs(missed - samples * stated) <= 5 * (samples * stated * (1 - stated)) ** 0.5


def test_what_a_number_of_draws_is_worth() -> None:
    assert (1 - 0.2) ** SAMPLE < 2.0**-CERTAIN  # as the note says
    for draws in (SAMPLE, 1000 * SAMPLE):
        assert np.isclose((1 - doubts.noticed_share(draws)) ** draws, 2.0**-CERTAIN)
    assert doubts.noticed_share(0) == 1  # nothing was drawn: anything may be missed


def test_the_sample_follows_from_the_arguments_alone() -> None:
    one, again, other = (true_values("float32", LARGE, seed).key for seed in (0, 0, 1))
    assert one == again != other
    assert not np.array_equal(doubts.sampled_elements(one, 7000), doubts.sampled_elements(other, 7000))
    truth = true_values("bfloat16", LARGE)
    for observed in (observed_of(truth), np.full(truth.value.shape, -1.0)):
        assert errors_of(observed, truth).sampled == SAMPLE


# --- kinds, parts, sweeps -----------------------------------------------------------------------------------


@pytest.mark.parametrize("planted", [np.nan, np.inf])
def test_an_evaluation_that_is_no_number_is_noticed(planted: float) -> None:
    """It would count as an element without an error, by one evaluation or by both."""
    truth = true_values("float32", SMALL)
    assert truth.second is not None
    observed, at = observed_of(truth), np.arange(32).reshape(SMALL) == 19
    value, second = (np.where(at, planted, each.value) for each in (truth, truth.second))
    with pytest.raises(AssertionError, match=f"the two evaluations of element 19 {EXCLUDED}"):
        errors_of(observed, replace(truth, value=value))
    both = replace(truth, value=value, second=truth.second._replace(value=second))
    with pytest.raises(AssertionError, match=f"the evaluation of element 19 is {planted}"):
        errors_of(observed, both)


def test_chosen_elements_keep_their_witnesses() -> None:
    truth, chosen = true_values("float32", LARGE), np.arange(5, 6000, 7)
    part = truth.of(chosen)
    assert part.second is not None
    assert not doubts.exclusive(part).any()
    assert doubts.exclusive(replace(part, value=moved(part, [11], 1.0, "float32")))[11]
    one, other = part.balls(np.asarray([3, 0]), 128), truth.balls(chosen[[3, 0]], 128)
    assert all(a.overlaps(b) for a, b in zip(one, other, strict=True))


def test_a_wrong_closed_form_of_a_sweep_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """By 2**-17 ulps on a fifth of the inputs: no figure changes that is compared besides."""
    one, right = Sweep("binary_cross_entropy_with_logits", "float32", "0"), float32_result.closed_forms

    def wrong(sweep: Sweep) -> Any:
        def values(x: np.ndarray) -> Any:
            off = 1 + np.where(x.astype(np.float32).view(np.uint32) % 5 == 0, 2.0**-40, 0.0)
            return {name: value * off for name, value in right(sweep)(x).items()}

        return values

    assert float32_sweep.measure(one, 0x3F800000, 2**13, "torch", "cpu")
    for module in (float32_result, float32_sweep):
        monkeypatch.setattr(module, "closed_forms", wrong)
    with pytest.raises(AssertionError, match=OUTSIDE):
        float32_sweep.measure(one, 0x3F800000, 2**13, "torch", "cpu")
