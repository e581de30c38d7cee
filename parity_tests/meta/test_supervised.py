"""A subject that ends its process fails by name of its case in a run of one process too; the rest runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from torch_loss_parity.plugin import lost_device, supervised
from torch_loss_parity.processes import suite, system
from torch_loss_parity.processes.folders import PACKAGE
from torch_loss_parity.subjects.settings import SETTINGS

KERNEL = """
import os, signal
import torch
def softmax(input, dim, dtype=None):
    if input.numel() > 200:
        os._exit(0)
    return torch.softmax(input, dim, dtype=dtype)
def log_softmax(input, dim, dtype=None):
    if input.numel() > 200:
        os.kill(os.getpid(), signal.SIGKILL)
    return torch.log_softmax(input, dim, dtype=dtype)
"""


@pytest.mark.skipif(not system.FORK, reason="without fork the run ends with its process")
def test_the_test_that_a_subject_dies_in_fails_and_the_others_run(tmp_path: Path) -> None:
    kernel = tmp_path / "kernel.py"
    kernel.write_text(KERNEL)
    command = [sys.executable, "-m", "pytest", str(PACKAGE / "claims" / "test_forward.py"), "-p", "no:xdist"]
    command += ["--subject", str(kernel), "--like", "torch", "--dtype", "float32", "--effort", "quick"]
    ended = subprocess.run([*command, "-q"], capture_output=True, text=True, cwd=tmp_path)
    output = ended.stdout + ended.stderr
    assert ended.returncode == pytest.ExitCode.TESTS_FAILED, output
    for operator, how in (("softmax", "it exited with 0"), ("log_softmax", "by SIGKILL")):
        assert f"FAIL: the process died: {how}, in " in output
        assert f"{operator}: the process died: {how}\n  case      {operator} float32 " in output
    (failed, passed), *_ = re.findall(r"(\d) failed, (\d) passed", output)
    assert int(failed) + int(passed) == 4  # two tests of each of two operators
    assert int(failed) == len(re.findall(r"^FAIL: the process died", output, re.M)) >= 2


class Ended(Exception):
    """The process has ended."""


def after_a_failure(device: str, *, elsewhere: bool = False, **config: Any) -> None:
    """What becomes of a test that fails on a device."""
    subject = SimpleNamespace(is_elsewhere=elsewhere)
    stash = {SETTINGS: SimpleNamespace(device=device, subject=subject)}
    item = SimpleNamespace(nodeid="a_test", config=SimpleNamespace(stash=stash, **config))
    call = lost_device.pytest_runtest_call(cast(pytest.Item, item))
    next(call)
    call.throw(RuntimeError("device-side assert triggered"))


def test_a_test_that_leaves_the_device_of_no_use_ends_its_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def end(status: int) -> None:
        raise Ended(status)

    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(supervised, "_directory", [])
    assert lost_device.answers("cpu")
    assert not lost_device.answers("meta")  # where there are no numbers
    for device, answers in (("cpu", False), ("cuda", True)):
        monkeypatch.setattr(lost_device, "answers", lambda _, answers=answers: answers)
        with pytest.raises(RuntimeError, match="device-side assert"):
            after_a_failure(device, workerinput={})
    monkeypatch.setattr(lost_device, "answers", lambda _: False)
    with pytest.raises(RuntimeError, match="device-side assert"):
        after_a_failure("cuda", elsewhere=True)  # judged from a file, where there may be no such device
    with pytest.raises(Ended, match=str(lost_device.STATUS)):
        after_a_failure("cuda", workerinput={})
    said = "cuda is of no use to this process after a_test: device-side assert triggered; with -n 1 "
    with pytest.raises(pytest.exit.Exception, match=said):
        after_a_failure("cuda")


def test_only_a_process_of_pytests_own_is_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["somebody.py"])
    monkeypatch.setitem(sys.modules, "__main__", type(sys)("somebody"))
    assert not suite.has_its_process()
    monkeypatch.setattr(sys, "argv", ["/usr/bin/pytest"])
    assert suite.has_its_process()
