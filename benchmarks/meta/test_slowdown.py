"""The measurement of what the benchmarks tell: the slowdown is as large as said, and is told or not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from torch_loss_parity.benchmarks.buffers import buffers, draw
from torch_loss_parity.benchmarks.meta import slowdown
from torch_loss_parity.benchmarks.meta.results import result
from torch_loss_parity.benchmarks.meta.running import OF_OTHERS
from torch_loss_parity.benchmarks.paths import BASELINE, PATHS, SUBJECT, Step
from torch_loss_parity.benchmarks.workload import FORWARD, WORKS
from torch_loss_parity.processes.folders import CHECKOUT


def test_the_slowed_path_waits_for_the_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that goes on by a second each time it is looked at, and by a hundred within a call."""
    now = 0.0

    def look() -> float:
        nonlocal now
        now += 1.0
        return now

    def call(argument: int) -> int:
        nonlocal now
        now += 100.0
        return argument

    monkeypatch.setattr(slowdown, "perf_counter", look)
    own = replace(PATHS[BASELINE], step=lambda work, mode, held: Step(lambda i: i, call, lambda output: {}))
    monkeypatch.setitem(PATHS, BASELINE, own)
    held = buffers(draw(WORKS["softmax"], "float32", (8, 8), 0), "cpu")
    step = slowdown.slowed(0.05).step(WORKS["softmax"], FORWARD, held)
    assert step.call(7) == 7
    assert 102 + 0.05 * 101 <= now <= 102 + 0.05 * 101 + 2


def test_a_slowdown_is_told_where_the_interval_is_narrow() -> None:
    results = [
        result(BASELINE, "softmax"),
        result(SUBJECT, "softmax", speed=0.95, apart=0.02),
        result(BASELINE, "log_softmax"),
        result(SUBJECT, "log_softmax", speed=0.95, apart=0.2),  # too wide
        result(BASELINE, "cross_entropy"),
        result(SUBJECT, "cross_entropy", speed=1.1, apart=0.02),  # told, as faster: that is wrong
        result(BASELINE, "nll_loss", seconds=1e-5),
        result(SUBJECT, "nll_loss", speed=0.95, seconds=1e-5),  # too short to count
    ]
    assert [(each.work, told) for each, told in slowdown.told(results)] == [
        ("softmax", True),
        ("log_softmax", False),
        ("cross_entropy", False),
    ]


@pytest.mark.whole_runs
def test_a_wrong_option_is_a_usage_error() -> None:
    command = [sys.executable, "-m", "torch_loss_parity.benchmarks.meta.slowdown", "--effort", "none"]
    ended = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert ended.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--effort is 'none'" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.whole_runs
def test_a_slowdown_is_measured_in_a_whole_run(tmp_path: Path) -> None:
    """Twice as slow is told wherever the run itself says that it tells half of that: beside much other work
    it may not.
    """
    command = [
        sys.executable,
        "-m",
        "torch_loss_parity.benchmarks.meta.slowdown",
        "--share",
        "1.0",
        "--effort",
        "quick",
    ]
    saved = tmp_path / "rounds.json"
    ended = subprocess.run(
        [*command, "--operator", "softmax", "--record", str(saved)],
        cwd=CHECKOUT,
        env={name: value for name, value in os.environ.items() if name not in OF_OTHERS},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode in (0, 1), ended.stdout + ended.stderr
    tells = re.findall(r"nine in ten one of ([\d.]+)%", ended.stdout)[-1]
    if float(tells) < 50:
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "a slowdown of 100% was told in 2 of the 2 groups" in ended.stdout
    recorded = json.loads(saved.read_text())
    modes = ("forward", "forward+backward")
    assert set(recorded) == {f"softmax, {mode}, 2048x1024, float32" for mode in modes}
    assert all(len(rounds) >= 9 for rounds in recorded.values())
