"""What is said to be a difference, and what is not."""

from __future__ import annotations

import pytest

from benchmarks import findings, scaling
from benchmarks.matrix import CLASSES, shape_name
from benchmarks.meta.results import result
from benchmarks.noise import SAME, UNKNOWN, noise
from benchmarks.result import Result


def test_a_difference_beyond_the_noise_is_a_factor() -> None:
    found = noise([result("torch", speed=1.02)])
    assert found.speed(result("numpy", speed=0.5)) == "0.5"
    assert found.speed(result("compile", speed=1.03)) == "1.03"


@pytest.mark.parametrize("apart", [1.02, 1 / 1.02])
def test_a_difference_below_the_noise_is_not_shown_as_one(apart: float) -> None:
    found = noise([result("torch", speed=apart)])
    assert found.speed(result("compile", speed=1.019)) == SAME
    assert found.speed(result("compile", speed=1 / 1.019)) == SAME


def test_a_group_that_is_noisy_cannot_tell() -> None:
    found = noise([result("torch", speed=1.05)])
    assert found.speed(result("compile", speed=0.96)) == UNKNOWN
    assert found.speed(result("compile", speed=3.0)) == "3"
    assert "This run was too noisy to tell" in found.verdict


def test_a_lucky_group_is_no_quieter_than_half_of_the_groups() -> None:
    others = [result("torch", work=work, speed=1.025) for work in ("log_softmax", "nll_loss")]
    found = noise([result("torch", speed=1.0), *others])
    assert found.speed(result("compile", speed=1.02)) == SAME


def test_a_quiet_run_says_so() -> None:
    found = noise([result("torch", speed=1.01), result("torch", work="nll_loss", speed=1.3, seconds=1e-5)])
    assert found.verdict == "A/A of the 1 groups of a millisecond and more: half within 1.0%, the worst 1.0%"


def test_without_torch_nothing_is_known_about_noise() -> None:
    assert "not known" in noise([result("numpy")]).verdict


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_law_is_found(exponent: float) -> None:
    sizes = [rows * classes for rows, classes in CLASSES]
    swept = [result("torch", shape=shape_name(s), seconds=1e-5 + 1e-9 * n**exponent) for s, n in zip(CLASSES, sizes, strict=True)]
    (curve,) = scaling.curves(swept)
    assert curve.along == "classes"
    if curve.exponent is None:  # too few sizes at which the call itself does not count
        assert exponent == 0.5
    else:
        assert curve.exponent == pytest.approx(exponent, abs=0.1)


def test_two_sizes_have_no_exponent() -> None:
    assert scaling.curves([result("torch", shape=shape_name(shape)) for shape in CLASSES[:2]]) == []


def test_a_run_is_read_out() -> None:
    said = findings.sentences(
        [
            result("torch", floor=3.0),
            result("compile", floor=1.5, speed=2.0),
            result("torch", work="log_softmax", floor=12.0),
            result("numpy", work="log_softmax", floor=20.0, speed=0.6),
        ]
    )
    assert said == [
        "Forward and backward at 2048x1024 in float32: nearest the limit is compile in softmax, at 1.5 times the floor.",
        "The fused operators of torch take 6 times the floor (geometric mean of 2), at most 12 times (log_softmax); in softmax they leave "
        "a factor of 2 on the table, which compile takes.",
    ]


def test_results_survive_json() -> None:
    one = result("torch")
    assert Result.from_info(one.as_info()) == one
    with pytest.raises(ValueError, match="it lacks work, mode"):
        Result.from_info({})
