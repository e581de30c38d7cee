"""Of a wrong kernel's failing tests a run shows a few of each cause, and says how many more fail."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from torch_loss_parity.meta.claims_run import run_claims
from torch_loss_parity.plugin.shown_failures import chosen, is_of_a_claim
from torch_loss_parity.reports.screen import CAUSES

# Wrong in every claim, for more than one reason.
KERNEL = """
def softmax(input, dim, dtype=None):
    if input.numel() % 2:
        return input
    raise ValueError("no kernel")
"""
CLAIMS = ("test_forward.py", "semantics")
OFF, DIES = ("numbers", "the result is off"), ("numbers", "it raises")


def test_the_smallest_case_of_each_cause_is_among_what_is_shown() -> None:
    told = {f"test {n}": {OFF: (n, f"of {n}")} for n in range(9, 0, -1)}
    told |= {f"other {n}": {DIES: (2, f"by {n}"), OFF: (50, "of 50")} for n in range(9)}
    shown = chosen(told, {OFF: "of 1", DIES: "by 5"})
    assert {"test 1", "other 5"} <= shown
    assert len(shown) == 4
    many = {f"test {n}": {("numbers", f"cause {n}"): (1, f"of {n}")} for n in range(3 * CAUSES)}
    smallest = {key: example for causes in many.values() for key, (_, example) in causes.items()}
    assert chosen(many, smallest) == set(list(many)[:CAUSES])


@pytest.mark.parametrize(
    ("test", "hidden"),
    [
        ("parity_tests/claims/test_forward.py::test_grid[softmax]", True),
        ("../elsewhere/claims/semantics/test_semantics.py::test_semantics[a]", True),
        ("parity_tests/claims/test_known_divergences.py::test_it", False),
        ("parity_tests/meta/test_screen.py::test_it", False),
        ("parity_tests/meta/test_domain.py::test_it", False),
        ("reference/meta/test_errors.py::test_it", False),
    ],
)
def test_only_tests_of_claims_are_left_out(test: str, hidden: bool) -> None:
    assert is_of_a_claim(test) == hidden


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    path: Path = tmp_path_factory.mktemp("run") / "kernel.py"
    path.write_text(KERNEL)
    return ["--subject", str(path), "--dtype", "float32", "--operator", "softmax"]


def test_a_run_ends_with_how_many_more_fail_and_the_verdict(kernel: list[str]) -> None:
    printed = run_claims(*kernel, claims=CLAIMS).printed
    shown = re.findall(r"^FAILED (.*)", printed, re.M)
    (more,) = re.findall(r"^(\d+) more tests fail. --all-failures", printed, re.M)
    (failed,) = re.findall(r"(\d+) failed", printed)
    assert 0 < len(shown) <= CAUSES
    assert len(shown) + int(more) == int(failed) > CAUSES
    first, again = re.findall(r"^FAIL  (?:.*\n)+?(?:  .* (?:cases|cases, .*)\n){4}", printed, re.M)
    assert first == again
    details = printed.partition("= FAILURES =")[2]
    for example in re.findall(r"such as ((?:.|\n)*?)(?=\n  |\n\S)", printed.partition("= FAILURES =")[0]):
        if "..." not in example:
            assert " ".join(example.split()) in " ".join(details.split())


def test_a_run_can_show_all_failures(kernel: list[str]) -> None:
    printed = run_claims(*kernel, "--all-failures", claims=CLAIMS).printed
    (failed,) = re.findall(r"(\d+) failed", printed)
    assert len(re.findall(r"^FAILED ", printed, re.M)) == int(failed)
    assert "more tests fail" not in printed
