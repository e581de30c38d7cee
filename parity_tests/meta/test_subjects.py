"""Whatever a subject does, a run ends, says what happened, and judges the rest.

Each test runs pytest as a person would, on a subject that raises, returns something else, never returns or kills the process.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RIGHT = "from torch.nn.functional import log_softmax\n"


def run(tmp_path: Path, source: str, *options: str, claims: tuple[str, ...] = ("forward",)) -> tuple[int, str]:
    """pytest on a subject of this source; its exit code and what it printed."""
    subject = tmp_path / "their_kernels.py"
    subject.write_text(source)
    files = [f"parity_tests/test_{claim}.py" for claim in claims]
    command = [sys.executable, "-m", "pytest", *files, "--subject", str(subject), "--dtype", "float32", "--effort", "quick", *options]
    done = subprocess.run([*command, "-p", "no:cacheprovider"], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, done.stdout + done.stderr


def verdict(output: str, operator: str) -> str:
    """The line of the table about an operator."""
    found = re.search(rf"^{operator} +float32 .*$", output, re.MULTILINE)
    assert found, output
    return found[0]


def test_what_raises_fails_with_its_case_and_a_script_and_the_rest_is_judged(tmp_path: Path) -> None:
    code, output = run(tmp_path, RIGHT + "def softmax(input, dim, dtype=None): raise TypeError('no kernel for this')")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "softmax of" in output
    assert "the result is wrong: it raises TypeError: no kernel for this" in output
    assert "  reproduce with" in output
    assert "FAIL" in verdict(output, "softmax")
    assert verdict(output, "log_softmax").endswith("pass")


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("input.tolist()", "the result is a list, expected a torch.Tensor"),
        ("torch.softmax(input, dim).double()", "the result has dtype torch.float64, expected torch.float32"),
        ("torch.softmax(input, dim)[None]", "expected"),
        ("torch.softmax(input, dim).to('meta')", "the result is on meta, expected cpu"),
    ],
)
def test_what_is_no_right_tensor_fails_and_says_why(returned: str, message: str, tmp_path: Path) -> None:
    code, output = run(tmp_path, f"import torch\ndef softmax(input, dim, dtype=None): return {returned}")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert message in output
    assert "FAIL" in verdict(output, "softmax")


def test_an_option_that_is_not_implemented_is_not_offered_and_the_rest_passes(tmp_path: Path) -> None:
    source = """
import torch.nn.functional as F
def cross_entropy(input, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    if weight is not None:
        raise NotImplementedError("class weights are not supported")
    return F.cross_entropy(input, target, None, ignore_index=ignore_index, reduction=reduction, label_smoothing=label_smoothing)
"""
    code, output = run(tmp_path, source)
    assert code == pytest.ExitCode.OK
    assert re.search(r"pass; \d+ not offered$", verdict(output, "cross_entropy"))
    assert "cross_entropy: class weights are not supported" in output


def test_a_subject_that_never_returns_fails_and_the_run_goes_on(tmp_path: Path) -> None:
    source = RIGHT + "def softmax(input, dim, dtype=None):\n    while True: pass"
    code, output = run(tmp_path, source, "--time-limit", "3", claims=("forward", "gradients"))
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "it did not return within 3 s" in output
    assert re.search(r"case      softmax float32", output)
    assert "not run: 2 tests of softmax did not return" in output
    assert verdict(output, "log_softmax").endswith("pass")


@pytest.mark.parametrize(
    ("dies", "limit"),
    [("import os; os.abort()", "60"), ("sum(range(10**15))", "3")],
    ids=["kills the process", "hangs where no exception can be raised"],
)
def test_a_process_that_dies_fails_by_name_and_the_run_goes_on(dies: str, limit: str, tmp_path: Path) -> None:
    pytest.importorskip("xdist", reason="without workers (extra: parallel) the process that dies is the run's own")
    source = RIGHT + f"def softmax(input, dim, dtype=None): {dies}"
    code, output = run(tmp_path, source, "-n", "1", "--time-limit", limit, claims=("forward", "gradients"))
    assert code == pytest.ExitCode.TESTS_FAILED
    assert re.search(r"crashed while running .*softmax", output)
    assert re.search(r"the process died, or was ended after .* s\s+case +softmax float32", output)
    assert "FAIL" in verdict(output, "softmax")
    assert verdict(output, "log_softmax").endswith("pass")


def test_a_time_limit_that_is_none_is_refused(tmp_path: Path) -> None:
    code, output = run(tmp_path, RIGHT, "--time-limit", "0")
    assert code == pytest.ExitCode.USAGE_ERROR
    assert "--time-limit is 0; it must be a positive number of seconds" in output
