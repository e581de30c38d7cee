"""What tries to pass without computing is caught where the catalogue of faults does not show it, see
`torch_loss_parity.faults.cheats`: the parts that catch it, one by one.
"""

from __future__ import annotations

import builtins
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from torch_loss_parity import verify
from torch_loss_parity.cases.case import Call
from torch_loss_parity.claims.hygiene import unwatched
from torch_loss_parity.expectation import expectation
from torch_loss_parity.judging import comparison, judge
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.meta.imports import reached
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.processes import replaced
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.observing.source import Request, Source
from torch_loss_parity.subjects.settings import Settings

SETTINGS = Settings.of("torch", "cpu", "float32", "quick", 0)
SOFTMAX = OPERATORS["softmax"]
CASE = SOFTMAX.case("float32", (5, 4), next(iter(SOFTMAX.values)), {"dim": 1}, seed=0)


def planted(function: Callable[..., Any]) -> Subject:
    return Subject("planted", SimpleNamespace(softmax=function), "")


# --- the judge is replaced ----------------------------------------------------------------------------------

REPLACED: dict[str, tuple[Any, str, Any]] = {
    "torch_loss_parity.judging.comparison.kinds": (comparison, "kinds", lambda *arrays: arrays),
    "torch_loss_parity.judging.comparison.Verdict.passes": (comparison.Verdict, "passes", True),
    "torch_loss_parity.judging.comparison._CLEARLY": (comparison, "_CLEARLY", 1e9),
    "torch_loss_parity.judging.comparison.np": (comparison, "np", SimpleNamespace()),
    "torch_loss_parity.judging.judge.judge_results": (
        judge.judge_results,
        "__code__",
        (lambda *a: a).__code__,
    ),
    "torch_loss_parity.operators.OPERATORS: softmax": (OPERATORS, "softmax", OPERATORS["logsumexp"]),
    "torch.equal": (torch, "equal", lambda *tensors: True),
    "torch.nn.functional.softmax": (functional, "softmax", functional.log_softmax),
    "torch.Tensor.numpy": (torch.Tensor, "numpy", lambda tensor: 0),
    "numpy.abs": (np, "abs", np.zeros_like),
    "builtins.all": (builtins, "all", lambda every: True),
    "_pytest.runner.call_and_report": (sys.modules["_pytest.runner"], "call_and_report", None),
}


@pytest.fixture
def _noted() -> Iterator[None]:
    replaced.begin()
    yield
    replaced.end()


@pytest.mark.usefixtures("_noted")
@pytest.mark.parametrize("name", REPLACED)
def test_what_is_replaced_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, attribute, value = REPLACED[name]

    def cheat(patch: pytest.MonkeyPatch) -> None:
        with replaced.looked_at():
            if isinstance(where, dict):
                patch.setitem(where, attribute, value)
            else:
                patch.setattr(where, attribute, value, raising=False)

    with (
        monkeypatch.context() as patch,
        pytest.raises(replaced.Replaced, match=f"has replaced .*{re.escape(name)}"),
    ):
        cheat(patch)
    with replaced.looked_at():
        pass


