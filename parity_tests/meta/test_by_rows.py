"""What the fast arithmetic allows is below the bound, and what is shown to be right row by row is right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from torch_loss_parity import assert_close_to_truth
from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.expectation import FORWARD, arithmetic_of, expected, upstream_gradient
from torch_loss_parity.expectation.lower_bounds import Low, stored
from torch_loss_parity.expectation.quantity import format_of
from torch_loss_parity.expectation.second_order import gradient_of
from torch_loss_parity.judging import assertion, by_rows, rows
from torch_loss_parity.meta.planted_tensors import CALLS, computed, off
from torch_loss_parity.operators import DTYPES, OPERATORS
from torch_loss_parity.operators.sampling import EFFORTS, grid

NARROW = tuple(dtype for dtype in DTYPES if dtype != "float64")
# The rows of linear_cross_entropy share a layer: it is judged whole.
BY_ROWS = [name for name in CALLS if name != "linear_cross_entropy"]
CLOSE = 1 + 2.0**-9  # what the first-order terms leave out


def low_of(call: Call, names: tuple[str, ...], upstream: np.ndarray | None) -> dict[str, Low]:
    arithmetic, operator = arithmetic_of(call, FORWARD), OPERATORS[call.operator]
    given = {
        name: Low(value, arithmetic) if isinstance(value, np.ndarray) else value
        for name, value in call.arguments.items()
        if name != "dtype"
    }
    with np.errstate(all="ignore"):
        if names == (FORWARD,):
            bounds = {FORWARD: operator.forward(**given)}
        else:
            gradients = operator.backward(Low(upstream, arithmetic), **given)
            bounds = {name: gradient_of(gradients, name) for name in names}
        return {name: stored(low, format_of(call, name)) for name, low in bounds.items()}


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("operator", list(OPERATORS))
def test_the_fast_arithmetic_stays_below_the_bound(operator: str, dtype: str) -> None:
    """Over all options: the same values, and no more of an error, its own and with the shared one."""
    compared = 0
    for case in grid(OPERATORS[operator], dtype, EFFORTS["quick"], 0):
        call = OPERATORS[operator].call(case)
        if call.dtypes or call.arguments.get("dtype") or call.arguments.get("reduction", "none") != "none":
            continue
        upstream = upstream_gradient(call, case)
        for names in ((FORWARD,), call.differentiable):
            given = None if names == (FORWARD,) else upstream
            bounds, lows = expected(call, names, given), low_of(call, names, given)
            for name in names:
                bound, low = bounds[name], lows[name]
                value = np.asarray(bound.nearest)
                with np.errstate(all="ignore"):
                    error = bound.error
                    own = np.expm1(error.relative) * np.abs(value) + error.absolute
                    total = np.asarray(bound.total_error())
                    mine = np.broadcast_to(0.0 if low.own is None else low.own, value.shape)
                    away = np.abs(low.value - value) - 2.0**-15 * format_of(call, name).spacing(value)
                    both = np.broadcast_to(0.0 if low.total is None else low.total, value.shape)
                # A bound may also be around the number of the format that a result is next to.
                finite = np.isfinite(value) & np.isfinite(total) & np.isfinite(mine) & np.isfinite(both)
                assert np.all(away[finite] <= 2.0**-30 * (np.abs(value) + total)[finite]), (case, name)
                assert np.all((mine <= own * CLOSE)[finite]), (case, name)
                assert np.all((both <= total * CLOSE)[finite]), (case, name)
                compared += int(finite.sum())
    assert compared > 40


@pytest.fixture
def row_by_row(monkeypatch: pytest.MonkeyPatch) -> list[list[str] | None]:
    """Small calls are looked at in blocks too; which quantities were found to be wrong, None where it was
    left to the whole.
    """
    shown: list[list[str] | None] = []
    real = by_rows.wrong_by_rows

    def look(*arguments: Any) -> Any:
        wrong = real(*arguments)
        shown.append(None if wrong is None else [finding.quantity for finding in wrong])
        return wrong

    monkeypatch.setattr(rows, "LARGE", 1)
    monkeypatch.setattr(by_rows, "BLOCK", 25)
    monkeypatch.setattr(by_rows, "FEW", 10)
    monkeypatch.setattr(assertion, "wrong_by_rows", look)
    return shown


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("operator", list(CALLS))
def test_what_is_right_is_shown_and_a_planted_tensor_is_not(
    operator: str, dtype: str, row_by_row: list[list[str] | None]
) -> None:
    given, output, grads, upstream = computed(operator, dtype)
    assert_close_to_truth(output, operator, **given, grads=grads, grad_output=upstream)
    if operator == "linear_cross_entropy":  # whose layer all rows share: it is judged whole
        assert row_by_row == [None]
        return
    assert row_by_row == [[]]
    reduced = given.get("reduction", "mean" if "target" in given else "none") != "none"
    for index in (7, 31, 59):
        with pytest.raises(AssertionError, match="the result is wrong"):
            assert_close_to_truth(off(output, dtype, index), operator, **given)
        assert row_by_row[-1] == (None if reduced else [FORWARD])
        for name in grads:
            wrong = {**grads, name: off(grads[name], dtype, index)}
            with pytest.raises(AssertionError, match=f"{name} is wrong: the error is .* times") as raised:
                assert_close_to_truth(output, operator, **given, grads=wrong, grad_output=upstream)
            assert row_by_row[-1] == [name]
            place = tuple(int(i) for i in np.unravel_index(index, grads[name].shape))
            assert f"worst     element {list(place)} of {grads[name].numel()}" in str(raised.value)


@pytest.mark.parametrize("operator", BY_ROWS)
def test_what_is_judged_row_by_row_is_judged_as_the_whole_is(
    operator: str, row_by_row: list[list[str] | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that is near what is allowed, on either side."""
    given, _, grads, upstream = computed(operator, "float32")
    verdicts: dict[bool, list[bool]] = {}
    for large in (1, 10**9):
        monkeypatch.setattr(rows, "LARGE", large)
        for units in (0, 2, 4, 8, 16, 2**10):
            wrong = {name: tensor * (1 + units * 2.0**-23) for name, tensor in grads.items()}
            try:
                assert_close_to_truth(None, operator, **given, grads=wrong, grad_output=upstream)
            except AssertionError as error:
                message = str(error)
            else:
                message = ""
            verdicts.setdefault(large == 1, []).append(not message)
    assert verdicts[True] == verdicts[False]
    assert {True, False} <= set(verdicts[True])
    assert None not in row_by_row[:6]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("operator", ["nll_loss", "cross_entropy", "binary_cross_entropy_with_logits"])
