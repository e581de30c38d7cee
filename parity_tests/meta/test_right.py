"""The right kernels are right, whatever the suite says of them: they agree with the definition to a few ulps
on ordinary inputs. They cover what the collection claims to cover, and the campaign notices when its record
of them no longer holds.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from torch_loss_parity.campaign import campaign, right_record
from torch_loss_parity.campaign.right_checks import judge_seed
from torch_loss_parity.campaign.right_runs import RightRun
from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.expectation import grad_output_of, output_shape
from torch_loss_parity.faults import FAULTS
from torch_loss_parity.faults.right import GRADES, RIGHT_KERNELS, RightKernel, record
from torch_loss_parity.judging.tally import claim_of
from torch_loss_parity.operators import DTYPES, OPERATORS, Operator
from torch_loss_parity.operators.sampling import EFFORTS, grid
from torch_loss_parity.processes.folders import files_of_claims
from torch_loss_parity.reports import readme
from torch_loss_parity.subjects import Subject, SubjectError, load, run_subject

ULPS = 64  # of the largest element of a result
KERNELS = pytest.mark.parametrize("kernel", RIGHT_KERNELS.values(), ids=str)


def ordinary_calls(known: Operator) -> list[Call]:
    """Calls in which every two options meet, on numbers of moderate size: the first distribution of an
    operator, in which nothing is known to lose digits.
    """
    cases = grid(known, "float64", EFFORTS["quick"], 0)
    calls = [known.call(replace(case, values=next(iter(known.values)))) for case in cases]
    return [call for call in calls if call.output_dtype == "float64"]


def results(subject: Subject, call: Call) -> dict[str, np.ndarray]:
    """The result of a call and its gradients."""
    upstream = grad_output_of(call, output_shape(call), np.random.default_rng(0))
    return dict(run_subject.results(subject, call, "cpu", upstream))


def error_in_ulps(actual: np.ndarray, expected: np.ndarray) -> float:
    """The largest error, in ulps of the largest number that is expected; infinite where one is finite and the
    other is not.
    """
    assert actual.shape == expected.shape
    finite = np.isfinite(expected)
    if not np.array_equal(actual[~finite], expected[~finite], equal_nan=True):
        return np.inf
    if not finite.any():
        return 0.0
    largest = np.abs(expected[finite]).max()
    return float(np.abs(actual[finite] - expected[finite]).max() / np.spacing(largest))


def test_there_are_right_kernels_of_every_operator_and_each_says_who_ships_it() -> None:
    assert len(RIGHT_KERNELS) >= 50
    by_operator = Counter(kernel.operator for kernel in RIGHT_KERNELS.values())
    assert all(by_operator[operator] >= 5 for operator in OPERATORS)
    for kernel in RIGHT_KERNELS.values():
        assert kernel.grade in (*GRADES, None), kernel
        assert kernel.dtypes, kernel
        assert set(kernel.dtypes) <= set(DTYPES), kernel
        assert re.fullmatch(r"([\w.-]+/[\w.-]+( [\d.]+)?|well known|this project): .+", kernel.ships), kernel
        assert kernel.sentence.endswith("."), kernel


def worst_error(subject: Subject, operator: str, dtype: str) -> float:
    """The largest error of a subject's results and gradients on ordinary calls, in ulps of ``dtype``."""
    definition = load("torch_loss_parity.faults.right.definition", (operator,))
    unit = np.finfo(dtype).eps / np.finfo("float64").eps
    worst = 0.0
    for call in ordinary_calls(subject.promise.operator(OPERATORS[operator])):
        call = replace(call, dtype=dtype, output_dtype=dtype)
        expected, actual = results(definition, call), results(subject, call)
        assert set(actual) == {"forward", *call.differentiable}
        for quantity, value in expected.items():
            worst = max(worst, error_in_ulps(actual[quantity], value) / unit)
    return worst


@KERNELS
def test_a_right_kernel_agrees_with_the_definition_to_a_few_ulps(kernel: RightKernel) -> None:
    dtype = "float64" if "float64" in kernel.dtypes else "float32"
    subject = load(f"right:{kernel.name}", (kernel.operator,))
    assert worst_error(subject, kernel.operator, dtype) <= ULPS


