"""Planted faults of autocast, each rejected by the check that is to see it; torch itself passes it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from torch_loss_parity.cases.case import Case
from torch_loss_parity.claims.transforms.autocast import verify_under_autocast
from torch_loss_parity.claims.transforms.transform_cases import CLAIM, Attempt, check_attempts
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.declined import TWO_DTYPES
from torch_loss_parity.subjects.promise import Promise
from torch_loss_parity.subjects.settings import Settings

SETTINGS = Settings.of("torch", "cpu", "float32", "quick", 0)


def case_of(name: str, dtype: str, **options: Any) -> Case:
    operator = OPERATORS[name]
    return operator.case(dtype, (4, 5), next(iter(operator.values)), options, 3)


def judge(case: Case, subject: Subject) -> Tally:
    """What the check counts of a case under autocast to bfloat16; raises what it raises."""
    tally = Tally(case.operator, case.dtype, CLAIM)
    attempt = Attempt("planted", case, verify_under_autocast("bfloat16"))
    check_attempts([attempt], replace(SETTINGS, subject=subject, dtypes=(case.dtype,)), tally)
    return tally


def rounds_twice(input: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
    return F.cross_entropy(input, target, **options).to(torch.bfloat16).float()


def keeps_half(input: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
    return F.cross_entropy(input, target, **options).to(input.dtype)


def computes_in_double(input: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
    return F.cross_entropy(input.double(), target, **options)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (rounds_twice, "the result under torch.autocast to bfloat16 is wrong"),
        (keeps_half, "has dtype bfloat16, expected float32"),
        (computes_in_double, "has dtype float64, expected float32"),
    ],
)
def test_autocast_that_rounds_twice_or_returns_another_dtype_fails(function: Any, message: str) -> None:
    case = case_of("cross_entropy", "bfloat16")
    judge(case, SETTINGS.subject)
    with pytest.raises(AssertionError, match=message):
        judge(case, Subject("torch", SimpleNamespace(cross_entropy=function), ""))


def without_a_bias(*positional: Any, linear_bias: Any, **options: Any) -> torch.Tensor:
    """A path of autocast whose bias is 0."""
    bias = linear_bias * 0 if torch.is_autocast_enabled("cpu") else linear_bias
    return F.linear_cross_entropy(*positional, linear_bias=bias, **options)


def with_eight_bits(input: torch.Tensor, linear_weight: torch.Tensor, *others: Any, **options: Any) -> Any:
    """A path of autocast whose layer has as many bits as float8_e4m3fn."""
    if torch.is_autocast_enabled("cpu"):
        linear_weight = linear_weight.to(torch.float8_e4m3fn).to(linear_weight.dtype)
    return F.linear_cross_entropy(input, linear_weight, *others, **options)


class OneDtype(torch.autograd.Function):
    """Written for one dtype: the logits that autocast makes do not fit to the layer in the backward pass."""

    @staticmethod
    def forward(ctx: Any, input: Any, layer: Any, target: Any) -> Any:
        logits = input @ layer.mT
        ctx.save_for_backward(input, layer, target, logits)
        return F.cross_entropy(logits, target, reduction="sum").to(logits.dtype)

    @staticmethod
    def backward(ctx: Any, grad_output: Any) -> Any:
        input, layer, target, logits = ctx.saved_tensors
        of_logits = grad_output * (logits.softmax(1) - F.one_hot(target, logits.shape[1])).to(logits.dtype)
        return of_logits @ layer, of_logits.mT @ input, None


@pytest.mark.skipif(not hasattr(F, "linear_cross_entropy"), reason="torch has no linear_cross_entropy")
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("function", [without_a_bias, with_eight_bits])
def test_a_layer_that_autocast_leaves_out_or_rounds_too_much_fails(function: Any, dtype: str) -> None:
    case = case_of("linear_cross_entropy", dtype, linear_bias="any_sign", reduction="none")
    judge(case, SETTINGS.subject)
    with pytest.raises(AssertionError, match=r"under torch\.autocast to bfloat16 is wrong"):
        judge(case, Subject("planted", SimpleNamespace(linear_cross_entropy=function), ""))


@pytest.mark.skipif(not hasattr(F, "linear_cross_entropy"), reason="torch has no linear_cross_entropy")
def test_a_layer_that_was_written_for_one_dtype_does_not_offer_autocast_unless_it_is_promised() -> None:
    case = case_of("linear_cross_entropy", "float32", reduction="sum")
    functions = SimpleNamespace(linear_cross_entropy=lambda *given, **_: OneDtype.apply(*given[:3]))
    planted = Subject("planted", functions, "")
    tally = judge(case, replace(planted, promise=Promise(may_lack=("autocast",))))
    assert (tally.cases, tally.failed) == (0, 0)
    assert all(TWO_DTYPES in reason for reason in tally.declined), tally.declined
    assert tally.declined
    with pytest.raises(AssertionError, match="expected m1 and m2 to have the same dtype"):
        judge(case, planted)
