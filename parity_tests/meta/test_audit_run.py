"""An audit as a whole: the same figures with any number of processes, whatever a subject does, and after it
was killed.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from torch_loss_parity.audit import files, plan, tasks
from torch_loss_parity.audit.part import Conditions, Part
from torch_loss_parity.audit.record import Audit
from torch_loss_parity.audit.run import Run
from torch_loss_parity.audit.session import Session, WrongRequest
from torch_loss_parity.campaign import pytest_process
from torch_loss_parity.meta import small_audit
from torch_loss_parity.processes.child import FROM_SERVER
from torch_loss_parity.subjects.settings import Settings

pytestmark = pytest.mark.whole_runs

MISBEHAVING = """
import os
import time
import torch.nn.functional as F

def log_softmax(input, dim, dtype=None):
    raise TypeError("no kernel for this")

def nll_loss(input, target, **options):
    if options["weight"] is not None:
        time.sleep(1000)
    return F.nll_loss(input, target, **options)

def cross_entropy(input, target, **options):
    if options["weight"] is not None:
        raise NotImplementedError("class weights are not supported")
    return F.cross_entropy(input, target, **options)

def binary_cross_entropy(input, target, **options):
    if options["reduction"] == "mean":
        os.abort()
    return F.binary_cross_entropy(input, target, **options)[None if options["weight"] is not None else ...]
"""
THREE_ULPS = """
import torch

def softmax(input, dim, dtype=None):
    result = torch.softmax(input, dim)
    bits = result.detach().view(torch.int16).clone()
    planted = (input[:, 0] == 1.5) & (input[:, 1] == 0)
    bits[:, 0] += 3 * planted.to(torch.int16)
    return result + (bits.view(torch.float16) - result.detach())
