"""The hygiene checks see what they are for: each fault planted here fails the check named beside it.

Called once, each fault is right: an ordinary test passes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional

from torch_loss_parity.claims.hygiene import checks, conduct
from torch_loss_parity.judging.judge import verify_forward, verify_gradients
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.subjects import Subject, run_subject
from torch_loss_parity.subjects.settings import Settings
from torch_loss_parity.tensors.arrays import widen

SETTINGS = Settings.of("torch", "cpu", "float32", "standard", 0)
ROW, ELEMENT = "softmax", "binary_cross_entropy_with_logits"
STATE: dict[Any, Any] = {}
Function = Callable[..., Any]


@pytest.fixture(autouse=True)
def _no_state() -> None:
    STATE.clear()


def named(function: Function) -> str:
    return function.__name__.replace("_", " ").strip()


def planted(operator: str, function: Function) -> Subject:
    """In the name of torch, so that the ledger explains what is torch's own doing: only the fault is left to
    fail.
    """
    return Subject("torch", SimpleNamespace(**{operator: function}), "")


def checked(operator: str, function: Function, check: Callable[..., None]) -> None:
    check(
        OPERATORS[operator],
        "float32",
        replace(SETTINGS, subject=planted(operator, function)),
        Tally(operator, "float32"),
    )


class Around(torch.autograd.Function):
    """The identity, whose backward is given."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, backward: Function) -> torch.Tensor:
        ctx.of_gradient = backward
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, None]:
        return ctx.of_gradient(grad), None


