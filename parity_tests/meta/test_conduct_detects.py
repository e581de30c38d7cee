"""What a call keeps, leaves behind and does beside another: each fault planted here fails the check named
beside it, and is right in a call on its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional

from torch_loss_parity.claims.hygiene import at_once, conduct, graphs, lifetimes, process_state
from torch_loss_parity.judging.judge import verify_forward, verify_gradients
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.settings import Settings

SETTINGS = Settings.of("torch", "cpu", "float32", "quick", 0)
STATE: dict[Any, Any] = {}
Function = Callable[..., Any]


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Any:
    with process_state.flags_set(0):
        yield
    STATE.clear()


def planted(function: Function) -> Subject:
    return Subject("torch", SimpleNamespace(softmax=function), "")


def checked(function: Function, check: Callable[..., None]) -> None:
    settings = replace(SETTINGS, subject=planted(function))
    check(OPERATORS["softmax"], "float32", settings, Tally("softmax", "float32"))


class Softmax(torch.autograd.Function):
    """softmax, whose passes are given: ``keep`` says what the backward is to have, ``gradient`` makes the
    gradient of it.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, dim: int, keep: Function, gradient: Function) -> torch.Tensor:
        result = functional.softmax(x, dim)
        ctx.dim, ctx.gradient = dim, gradient
        keep(ctx, x, result)
        return result

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        return ctx.gradient(ctx, grad), None, None, None


def _gradient(p: torch.Tensor, grad: torch.Tensor, dim: int) -> torch.Tensor:
    return p * (grad - (p * grad).sum(dim, keepdim=True))


def _saved(ctx: Any, x: torch.Tensor, result: torch.Tensor) -> None:
    ctx.save_for_backward(result)


