"""Whatever a subject does, a run ends, says what happened, and judges the rest.

pytest is run as a person would, twice: on a subject each of whose functions does something else that it
should not, and, with a worker, on one that kills the process; here, and where there is no SIGALRM and no
fork.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from torch_loss_parity.processes import watchdog
from torch_loss_parity.subjects import SubjectError, load

pytestmark = pytest.mark.whole_runs

ROOT = Path(__file__).parents[2]
LIMIT = 2  # seconds
Environment = Mapping[str, str]
# What torch imports when a tensor first goes to meta takes seconds on a busy machine: before the time counts.
MISBEHAVING = """
import torch
import torch.fx.experimental.symbolic_shapes
import torch.nn.functional as F

def softmax(input, dim, dtype=None):
    raise TypeError("no kernel for this")

def log_softmax(input, dim, dtype=None):
    return input.tolist() if input.requires_grad else F.log_softmax(input, dim, dtype=torch.float16)

def nll_loss(input, target, weight=None, ignore_index=-100, reduction="mean"):
    if weight is not None:
        raise NotImplementedError("class weights are not supported")
    return F.nll_loss(input, target, None, ignore_index=ignore_index, reduction=reduction)

def cross_entropy(input, target, *args, **options):
    while True:
        pass

def binary_cross_entropy(input, target, *args, **options):
    return F.binary_cross_entropy(input, target, *args, **options)[None].to("meta")
"""
DEADLY = """
import os
from torch.nn.functional import log_softmax

def softmax(input, dim, dtype=None):
    os.abort()
"""
HANGING = """
import sys
from pathlib import Path
from torch_loss_parity.processes import watchdog

watching = watchdog.start(Path(sys.argv[1]), "main", 0.2)
watching.begin(operator="softmax")
watching.doing("a case")
sum(range(10**15))
"""


def run(directory: Path, environment: Environment, source: str, *options: str) -> tuple[int, str]:
    """pytest on a subject of this source; its exit code and what it printed."""
    subject = directory / "their_kernels.py"
    subject.write_text(source)
    files = [f"parity_tests/claims/test_{claim}.py" for claim in ("forward", "gradients")]
    command = [
        sys.executable,
        "-m",
        "pytest",
        *files,
        "--subject",
        str(subject),
        "--dtype",
        "float32",
        "--effort",
        "quick",
    ]
    done = subprocess.run(
        [*command, "--time-limit", str(LIMIT), "-p", "no:cacheprovider", *options],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def misbehaving(tmp_path_factory: pytest.TempPathFactory, environment: Environment) -> str:
    code, output = run(tmp_path_factory.mktemp("misbehaving"), environment, MISBEHAVING)
    assert code == pytest.ExitCode.TESTS_FAILED
    return output


def verdict(output: str, operator: str) -> str:
    """The line of the table below an operator."""
    row = re.search(rf"^{operator}\n  (float32 .*)$", output, re.MULTILINE)
    assert row, output
    return row[1]


def test_what_raises_fails_with_its_case_and_a_script(misbehaving: str) -> None:
    assert re.search(
        r"softmax of .*their_kernels\.py on cpu, float32: the result is wrong: it raises "
        r"TypeError: no kernel",
        misbehaving,
    )
    assert re.search(r"  case      softmax float32 ", misbehaving)
    assert "  reproduce with" in misbehaving
    assert "FAIL" in verdict(misbehaving, "softmax")


def test_what_is_no_right_tensor_fails_and_says_why(misbehaving: str) -> None:
    assert "the result is a list, expected a torch.Tensor" in misbehaving
    assert "the result has dtype torch.float16, expected torch.float32" in misbehaving
    assert "the result is on meta, expected cpu" in misbehaving
    assert "FAIL" in verdict(misbehaving, "log_softmax")
    assert "FAIL" in verdict(misbehaving, "binary_cross_entropy")


def test_an_option_that_is_not_implemented_is_not_offered_and_the_rest_passes(misbehaving: str) -> None:
    assert verdict(misbehaving, "nll_loss").endswith("too little tested: forward, gradients")
    assert re.search(r"^ +\d+  nll_loss: class weights are not supported$", misbehaving, re.MULTILINE)


def test_an_operator_that_is_not_there_is_not_offered(misbehaving: str) -> None:
    assert verdict(misbehaving, "binary_cross_entropy_with_logits").split()[1:] == ["0", "not", "offered"]


def test_what_never_returns_fails_and_the_run_goes_on(misbehaving: str) -> None:
    assert f"it did not return within {LIMIT} s" in misbehaving
    assert re.search(r"case      cross_entropy float32", misbehaving)
    assert "not run: 2 tests of cross_entropy did not return, or killed the process" in misbehaving
    assert "FAIL" in verdict(misbehaving, "cross_entropy")


def test_a_process_that_dies_fails_by_name_and_the_run_ends(tmp_path: Path, environment: Environment) -> None:
    pytest.importorskip(
        "xdist", reason="without workers (extra: parallel) the process that dies is the run's own"
    )
    code, output = run(tmp_path, environment, DEADLY, "-n", "1", "-k", "forward and random")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert re.search(r"crashed while running .*\[softmax-float32\]", output)
    assert re.search(rf"the process died, or was ended after {2 * LIMIT} s\s+case +softmax float32", output)
    assert "FAIL" in verdict(output, "softmax")
    assert "  pass" in verdict(output, "log_softmax")


def test_a_process_that_hangs_where_none_is_raised_is_ended(tmp_path: Path, environment: Environment) -> None:
    command = [sys.executable, "-c", HANGING, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Timeout" in done.stderr  # and the stack: faulthandler's
    assert watchdog.Watch(tmp_path, "", 1.0).last("main") == {"operator": "softmax", "case": "a case"}


def test_a_file_of_a_package_is_told_how_it_is_named(tmp_path: Path) -> None:
    package = tmp_path / "kernels"
    package.mkdir()
    (package / "losses.py").write_text("from .core import softmax\n")
    with pytest.raises(SubjectError, match=r"relative import.*dotted module, such as kernels\.losses"):
        load(str(package / "losses.py"), ("softmax",))
