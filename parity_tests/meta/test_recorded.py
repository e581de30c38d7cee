"""A case that leaves nothing to compare fails, unless the ledger knows its words: then it is counted as
known, and nothing else is.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.claims.modes import second_order
from torch_loss_parity.claims.modes.second_order import SECOND_ORDER, verify_second_order
from torch_loss_parity.expectation.expectation import expected
from torch_loss_parity.judging.failure_message import PLAIN
from torch_loss_parity.judging.judge import verify_forward
from torch_loss_parity.judging.judge_modes import verify_in_modes
from torch_loss_parity.judging.mode import Mode
from torch_loss_parity.judging.run_cases import check_cases
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.ledger import ledger
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.subjects import Subject, run_subject
from torch_loss_parity.subjects.run_subject import WrongResult
from torch_loss_parity.subjects.settings import Settings

CASE = OPERATORS["softmax"].case("float32", (2, 3), "normal", {"dim": 1}, 0)
(FORWARD_AD,) = (mode for mode in SECOND_ORDER if mode.name == second_order.FORWARD_AD)


def settings_of(softmax: Callable[..., Any]) -> Settings:
    subject = Subject("planted", SimpleNamespace(softmax=softmax), "")
    return Settings(subject, "cpu", ("float32",), "quick", 0)


def record(patch: pytest.MonkeyPatch, claim: str, cases: str) -> None:
    entry = ledger.Shortfall(
        "known", claim, ("softmax",), (cases,), "", "", ">=2", "", "", "", subjects=("planted",)
    )
    patch.setattr(ledger, "shortfalls", lambda: (entry,))


def raising(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
    raise RuntimeError("no range [0:-1]\nand what follows from it")


def of_another_dtype(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
    return torch.softmax(input, dim).double()


@pytest.mark.parametrize(
    ("softmax", "words"),
    [
        (raising, "it raises RuntimeError: no range [[]0:-1]*"),
        (of_another_dtype, "the result has dtype torch.float64, expected *32"),
    ],
)
def test_a_case_is_known_by_its_words_and_by_no_others(
    softmax: Callable[..., Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tally = Tally("softmax", "float32")
    record(monkeypatch, "no result", words)
    check_cases([CASE], verify_forward, settings_of(softmax), tally)
    assert (tally.cases, tally.failed, tally.diverged) == (1, 0, {"known": 1})
    for claim, other in (("no result", f"{words}, truly"), ("errors", words)):
        record(monkeypatch, claim, other)
        with pytest.raises(AssertionError, match="1 of 1 cases fail"):
            check_cases([CASE], verify_forward, settings_of(softmax), Tally("softmax", "float32"))


def test_a_mode_without_a_result_hides_no_other_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(*_: Any) -> dict[str, np.ndarray]:
        raise WrongResult("nothing today")

    def wrong(subject: Subject, call: Call, device: str, _: np.ndarray) -> dict[str, np.ndarray]:
        return {"forward": 2 * run_subject.forward(subject, call, device)}

    record(monkeypatch, "no result", "nothing today")
    modes = [Mode("refused", refusing, steps=PLAIN), Mode("doubled", wrong, steps=PLAIN)]
    findings = list(verify_in_modes(modes)(settings_of(torch.softmax).subject, CASE))
    assert [(finding.mode, finding.verdict.passes, finding.divergence) for finding in findings] == [
        ("refused", True, "known"),
        ("doubled", False, ""),
    ]


def test_a_tangent_that_is_missing_fails_is_known_where_it_is_recorded_and_one_that_is_there_is_news(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def verdicts(softmax: Callable[..., Any], case: Case = CASE) -> list[str]:
        return [
            finding.divergence
            for finding in verify_second_order(settings_of(softmax).subject, case, modes=[FORWARD_AD])
        ]

    def without_tangent(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
        return torch.softmax(input.detach(), dim)

    monkeypatch.setattr(ledger, "shortfalls", lambda: ())
    with pytest.raises(WrongResult, match="no tangent along input"):
        verdicts(without_tangent)
    record(monkeypatch, "modes", "under forward_ad along *")
    assert verdicts(without_tangent) == ["known"]
    right = settings_of(lambda input, dim, dtype=None: torch.softmax(input, dim)).subject
    (finding,) = verify_second_order(right, CASE, modes=[FORWARD_AD])
    assert finding.verdict.passes
    assert finding.news is not None
    assert finding.news.id == "known"


def test_a_smallest_input_may_be_full_of_one_number() -> None:
    entry = ledger.parse(
        {
            "id": "known",
            "operators": ["softmax"],
            "quantities": ["forward"],
            "dtypes": ["float32"],
            "torch": ">=2",
            "reason": "",
            "measured": "",
            "link": "",
            "arithmetic": {"intermediate": "storage"},
            "smallest": [{"quantity": "forward", "input": {"full": 0.5, "shape": [2, 3]}, "dim": 1}],
        }
    )
    call, _ = entry.smallest_call("forward", "float32")
    assert np.array_equal(call.arguments["input"], np.full((2, 3), 0.5))


def test_a_subject_that_compiles_has_longer_for_a_case() -> None:
    plain, compiled = (Settings.of(name, "cpu", "float32", "quick", 0) for name in ("torch", "torch.compile"))
    assert compiled.subject.compiles
    assert compiled.time_limit > plain.time_limit
    assert Settings.of("torch.compile", "cpu", "float32", "quick", 0, time_limit=7.0).time_limit == 7.0


def test_an_input_that_is_not_converted_is_used_as_it_is() -> None:
    """2048.5 is 2048 in float16, and the softmax of a constant row is constant; float64 still becomes the
    float32 that is computed in.
    """
    float32_call = Call("softmax", {"input": np.array([2048.0, 2048.5]), "dim": 0}, "float32", "float32", ())
    for dtype, small in (("float32", 0.0), ("float64", 2.0**-40)):
        call = Call(
            "softmax",
            {"input": np.array([2048.0, 2048.5 + small]), "dim": 0, "dtype": "float16"},
            dtype,
            "float16",
            (),
        )
        assert np.array_equal(expected(call, ("forward",))["forward"].value, [0.5, 0.5])
        as_it_is = expected(call, ("forward",), changes={"converts": False})["forward"].value
        assert np.array_equal(as_it_is, expected(float32_call, ("forward",))["forward"].value)
