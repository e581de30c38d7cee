"""Whole runs: what they tell apart, print, save and compare, also where they are interrupted or a path is
wrong.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from torch_loss_parity.benchmarks.meta.running import PLANTED, Run, run
from torch_loss_parity.benchmarks.result import Result

pytestmark = pytest.mark.whole_runs

SMALL = (
    "benchmarks",
    "--effort",
    "quick",
    "--dtype",
    "float32",
    "--shape",
    "64x64",
    "--path",
    "torch,subject",
)


def measured(path: Path) -> dict[tuple[str, str], Result]:
    """The results in a file that pytest-benchmark wrote, by work and path."""
    timings = [
        Result.from_info(each["extra_info"])
        for each in json.loads(path.read_text())["benchmarks"]
        if each["extra_info"]
    ]
    return {(result.work, result.path): result for result in timings if result.mode == "forward+backward"}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, dict[str, Any]]:
    """A run of planted subjects, and what it saved."""
    saved = tmp_path_factory.mktemp("planted") / "saved.json"
    ended = run(
        *SMALL,
        *("--subject", PLANTED, "--operator", "softmax,log_softmax,cross_entropy,binary_cross_entropy"),
        f"--benchmark-json={saved}",
        f"--benchmark-report={saved.with_suffix('.html')}",
        "--benchmark-columns=min,rounds",
    )
    return ended, {"json": saved, "page": saved.with_suffix(".html").read_text()}


def test_a_subject_that_sleeps_is_slow_and_right(planted: tuple[Run, dict[str, Any]]) -> None:
    _, saved = planted
    timings = measured(saved["json"])
    slow, own = timings["softmax", "subject"], timings["softmax", "torch"]
    assert slow.median - own.median >= 1e-3 * 0.99  # what it sleeps: no bound on how fast this machine is
    assert slow.speed < 0.5
    assert slow.fraction == own.fraction  # the numbers are the same


def test_a_subject_that_is_wrong_has_no_time(planted: tuple[Run, dict[str, Any]]) -> None:
    ended, saved = planted
    assert ended.exitcode == pytest.ExitCode.TESTS_FAILED
    assert ("log_softmax", "torch") in measured(saved["json"])
    assert ("log_softmax", "subject") not in measured(saved["json"])
    assert (
        "WRONG, no time: subject in log_softmax, forward+backward, 64x64, float32: the result is wrong"
    ) in ended.said
    table = ended.printed.partition("benchmark 'log_softmax, forward+backward")[2].partition("Legend")[0]
    assert "-torch]" in table
    assert "log_softmax-forward+backward-64x64-float32-subject]" not in table
    assert "Wrong, and so without a time: subject in log_softmax" in saved["page"]


@pytest.mark.parametrize("work", ["cross_entropy", "binary_cross_entropy"])
def test_a_subject_that_remembers_by_address_is_caught(
    planted: tuple[Run, dict[str, Any]], work: str
) -> None:
    """Its result, or the graph that it kept, belongs to numbers that are no longer there."""
    ended, saved = planted
    assert (work, "subject") not in measured(saved["json"])
    assert (
        f"{work}-forward+backward-64x64-float32-subject]" in ended.printed.partition("short test summary")[2]
    )


def test_stale_results_are_told_from_wrong_ones() -> None:
    """Forward alone, where no graph is in the way: right in every round, and stale once the numbers are
    exchanged.
    """
    ended = run(
        *(
            "benchmarks/test_paths.py",
            "--subject",
            PLANTED,
            "--operator",
            "cross_entropy,binary_cross_entropy",
            "--path",
            "torch,subject",
        ),
        *(
            "--dtype",
            "float32",
            "--shape",
            "64x64",
            "-k",
            "forward-64x64 and not weight and not smoothing and not probabilities",
        ),
    )
    lines = [f"WRONG{said}" for said in ended.said.split("WRONG")[1:]]
    assert [line.partition("subject in ")[2].partition(",")[0] for line in lines] == [
        "cross_entropy",
        "binary_cross_entropy",
    ]
    assert all(
        "it is what belongs to other numbers, which lay at the same address before" in line for line in lines
    ), lines


def test_what_raises_or_is_not_offered_is_told(tmp_path: Path) -> None:
    ended = run(
        *(
            "benchmarks",
            "--effort",
            "standard",
            "--dtype",
            "float32,float64",
            "--shape",
            "64x64",
            "--path",
            "subject,scipy",
        ),
        f"--benchmark-json={tmp_path / 'saved.json'}",
        *("--subject", PLANTED, "--operator", "binary_cross_entropy_with_logits"),
    )
    assert ended.exitcode == pytest.ExitCode.TESTS_FAILED
    assert (
        "WRONG, no time: subject in binary_cross_entropy_with_logits, forward, 64x64, float32: it raises "
        "RuntimeError"
    ) in ended.said
    assert "not offered in 1 cells: binary_cross_entropy_with_logits: no float64 here" in ended.said
    assert "cells: scipy.special has no binary_cross_entropy_with_logits" in ended.said
    assert "no benchmarks have been run" in ended.said  # so nothing is saved
    assert "Traceback" not in ended.said


def test_interrupted_it_prints_and_saves_what_it_has(tmp_path: Path) -> None:
    ended = run(
        *SMALL,
        *(
            "--subject",
            PLANTED,
            "--operator",
            "softmax,nll_loss",
            f"--benchmark-json={tmp_path / 'saved.json'}",
        ),
        f"--benchmark-report={tmp_path / 'page.html'}",
        environment={"PLANTED_INTERRUPT": "8"},
    )
    assert ended.exitcode == pytest.ExitCode.INTERRUPTED
    timings = measured(tmp_path / "saved.json")
    assert ("softmax", "subject") in timings
    assert ("nll_loss", "subject") not in timings
    assert "multiples of the floor, by group" in ended.printed
    assert "Outliers" not in ended.printed  # pytest-benchmark's own table was not asked for
    lines = ended.printed.splitlines()
    # Two that are not ours have a path.
    own = [line for line in lines if "KeyboardInterrupt" not in line and "Wrote benchmark data" not in line]
    assert not [line for line in own if len(line) > 100]
    assert "cells have no result: not selected, interrupted, failed or not offered" in ended.said
    assert "softmax, forward+backward" in (tmp_path / "page.html").read_text()


def test_saved_runs_are_compared_and_a_regression_fails(tmp_path: Path) -> None:
    arguments = (
        *(*SMALL, "--subject", PLANTED, "--operator", "softmax", "-k", "subject and not forward-64x64"),
        f"--benchmark-storage=file://{tmp_path}",
    )
    assert run(*arguments, "--benchmark-save=before").exitcode == pytest.ExitCode.OK
    slower = {"PLANTED_SLEEP": "60e-3"}
    ended = run(
        *arguments, "--benchmark-compare=0001", "--benchmark-compare-fail=min:900%", environment=slower
    )
    assert ended.exitcode == pytest.ExitCode.TESTS_FAILED
    assert "Performance has regressed" in ended.printed
    assert "(0001_before)" in ended.printed
    assert "machine_info is different" not in ended.printed  # nothing in it changes from run to run
    assert "multiples of the floor, by group" in ended.printed  # the summary stands all the same
    assert (
        run(*arguments, "--benchmark-compare=0001", "--benchmark-compare-fail=min:900%").exitcode
        == pytest.ExitCode.OK
    )


def test_group_by_and_columns_are_those_of_pytest_benchmark() -> None:
    ended = run(
        *SMALL[:-1],
        "torch",
        "--operator",
        "softmax",
        "--benchmark-group-by=param:dtype,param:mode",
        "--benchmark-columns=min,rounds",
    )
    assert ended.exitcode == pytest.ExitCode.OK
    assert "benchmark 'dtype=float32 mode=forward+backward'" in ended.printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--threads", "0"), "--threads is 0; it must be at least 1"),
        (("--path", "nothing"), "--path is 'nothing'; choose from torch, compile, composed, numpy, scipy"),
        (("--path", "subject"), "--path is 'subject' (name it with --subject); choose from"),
        (("--shape", "3"), "--shape is '3'; it must be ROWSxCLASSES"),
        (
            ("--benchmark-report", "/nowhere/page.html"),
            "--benchmark-report is '/nowhere/page.html'; its folder must exist",
        ),
        (("--device", "nowhere"), "--device is 'nowhere'; on this machine there is cpu"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_wrong_options_are_usage_errors(arguments: tuple[str, ...], said: str) -> None:
    ended = run("benchmarks", "--collect-only", *arguments)
    assert ended.exitcode == pytest.ExitCode.USAGE_ERROR
    assert said in ended.printed


# Is collected, but it was named.
NOTHING_ELSE = ("--ignore=parity_tests", "--ignore=reference", "--ignore=benchmarks/meta")


@pytest.mark.parametrize(
    ("arguments", "timed"),
    [
        (("benchmarks",), True),
        (("benchmarks/test_paths.py",), True),
        (("benchmarks", "--benchmark-disable"), False),
        (("benchmarks", "-n", "2"), False),
        (("benchmarks", "reference"), False),
        ((), False),
    ],
    ids=lambda value: " ".join(value) or "no arguments" if isinstance(value, tuple) else "",
)
def test_times_are_taken_when_only_benchmarks_are_named(arguments: tuple[str, ...], timed: bool) -> None:
    ended = run(
        *arguments, *NOTHING_ELSE, "--collect-only", "-q", "--effort", "quick", "--operator", "softmax"
    )
    assert ended.exitcode == pytest.ExitCode.OK, ended.printed
    assert ("-2048x1024-" in ended.printed) is timed
    assert ("-7x33-" in ended.printed) is not timed


def test_the_benchmarks_own_tests_are_not_timed() -> None:
    ended = run("benchmarks", "--collect-only", "-q", "--operator", "softmax")
    assert "benchmarks/meta" not in ended.printed
    assert "deselected" in ended.printed
    ended = run("benchmarks/meta/test_workload.py", "--collect-only", "-q")
    assert "benchmarks/meta/test_workload.py" in ended.printed


def test_a_subject_is_loaded_once(tmp_path: Path) -> None:
    """It may be slow to import, and what it does then is its own."""
    subject = tmp_path / "loaded.py"
    subject.write_text("from torch.nn.functional import softmax\nprint('the subject is loaded')\n")
    ended = run(
        "benchmarks/test_paths.py",
        "--subject",
        str(subject),
        "--collect-only",
        "-q",
        "--effort",
        "quick",
        "--path",
        "subject",
    )
    assert ended.printed.count("the subject is loaded") == 1
    assert "softmax-forward+backward-2048x1024-float32-subject" in ended.printed