"""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in small_audit.SMALL.items():
        monkeypatch.setattr(plan, name, value)


def audited(
    directory: Path,
    operators: str,
    dtype: str,
    *,
    subject: str = "torch",
    workers: int = 2,
    effort: str = "quick",
    limit: float = 60,
) -> Audit:
    """A small audit, in this process and those that it starts."""
    settings = Settings.of(subject, "cpu", dtype, effort, 0, limit, operators)
    cells = [(operator, dtype) for operator in settings.operators]
    run = Run(settings, cells, directory, workers)
    run.open()
    try:
        for cell in cells:
            run.of(cell)
    finally:
        run.close()
    assert run.complete
    assert not run.store.exists()
    return run.audit


def without_times(audit: Audit) -> str:
    return files.dumps(audit.model_copy(update={"times": {}}))


@pytest.mark.usefixtures("small")
def test_one_process_and_two_make_the_same_audit(tmp_path: Path) -> None:
    one, two = (audited(tmp_path, "softmax,nll_loss", "float32", workers=workers) for workers in (1, 2))
    assert without_times(one) == without_times(two)
    assert {figure.how for figure in one.figures} == {"random", "searched"}
    assert {(figure.operator, figure.quantity) for figure in one.figures} >= {
        ("softmax", "forward"),
        ("softmax", "input"),
        ("nll_loss", "input"),
    }
    assert {axis.axis for axis in one.axes} == {"threads", "layout", "batch"}
    assert all(figure.torch is None for figure in one.figures)


@pytest.mark.usefixtures("small")
def test_whatever_a_subject_does_costs_what_it_was_asked(tmp_path: Path) -> None:
    subject = tmp_path / "theirs.py"
    subject.write_text(MISBEHAVING)
    operators = "softmax,log_softmax,nll_loss,cross_entropy,binary_cross_entropy"
    audit = audited(tmp_path, operators, "float32", subject=str(subject), limit=3)
    failed = [f"{missing.what}: {missing.why}" for missing in audit.missing if missing.failed]
    for operator, why in (
        ("log_softmax", "it raises TypeError: no kernel for this"),
        ("nll_loss", "it did not return within 3 s"),
        ("binary_cross_entropy", r"it ended the process \(SIGABRT\)"),
        ("binary_cross_entropy", r"has shape \(1, 64\), expected \(64,\)"),
    ):
        assert any(re.search(f"{operator} .*{why}", each) for each in failed), (operator, why)
    declined = [f"{missing.what}: {missing.why}" for missing in audit.missing if not missing.failed]
    assert any("weight=positive" in each and "class weights are not supported" in each for each in declined)
    assert any(each.startswith("softmax: not offered: ") for each in declined)
    measured = {(figure.operator, figure.quantity) for figure in audit.figures}
    assert measured == {
        (name, quantity) for name in ("nll_loss", "cross_entropy") for quantity in ("forward", "input")
    } | {(name, "target") for name in ("cross_entropy", "binary_cross_entropy")} | {
        ("binary_cross_entropy", quantity) for quantity in ("forward", "input")
    }
    assert all(figure.torch is not None for figure in audit.figures)


@pytest.mark.usefixtures("small")
def test_three_ulps_in_one_of_65536_float16_numbers_are_the_worst_case_with_that_input(
    tmp_path: Path,
) -> None:
    subject = tmp_path / "theirs.py"
    subject.write_text(THREE_ULPS)
    settings = Settings.of(str(subject), "cpu", "float16", "quick", 0, 60.0, "softmax")
    (unit,) = [
        unit for unit in plan.planned([("softmax", "float16")], settings).units if unit.work == "exhaust"
    ]
    part = Part.model_validate_json(tasks.perform(Conditions(settings.subject.name, "cpu", 0, 60.0), unit))
    assert not part.missing
    (figure,) = [figure for figure in part.figures if figure.quantity == "forward"]
    assert figure.how == "exhaustive"
    assert figure.worst.arguments["input"].split() == [(1.5).hex(), (0.0).hex()]
    assert 2.5 <= figure.subject.max_ulp <= 3.5
    assert figure.worst.ulps == figure.subject.max_ulp
    assert figure.subject.standing == "fail"
    assert figure.torch is not None
    assert figure.torch.max_ulp < figure.subject.max_ulp
    printed: list[Any] = []
    exec(figure.worst.script, {"print": lambda *words: printed.extend(words)})
    assert float(printed[0]).hex() == figure.worst.observed


OPERATOR, DTYPE = "softmax", "float16"
ARGUMENTS = ("--effort", "thorough", "--operator", OPERATOR, "--dtype", DTYPE)


@pytest.mark.usefixtures("small")
def test_an_audit_that_is_killed_continues_and_ends_with_the_same_figures(tmp_path: Path) -> None:
    pytest_process.prepare("torch_loss_parity.audit.session", "torch_loss_parity.meta.small_audit")
    directory, log = tmp_path / "audit", tmp_path / "log"
    arguments = ["--audit", str(directory), "--workers", "1", *ARGUMENTS]
    store = directory / "unfinished"

    first = FROM_SERVER.Process(target=small_audit.run_pytest, args=(arguments, log))
    first.start()
    while len(list(store.glob("*.json"))) < 3:
        assert first.is_alive(), log.read_text()
        time.sleep(0.01)
    first.kill()
    first.join()
    assert not (directory / "audit.json").exists()
    kept = len(list(store.glob("*.json")))

    again = FROM_SERVER.Process(target=small_audit.run_pytest, args=(arguments, log))
    again.start()
    again.join()
    assert again.exitcode == 0, log.read_text()
    continued = files.load(directory / "audit.json")
    whole = audited(tmp_path / "whole", OPERATOR, DTYPE, effort="thorough")
    assert without_times(continued).splitlines() == without_times(whole).splitlines()
    assert any(figure.how == "exhaustive" for figure in continued.figures)
    assert not store.exists()
    report = log.read_text()
    assert re.search(rf"{kept} of \d+ parts were finished before", report)  # and not done again
    assert OPERATOR in report
    assert f"{directory / 'index.html'} shows it" in report
    assert "<html" in (directory / "index.html").read_text()[:200]


# --- the request --------------------------------------------------------------------------------------------


def session_of(directory: Path, **options: Any) -> Session:
    defaults = {
        "audit": str(directory),
        "audit_compare": None,
        "audit_compare_fail": None,
        "audit_beside": None,
        "workers": 1,
        "scheduler": None,
    }
    return Session.from_options(
        Settings.of("torch", "cpu", "float32", "quick", 0), SimpleNamespace(**(defaults | options))
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "--workers is 0; it must be at least 1"),
        ({"audit_compare": "nowhere.json"}, "nowhere.json"),
        (
            {"audit_compare_fail": ["max_ulp:10%"]},
            "there is nothing to compare with; add --audit-compare FILE",
        ),
        ({"audit_compare": "old.json", "audit_compare_fail": ["largest:10%"]}, "'largest' is no field"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_before_the_work_begins(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    old = tmp_path / "old.json"
    files.save(Audit.model_validate_json(json.dumps(EMPTY)), old)
    if options.get("audit_compare") == "old.json":
        options = options | {"audit_compare": str(old)}
    with pytest.raises(WrongRequest, match=message):
        session_of(tmp_path, **options)


EMPTY: Mapping[str, Any] = {
    "settings": {
        "subject": "torch",
        "device": "cpu",
        "dtypes": [],
        "operators": [],
        "effort": "quick",
        "seed": 0,
    },
    "environment": {},
    "command": "",
    "figures": [],
}


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="whoever runs it may write everywhere"
)
def test_a_directory_that_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(WrongRequest, match="cannot be written to"):
        session_of(tmp_path / "audit")


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(WrongRequest, match="cannot be written to"):
        session_of(file)