def _torch(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
    """The operator that the arguments fit: faults are written once for both."""
    if "dim" in options:
        return functional.softmax(x, *args, **options)
    return functional.binary_cross_entropy_with_logits(x, *args, **options)


# --- what is given ------------------------------------------------------------------------------------------


def writing_into_the_input(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
    result = _torch(x, *args, **options)
    x.data.clamp_(-1, 1)
    return result


def writing_what_is_there_already(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
    result = _torch(x.clone(), *args, **options)
    with torch.no_grad():
        x.mul_(1)
    return result


def normalising_the_weight(x: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
    result = _torch(x, target, **options)
    if options.get("weight") is not None:
        options["weight"].data.div_(2)
    return result


def zeroing_the_upstream_gradient(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
    def backward(grad: torch.Tensor) -> torch.Tensor:
        kept = grad.clone()
        grad.zero_()
        return kept

    return Around.apply(_torch(x, *args, **options), backward)


def writing_into_the_input_in_the_backward_pass(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
    def backward(grad: torch.Tensor) -> torch.Tensor:
        x.data.copy_(x.data + 1)
        return grad

    return Around.apply(_torch(x.clone(), *args, **options), backward)


# --- memory -------------------------------------------------------------------------------------------------


def returning_one_buffer_for_each_shape(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
    result = _torch(x, *args, **options)
    buffer = STATE.setdefault((result.shape, result.dtype), torch.empty_like(result, requires_grad=False))
    buffer.copy_(result.detach())
    result.data = buffer
    return result


def returning_the_memory_of_the_input(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
    result = _torch(x, *args, **options)
    if result.shape == x.shape and result.dtype == x.dtype:
        kept = x.detach().clone()
        result.data = x.detach()  # holds the input still, so that only the address is wrong
        STATE["kept"] = kept
    return result


def one_gradient_buffer(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
    def backward(grad: torch.Tensor) -> torch.Tensor:
        buffer = STATE.setdefault((grad.shape, grad.dtype), torch.empty_like(grad))
        return buffer.copy_(grad)

    return _torch(Around.apply(x, backward), *args, **options)


def the_upstream_gradient_as_gradient(x: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
    """Legitimate for a sum of terms; torch does not do it in these operators, and a change is
    worth knowing.
    """
    return x + 0 * target


# --- history ------------------------------------------------------------------------------------------------


def kept_by_shape(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
    result = _torch(x, *args, **options)
    result.data = STATE.setdefault((tuple(x.shape), result.dtype), result.detach().clone()).clone()
    return result


def kept_by_address(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
    result = _torch(x, *args, **options)
    key = x.data_ptr()
    owner, kept = STATE.setdefault(key, (x, result.detach().clone()))
    if owner is x:
        result.data = kept.clone()
    return result


def wrong_after_ten_calls(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
    STATE["calls"] = STATE.get("calls", 0) + 1
    return _torch(x, *args, **options) * (1.25 if STATE["calls"] > 10 else 1)


def wrong_once_in_thirty_calls(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
    STATE["calls"] = STATE.get("calls", 0) + 1
    return _torch(x, *args, **options) * (1.25 if STATE["calls"] % 30 == 29 else 1)


def wrong_after_an_error(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
    try:
        return _torch(x, *args, **options) * STATE.get("factor", 1)
    except Exception:
        STATE["factor"] = 1.25
        raise


def in_the_lowest_precision_so_far(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
    """After a call in another dtype, half the digits."""
    STATE.setdefault("dtype", x.dtype)
    result = _torch(x, *args, **options)
    if x.dtype != STATE["dtype"]:
        STATE["rounded"] = True
    return result.to(torch.bfloat16).to(result.dtype) if "rounded" in STATE else result


def with_the_first_dimensions(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
    """A table made for the first shape serves all later ones: after a larger call, one more."""
    largest = STATE["largest"] = max(STATE.get("largest", 0), x.shape[0])
    return _torch(x, *args, **options) * (1 if largest == x.shape[0] else 1 + 2.0**-20)


def one_bit_off_from_the_second_call_on(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
    """Within every bound, but another result."""
    STATE[tuple(x.shape)] = STATE.get(tuple(x.shape), -1) + 1
    return _torch(x, *args, **options) * (1 + 2.0**-23 * (STATE[tuple(x.shape)] >= 3))


def never_written(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
    """Leaves in memory what was there: the result of the call before, where nobody overwrote it."""
    result = _torch(x, *args, **options)
    if STATE.setdefault("calls", 0) > 2:
        result = result * 0 + torch.empty_like(result)
    STATE["calls"] += 1
    return result


def adding_to_what_it_saved(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
    seen: list[torch.Tensor] = []

    def backward(grad: torch.Tensor) -> torch.Tensor:
        seen.append(grad)
        return torch.stack(seen).sum(0)

    return Around.apply(_torch(x, *args, **options), backward)


# --- modes --------------------------------------------------------------------------------------------------


def rough_without_gradients(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
    result = _torch(x, *args, **options)
    return result if result.requires_grad else result.to(torch.bfloat16).to(result.dtype)


def rough_in_inference_mode(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
    result = _torch(x, *args, **options)
    return result.to(torch.bfloat16).to(result.dtype) if torch.is_inference_mode_enabled() else result


def always_requiring_a_gradient(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
    result = _torch(x, *args, **options)
    return result if result.requires_grad or torch.is_inference_mode_enabled() else result.requires_grad_()


def no_target_gradient_on_its_own(x: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
    wrong = target if x.requires_grad or not target.requires_grad else 1.5 * target - 0.5 * target.detach()
    return _torch(x, wrong, **options)


GIVEN, MEMORY, STAYS = (
    checks.what_is_given_stays_as_it_is,
    checks.results_share_memory_with_nothing,
    checks.results_stay_when_everything_else_is_overwritten,
)
REPEATED, HISTORY, ORDER, MODES = (
    checks.a_backward_pass_can_be_repeated,
    checks.nothing_depends_on_what_ran_before,
    checks.nothing_depends_on_the_order_of_calls,
    checks.results_are_right_with_and_without_gradients,
)
FAULTS: list[tuple[Function, Callable[..., None], tuple[str, ...]]] = [
    (writing_into_the_input, GIVEN, (ROW, ELEMENT)),
    (writing_what_is_there_already, GIVEN, (ROW, ELEMENT)),
    (normalising_the_weight, GIVEN, (ELEMENT,)),
    (zeroing_the_upstream_gradient, GIVEN, (ROW, ELEMENT)),
    (writing_into_the_input_in_the_backward_pass, GIVEN, (ROW, ELEMENT)),
    (returning_one_buffer_for_each_shape, MEMORY, (ROW, ELEMENT)),
    (returning_one_buffer_for_each_shape, STAYS, (ROW, ELEMENT)),
    (returning_the_memory_of_the_input, MEMORY, (ROW,)),
    (one_gradient_buffer, MEMORY, (ROW, ELEMENT)),
    (one_gradient_buffer, STAYS, (ROW, ELEMENT)),
    (the_upstream_gradient_as_gradient, MEMORY, (ELEMENT,)),
    (kept_by_shape, HISTORY, (ROW, ELEMENT)),
    (kept_by_address, HISTORY, (ROW, ELEMENT)),
    (wrong_after_ten_calls, HISTORY, (ROW, ELEMENT)),
    (wrong_once_in_thirty_calls, HISTORY, (ROW, ELEMENT)),
    (wrong_after_an_error, HISTORY, (ROW, ELEMENT)),
    (in_the_lowest_precision_so_far, HISTORY, (ROW, ELEMENT)),
    (with_the_first_dimensions, HISTORY, (ROW, ELEMENT)),
    (with_the_first_dimensions, ORDER, (ROW, ELEMENT)),
    (one_bit_off_from_the_second_call_on, HISTORY, (ROW, ELEMENT)),
    (one_bit_off_from_the_second_call_on, ORDER, (ROW,)),
    (never_written, HISTORY, (ROW,)),
    (adding_to_what_it_saved, REPEATED, (ROW, ELEMENT)),
    (rough_without_gradients, MODES, (ROW, ELEMENT)),
    (rough_in_inference_mode, MODES, (ROW, ELEMENT)),
    (always_requiring_a_gradient, MODES, (ROW, ELEMENT)),
    (no_target_gradient_on_its_own, MODES, (ELEMENT,)),
]
CHECKS = (
    GIVEN,
    MEMORY,
    STAYS,
    REPEATED,
    HISTORY,
    ORDER,
    MODES,
    checks.each_claim_calls_the_subject_once_and_judges_what_it_returns,
)


@pytest.mark.parametrize(
    ("fault", "check", "of_operator"),
    [(fault, check, operator) for fault, check, operators in FAULTS for operator in operators],
    ids=[
        f"{operator}: {named(fault)}, {named(check)}"
        for fault, check, operators in FAULTS
        for operator in operators
    ],
)
def test_a_fault_fails(fault: Function, check: Callable[..., None], of_operator: str) -> None:
    with pytest.raises(AssertionError):
        checked(of_operator, fault, check)


ONCE = [
    f
    for f, _, _ in FAULTS
    if f
    not in (returning_the_memory_of_the_input, the_upstream_gradient_as_gradient, rough_without_gradients)
]


@pytest.mark.parametrize("fault", list(dict.fromkeys(ONCE)), ids=named)
def test_an_ordinary_test_passes_it(fault: Function) -> None:
    operator = ELEMENT if fault in (normalising_the_weight, no_target_gradient_on_its_own) else ROW
    probe = conduct.probes(OPERATORS[operator], "float32", SETTINGS, Tally(operator, "float32"))[0]
    # Without weights: one that the forward changes is another one in the backward.
    options = {name: None if "weight" in name else value for name, value in probe.case.options}
    case = replace(probe.case, options=tuple(options.items()))
    for verify in (verify_forward, verify_gradients):
        assert all(finding.verdict.passes for finding in verify(planted(operator, fault), case))


@pytest.mark.parametrize("check", CHECKS, ids=named)
@pytest.mark.parametrize("of_operator", [ROW, ELEMENT])
def test_torch_passes(of_operator: str, check: Callable[..., None]) -> None:
    checked(of_operator, getattr(functional, of_operator), check)


# --- the subject is called ----------------------------------------------------------------------------------


def calling_it_twice(subject: Subject, call: Any, device: str) -> Any:
    widen(run_subject.output_of(subject, call, run_subject.tensors(call, device), device))
    return widen(run_subject.output_of(subject, call, run_subject.tensors(call, device), device))


def calling_another_function(subject: Subject, call: Any, device: str) -> Any:
    other = "log_softmax" if call.operator == "softmax" else call.operator
    return widen(subject.function(other)(**run_subject.tensors(call, device)))


def ignoring_what_it_returns(subject: Subject, call: Any, device: str) -> Any:
    run_subject.output_of(subject, call, run_subject.tensors(call, device), device)
    return widen(functional.softmax(**run_subject.tensors(call, device)))


def never_calling_it(subject: Subject, call: Any, device: str) -> Any:
    return widen(functional.softmax(**run_subject.tensors(call, device)))


@pytest.mark.parametrize(
    "harness",
    [calling_it_twice, calling_another_function, ignoring_what_it_returns, never_calling_it],
    ids=named,
)
def test_a_harness_that_does_not_judge_what_the_subject_returns_fails(
    harness: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_subject, "forward", harness)
    settings = replace(SETTINGS, subject=Subject("torch", functional, ""))
    with pytest.raises(AssertionError, match=r"made the calls|does not come from the subject"):
        CHECKS[-1](OPERATORS[ROW], "float32", settings, Tally(ROW, "float32"))


def test_a_subject_whose_bits_change_from_call_to_call_is_judged_by_the_bound() -> None:
    """Bits are no matter of hygiene then: `test_bits.py` reports them. What is wrong still fails."""
    calls: Counter[str] = Counter()

    def in_turns(x: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
        calls["calls"] += 1
        return functional.softmax(x, dim, dtype=dtype) * (1 + 2.0**-23 * (calls["calls"] % 2))

    probe = conduct.probes(
        OPERATORS[ROW], "float32", replace(SETTINGS, subject=planted(ROW, in_turns)), Tally(ROW, "float32")
    )[0]
    assert not probe.repeatable
    probe.agrees(probe.run().results, "right away")
    with pytest.raises(AssertionError, match="is wrong"):
        probe.agrees({claim_: 1.25 * result for claim_, result in probe.run().results.items()}, "right away")