def test_a_reduced_loss_is_shared_out_over_its_rows(
    operator: str, weighted: bool, reduction: str, row_by_row: list[list[str] | None]
) -> None:
    torch.manual_seed(0)
    x = torch.randn(9, 7).log_softmax(-1).requires_grad_()
    target = torch.tensor([0, 6, -100, 3, 3, 1, 0, 2, 5])
    real = operator.startswith("binary")
    given: dict[str, Any] = {"input": x, "target": target, "reduction": reduction}
    given |= {"target": torch.rand(9, 7)} if real else {}
    given |= {"weight": torch.rand(7) + 0.5} if weighted else {}
    loss = getattr(F, operator)(**given)
    (gradient,) = torch.autograd.grad(loss, x, torch.tensor(0.7))
    grads = {"input": gradient}
    upstream = torch.tensor(0.7)
    assert_close_to_truth(loss, operator, **given, grads=grads, grad_output=upstream)
    assert row_by_row == [[]]
    with pytest.raises(AssertionError, match="the gradient with respect to input is wrong"):
        assert_close_to_truth(loss, operator, **given, grads={"input": gradient * 1.00001}, grad_output=0.7)
    with pytest.raises(AssertionError, match="the result is wrong"):
        assert_close_to_truth(loss * 1.0001, operator, **given, grads=grads, grad_output=upstream)


def test_what_rows_share_is_not_judged_row_by_row(row_by_row: list[list[str] | None]) -> None:
    x = torch.randn(6, 5)
    assert_close_to_truth(x.softmax(0), "softmax", x, 0)
    assert_close_to_truth(x.double().softmax(1), "softmax", x.double(), 1)
    assert row_by_row == [None, None]


def test_a_wrong_call_is_told_as_of_any_size(row_by_row: list[list[str] | None]) -> None:
    x, target = torch.randn(6, 5), torch.tensor([0, 1, 2, 3, 4, 5])
    with pytest.raises(ValueError, match="target holds 5; it must be between 0 and 4"):
        assert_close_to_truth(torch.ones(()), "cross_entropy", x, target)
    with pytest.raises(AssertionError, match=r"shape is \(5,\), expected \(6,\)"):
        assert_close_to_truth(torch.ones(5), "logsumexp", x, 1)


@pytest.mark.parametrize("operator", BY_ROWS)
def test_a_wrong_tensor_costs_about_what_a_right_one_does(
    operator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In elements that the rounding arithmetic looks at: few of a right tensor, and few for each way."""
    monkeypatch.setattr(rows, "LARGE", 1)
    looked: list[int] = []

    def counting(call: Call, *arguments: Any, **options: Any) -> Any:
        looked.append(call.arguments["input"].size)
        return expected(call, *arguments, **options)

    monkeypatch.setattr(by_rows, "expected", counting)
    monkeypatch.setattr(by_rows, "FEW", 64)
    torch.manual_seed(0)
    x = torch.randn(256, 64)
    given, function = call_of_rows(operator, x)
    result = function(**given)
    upstream = torch.randn(result.shape)
    (gradient,) = torch.autograd.grad(result, given["input"], upstream)
    assert_close_to_truth(result, operator, **given, grads={"input": gradient}, grad_output=upstream)
    of_right = sum(looked)
    assert of_right <= x.numel() / 2
    gradient[100] *= 1.01
    with pytest.raises(AssertionError, match=r"worst     element \[100, "):
        assert_close_to_truth(result, operator, **given, grads={"input": gradient}, grad_output=upstream)
    assert sum(looked) - of_right <= x.numel()


def call_of_rows(operator: str, x: torch.Tensor) -> tuple[dict[str, Any], Any]:
    """The arguments of a call of many rows, and the function."""
    options = CALLS[operator][1]
    if operator == "binary_cross_entropy":
        x = x.sigmoid()
    given: dict[str, Any] = {"input": x.requires_grad_()} | {k: v for k, v in options.items() if k == "dim"}
    if operator in ("nll_loss", "cross_entropy"):
        given["target"] = torch.arange(len(x)) % x.shape[1]
    elif "dim" not in given:
        given["target"] = torch.rand(x.shape)
    return given, getattr(torch if operator == "logsumexp" else F, operator)
