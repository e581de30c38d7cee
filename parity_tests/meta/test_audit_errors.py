"""The figures of the audit are those of the true errors, to the digits that are shown.

Claims shown here: cells are what prints the same three digits; the figures of every operator and dtype are
those that balls of 300 bits give for every element; parts add up to the whole; a planted error of 3 ulps in
one value of 65,536 is the maximum, there; ties, zeros, infinities and what is next to nothing are counted as
they should be; rows that are shortened in balls have the same true values.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil, prod
from typing import Any

import flint
import numpy as np
import pytest

from torch_loss_parity.audit import throughput
from torch_loss_parity.audit.certify import Truth, truths
from torch_loss_parity.audit.error_cells import BIN, FLOOR, INFINITE, LOWER, PRINTED, cells_of
from torch_loss_parity.audit.errors import MEDIAN, P999, Errors, measured
from torch_loss_parity.audit.record import EDGES, Measures
from torch_loss_parity.audit.standing import Standing
from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.expectation import (
    FORWARD,
    expected,
    grad_output_of,
    in_balls,
    upstream_gradient,
)
from torch_loss_parity.judging.comparison import kinds
from torch_loss_parity.judging.judge import output_shape
from torch_loss_parity.operators import DTYPES, OPERATORS, Gap
from torch_loss_parity.operators.sampling import EFFORTS, grid
from torch_loss_parity.reference.arithmetic import balls
from torch_loss_parity.reference.arithmetic.formats import FORMATS
from torch_loss_parity.subjects import load, run_subject

TORCH = load("torch", tuple(OPERATORS))
SMALL = 120  # elements: every one of them goes to balls


def measures(errors: Errors) -> Measures:
    return errors.measures(fraction=0.0, standing=Standing(), outputs="")


def log_softmax_call(dtype: str, shape: tuple[int, int], values: str = "normal", seed: int = 0) -> Call:
    return OPERATORS["log_softmax"].call(
        OPERATORS["log_softmax"].case(dtype, shape, values, {"dim": 1}, seed)
    )


def of_call(
    call: Call, observed: np.ndarray, quantity: str = FORWARD, g: np.ndarray | None = None, **options: Any
) -> Errors:
    return Errors.of(
        observed, truths(call, (quantity,), g)[quantity], expected(call, (quantity,), g)[quantity], **options
    )


# --- cells --------------------------------------------------------------------------------------------------


def test_what_is_in_a_cell_prints_the_same_three_digits() -> None:
    rng = np.random.default_rng(0)
    some = LOWER[1:-1][rng.integers(0, len(LOWER) - 2, 2000)]
    errors = np.concatenate(
        [10 ** rng.uniform(-5, 300, 4000), some, np.nextafter(some, 0.0), [0.0, FLOOR, 0.3125, 0.5]]
    )
    for error, cell in zip(errors, cells_of(errors), strict=True):
        assert PRINTED[cell] == (0.0 if error < FLOOR else float(f"{error:.3g}")), error
        assert BIN[cell] == np.searchsorted(EDGES, error, side="right"), error
    assert cells_of(np.asarray([np.inf]))[0] == INFINITE


# --- against balls for every element ------------------------------------------------------------------------


def brute(
    call: Call, quantity: str, g: np.ndarray | None, observed: np.ndarray
) -> tuple[list[float], float, float]:
    """Errors in ulps, in order, the largest relative one and the sum of the signed ones, from balls of 300
    bits.
    """
    format = FORMATS[call.dtype_of(quantity)]
    _, undecided, wrong = kinds(observed, expected(call, (quantity,), g)[quantity], format)
    with balls.precision(300):
        true = np.asarray(in_balls(call, quantity, g), dtype=object).reshape(-1)
        errors, relative, signed = [], 0.0, 0.0
        for x, ball, is_undecided, is_wrong in zip(
            observed.reshape(-1), true, undecided.reshape(-1), wrong.reshape(-1), strict=True
        ):
            ball = flint.arb(ball)
            if is_undecided:
                continue
            if is_wrong or not np.isfinite(x) or not ball.is_finite():
                errors.append(np.inf if is_wrong else 0.0)
                continue
            apart = flint.arb(float(x)) - ball
            nearest = 0.0 if ball.contains(0) else float(ball.mid())  # what 300 bits do not tell from 0 is 0
            unit = float(format.spacing(np.float64(nearest)))
            errors.append(float((abs(apart) / unit).mid()))
            signed += float((apart / unit).mid())
            if not ball.contains(0):
                relative = max(relative, float((abs(apart) / abs(ball)).mid()))
    return sorted(errors), relative, signed


def rank(errors: list[float], share: float) -> float:
    return errors[ceil(share * len(errors)) - 1]


def same_digits(figure: float, error: float) -> bool:
    """Equal to three digits; a float64 number that is a tie to the last bit may go either way."""
    return f"{figure:.3g}" in {
        f"{e:.3g}" for e in (error, np.nextafter(error, 0.0), np.nextafter(error, np.inf))
    }


AUDITED = [name for name, record in OPERATORS.items() if not isinstance(record.audit, Gap)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", AUDITED)
def test_figures_are_those_of_balls_for_every_element(name: str, dtype: str) -> None:
    operator, compared = OPERATORS[name], 0
    cases = [case for case in grid(operator, dtype, EFFORTS["quick"], 5) if 0 < prod(case.shape) <= SMALL][
        ::4
    ]
    for case in cases:
        call = operator.call(case)
        g = upstream_gradient(call, case)
        observed = run_subject.results(TORCH, call, "cpu", g)
        for quantity in (FORWARD, *call.differentiable):
            true = truths(call, (quantity,), None if quantity == FORWARD else g)[quantity]
            if not np.isfinite(true.value).any():
                continue
            errors, relative, signed = brute(call, quantity, g, observed[quantity])
            if not errors:
                continue
            figures = Errors.of(observed[quantity], true, expected(call, (quantity,), g)[quantity])
            shown = measures(figures)
            for figure, share in ((shown.median_ulp, MEDIAN), (shown.p999_ulp, P999)):
                error = rank(errors, share)
                assert (figure == 0) if error < FLOOR else same_digits(figure, error), (case, quantity, share)
            assert errors[-1] < FLOOR or same_digits(shown.max_ulp, errors[-1]), (case, quantity)
            assert same_digits(shown.max_relative, relative), (case, quantity)
            assert shown.correctly_rounded == sum(error <= 0.5 for error in errors), (case, quantity)
            assert sum(shown.bins) == len(errors) == shown.elements - shown.undecided
            if np.isfinite(errors[-1]):
                assert abs(figures.signed - signed) <= figures.slack * 1.01 + 2.0**-40 * (1 + sum(errors)), (
                    case,
                    quantity,
                )
            compared += len(errors)
    assert compared > 10


def test_percentiles_of_many_elements_have_three_digits() -> None:
    call = log_softmax_call("float32", (300, 50))
    observed = run_subject.forward(TORCH, call, "cpu")
    errors, _, _ = brute(call, FORWARD, None, observed)
    shown = measures(of_call(call, observed))
    assert (shown.median_ulp, shown.p999_ulp) == tuple(
        float(f"{rank(errors, share):.3g}") for share in (MEDIAN, P999)
    )


# --- parts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_parts_add_up_to_the_whole(dtype: str) -> None:
    call = log_softmax_call(dtype, (60, 20), "wide")
    observed = run_subject.forward(TORCH, call, "cpu")
    whole = of_call(call, observed)
    added = Errors()
    for first in range(0, 60, 7):
        part = replace(
            call, arguments={**call.arguments, "input": call.arguments["input"][first : first + 7]}
        )
        added += of_call(part, observed[first : first + 7], start=first * 20)
    assert added.model_copy(update={"signed": 0.0, "slack": 0.0}) == whole.model_copy(
        update={"signed": 0.0, "slack": 0.0}
    )
    assert abs(added.signed - whole.signed) <= added.slack + whole.slack
    assert added.slack <= abs(added.signed) * 2.0**-10
    assert Errors.model_validate_json(added.model_dump_json()) == added


# --- planted faults -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "at"), [("float16", 31234), ("bfloat16", 5), ("float32", 65535)])
def test_three_ulps_in_one_value_are_the_maximum(dtype: str, at: int) -> None:
    call = log_softmax_call(dtype, (4096, 16))
    true = truths(call, (FORWARD,))[FORWARD]
    right = FORMATS[dtype].round(np.asarray(true.value, dtype=np.float64))
    best = of_call(call, right)
    assert best.max_ulp <= 0.5
    assert best.correctly_rounded == best.elements
    wrong = right.copy().reshape(-1)
    wrong[at] += 3 * FORMATS[dtype].spacing(wrong[at])
    errors = of_call(call, wrong.reshape(right.shape))
    assert errors.worst == at
    assert 2.5 <= errors.max_ulp <= 3.5
    assert errors.correctly_rounded == errors.elements - 1


def test_what_cannot_be_told_by_the_filter_goes_to_balls() -> None:
    """With bounds of a thousand ulps nothing is known but what balls say, and the figures are the same."""
    call = log_softmax_call("float16", (8, 16))
    observed = run_subject.forward(TORCH, call, "cpu")
    true, bound = truths(call, (FORWARD,))[FORWARD], expected(call, (FORWARD,))[FORWARD]
    coarse = replace(true, error=true.error + 1000 * true.format.spacing(true.value))
    assert Errors.of(observed, coarse, bound).cells == Errors.of(observed, true, bound).cells


# --- kinds, ties, zeros -------------------------------------------------------------------------------------


def exact_truth(values: list[float], dtype: str) -> Truth:
    """True values that are float64 numbers, but are known to an ulp of float16 only before balls
    are asked.
    """
    value = np.asarray(values)
    error = np.where(np.isfinite(value), 2.0**-11 * np.abs(value) + 2.0**-30, 0.0)
    return Truth(value, error, FORMATS[dtype], lambda at, bits: [flint.arb(float(value[i])) for i in at])


def test_kinds_ties_and_zeros() -> None:
    one = 2.0**-10  # ulp of float16 above 1
    true = [1 + one / 2, 1 + one / 4, 1.0, 0.0, np.nan, np.inf, 1.0, 2.0]
    observed = np.asarray([1.0, 1.0, np.nan, 2.0**-24, np.nan, np.inf, 0.0, 2.0 - one])
    wrong = np.asarray([False, False, True, False, False, False, False, False])
    undecided = np.asarray([False, False, False, False, False, False, True, False])
    errors = measured(observed, exact_truth(true, "float16"), undecided, wrong)
    # A tie; a quarter; the wrong kind; one ulp of the smallest numbers; right; right; left out; half an ulp
    # of those above 2.
    counted = {float(PRINTED[cell]): count for cell, count in errors.cells.items()}
    assert counted == {0.0: 2, 0.25: 1, 0.5: 2, 1.0: 1, np.inf: 1}
    assert (errors.elements, errors.undecided, errors.correctly_rounded) == (8, 1, 5)
    assert (errors.max_ulp, errors.worst) == (np.inf, 2)
    # To the digits that are shown: the first comes within half of them.
    assert f"{errors.max_relative:.3g}" == f"{one / 2:.3g}"
    assert errors.signed == -0.5 - 0.25 + 1 - 0.5  # quarters: each a number, and so is every partial sum


def test_a_true_value_below_all_numbers_costs_nothing() -> None:
    """log(1 + e^-x) far out: 512 bits do not tell it from zero, and a result of zero is right."""
    call = Call(
        "log_softmax",
        {"input": np.asarray([[30000.0, 0.0], [-60000.0, 5.0]]), "dim": 1, "dtype": None},
        "float16",
        "float16",
    )
    observed = np.asarray([[0.0, -30000.0], [-60000.0, 0.0]])
    errors = of_call(call, observed)
    assert errors.max_ulp < FLOOR or PRINTED[cells_of(np.asarray([errors.max_ulp]))[0]] <= 0.5
    assert errors.correctly_rounded == 4


@pytest.mark.parametrize("quantity", [FORWARD, "input"])
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "cross_entropy"])
def test_shortened_rows_have_the_same_true_values(name: str, quantity: str) -> None:
    operator = OPERATORS[name]
    options = {"dim": 1} if name != "cross_entropy" else {"reduction": "none", "weight": "positive"}
    call = operator.call(operator.case("bfloat16", (3, 4000), "normal", options, 2))
    g = None if quantity == FORWARD else grad_output_of(call, output_shape(call), np.random.default_rng(0))
    assert any(len(np.unique(row)) * 2 <= 4000 for row in call.arguments["input"])
    true = truths(call, (quantity,), g)[quantity]
    chosen = np.asarray([0, 1, 2]) if true.value.ndim == 1 else np.asarray([0, 17, 3999, 4000, 8005, 11000])
    with balls.precision(128):
        whole = np.asarray(in_balls(call, quantity, g), dtype=object).reshape(-1)[chosen]
    for one, other in zip(true.balls(chosen, 128), whole, strict=True):
        assert one.overlaps(other)
        assert max(one.rel_accuracy_bits(), 0) > 80


def test_decimals_of_a_true_value_are_certified() -> None:
    call = log_softmax_call("float32", (1, 3))
    true = truths(call, (FORWARD,))[FORWARD]
    with balls.precision(2000):
        ball = np.asarray(in_balls(call, FORWARD, None), dtype=object).reshape(-1)[1]
    assert true.decimal(1) == ball.str(20, radius=False)


def test_throughput_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert throughput.main(["--rows", "8", "--classes", "10", "--repeat", "1"]) == 0
    assert "elements a second of one core" in capsys.readouterr().out
    assert throughput.main(["--dtype", "float8"]) == 1
    assert "choose from" in capsys.readouterr().err
