"""On a device that only says it is one, see `torch_loss_parity.meta.pretend_device`: nothing of the suite,
the audit or the benchmarks mixes what is there with what the CPU has; and what does is seen.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

from torch_loss_parity.meta import pretend_device
from torch_loss_parity.processes import suite
from torch_loss_parity.processes.folders import BENCHMARKS, CLAIMS, PACKAGE

pytestmark = [
    pytest.mark.whole_runs,
    pytest.mark.skipif(
        not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
        reason="a backend can be written in Python from torch 2.13 on",
    ),
]
FORGETFUL = """
import torch
from torch.nn import functional as F

def nll_loss(input, target, weight=None, ignore_index=-100, reduction="mean"):
    if weight is None:
        weight = torch.ones(input.shape[input.ndim > 1], dtype=input.dtype)  # on no device in particular
    return F.nll_loss(input, target, weight, ignore_index=ignore_index, reduction=reduction)
"""
RIGHT = "torch_loss_parity.faults.right.definition"
CLAIMED = ("test_forward.py", "test_gradients.py", "layouts", "semantics", "errors")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = pretend_device.installed(tmp_path_factory.mktemp("backend"))
    return {**os.environ, "PYTHONPATH": str(folder)}


def run(environment: dict[str, str], subject: str, operator: str, *options: str) -> tuple[int, str]:
    """pytest on the device: its exit code, and what it prints."""
    chosen = ("--subject", subject, "--operator", operator)
    few = ("--dtype", "float32", "--effort", "quick", "-q", "-p", "no:cacheprovider", "-p", "no:xdist")
    arguments = suite.arguments(["--device", pretend_device.NAME, *options, *chosen, *few])
    command = [sys.executable, "-m", "pytest", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_claims_forget_no_tensor(environment: dict[str, str]) -> None:
    code, printed = run(environment, RIGHT, "nll_loss", *(str(CLAIMS / name) for name in CLAIMED))
    assert code == 0, printed[-4000:]
    assert "on pretend" in printed


def test_the_audit_forgets_no_tensor(environment: dict[str, str], tmp_path: Path) -> None:
    code, printed = run(environment, RIGHT, "softmax", str(PACKAGE / "audit"), "--audit", str(tmp_path))
    assert code == 0, printed[-4000:]
    assert "the subject runs on pretend" in printed


def test_the_benchmarks_forget_no_tensor(environment: dict[str, str]) -> None:
    code, printed = run(environment, RIGHT, "softmax", str(BENCHMARKS), "--benchmark-disable")
    assert code == 0, printed[-4000:]


def test_a_kernel_that_forgets_the_device_fails(environment: dict[str, str], tmp_path: Path) -> None:
    """It passes on the CPU."""
    kernels = tmp_path / "forgetful.py"
    kernels.write_text(FORGETFUL)
    claim = str(CLAIMS / "test_forward.py")
    code, printed = run(environment, str(kernels), "nll_loss", claim)
    assert code == 1, printed[-4000:]
    assert "Expected all tensors to be on the same device" in " ".join(printed.split())
    code, printed = run(environment, str(kernels), "nll_loss", claim, "--device", "cpu")
    assert code == 0, printed[-4000:]
