"""`parity_tests.verify` accepts what is right, and says of what is wrong what pytest would say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from torch_loss_parity import VerificationError, verify
from torch_loss_parity.api import CLAIMS
from torch_loss_parity.faults import FAULTS
from torch_loss_parity.faults.right.definition import RIGHT
from torch_loss_parity.operators.kinds import AREAS, area_of


@pytest.mark.whole_runs
@pytest.mark.parametrize("operator", ["softmax", "cross_entropy"])
def test_a_right_function_is_accepted_and_printed_as_a_table(operator: str) -> None:
    verified = verify(
        RIGHT[operator], operator, dtypes=["float32"], claims=["forward", "gradients", "errors", "hygiene"]
    )
    assert verified
    printed = str(verified).splitlines()
    assert printed[0].startswith("pass  ")
    lines = printed[next(i for i, line in enumerate(printed) if line.startswith("operator ")) :]
    assert lines[0].split() == ["operator", "cases", "forward", "gradient", "undecided", "verdict"]
    assert lines[2] == operator
    assert lines[3].startswith("  float32 ")
    assert lines[3].endswith(" pass")
    assert lines[-1] == "no test fails"
    assert [row.dtype for row in verified.rows] == ["float32"]
    assert verified.rows[0].cases > 50


def test_a_wrong_function_raises_with_its_first_failure_and_all_of_them() -> None:
    fault = FAULTS["the-mean-counts-ignored-rows"]
    with pytest.raises(
        VerificationError,
        match=r"cross_entropy of .* on cpu, float32: the result is "
        r"wrong: ",
    ) as raised:
        verify(fault.function, fault.operator, dtypes=["float32"], claims=["forward", "gradients"])
    assert "reproduce with" in str(raised.value)
    assert len(raised.value.verified.failures) > 1
    assert "FAIL" in raised.value.verified.rows[0].verdict
    verified = verify(
        fault.function,
        fault.operator,
        dtypes=["float32"],
        claims=["forward", "gradients"],
        raise_exception=False,
    )
    assert not verified
    assert verified.failures == raised.value.verified.failures


@pytest.mark.parametrize("claim", [claim for claim in CLAIMS if claim not in ("forward", "gradients")])
def test_every_claim_is_checked(claim: str) -> None:
    fault = next(fault for fault in FAULTS.values() if claim in fault.catches and fault.effort == "quick")
    verified = verify(
        fault.function, fault.operator, dtypes=[fault.dtype], claims=[claim], raise_exception=False
    )
    assert verified.failures, fault
    parts = [verified.screen.part(area) for area in AREAS]
    assert [part.failed > 0 for part in parts] == [area == area_of(claim) for area in AREAS]
    assert all(part.failed <= part.cases for part in parts)
    assert f"FAIL ({sum(part.failed for part in parts)} of " in verified.rows[0].verdict


def test_what_is_not_implemented_is_not_offered() -> None:
    def without_weights(input: Any, target: Any, weight: Any = None, **options: Any) -> Any:
        if weight is not None:
            raise NotImplementedError("class weights")
        return F.nll_loss(input, target, **options)

    with pytest.raises(
        VerificationError, match=r"TOO LITTLE TESTED(.|\n)*forward of nll_loss, float64: "
    ) as raised:
        verify(without_weights, "nll_loss", dtypes=["float64"], claims=["forward"])
    verified = raised.value.verified
    assert verified.not_offered["nll_loss: class weights"] > 0
    assert verified.rows[0].verdict == "too little tested: forward"
    assert not verified.failures


def test_what_is_promised_is_tested_in_full() -> None:
    def without_weights(input: Any, target: Any, ignore_index: int = -100, reduction: str = "mean") -> Any:
        return F.nll_loss(input, target, ignore_index=ignore_index, reduction=reduction)

    full = verify(F.nll_loss, "nll_loss", dtypes=["float64"], claims=["forward", "gradients"])
    promising = verify(
        without_weights,
        "nll_loss",
        dtypes=["float64"],
        claims=["forward", "gradients"],
        promise={"reduction": ("mean", "none")},
        like="torch",
    )
    assert promising.rows[0].cases >= full.rows[0].cases
    assert not promising.not_offered


def test_what_is_made_of_torchs_functions_is_told_whose_its_errors_are() -> None:
    def composed(input: Any, dim: int, dtype: Any = None) -> Any:
        return F.log_softmax(input, dim, dtype=dtype)

    given: dict[str, Any] = {"dtypes": ["float16"], "claims": ["forward", "domain"]}
    verified = verify(composed, "log_softmax", **given, raise_exception=False)
    said = "off as torch's is known to be (half-log-softmax-stores-normaliser)"
    causes = [cause for _, _, _, cause, _ in verified.screen.causes()]
    assert any(said in cause for cause in causes), causes
    assert verify(composed, "log_softmax", **given, like="torch")


def test_an_exception_is_a_failure() -> None:
    def raising(input: Any, dim: int, dtype: Any = None) -> Any:
        raise TypeError("no kernel")

    with pytest.raises(VerificationError, match="it raises TypeError: no kernel"):
        verify(raising, "softmax", dtypes=["float32"], claims=["forward"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("crossentropy",), "operator is 'crossentropy'; choose from softmax, "),
        (("softmax", {"dtypes": ["int8"]}), "dtype is 'int8'; choose from float16"),
        (("softmax", {"claims": ["speed"]}), "claims has 'speed'; choose from forward"),
        (("softmax", {"device": "tpu"}), "device is 'tpu'"),
    ],
)
def test_what_is_misspelt_is_refused_with_the_choices(arguments: Any, message: str) -> None:
    name, *options = arguments
    with pytest.raises(ValueError, match=message):
        verify(F.softmax, name, **(options[0] if options else {}))
    with pytest.raises(ValueError, match="function is a str; it must be callable"):
        verify("softmax", "softmax")  # type: ignore[arg-type]


def test_one_dtype_and_one_claim_need_no_list() -> None:
    for dtypes in ("float32", torch.float32, [torch.float32]):
        verified = verify(F.softmax, "softmax", dtypes=dtypes, claims="forward")
        assert [row.dtype for row in verified.rows] == ["float32"]


def test_a_module_takes_what_its_forward_takes() -> None:
    given: dict[str, Any] = {"dtypes": "float32", "claims": "forward"}
    summed = verify(
        torch.nn.CrossEntropyLoss(reduction="sum"), "cross_entropy", **given, promise={"reduction": "sum"}
    )
    assert summed.rows[0].cases > 10
    with pytest.raises(ValueError, match="takes no dim"):
        verify(torch.nn.ReLU(), "softmax", **given)
    with pytest.raises(ValueError, match="function is the class CrossEntropyLoss; it must be what computes"):
        verify(torch.nn.CrossEntropyLoss, "cross_entropy", **given)


# What `partial_kernel` offers, as a module of its own would say.
PROMISED = {"target": "indices", "reduction": "sum", "dtypes": "float32", "claims": ("forward", "modes")}


def partial_kernel(input: Any, target: Any, reduction: str = "mean") -> Any:
    assert reduction == "sum"
    return F.cross_entropy(input, target, reduction=reduction)


def test_the_promises_of_a_functions_module_hold_unless_others_are_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(globals(), "PROMISES", PROMISED)
    options: Any = {"claims": ["forward", "gradients"], "like": "torch"}
    verified = verify(partial_kernel, "cross_entropy", **options)
    assert verified
    assert [row.dtype for row in verified.rows] == ["float32"]
    assert {each["claim"] for each in verified.screen.tallies} == {"forward"}
    assert "reduction=sum" in str(verified)
    with pytest.raises(VerificationError):  # of means, too
        verify(partial_kernel, "cross_entropy", dtypes=["float32"], **options, promise={})
    with pytest.raises(
        ValueError, match=f"PROMISES of {__name__} has claims=.*, and claims has none of them"
    ):
        verify(partial_kernel, "cross_entropy", claims=["hygiene"])


@pytest.mark.parametrize("wrong", [{"promise": {}}, {"claims": ["speed"]}, {"dtypes": ["int8"]}])
def test_what_is_raised_shows_no_line_of_this_package(wrong: Any) -> None:
    with pytest.raises((VerificationError, ValueError)) as raised:
        verify(partial_kernel, "cross_entropy", **{"dtypes": ["float32"], "claims": ["forward"], **wrong})
    shown = raised.traceback.filter(raised)
    assert [Path(frame.path).name for frame in shown] == ["test_api.py"]
