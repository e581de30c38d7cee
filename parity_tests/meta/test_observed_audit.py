"""An audit of a file has the figures of an audit where the subject runs, and says what it has not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from torch_loss_parity.audit import exhaustive, measure_cases, measure_sweeps, observed, plan
from torch_loss_parity.audit.environment import HERE, environment
from torch_loss_parity.audit.exhaustive import Sweep
from torch_loss_parity.audit.part import Conditions, Part, recorded
from torch_loss_parity.ledger import environment as ledger_environment
from torch_loss_parity.ledger.environment import Environment, ran_elsewhere
from torch_loss_parity.meta import small_audit
from torch_loss_parity.plugin import selection
from torch_loss_parity.plugin.observing import must_be_for, of_file, planned
from torch_loss_parity.processes.folders import AUDIT as AUDIT_ITEMS
from torch_loss_parity.subjects import load
from torch_loss_parity.subjects.observing import answer
from torch_loss_parity.subjects.observing.container import Writer
from torch_loss_parity.subjects.observing.planning import AUDIT, JUDGE, Plan, Planning
from torch_loss_parity.subjects.observing.recorded import FORMAT, Recorded
from torch_loss_parity.subjects.observing.run import observe
from torch_loss_parity.subjects.settings import Settings, WrongOption

OPERATOR, DTYPE = "binary_cross_entropy", "float16"
FAULT = "fault:an-epsilon-within-the-logarithm"
ANY = {"operator": None, "profile": None, "like": None, "time_limit": None}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small plan for an audit, and what torch and a fault returned to it."""
    directory = tmp_path_factory.mktemp("observed")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in small_audit.SMALL.items():
            patch.setattr(plan, name, value)
        patch.setitem(exhaustive.ONE, DTYPE, 255)  # so many numbers are all that there are
        settings = Settings.of("torch", "cpu", DTYPE, "quick", 0, operator=OPERATOR)
        settings = planned(settings, directory / "plan.npz", AUDIT)
        observed.ask(settings)
        assert isinstance(settings.subject.namespace, Planning)
        assert settings.subject.namespace.close() > 20
        end = observe(directory / "plan.npz", directory / "torch.npz", subject="torch")
        assert end["why"] == "done"
        here(directory / "fault.npz", FAULT, Plan(directory / "plan.npz"), Recorded(directory / "torch.npz"))
        yield directory
    ran_elsewhere(None)


def here(path: Path, name: str, asked: Plan, of: Recorded) -> None:
    """What is observed of a subject, without a process of its own."""
    subject = load(name, (OPERATOR,))
    writer = Writer(path, {**of.header, "subject": name, "imports": subject.imports})
    for record in asked.records:
        value = answer.of_value(asked.request(record).run(subject, "cpu"), writer.keep)
        writer.add({"key": record["key"], **value})
    writer.close({"why": "done"})


def units() -> tuple[plan.Unit, ...]:
    settings = Settings.of("torch", "cpu", DTYPE, "quick", 0, operator=OPERATOR)
    return observed.seen(plan.planned([(OPERATOR, DTYPE)], settings), settings.subject).units


def measured(conditions: Conditions) -> Part:
    """All that an audit of a file measures, in this process."""
    ran_elsewhere(None)
    parts = []
    for unit in units():
        parts += [measure_cases.draw(conditions, case) for case in unit.cases]
        parts += [measure_sweeps.exhaust(conditions, unit.sweep)] if unit.sweep else []
    return Part.of([Part.model_validate_json(part) for part in parts])


@pytest.mark.parametrize(("subject", "file"), [("torch", "torch.npz"), (FAULT, "fault.npz")])
def test_the_figures_of_a_file_are_those_of_where_the_subject_runs(
    files: Path, subject: str, file: str
) -> None:
    beside = "" if subject == "torch" else str(files / "torch.npz")
    there = measured(Conditions(subject, "cpu", 0, 60.0))
    here = measured(Conditions(subject, "cpu", 0, 60.0, observed=str(files / file), beside=beside))
    assert len(here.figures) == len(there.figures) > 30
    for ours, theirs in zip(here.figures, there.figures, strict=True):
        # A row alone is not asked again: how the worst is printed may differ, and nothing else.
        printed = {"worst": theirs.worst.model_copy(update=_printed(ours))}
        assert ours == theirs.model_copy(update=printed)
    assert {figure.how for figure in here.figures} == {"random", "exhaustive"}
    assert (here.missing, there.missing) == ((), ())
    standings = {figure.subject.standing for figure in here.figures}
    assert ("fail" in standings) == (subject == FAULT)
    assert all((figure.torch is None) == (subject == "torch") for figure in here.figures)


