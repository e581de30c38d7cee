"""What was observed on a GPU is judged here, without one: torch passes with the ledger's entries for CUDA,
and kernels of others fail for what is wrong with them alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from torch_loss_parity.benchmarks.meta.running import run
from torch_loss_parity.processes.folders import CLAIMS

FOLDER = Path(__file__).with_name("observations")
OBSERVED = 0.8  # of the calls of that day; where fewer are still asked, a GPU is to be observed anew


def judged(file: str, directory: Path, *options: str) -> dict[str, Any]:
    """The outcome of judging a file."""
    outcome = directory / "outcome.json"
    ended = run(str(CLAIMS), f"--observed={FOLDER / file}", f"--outcome={outcome}", *options)
    assert outcome.exists(), ended.printed
    return dict(json.loads(outcome.read_text(encoding="utf-8")))


def cases(outcome: dict[str, Any]) -> int:
    return sum(part["cases"] for part in outcome["verdict"]["parts"].values())


def test_torch_passes_with_what_the_ledger_says_of_cuda(tmp_path: Path) -> None:
    outcome = judged("torch-2.11.0-h200.npz", tmp_path, "--operator=softmax,nll_loss")
    assert outcome["verdict"]["word"] != "FAIL"  # what is asked since then was not observed
    assert not any(part["failed"] for part in outcome["verdict"]["parts"].values())
    assert cases(outcome) > OBSERVED * 1690
    # Bits of a GPU that an entry for the CPU alone would not explain.
    assert {
        "cuda-half-softmax-backward-stores-products",
        "cuda-nll-loss-of-one-ignored-sample-is-zero",
        "cuda-softmax-from-half-to-float-jvp-is-taken-in-half",
    } <= set(outcome["diverging"])


@pytest.mark.parametrize(
    ("file", "number", "wrong"),
    [
        (
            "liger-fused-linear-0.8.5-h200.npz",
            435,
            {
                "a finite number where nan is expected",  # the mean of no row is 0
                "it raises ZeroDivisionError: integer division or modulo by zero",  # no rows
                # where that of input is not asked for
                "there is no gradient with respect to linear_weight",
                "there is no gradient with respect to linear_weight, with one argument at a time",
            },
        ),
        (
            "cut-cross-entropy-25.1.1-h200.npz",
            143,
            {
                "it raises ZeroDivisionError: division by zero",  # every row ignored
                "the result is off",  # the target's logit is made of products in float16
            },
        ),
    ],
)
def test_fused_kernels_fail_for_what_is_wrong_with_them_alone(
    file: str, number: int, wrong: set[str], tmp_path: Path
) -> None:
    verdict = (outcome := judged(file, tmp_path, "--operator=linear_cross_entropy"))["verdict"]
    assert cases(outcome) > OBSERVED * number
    told = (cause["cause"].partition(", by up to")[0] for cause in verdict["causes"])
    assert {cause.rpartition("is wrong: ")[2] or cause for cause in told} == wrong