def _of_saved(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
    return _gradient(ctx.saved_tensors[0], grad, ctx.dim)


# --- what is kept for the backward pass ---------------------------------------------------------------------


def keeping_the_input_where_autograd_does_not_see_it(x: torch.Tensor, dim: int, dtype: Any = None) -> Any:
    def keep(ctx: Any, x: torch.Tensor, result: torch.Tensor) -> None:
        ctx.input = x.detach()

    def gradient(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return _gradient(functional.softmax(ctx.input, ctx.dim), grad, ctx.dim)

    return Softmax.apply(x, dim, keep, gradient)


def keeping_the_result_where_autograd_does_not_see_it(x: torch.Tensor, dim: int, dtype: Any = None) -> Any:
    def keep(ctx: Any, x: torch.Tensor, result: torch.Tensor) -> None:
        ctx.result = result.detach()

    return Softmax.apply(x, dim, keep, lambda ctx, grad: _gradient(ctx.result, grad, ctx.dim))


def returning_the_gradient_of_the_first_pass(x: torch.Tensor, dim: int, dtype: Any = None) -> Any:
    def gradient(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        if not hasattr(ctx, "first"):
            ctx.first = _of_saved(ctx, grad)
        return ctx.first.clone()

    return Softmax.apply(x, dim, _saved, gradient)


def one_gradient_buffer_for_a_graph(x: torch.Tensor, dim: int, dtype: Any = None) -> Any:
    def gradient(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        if not hasattr(ctx, "buffer"):
            ctx.buffer = torch.empty_like(grad)
        return ctx.buffer.copy_(_of_saved(ctx, grad)).detach()

    return Softmax.apply(x, dim, _saved, gradient)


# --- what stays ---------------------------------------------------------------------------------------------


def holding_the_last_input(x: torch.Tensor, dim: int, dtype: Any = None) -> Any:
    STATE["last"] = x.detach()
    return functional.softmax(x, dim, dtype=dtype)


def holding_the_last_gradient(x: torch.Tensor, dim: int, dtype: Any = None) -> Any:
    def gradient(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        STATE["gradient"] = _of_saved(ctx, grad)
        return STATE["gradient"].view_as(grad)

    return Softmax.apply(x, dim, _saved, gradient)


def keeping_a_copy_of_each_result(x: torch.Tensor, dim: int, dtype: Any = None) -> Any:
    result = functional.softmax(x, dim, dtype=dtype)
    STATE.setdefault("all", []).append(result.detach().clone())
    return result


def a_workspace_for_each_address(x: torch.Tensor, dim: int, dtype: Any = None) -> Any:
    STATE[object()] = "of a stream, say, or of a handle that is made anew in each call"
    return functional.softmax(x, dim, dtype=dtype)


# --- the state of the process -------------------------------------------------------------------------------


def taking_a_random_number(x: torch.Tensor, dim: int, dtype: Any = None) -> Any:
    torch.rand(1)
    return functional.softmax(x, dim, dtype=dtype)


def seeding_in_the_backward_pass(x: torch.Tensor, dim: int, dtype: Any = None) -> Any:
    def gradient(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        random.seed(7)
        torch.manual_seed(7)
        return _of_saved(ctx, grad)

    return Softmax.apply(x, dim, _saved, gradient)


def allowing_what_is_not_deterministic(x: torch.Tensor, dim: int, dtype: Any = None) -> Any:
    torch.use_deterministic_algorithms(False)
    return functional.softmax(x, dim, dtype=dtype)


def flushing_subnormal_numbers(x: torch.Tensor, dim: int, dtype: Any = None) -> Any:
    torch.set_flush_denormal(True)
    return functional.softmax(x, dim, dtype=dtype)


def a_default_dtype_that_is_set_back_to_float32(x: torch.Tensor, dim: int, dtype: Any = None) -> Any:
    torch.set_default_dtype(torch.float64)
    result = functional.softmax(x, dim, dtype=dtype)
    torch.set_default_dtype(torch.float32)
    return result


def one_thread_from_now_on(x: torch.Tensor, dim: int, dtype: Any = None) -> Any:
    torch.set_num_threads(1)
    return functional.softmax(x, dim, dtype=dtype)


def leaving_gradients_enabled(x: torch.Tensor, dim: int, dtype: Any = None) -> Any:
    torch.set_grad_enabled(True)
    return functional.softmax(x, dim, dtype=dtype)


# --- at the same time ---------------------------------------------------------------------------------------


def one_workspace_of_the_module(x: torch.Tensor, dim: int, dtype: Any = None) -> Any:
    buffer = STATE.setdefault(x.shape, torch.empty_like(x, requires_grad=False))
    buffer.copy_(x.detach()).sub_(x.detach().amax(dim, keepdim=True)).exp_()
    result = functional.softmax(x, dim, dtype=dtype)
    return result + (buffer / buffer.sum(dim, keepdim=True) - result).detach()


def arguments_of_the_last_call_in_the_backward_pass(x: torch.Tensor, dim: int, dtype: Any = None) -> Any:
    def gradient(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return _gradient(STATE["result"], grad, ctx.dim)

    STATE["result"] = functional.softmax(x.detach(), dim)
    return Softmax.apply(x, dim, _saved, gradient)


def refusing_a_second_call_while_one_runs(x: torch.Tensor, dim: int, dtype: Any = None) -> Any:
    if STATE.get("running"):
        raise RuntimeError("the kernel is busy")
    STATE["running"] = True
    try:
        return functional.softmax(x, dim, dtype=dtype)
    finally:
        STATE["running"] = False


TWO_PASSES, OVERWRITTEN = (
    graphs.one_graph_has_a_gradient_for_each_upstream_gradient,
    graphs.what_is_overwritten_before_the_backward_pass_is_not_taken_for_what_it_was,
)
ALIVE, GROWS = lifetimes.nothing_that_was_dropped_stays_alive, lifetimes.memory_does_not_grow
PROCESS = process_state.the_process_is_left_as_it_was
AT_ONCE = at_once.calls_at_the_same_time_are_as_when_alone
FAULTS: tuple[tuple[Function, Callable[..., None]], ...] = (
    (keeping_the_input_where_autograd_does_not_see_it, OVERWRITTEN),
    (keeping_the_result_where_autograd_does_not_see_it, OVERWRITTEN),
    (returning_the_gradient_of_the_first_pass, TWO_PASSES),
    (one_gradient_buffer_for_a_graph, TWO_PASSES),
    (holding_the_last_input, ALIVE),
    (holding_the_last_gradient, ALIVE),
    (keeping_a_copy_of_each_result, GROWS),
    (a_workspace_for_each_address, GROWS),
    (taking_a_random_number, PROCESS),
    (seeding_in_the_backward_pass, PROCESS),
    (allowing_what_is_not_deterministic, PROCESS),
    (flushing_subnormal_numbers, PROCESS),
    (a_default_dtype_that_is_set_back_to_float32, PROCESS),
    (one_thread_from_now_on, PROCESS),
    (leaving_gradients_enabled, PROCESS),
    (one_workspace_of_the_module, AT_ONCE),
    (arguments_of_the_last_call_in_the_backward_pass, AT_ONCE),
    (refusing_a_second_call_while_one_runs, AT_ONCE),
)


def named(function: Function) -> str:
    return function.__name__.replace("_", " ").strip()


@pytest.mark.parametrize(("fault", "check"), FAULTS, ids=named)
def test_a_fault_fails(fault: Function, check: Callable[..., None]) -> None:
    with pytest.raises(AssertionError):
        checked(fault, check)


@pytest.mark.parametrize("fault", [fault for fault, _ in FAULTS], ids=named)
def test_a_call_on_its_own_passes_it(fault: Function) -> None:
    probe = conduct.probes(OPERATORS["softmax"], "float32", SETTINGS, Tally("softmax", "float32"))[0]
    for verify in (verify_forward, verify_gradients):
        assert all(finding.verdict.passes for finding in verify(planted(fault), probe.case))


@pytest.mark.parametrize("check", [*dict.fromkeys(check for _, check in FAULTS)], ids=named)
def test_torch_passes(check: Callable[..., None]) -> None:
    checked(functional.softmax, check)


def test_a_race_is_looked_for_at_thorough_effort(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_once, "UNDER_LOAD", 40)
    thorough = replace(SETTINGS, effort_name="thorough", subject=planted(one_workspace_of_the_module))
    with pytest.raises(AssertionError):
        at_once.a_call_is_the_same_under_load(
            OPERATORS["softmax"], "float32", thorough, Tally("softmax", "float32")
        )
    with pytest.raises(pytest.skip.Exception, match="thorough effort"):
        checked(functional.softmax, at_once.a_call_is_the_same_under_load)