def _printed(figure: Any) -> dict[str, Any]:
    return {"arguments": figure.worst.arguments, "script": figure.worst.script}


def test_without_a_file_of_its_own_torch_is_not_measured_beside_a_file(files: Path) -> None:
    settings = of_file(Recorded(files / "fault.npz"), ANY)
    said = observed.seen(plan.planned([(OPERATOR, DTYPE)], settings), settings.subject)
    assert {unit.work for unit in said.units} == {"draw", "exhaust"}
    named = [missing.what for missing in said.missing]
    assert {"searches for the worst", "threads, layout and batch", "torch beside the subject"} < {*named}
    assert not any(missing.failed for missing in said.missing)
    (case, *_) = said.units[0].cases
    file = str(files / "fault.npz")
    part = Part.model_validate_json(
        measure_cases.draw(Conditions(FAULT, "cpu", 0, 60.0, observed=file), case)
    )
    assert [figure.torch for figure in part.figures] == [None] * len(part.figures)


def test_what_did_not_come_back_or_is_not_in_the_file_is_named(files: Path, tmp_path: Path) -> None:
    """Of three cases the result of one was not run, one did not return, and one is not there."""
    asked, source = Plan(files / "plan.npz"), Recorded(files / "torch.npz")
    writer = Writer(tmp_path / "short.npz", source.header)
    cases = list(dict.fromkeys(record["case"] for record in asked.records))
    for record in asked.records:
        if record["case"] == cases[0]:
            writer.add({"key": record["key"], **answer.of_nothing("the device had no memory for it")})
        elif record["case"] == cases[1]:
            writer.add({"key": record["key"], **answer.of_loss("ended the process (SIGSEGV)")})
    writer.close({"why": "its budget of 9 s ran out"})
    conditions = Conditions("torch", "cpu", 0, 60.0, observed=str(tmp_path / "short.npz"))
    drawn = [case for unit in units() for case in unit.cases]
    part = Part.of([Part.model_validate_json(measure_cases.draw(conditions, case)) for case in drawn[:3]])
    assert not part.figures
    said = [(missing.why, missing.failed) for missing in part.missing]
    out = "not observed: its budget of 9 s ran out"
    assert said == [
        *[("not observed: the device had no memory for it", False)] * 2,
        *[("it ended the process (SIGSEGV)", True)] * 2,
        *[(out, False)] * 2,
    ]
    (line,) = observed.lacking(recorded(conditions.observed), part.missing)
    assert line == "2 of what was to be observed: its budget of 9 s ran out"
    assert not list(observed.lacking(recorded(str(files / "torch.npz")), part.missing[:4]))


def test_a_file_is_for_the_command_that_its_plan_is_for(files: Path, tmp_path: Path) -> None:
    audits = Recorded(files / "torch.npz")
    must_be_for(AUDIT, audits)
    with pytest.raises(WrongOption, match="what `audit` works with, and this is `judge`: say `torch-loss"):
        must_be_for(JUDGE, audits)
    verdicts = other(audits, tmp_path / "judged.npz", plan={})
    must_be_for(JUDGE, verdicts)  # of a plan that was written before there were two kinds
    with pytest.raises(WrongOption, match=r"by a plan from `torch-loss-parity plan --audit`$"):
        must_be_for(AUDIT, verdicts)


def other(of: Recorded, path: Path, **header: Any) -> Recorded:
    """A file with another header, and nothing in it."""
    Writer(path, {**of.header, "format": FORMAT, **header}).close({"why": "done"})
    return Recorded(path)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"subject": "torch.nn"}, "is of torch.nn, and what is measured beside a subject is torch"),
        ({"device": "cuda"}, "were not observed by the same device"),
        ({"plan": {}}, "were not observed by the same plan"),
    ],
)
def test_torch_is_measured_beside_what_was_observed_as_it_was(
    files: Path, tmp_path: Path, header: dict[str, Any], said: str
) -> None:
    subject, torchs = recorded(str(files / "fault.npz")), Recorded(files / "torch.npz")
    observed.must_go_together(subject, torchs.path)
    with pytest.raises(ValueError, match=re.escape(said)):
        observed.must_go_together(subject, other(torchs, tmp_path / "other.npz", **header).path)
    with pytest.raises(ValueError, match="torch runs here"):
        observed.must_go_together(Settings.of("torch", "cpu", DTYPE, "quick", 0).subject, torchs.path)


