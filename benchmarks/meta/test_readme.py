"""The README's table, from a saved run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from torch_loss_parity.benchmarks import readme
from torch_loss_parity.benchmarks.meta.results import result
from torch_loss_parity.reports.readme import PAGES

RESULTS = [
    result("torch", floor=3.0),
    result("compile", floor=1.5, speed=2.0),
    result("torch", "nll_loss", floor=12.0, seconds=2e-5),
    result("torch", shape="8192x32", floor=1.0),
]
MADE = """
Forward and backward at 2048x1024, float32, in multiples of the floor (torch 2.13.0, a CPU, AVX2, 1 thread(s);
glibc: as said):

| | torch | compile |
|---|---|---|
| `softmax` | 3 (10 ms) | 1.5 (10 ms) |
| `nll_loss` | 12 (20 us) |  |

Forward and backward at 2048x1024 in float32: nearest the limit is compile in softmax, at 1.5 times the floor.
The fused operators of torch take 6 times the floor (geometric mean of 2), at most 12 times (nll_loss); in
softmax they leave a factor of 2 on the table, which compile takes.
A/A, torch against itself: 2 of 2 groups of a millisecond and more hold 1 in their 95% intervals; half of the
groups tell a difference of 1.0%, nine in ten one of 1.0%.
"""
MACHINE = {
    "cpu": {"brand_raw": "a CPU"},
    "machine": "x",
    "torch": "2.13.0",
    "numpy": "2",
    "cpu_capability": "AVX2",
    "threads": 1,
}
RUN = {
    "machine_info": MACHINE | {"device": "cpu", "allocator": "glibc: as said"},
    "benchmarks": [{"extra_info": each.as_info()} for each in RESULTS],
}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    file = tmp_path / "run.json"
    file.write_text(json.dumps(RUN))
    return file


def test_the_table_is_that_of_the_run(saved: Path) -> None:
    section = readme.section([readme.kept(saved)])
    assert section == MADE.strip()


def test_it_is_written_kept_and_checked(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = tmp_path / "README.md"
    text.write_text("before\n<!-- benchmarks: begin -->\nold\n<!-- benchmarks: end -->\nafter\n")
    monkeypatch.setitem(PAGES, "benchmarks", text)
    monkeypatch.setattr(readme, "MEASURED", tmp_path / "measured.json")
    assert readme.main(["--check"]) == 2  # nothing was kept
    assert readme.main([str(saved), "--check"]) == 1
    assert readme.main([str(saved), "--write"]) == 0
    assert readme.main(["--check"]) == 0
    assert text.read_text().startswith("before\n<!-- benchmarks: begin -->\nForward and backward")
    text.write_text(text.read_text().replace("3 (10 ms)", "1 (1 ms)"))
    assert readme.main(["--check"]) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not JSON, or not all of it"),
        ("[]", "was not written by"),
        ("{}", "was not written by"),
        ({"machine_info": MACHINE, "benchmarks": [{"extra_info": {}}]}, "it lacks work, mode"),
        (RUN | {"benchmarks": []}, "has no torch in forward"),
    ],
)
def test_another_file_is_refused(
    content: Any, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "other.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    assert readme.main([str(file)]) == 2
    assert said in capsys.readouterr().err


def test_a_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert readme.main([str(tmp_path / "none.json")]) == 2
    assert "none.json cannot be read" in capsys.readouterr().err
