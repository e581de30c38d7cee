"""Kernels of Triton are judged without a GPU, under Triton's interpreter: a right one passes, one without its
mask fails, and Liger-Kernel's fail for what is wrong with them alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from torch_loss_parity.processes.folders import PACKAGE, files_of_claims
from torch_loss_parity.subjects.triton_runs import INTERPRETER

SUBJECTS = "torch_loss_parity.subjects"
needs_triton = pytest.mark.skipif(
    not (find_spec("triton") and find_spec("liger_kernel")),
    reason="extra triton: it has no wheel for this system",
)


def judged(subject: str, directory: Path) -> dict[str, Any]:
    """The verdict on the results and gradients of a subject under the interpreter."""
    outcome = directory / "outcome.json"
    files = map(str, files_of_claims(("forward", "gradients")))
    # A process of its own: what the interpreter is to take the place of is decided when Triton is loaded.
    command = [sys.executable, "-m", "pytest", *files, f"--subject={subject}", f"--outcome={outcome}", "-q"]
    ended = subprocess.run(
        [*command, "--effort=quick", "--dtype=float32"],
        cwd=directory,
        env={**os.environ, INTERPRETER: "1", "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
    )
    assert outcome.exists(), ended.stdout + ended.stderr
    verdict: dict[str, Any] = json.loads(outcome.read_text(encoding="utf-8"))["verdict"]
    return verdict


def causes(verdict: dict[str, Any]) -> set[str]:
    return {each["cause"].partition(", by up to")[0].partition(":")[0] for each in verdict["causes"]}


@needs_triton
def test_a_right_kernel_passes(tmp_path: Path) -> None:
    verdict = judged(f"{SUBJECTS}.triton_softmax", tmp_path)
    assert (verdict["parts"]["numbers"]["word"], causes(verdict)) == ("pass", set())
    assert verdict["parts"]["numbers"]["cases"] >= 40


@needs_triton
def test_a_kernel_whose_padding_counts_fails(tmp_path: Path) -> None:
    source = (PACKAGE / "subjects" / "triton_softmax.py").read_text(encoding="utf-8")
    kernel = tmp_path / "kernel.py"
    kernel.write_text(source.replace('other=-float("inf")', "other=0.0"))
    verdict = judged(str(kernel), tmp_path)
    assert verdict["parts"]["numbers"]["word"] == "FAIL"
    assert causes(verdict) >= {"the result is off", "the gradient of input is off"}


@needs_triton
def test_liger_fails_for_what_is_wrong_with_it_alone(tmp_path: Path) -> None:
    verdict = judged(f"{SUBJECTS}.liger", tmp_path)
    assert causes(verdict) == {
        "it raises RuntimeError",  # cross_entropy of no rows
        "it raises ValueError",  # softmax of a number
        "a finite number where nan is expected",  # the mean of no row is 0
    }
