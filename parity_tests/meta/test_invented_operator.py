"""An operator is one module: an invented one, in one file, runs every kind of claim, an audit, a benchmark
and the campaign.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from torch_loss_parity.operators import ELSEWHERE, OPERATORS
from torch_loss_parity.operators.kinds import KINDS, gap
from torch_loss_parity.processes.folders import CHECKOUT, META

pytestmark = pytest.mark.whole_runs

FILE = META / "invented_operator.py"
NAME, FAULT = "mse_loss", "an-invented-gradient-is-halved"
# In half precision torch adds losses up in the dtype they are stored in, and no ledger has an entry for it.
OPTIONS = ("--operator", NAME, "--effort", "quick", "--dtype", "float32")


def run(*arguments: str, file: Path = FILE) -> tuple[int, str]:
    """A module of Python with the operator of a file; its exit status and what it printed."""
    environment = {**os.environ, ELSEWHERE: str(file)}
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    return done.returncode, done.stdout + done.stderr


def test_every_kind_of_claim_runs_on_it(tmp_path: Path) -> None:
    counts = tmp_path / "counts.json"
    status, text = run(
        "pytest", "parity_tests/claims", *OPTIONS, "-p", "no:cacheprovider", f"--counts={counts}"
    )
    assert status == pytest.ExitCode.OK, text
    counted = json.loads(counts.read_text())[NAME]
    met = {kind for cell in counted.values() for kind, cases in cell.items() if cases > 0}
    lacking = set(KINDS) - met
    assert lacking == {"identities", "sample inputs"}, lacking
    for facet in ("identities", "sample_inputs"):
        assert f"{facet}: {NAME}: it was invented for a test" in text
    assert all(
        gap(operator, kind) is None for operator in OPERATORS.values() for kind in ("forward", "domain")
    )


def test_the_campaign_judges_it_and_its_planted_fault_is_caught_by_gradients_alone() -> None:
    status, text = run("torch_loss_parity.campaign", "--faults", FAULT)
    assert status == 0, text
    lines = text.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith(f"{FAULT}, first failure after"))
    caught = dict(zip(lines[at - 1].split(), lines[at + 1].split(), strict=True))
    assert caught["forward"] == "."
    assert caught["grads"] != "."


def test_it_is_audited(tmp_path: Path) -> None:
    status, text = run("pytest", "parity_tests", *OPTIONS, "--audit", str(tmp_path), "-p", "no:cacheprovider")
    assert status == pytest.ExitCode.OK, text
    figures = json.loads((tmp_path / "audit.json").read_text())["figures"]
    assert {figure["operator"] for figure in figures} == {NAME}
    assert {figure["quantity"] for figure in figures} == {"forward", "input", "target"}


def test_it_is_timed() -> None:
    status, text = run(
        *("pytest", "benchmarks", "--operator", NAME, "--effort", "quick", "-p", "no:cacheprovider"),
        *("--path", "torch,composed,numpy", "--shape", "64x64"),
    )
    assert status == pytest.ExitCode.OK, text
    assert NAME in text


def test_a_file_that_is_no_operator_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.py"
    empty.write_text("")
    for file, said in ((empty, "holds no OPERATOR"), (tmp_path / "absent.py", "not a file of Python")):
        status, text = run("pytest", "parity_tests/claims/test_forward.py", *OPTIONS, file=file)
        assert status != pytest.ExitCode.OK
        assert f"{ELSEWHERE} names {str(file)!r}" in text
        assert said in text