@pytest.mark.parametrize(
    "fault", ["every-probability-is-the-same", "without-reduction-the-gradient-is-zero", "the-clamp-detaches"]
)
def test_a_wrong_kernel_does_not(fault: str) -> None:
    operator = FAULTS[fault].operator
    assert worst_error(load(f"fault:{fault}", (operator,)), operator, "float64") > ULPS


def test_a_right_kernel_that_is_not_there_is_refused_with_the_choices() -> None:
    with pytest.raises(SubjectError, match=r"there is no right kernel 'zero'; choose from .*two-softplus"):
        load("right:zero", tuple(OPERATORS))


@pytest.mark.parametrize(
    ("ships", "grade", "doc"), [("", "sharp", "Right."), ("a/b: c", "blunt", "Right."), ("a/b: c", None, "")]
)
def test_a_right_kernel_that_is_not_described_is_refused(ships: str, grade: str | None, doc: str) -> None:
    def some_new_kernel() -> None: ...

    some_new_kernel.__doc__ = doc
    with pytest.raises(ValueError, match="right kernel some-new-kernel: it needs an operator, who ships it"):
        record.composed("softmax", ships=ships, grade=grade)(some_new_kernel)
    assert "some-new-kernel" not in RIGHT_KERNELS


# --- the campaign -------------------------------------------------------------------------------------------

ACCEPTED = RightRun({}, ("errors", "forward"), 0)
REJECTED = RightRun({"forward": 2}, ("errors",), 1)


def test_the_record_has_every_right_kernel_and_the_readme_what_it_says() -> None:
    known = right_record.as_recorded()
    assert set(right_record.recorded()) == set(RIGHT_KERNELS)
    claims = {claim_of(str(path)) for path in files_of_claims()}
    for run in known.values():
        assert {*run.claims, *run.passed} <= claims
        assert run.passed  # something ran
        assert run.rejected == bool(run.claims)
    assert right_record.section(known, campaign.missed()) == readme.section("right")


def test_false_alarms_and_misses_stand_in_one_table() -> None:
    lines = right_record.section(
        {"two-softplus": REJECTED, "two-log-sigmoids": ACCEPTED}, {"zeros": True, "nan-is-left-out": False}
    ).splitlines()
    assert "| binary_cross_entropy_with_logits | 2 | 1 | 0 | 0 |" in lines
    assert lines[-1] == "| **all** | 2 | 1 | 2 | 1 |"


def test_a_rejected_right_kernel_and_one_that_is_new_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(right_record, "RECORD", tmp_path / "right.json")
    record = {"two-softplus": asdict(ACCEPTED), "gone": asdict(ACCEPTED)}
    right_record.RECORD.write_text(json.dumps({"torch": "", "right": record}))
    matrix = {"two-softplus": REJECTED, "two-log-sigmoids": ACCEPTED}
    assert right_record.rejections(matrix) == ["two-softplus is right, and rejected by forward"]
    killed = {"two-softplus": RightRun({}, (), -6)}
    assert right_record.rejections(killed) == ["two-softplus is right, and rejected by exit status -6"]
    assert right_record.drift(matrix) == [
        "two-log-sigmoids is not in the record",
        "gone is recorded, and no longer there",
    ]
    assert [line.split() for line in right_record.table(matrix)] == [
        ["right", "kernels"],
        ["errors", "forward"],
        ["two-softplus"],
        [".", "2"],
        ["two-log-sigmoids"],
        [".", "."],
    ]


def test_checks_without_pytest_reject_a_wrong_kernel_and_no_right_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = replace(RIGHT_KERNELS["exponentials-are-summed-in-pairs"], dtypes=("float32",))
    wrong = replace(right, name="wrong", function=FAULTS["every-probability-is-the-same"].function)
    monkeypatch.setitem(RIGHT_KERNELS, right.name, right)
    monkeypatch.setitem(RIGHT_KERNELS, wrong.name, wrong)
    judge_seed([right.name, wrong.name], ["forward"], "quick", 0, tmp_path / "rejections.json")
    outcome = json.loads((tmp_path / "rejections.json").read_text())
    assert outcome["cases"] > 0
    assert {(each["kernel"], each["claim"]) for each in outcome["rejections"]} == {("wrong", "forward")}
