"""The failure message names an element that breaks the bound, and shows nothing of this project's own."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from torch_loss_parity.expectation.expectation import FORWARD, expected
from torch_loss_parity.judging.comparison import RESOLUTION, judge
from torch_loss_parity.judging.failure_message import explain
from torch_loss_parity.judging.finding import Finding
from torch_loss_parity.judging.wrapping import COLUMNS
from torch_loss_parity.meta.reproduced import printed_by_each, script_in
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.processes import suite
from torch_loss_parity.processes.folders import PACKAGE
from torch_loss_parity.reference.arithmetic.formats import FORMATS
from torch_loss_parity.subjects import Subject, run_subject
from torch_loss_parity.subjects.settings import Settings

SETTINGS = Settings.of("torch", "cpu", "float32", "quick", 0)
ROW = OPERATORS["softmax"].case("float32", (1, 5000), "normal", {"dim": 1}, 3)
KERNELS = """
import torch

def softmax(input, dim, dtype=None):
    return torch.softmax(input, dim, dtype) * 1.01

def log_softmax(input, dim, dtype=None):
    raise KeyError("no kernel")

def nll_loss(input, target, weight=None, ignore_index=-100, reduction="mean"):
    target.clamp_(min=0)
    return torch.nn.functional.nll_loss(input, target, weight, reduction=reduction)
"""
# What a message must not hold: reprs of this project's objects, and lines of its sources.
OWN = re.compile(
    r"Operator\(|Settings\(|Tally\(|Finding\(|Verdict\(|<torch_loss_parity|torch_loss_parity\.\w+\.|"
    r"parity_tests/\S+\.py:\d+|^ *(?:def test_|raise AssertionError|assert )|^During handling of",
    re.MULTILINE,
)


@pytest.mark.parametrize("at", [0, 17, 4321])
def test_the_element_that_is_off_is_named_where_the_row_shares_an_error(at: int, tmp_path: Path) -> None:
    """Within what is allowed for the whole error of a row of 5000, and not for an error of its own."""
    call = OPERATORS["softmax"].call(ROW)
    bound = expected(call, (FORWARD,))[FORWARD]
    observed = run_subject.forward(SETTINGS.subject, call, "cpu")
    own = np.broadcast_to(np.asarray(bound.error.relative), observed.shape)[0, at]
    observed[0, at] *= np.exp(4 * own)
    assert np.abs(observed - bound.nearest)[0, at] < np.broadcast_to(bound.total_error(), (1, 5000))[0, at]
    verdict = judge(observed, bound, FORMATS["float32"])
    assert not verdict.passes
    assert verdict.index == (0, at)
    assert verdict.common is not None
    left = abs(verdict.observed - verdict.expected - verdict.common)
    assert left > verdict.alone
    # The fraction is known to RESOLUTION, and the share of the row to second order.
    assert 1 - 8 * own <= verdict.fraction / (left / verdict.alone) <= RESOLUTION * (1 + 8 * own)
    subject = Subject("off", None, OFF.format(at=at, by=4 * own))
    finding = Finding(ROW, call, FORWARD, verdict, verdict, "", False)
    message = explain(finding, subject, "cpu")
    assert f"worst     element [0, {at}] of 5000" in message
    assert re.search(r"error +\S+ ulp of float32, \S+ ulp of it its own: its row does not share it", message)
    printed = printed_by_each({"script": script_in(message)}, tmp_path)["script"]
    assert "WRONG" in printed, printed


def test_a_failure_is_no_wider_than_a_terminal_whatever_it_is_about() -> None:
    options = {"weight": "dims", "reduction": "mean", "label_smoothing": 0.25, "ignore_index": -2147483649}
    case = OPERATORS["cross_entropy"].case("bfloat16", (2, 4, 3), "infinite logits", {}, 123456789)
    case = replace(case, options=(*case.options, *options.items()))
    call = OPERATORS["softmax"].call(OPERATORS["softmax"].case("float32", (2, 4), "normal", {"dim": 1}, 3))
    subject = Subject("a/folder/of/somebody/with/a/long/name/kernels.py", None, "")
    reason = "it raises IndexError: amax(): Expected reduction dim -1 to have non-zero size"
    message = explain(Finding.of_failure(case, call, reason), subject, "cpu")
    first, *lines = message.splitlines()
    assert first.endswith(reason)
    assert max(map(len, lines)) <= COLUMNS < len(str(case)) + 12
    assert reason in " ".join(message.split())  # nothing is cut
    assert "case      cross_entropy bfloat16" in message


OFF = """
from math import exp
class subject:
    @staticmethod
    def softmax(input, dim, dtype=None):
        output = torch.softmax(input, dim)
        output[0, {at}] *= exp({by})
        return output
"""


def test_an_element_that_breaks_its_bound_by_its_whole_error_is_named_before_others() -> None:
    call = OPERATORS["softmax"].call(ROW)
    bound = expected(call, (FORWARD,))[FORWARD]
    observed = run_subject.forward(SETTINGS.subject, call, "cpu")
    observed[0, 99] *= 1.5
    verdict = judge(observed, bound, FORMATS["float32"])
    assert (verdict.index, verdict.common) == ((0, 99), None)
    assert verdict.ulps * FORMATS["float32"].spacing(np.float64(verdict.expected)) > verdict.allowed


def test_what_pytest_prints_of_a_failed_claim_is_the_message_alone(tmp_path: Path) -> None:
    path = tmp_path / "kernels.py"
    path.write_text(KERNELS)
    claims = [str(PACKAGE / "claims" / name) for name in ("test_forward.py", "hygiene", "errors")]
    words = "softmax and combination or stays or reduction"
    options = ["--subject", str(path), "--effort", "quick", "--dtype", "float32", "-q", "-p", "no:xdist"]
    operators = ["--operator", "softmax,log_softmax,nll_loss", "-k", words, "--tb=long"]
    command = [sys.executable, "-m", "pytest", *suite.arguments([*claims, *options, *operators])]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, env=suite.environment({}), cwd=tmp_path
    )
    assert ended.returncode == pytest.ExitCode.TESTS_FAILED, ended.stdout
    failures, _, rest = ended.stdout.partition("short test summary info")
    assert rest, ended.stdout
    assert "the result is wrong" in failures
    assert "KeyError: 'no kernel'" in failures
    assert "wrote into target" in failures
    assert not (lines := OWN.findall(failures)), (lines, failures)
