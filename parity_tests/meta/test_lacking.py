"""What a subject lacks fails no test of any kind of claim: each is skipped, by name."""

from __future__ import annotations

import re
from pathlib import Path

from torch_loss_parity.meta.claims_run import run_claims


def test_no_test_fails_for_an_operator_that_a_subject_lacks(tmp_path: Path) -> None:
    kernel = tmp_path / "kernel.py"
    kernel.write_text("from torch.nn.functional import softmax\n")
    # Tests of softmax, and those of several operators among which it is, are the subject's.
    others = "(not softmax and not transforms) or log_softmax"
    ended = run_claims(
        f"--subject={kernel}", "--dtype=float32", "-k", others, "--tb=line", "-q", claims=("",)
    )
    assert not re.search(r"\d+ (failed|error)", ended.printed), ended.printed
    (skipped,) = re.findall(r"(\d+) skipped", ended.printed.strip().splitlines()[-1])
    assert int(skipped) > 1000