def test_the_environment_of_an_audit_is_that_of_where_the_subject_ran(files: Path) -> None:
    source = Recorded(files / "torch.npz")
    assert source.header["environment"]["facts"]["torch"] == torch.__version__
    source.header["environment"]["facts"] = {"torch": "9.9", "GPU": "a GPU", "pydantic": "1.0"}
    subject = of_file(source, ANY).subject
    said = environment(subject, "cuda")
    assert (said["torch"], said["GPU"]) == ("9.9", "a GPU")
    assert said["observed"].endswith("torch.npz")
    assert "python-flint" in said[HERE]  # what decides is of this machine
    assert "pydantic" not in said


def test_what_was_observed_on_a_gpu_is_measured_where_there_is_none(files: Path, tmp_path: Path) -> None:
    of = Recorded(files / "torch.npz")
    gpu = {"device": "cuda", "machine": "a GPU", "torch": "2.11.0", "torch_version": "2.11.0+cu128"}
    header: dict[str, Any] = {"device": "cuda", "environment": {**of.header["environment"], **gpu}}
    source = other(of, tmp_path / "header.npz", **header)
    here(tmp_path / "gpu.npz", "torch", Plan(files / "plan.npz"), source)
    (case, *_) = units()[0].cases
    conditions = Conditions("torch", "cuda", 0, 60.0, observed=str(tmp_path / "gpu.npz"))
    part = Part.model_validate_json(measure_cases.draw(conditions, case))
    assert part.figures
    assert not part.missing
    assert all("device='cuda'" in figure.worst.script for figure in part.figures)
    assert ledger_environment.here() == Environment.of(header["environment"])


def test_every_number_is_asked_inside_the_promise(files: Path) -> None:
    """Of a subject that is here as of one that is observed, whose own promise is kept there."""
    promise = Settings.of("torch", "cpu", DTYPE, "quick", 0, promise="reduction=mean").subject.promise
    (sweep, *_) = [unit.sweep for unit in units() if unit.sweep]
    conditions = Conditions("torch", "cpu", 0, 60.0, promise=promise)
    part = Part.model_validate_json(measure_sweeps.exhaust(conditions, sweep))
    assert [missing.why for missing in part.missing] == ["not offered: outside the promise: reduction=none"]
    assert not part.figures


def test_an_audit_is_of_any_subject_that_is_asked_for(files: Path) -> None:
    """Its items are no tests of a kind of claim, which a file or somebody's own subject may not serve."""
    item = SimpleNamespace(path=AUDIT_ITEMS / "test_audit.py", nodeid="audit/test_audit.py::test_audit[x]")
    elsewhere = of_file(Recorded(files / "torch.npz"), ANY).subject
    for subject in (elsewhere, replace(elsewhere, name="theirs.py", namespace=torch)):
        assert not selection._is_of(cast(pytest.Item, item), subject)


def test_what_is_telling_is_asked_first() -> None:
    """Something of every cell before more of any, and what is drawn before what is exhausted."""
    cells = [("softmax", "float16"), ("log_softmax", "float16")]
    names = [
        (f"{name} {number}", "draw", cell) for cell in cells for name, number in (("drawn", 0), ("drawn", 1))
    ]
    made = [plan.Unit(*names[i][:2], (names[i][2],)) for i in range(4)]
    swept = plan.Unit("every number", "exhaust", (cells[0],), sweep=Sweep("softmax", "float16"))
    ordered = list(observed.in_order_of_worth([swept, *made]))
    assert [(unit.name, unit.cells[0][0]) for unit in ordered] == [
        ("drawn 0", "softmax"),
        ("drawn 0", "log_softmax"),
        ("drawn 1", "softmax"),
        ("drawn 1", "log_softmax"),
        ("every number", "softmax"),
    ]
