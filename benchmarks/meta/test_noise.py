"""What is said to be a difference, and what is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from torch_loss_parity.benchmarks import headline, scaling, summary
from torch_loss_parity.benchmarks.matrix import CLASSES, shape_name
from torch_loss_parity.benchmarks.meta.results import result, run_of
from torch_loss_parity.benchmarks.noise import noise
from torch_loss_parity.benchmarks.result import Result

QUIET = result("torch", speed=1.005)


def test_a_difference_beyond_the_interval_is_told() -> None:
    noise_of_run = noise([QUIET])
    for speed in (0.5, 0.98, 1.02, 2.0):
        assert noise_of_run.tells_apart(result("compile", speed=speed))


def test_a_difference_within_the_interval_is_not_told() -> None:
    noise_of_run = noise([QUIET])
    for speed in (0.995, 1.0, 1.005):
        assert not noise_of_run.tells_apart(result("compile", speed=speed))
    assert not noise_of_run.tells_apart(result("compile", speed=1.5, apart=0.6))


def test_the_interval_is_that_of_the_comparison() -> None:
    """Not one for all: the same difference is told where rounds are quiet, and is not where they are not."""
    noise_of_run = noise([QUIET])
    assert noise_of_run.tells_apart(result("compile", speed=1.05, apart=0.01))
    assert not noise_of_run.tells_apart(result("compile", speed=1.05, apart=0.1))


def test_where_torch_differs_from_itself_as_much_nothing_is_told() -> None:
    noise_of_run = noise([result("torch", speed=1.05)])
    assert not noise_of_run.tells_apart(result("compile", speed=1.05))
    assert noise_of_run.tells_apart(result("compile", speed=1.2))
    assert noise_of_run.tells_apart(result("compile", speed=0.9))
    assert noise_of_run.tells_apart(result("compile", work="nll_loss", speed=1.05))  # another group


def test_torch_is_not_told_from_itself() -> None:
    assert not noise([result("torch", speed=1.05)]).tells_apart(result("torch", speed=1.05))


def test_a_run_says_what_it_tells() -> None:
    speeds = {"softmax": 1.01, "nll_loss": 1.05}
    long = [result("torch", work, speed=speed, apart=0.02) for work, speed in speeds.items()]
    short = result("torch", work="cross_entropy", speed=1.3, seconds=1e-5)
    assert noise([*long, short]).verdict == (
        "A/A, torch against itself: 1 of 2 groups of a millisecond and more hold 1 in their 95% intervals; "
        "half of the groups tell a difference of 2.0%, nine in ten one of 2.0%"
    )
    assert noise([short]).verdict.startswith("A/A, torch against itself: 0 of 1 groups hold 1")


def test_without_torch_nothing_is_known_about_noise() -> None:
    noise_of_run = noise([result("numpy")])
    assert "was not tried" in noise_of_run.verdict
    assert noise_of_run.tells_apart(result("numpy", speed=0.5))


@pytest.mark.parametrize(
    ("floor", "cold", "apart", "shown"),
    [
        (2.17, None, 0.01, "2.17"),
        (1.005, None, 0.01, "1"),
        (0.95, None, 0.01, "~1"),
        (0.68, 1.2, 0.01, "0.68 cache"),
        (0.68, 1.2, 0.9, "~1"),  # the interval holds 1
    ],
)
def test_a_figure_below_1_is_explained(floor: float, cold: float | None, apart: float, shown: str) -> None:
    assert summary.times(result("compile", floor=floor, cold=cold, apart=apart)) == shown


def test_what_is_not_told_is_marked() -> None:
    apart = noise([QUIET])
    assert summary.speed(result("compile", speed=1.5), apart) == "1.5"
    assert summary.speed(result("compile", speed=1.003), apart) == "1 ="
    assert summary.between(result("compile", speed=1.5, apart=0.1).against_torch) == "1.36..1.65"


def test_page_faults_that_are_not_counted_are_named() -> None:
    uncounted = replace(QUIET, page_faults=None)
    said = list(summary.omissions(run_of(results=[QUIET, uncounted])))
    assert "page faults not counted in 1 cells: this system does not tell them" in said
    assert summary.cells(uncounted, noise([]))[-1] == "-"
    assert not any("page faults" in each for each in summary.omissions(run_of(results=[QUIET])))


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_law_is_found(exponent: float) -> None:
    sizes = [rows * classes for rows, classes in CLASSES]
    swept = [
        result("torch", shape=shape_name(s), seconds=1e-5 + 1e-9 * n**exponent)
        for s, n in zip(CLASSES, sizes, strict=True)
    ]
    (curve,) = scaling.curves(swept)
    assert curve.along == "classes"
    if curve.exponent is None:  # too few sizes at which the call itself does not count
        assert exponent == 0.5
    else:
        assert curve.exponent == pytest.approx(exponent, abs=0.1)


def test_two_sizes_have_no_exponent() -> None:
    assert scaling.curves([result("torch", shape=shape_name(shape)) for shape in CLASSES[:2]]) == []


def test_a_run_is_read_out() -> None:
    said = headline.sentences(
        [
            result("torch", floor=3.0),
            result("compile", floor=1.5, speed=2.0),
            result("torch", work="log_softmax", floor=12.0),
            result("numpy", work="log_softmax", floor=20.0, speed=0.6),
        ]
    )
    assert said == [
        "Forward and backward at 2048x1024 in float32: nearest the limit is compile in softmax, at 1.5 times "
        "the floor.",
        "The fused operators of torch take 6 times the floor (geometric mean of 2), at most 12 times "
        "(log_softmax); in softmax they leave "
        "a factor of 2 on the table, which compile takes.",
    ]


def test_results_survive_json() -> None:
    one = result("torch")
    assert Result.from_info(one.as_info()) == one
    with pytest.raises(ValueError, match="it lacks work, mode"):
        Result.from_info({})
