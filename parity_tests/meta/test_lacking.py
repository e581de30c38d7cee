"""What a subject lacks fails no test of any kind of claim: each is skipped, by name."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from torch_loss_parity.processes.folders import CLAIMS


def test_no_test_fails_for_an_operator_that_a_subject_lacks(tmp_path: Path) -> None:
    kernel = tmp_path / "kernel.py"
    kernel.write_text("from torch.nn.functional import softmax\n")
    command = [sys.executable, "-m", "pytest", str(CLAIMS), "--subject", str(kernel)]
    # Tests of softmax, and those of several operators among which it is, are the subject's.
    command += [
        "--effort",
        "quick",
        "-k",
        "(not softmax and not transforms) or log_softmax",
        "--tb=line",
        "-q",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert not re.search(r"\d+ (failed|error)", ended.stdout), ended.stdout[-3000:]
    (skipped,) = re.findall(r"(\d+) skipped", ended.stdout.splitlines()[-1])
    assert int(skipped) > 1000
