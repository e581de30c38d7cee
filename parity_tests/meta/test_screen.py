"""The verdict of a run: its word, its four parts, causes, and that it fits on a screen."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch.nn.functional

from torch_loss_parity.cases.case import Case
from torch_loss_parity.judging.causes import alike, first_sentence
from torch_loss_parity.judging.comparison import Verdict
from torch_loss_parity.judging.finding import Finding
from torch_loss_parity.judging.run_cases import check_random_cases
from torch_loss_parity.judging.tally import PROPERTY, Tally
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.operators.kinds import AREAS
from torch_loss_parity.plugin.failed_test import case_in, first_line
from torch_loss_parity.plugin.summary import Summary
from torch_loss_parity.reports.screen import COLUMNS, FAILED, PASSED, TOO_LITTLE, Failure, Screen
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.declined import OUTSIDE
from torch_loss_parity.subjects.settings import Settings


def counted(
    claim: str, cases: int, *, failed: int = 0, declined: dict[str, int] | None = None
) -> dict[str, Any]:
    tally = Tally("softmax", "float32", claim, cases=cases, failed=failed, declined=declined or {})
    return tally.as_property()


def screen(*tallies: dict[str, Any], failures: tuple[Failure, ...] = (), promised: str = "") -> Screen:
    return Screen("mine on cpu", tallies, failures, promised, lambda reason: OUTSIDE in reason)


def text(shown: Screen) -> str:
    return "\n".join(line for line, _ in shown.lines())


def test_each_part_is_right_or_wrong_by_itself() -> None:
    shown = screen(counted("forward", 10), counted("errors", 5, failed=2), counted("layouts", 3))
    assert shown.word == FAILED
    assert [shown.part(area).word for area in ("numbers", "meaning", "refusals", "conduct")] == [
        PASSED,
        "not run",
        FAILED,
        PASSED,
    ]
    assert "refusals  FAIL          5 cases, 2 fail" in text(shown)


@pytest.mark.parametrize(
    ("declined", "word"),
    [
        ({"weights": 10}, PASSED),  # half of what was asked
        ({"weights": 11}, TOO_LITTLE),
        ({f"{OUTSIDE}weight=given": 1000}, PASSED),
    ],
)
def test_fewer_than_half_of_the_cases_are_too_few(declined: dict[str, int], word: str) -> None:
    shown = screen(counted("forward", 10, declined=declined))
    assert shown.word == word
    if word == TOO_LITTLE:
        assert "forward of softmax, float32: 10 of 21 cases" in text(shown)
        assert shown.part("numbers").word == "too few"


def test_nothing_is_no_pass() -> None:
    assert screen().word == TOO_LITTLE
    assert screen(counted("forward", 0)).word == TOO_LITTLE


def test_a_kind_that_lies_outside_as_a_whole_is_named() -> None:
    shown = screen(counted("forward", 3), counted("bits", 0, declined={f"{OUTSIDE}ndim": 4}))
    assert shown.word == PASSED
    assert "outside the promise: bits" in text(shown)


def test_cases_of_one_cause_stand_in_one_line_with_the_smallest() -> None:
    tallies = []
    for size, dtype in ((100, "float32"), (3, "float64")):
        tally = Tally("softmax", dtype, "forward", cases=9, failed=2)
        tally.blame("the result is off", f"of {size}", size=size, worst=float(size))
        tally.blame("the result is off", f"of {size + 1}", size=size + 1, worst=2.0)
        tallies.append(tally.as_property())
    unexplained = Failure(
        "hygiene", "softmax", "softmax of mine on cpu, float32: 3 bytes changed", explained=False
    )
    shown = screen(*tallies, failures=(unexplained,))
    (first, second) = shown.causes()
    assert first == (
        4,
        "numbers",
        ["softmax"],
        "the result is off, by up to 100 times what rounding allows",
        "of 3",
    )
    assert second[:2] == (1, "conduct")
    assert second[3] == "N bytes changed"


def test_a_cause_names_the_mode_that_all_of_its_cases_have() -> None:
    tallies = []
    for dtype, modes in (("float32", ("under vmap", "under vmap")), ("float64", ("under vmap", ""))):
        tally = Tally("softmax", dtype, "transforms", cases=2, failed=2)
        for mode in modes:
            tally.blame("nan where a finite number is expected", "of 3", size=3, mode=mode)
        tallies.append(tally.as_property())
    said = [screen(*some).causes()[0][3] for some in (tallies[:1], tallies)]
    assert said == [
        "nan where a finite number is expected, under vmap",
        "nan where a finite number is expected",
    ]


def test_a_cause_is_what_is_wrong_and_not_the_case_that_its_message_begins_with() -> None:
    case = "softmax float32 6x7 normal dim=-1 seed=0"
    cause, row = Failure("hygiene", "softmax", f"{case}: a call takes 3 threads", explained=False).cause
    assert (cause, row["example"]) == ("a call takes N threads", case)


def test_what_did_not_return_is_a_cause_with_its_limit_and_its_case() -> None:
    case = "softmax float32 1x65537 normal dim=1 seed=0"
    message = f"softmax of kernels/mine.py: it did not return within 60 s\n  case      {case}"
    report = pytest.TestReport("test", ("", 0, ""), {}, "failed", message, "call")
    failure = Failure("domain", "softmax", first_line(report), explained=False, case=case_in(report))
    assert failure.cause[0] == "it did not return within 60 s"
    assert failure.cause[1]["example"] == case


@pytest.mark.parametrize(
    "before",
    [
        "softmax from offset views (2-D offset input), float32, input (4, 67), dim=-1: ",
        "vmap over input: dim=1: it raises ",
        "the result is wrong: it raises ",
        "it raises ",
    ],
)
def test_what_is_raised_is_one_cause_wherever_it_is_raised(before: str) -> None:
    said = "TypeError: softmax() got an unexpected keyword: dtype"
    assert alike(before + said) == f"it raises {said}"


@pytest.mark.parametrize(("kind", "hinted"), [("forward", True), ("errors", False)])
def test_who_raises_is_told_how_to_say_what_is_not_offered(kind: str, hinted: bool) -> None:
    tally = Tally("softmax", "float32", kind, cases=3, failed=1)
    tally.blame("it raises RuntimeError: t() expects a matrix", "of 3", size=3, worst=math.inf)
    assert ("What a kernel does not offer it may say" in text(screen(tally.as_property()))) == hinted


def test_what_torch_says_that_a_function_lacks_is_named() -> None:
    declined = {"under vmap: In order to use an autograd.Function with functorch transforms (vmap)": 2}
    shown = screen(counted("transforms", 3, declined=declined))
    assert "not offered, as torch says: transforms" in text(shown)


@pytest.mark.parametrize(
    ("message", "first"),
    [
        ("AssertionError: 2 of 9 cases fail:\n\nsoftmax of mine: wrong\n  case 1", "softmax of mine: wrong"),
        ("2 of 9 cases fail; the smallest of each cause:\n\nwrong", "wrong"),
        ("AssertionError: 2 of 9 rows are off", "AssertionError: 2 of 9 rows are off"),
        ("2 of 9 cases fail", "2 of 9 cases fail"),
    ],
)
def test_how_many_cases_fail_is_no_reason_why(message: str, first: str) -> None:
    report = pytest.TestReport("test", ("", 0, ""), {}, "failed", message, "call")
    assert first_line(report) == first


def test_no_more_cases_fail_than_there_are() -> None:
    of = [Failure(kind, "softmax", "it died", explained=False) for kind in ("errors", "errors", "hygiene")]
    counted_failure = Failure("hygiene", "softmax", "3 bytes changed", explained=False, counted=True)
    shown = screen(counted("forward", 4), counted("hygiene", 1, failed=1), failures=(*of, counted_failure))
    parts = [shown.part(area) for area in AREAS]
    assert [(part.cases, part.failed) for part in parts] == [(4, 0), (0, 0), (2, 2), (2, 2)]


def reported(*counted: dict[str, Any], failed: bool) -> list[pytest.TestReport]:
    """What pytest reports of a test, in two of its three parts."""
    properties = [(PROPERTY, each) for each in counted]
    name = "parity_tests/claims/semantics/test_semantics.py::test"
    outcome: Any = ("failed", "AssertionError: wrong") if failed else ("passed", None)
    teardown = pytest.TestReport(name, ("", 0, ""), {}, "passed", None, "teardown")
    teardown.user_properties = list(properties)
    return [pytest.TestReport(name, ("", 0, ""), {}, outcome[0], outcome[1], "call"), teardown]


@pytest.mark.parametrize(
    ("cases", "failed", "expected"),
    [
        ([(3, 0), (2, 0)], False, (5, 0)),
        ([(3, 0), (2, 1)], True, (5, 1)),  # only of the second dtype
        ([(3, 0), (2, 0)], True, (6, 1)),  # before it judged another case
        ([], True, (1, 1)),  # before it counted anything
    ],
)
def test_a_failing_test_is_a_case_that_fails(
    pytestconfig: pytest.Config, cases: list[tuple[int, int]], failed: bool, expected: tuple[int, int]
) -> None:
    summary = Summary(pytestconfig)
    for report in reported(*(counted("semantics", n, failed=m) for n, m in cases), failed=failed):
        summary.pytest_runtest_logreport(report)
    shown = screen(*summary.tallies, failures=tuple(summary.failures.values()))
    assert (shown.part("meaning").cases, shown.part("meaning").failed) == expected


def test_a_random_case_that_shrinks_is_one_case() -> None:
    tried: list[int] = []

    def verify(subject: Subject, case: Case, device: str, *, certify: bool) -> Iterator[Finding]:
        call = OPERATORS["softmax"].call(case)
        size = call.arguments["input"].size
        tried.append(size)
        wrong = Verdict(9.0, elements=size) if size > 3 else Verdict(0.5, elements=size)
        yield Finding(case, call, "forward", wrong, wrong, "", False)

    tally, settings = (
        Tally("softmax", "float32", "forward"),
        Settings(Subject("torch", torch.nn.functional, ""), "cpu", ("float32",), "quick", 0),
    )
    with pytest.raises(AssertionError, match="softmax"):
        check_random_cases(OPERATORS["softmax"], "float32", verify, settings, tally, name="shrinks")
    first = next(n for n, size in enumerate(tried) if size > 3)
    assert (tally.cases, tally.failed) == (first + 1, 1)
    assert len(tried) > tally.cases
    (cause,) = tally.causes.values()
    assert (cause["cases"], cause["size"]) == (1, min(size for size in tried if size > 3))


def test_messages_that_differ_in_numbers_are_alike() -> None:
    one, other = (
        alike(f"softmax of mine on cpu, {dtype}: index {n} is out of bounds for size {n - 1}\nmore")
        for dtype, n in (("float32", 3), ("bfloat16", 70))
    )
    assert one == other == "index N is out of bounds for size N"


def test_a_message_of_several_lines_is_one_cause() -> None:
    row = "ignore_index 255 in uint8, none"
    message = (
        f"cross_entropy of mine on cpu, float32: the result is wrong: {row}: the error is\n"
        f"    3.02e+05 times what rounding allows\n  case      not drawn: these arguments"
    )
    assert first_sentence(message).endswith(f"{row}: the error is 3.02e+05 times what rounding allows")
    expected = "the error is N times what rounding allows"
    assert alike(message) == f"the result is wrong: ignore_index N in uint8, none: {expected}"
    assert alike(f"{row}: the error is -inf, 1e-7 of 2x3\n  case") == (
        "ignore_index N in uint8, none: the error is -inf, N of N"
    )


def test_no_line_is_wider_than_a_screen() -> None:
    tally = Tally("softmax", "float32", "forward", cases=1, failed=1)
    tally.blame("a long cause " * 20, "a long example " * 20)
    shown = screen(tally.as_property(), promised="weight=None, " * 30)
    assert max(len(line) for line, _ in shown.lines()) <= COLUMNS


def test_a_machine_reads_it(tmp_path: Path) -> None:
    tally = Tally("softmax", "float32", "forward", cases=4, failed=1)
    tally.blame("the result is off", "of 3", size=3, worst=7.0)
    written = json.loads(json.dumps(screen(tally.as_property()).as_dict()))
    assert written["word"] == FAILED
    assert written["parts"]["numbers"] == {"word": FAILED, "cases": 4, "failed": 1, "worst": None}
    assert written["causes"][0]["cases"] == 1
    assert written["causes"][0]["example"] == "of 3"
