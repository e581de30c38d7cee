"""What a subject lacks, or declines, fails no test of any kind of claim: each is skipped, by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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


DECLINING = """
import torch
import torch.nn.functional as F

class NoBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, result):
        return result.clone()

    @staticmethod
    def backward(ctx, grad_output):
        raise NotImplementedError("no backward pass")

def softmax(input, dim, dtype=None):
    raise NotImplementedError("nothing at all")

def nll_loss(input, target, weight=None, ignore_index=-100, reduction="mean"):
    loss = F.nll_loss(input, target, weight, None, ignore_index, None, reduction)
    return NoBackward.apply(loss) if loss.requires_grad else loss

def logsumexp(input, dim, keepdim=False):
    if input.requires_grad:
        raise NotImplementedError("no gradients")
    return torch.logsumexp(input, dim, keepdim)
"""


def test_no_test_fails_where_a_kernel_declines_everything_its_backward_pass_or_gradients(
    tmp_path: Path,
) -> None:
    kernel = tmp_path / "kernel.py"
    kernel.write_text(DECLINING)
    options = ("--like=torch", "--dtype=float32", "--operator=softmax,nll_loss,logsumexp", "--tb=line", "-q")
    ended = run_claims(f"--subject={kernel}", *options, claims=("",))
    assert not re.search(r"\d+ (failed|error)", ended.printed), ended.printed
    assert ended.exitcode == pytest.ExitCode.NO_TESTS_COLLECTED, ended.printed
    assert "TOO LITTLE TESTED" in ended.printed