@pytest.mark.usefixtures("_noted")
def test_what_makes_a_verdict_is_looked_at_after_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def cheat(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
        monkeypatch.setattr(comparison, "kinds", lambda *arrays: arrays)
        return input * 0

    with pytest.raises(replaced.Replaced, match=r"has replaced .*comparison\.kinds"), replaced.looked_at():
        pytest.fail(f"there is a verdict: {next(judge.verify_forward(planted(cheat), CASE))}")


@pytest.mark.usefixtures("_noted")
def test_modules_that_are_loaded_later_are_noted_then(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("torch_loss_parity.of_a_test")
    module.check = len
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with replaced.looked_at():
        pass
    with pytest.raises(replaced.Replaced, match=r"of_a_test\.check"), replaced.looked_at():
        module.check = print


# --- a tensor of one's own ----------------------------------------------------------------------------------


class Wildcard(torch.Tensor):
    """It is equal to everything."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in ("equal", "__eq__"):
            return True
        return super().__torch_function__(func, types, args, kwargs or {})


def of_a_class_of_its_own(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
    return functional.softmax(input, dim, dtype=dtype).as_subclass(Wildcard)


class GradientOfItsOwn(torch.autograd.Function):
    """A gradient that is equal to everything."""

    @staticmethod
    def forward(ctx: Any, input: torch.Tensor) -> torch.Tensor:
        return input.clone()

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> Any:
        return grad_output.as_subclass(Wildcard)


def with_a_gradient_of_its_own(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
    return functional.softmax(GradientOfItsOwn.apply(input), dim, dtype=dtype)


@pytest.mark.parametrize(
    ("function", "check", "what"),
    [
        (of_a_class_of_its_own, judge.verify_forward, "the result"),
        (of_a_class_of_its_own, judge.verify_gradients, "the result"),
        (with_a_gradient_of_its_own, judge.verify_gradients, "the gradient with respect to input"),
    ],
)
def test_a_tensor_that_answers_for_itself_is_refused(
    function: Callable[..., Any], check: Callable[..., Any], what: str
) -> None:
    with pytest.raises(AssertionError, match=f"{what} is a Wildcard, a class derived from torch.Tensor"):
        list(check(planted(function), CASE))


# --- right numbers for who is watched -----------------------------------------------------------------------


def where_pytest_is_on_the_stack() -> bool:
    return any("pytest" in frame.filename for frame in inspect.stack(0))


def where_a_function_of_the_suite_is_on_the_stack() -> bool:
    return any("claims" in frame.filename for frame in inspect.stack(0))


def where_the_environment_names_a_test() -> bool:
    return "PYTEST_CURRENT_TEST" in os.environ


def where_pytest_is_loaded() -> bool:
    return "pytest" in sys.modules


WATCHED = (
    where_pytest_is_on_the_stack,
    where_a_function_of_the_suite_is_on_the_stack,
    where_the_environment_names_a_test,
    where_pytest_is_loaded,
)


def unwatched_claim(function: Callable[..., Any]) -> None:
    settings = replace(SETTINGS, subject=planted(function))
    unwatched.a_call_is_the_same_where_no_test_is_seen(
        SOFTMAX, "float32", settings, Tally("softmax", "float32")
    )


@pytest.mark.parametrize("seen", WATCHED)
def test_a_subject_that_is_right_where_it_sees_a_test_fails(seen: Callable[[], bool]) -> None:
    def function(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
        return functional.softmax(input, dim, dtype=dtype) * (1 if seen() else 2)

    with pytest.raises(AssertionError, match="thread and an environment that name no test"):
        unwatched_claim(function)
    assert "PYTEST_CURRENT_TEST" in os.environ
    assert sys.modules["pytest"] is pytest


def test_a_gradient_that_is_right_where_it_sees_a_test_fails() -> None:
    def function(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
        output = functional.softmax(input, dim, dtype=dtype)
        if output.requires_grad:
            output.register_hook(lambda grad: grad if where_pytest_is_on_the_stack() else grad * 2)
        return output

    with pytest.raises(AssertionError, match="thread and an environment that name no test"):
        unwatched_claim(function)


def test_one_that_does_not_look_passes() -> None:
    unwatched_claim(functional.softmax)


# --- no verdict at all --------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [pytest.skip, pytest.xfail, pytest.exit])
def test_who_skips_the_test_from_within_fails(outcome: Callable[[str], None]) -> None:
    def function(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
        outcome("not today")
        return input

    verified = verify(
        function, "softmax", dtypes=["float32"], claims=["forward"], effort="quick", raise_exception=False
    )
    assert not verified
    assert "not today" in verified.failures[0]


# --- what is expected is nowhere ----------------------------------------------------------------------------


@pytest.mark.parametrize("check", [judge.verify_forward, judge.verify_gradients])
def test_what_is_expected_is_evaluated_after_the_subject_has_returned(
    check: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def function(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
        order.append("subject")
        return functional.softmax(input, dim, dtype=dtype)

    def expected(*arguments: Any, **options: Any) -> Any:
        order.append("expected")
        return expectation.expected(*arguments, **options)

    monkeypatch.setattr(judge, "expected", expected)
    list(check(planted(function), CASE))
    assert order[0] == "subject"
    assert set(order[1:]) == {"expected"}


def test_where_a_subject_is_observed_nothing_is_loaded_that_judges() -> None:
    """See ``torch-loss-parity observe``: the process holds nothing that is expected."""
    loaded = reached("subjects.observing.child")
    assert "operators" in loaded
    judging = ("judging", "claims", "expectation.expectation")
    assert not [name for name in loaded if name.startswith(judging)]


def test_where_a_subject_is_timed_nothing_is_loaded_that_judges() -> None:
    """... but the names of compilers, which torch and NumPy are enough for."""
    loaded = reached("benchmarks.observed")
    assert "benchmarks.timing" in loaded
    judging = ("judging", "expectation.expectation", "audit", "plugin", "benchmarks.verify")
    assert not [name for name in loaded if name.startswith(judging)]
    assert [name for name in loaded if name.startswith("claims.")] == ["claims.transforms.compilers"]


def rewriting_the_question(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
    """softmax of zeros, to a question that has become that of zeros wherever a caller has it."""
    for frame in inspect.stack(0):
        for call in frame.frame.f_locals.values():
            if isinstance(call, Call):
                call.arguments["input"][...] = 0
    return functional.softmax(torch.zeros_like(input), dim, dtype=dtype)


class Elsewhere(Source):
    """A subject in another thread, which is given a copy of what it is asked."""

    _operators = ("softmax",)

    def _answer(self, key: str, request: Request) -> Any:
        copied = replace(request, call=deepcopy(request.call))
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(copied.run, planted(rewriting_the_question), "cpu").result()


def test_who_rewrites_the_question_passes_beside_its_judge_and_fails_elsewhere() -> None:
    """What remains, see the page of faults, and what closes it."""
    (beside,) = judge.verify_forward(planted(rewriting_the_question), CASE)
    assert beside.verdict.passes
    (elsewhere,) = judge.verify_forward(Subject("elsewhere", Elsewhere(), ""), CASE)
    assert not elsewhere.verdict.passes
