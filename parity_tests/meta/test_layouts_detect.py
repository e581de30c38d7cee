"""The layout checks see what they are for: every fault planted here makes them fail, and torch itself does
not.

Each fault is right for contiguous tensors of their own: an ordinary test passes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from torch_loss_parity.cases.case import Case
from torch_loss_parity.claims.layouts import checks
from torch_loss_parity.judging.judge import verify_forward, verify_gradients
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.ledger import ledger
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.subjects import Subject, builtin
from torch_loss_parity.subjects.settings import Settings
from torch_loss_parity.tensors.arrays import to_tensor

SETTINGS = Settings.of("torch", "cpu", "float32", "quick", 0)
VIEWS, SHARED = (
    checks.views_give_the_right_results,
    checks.views_whose_elements_share_memory_give_the_right_results,
)
Change = Callable[[torch.Tensor], torch.Tensor]


def honest(operator: str) -> Callable[..., Any]:
    """torch's function; for nll_loss, whose backward needs a contiguous input in four dimensions, what it
    should be.
    """
    if operator == "nll_loss":
        return lambda input, *args, **options: functional.nll_loss(input.contiguous(), *args, **options)
    return builtin.function_of(OPERATORS[operator])


def planted(operator: str, function: Callable[..., Any]) -> Subject:
    """In the name of torch, so that the ledger explains what is torch's own doing: only the fault is left to
    fail.
    """
    return Subject(
        "torch" if operator != "nll_loss" else "planted", SimpleNamespace(**{operator: function}), ""
    )


def checked(operator: str, function: Callable[..., Any], check: Callable[..., None] = VIEWS) -> Tally:
    """Run a check on ``function`` in place of torch's."""
    tally = Tally(operator, "float32")
    check(OPERATORS[operator], "float32", replace(SETTINGS, subject=planted(operator, function)), tally)
    return tally


def passes_an_ordinary_test(operator: str, function: Callable[..., Any]) -> bool:
    case: Case = next(checks.cases(OPERATORS[operator], "float32", SETTINGS))
    claims = (verify_forward, verify_gradients)
    return all(
        finding.verdict.passes for verify in claims for finding in verify(planted(operator, function), case)
    )


@pytest.mark.parametrize("check", [VIEWS, SHARED], ids=["views", "shared memory"])
@pytest.mark.parametrize("of_operator", list(OPERATORS))
def test_without_a_fault_they_pass(of_operator: str, check: Callable[..., None]) -> None:
    assert checked(of_operator, honest(of_operator), check).cases


def test_numbers_are_tried_on_contiguous_tensors() -> None:
    """Whatever strides the arrays have that were drawn: who does not promise layouts is given none."""
    drawn = np.arange(12.0).reshape(4, 3).T
    assert to_tensor(drawn, "float64", "cpu").is_contiguous()
    assert to_tensor(drawn, "bfloat16", "cpu").is_contiguous()


# --- reading ------------------------------------------------------------------------------------------------


class Linearly(torch.autograd.Function):
    """The elements of a tensor in the order in which they lie in memory, from ``start`` on if it is given."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, start: int | None) -> torch.Tensor:
        contiguous = torch.empty(x.shape).stride()
        return x.as_strided(x.shape, contiguous, x.storage_offset() if start is None else start).clone()

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grad, None


class AskingACopy(torch.autograd.Function):
    """The identity, which asks a contiguous copy whether gradients are wanted: made in here, it requires
    none.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        copy = x if x.dim() == 0 or x.stride(-1) == 1 else x.contiguous()
        ctx.wanted = copy.requires_grad
        return copy.clone()

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return grad if ctx.wanted else torch.zeros_like(grad)


class Upstream(torch.autograd.Function):
    """The identity, whose backward changes the upstream gradient."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, change: Change) -> torch.Tensor:
        ctx.change = change
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.change(grad), None


def of_argument(operator: str, argument: str, change: Change) -> Callable[..., Any]:
    def function(input: torch.Tensor, *others: Any, **options: Any) -> Any:
        named = ("linear_weight", "target")[-len(others) :] if others else ()
        arguments = {"input": input, **dict(zip(named, others, strict=True)), **options}
        if isinstance(arguments.get(argument), torch.Tensor):
            arguments[argument] = change(arguments[argument])
        return honest(operator)(**arguments)

    return function


def of_upstream(operator: str, change: Change) -> Callable[..., Any]:
    return lambda *args, **options: Upstream.apply(honest(operator)(*args, **options), change)


def ignoring_strides(x: torch.Tensor) -> torch.Tensor:
    return Linearly.apply(x, None)


def ignoring_the_offset(x: torch.Tensor) -> torch.Tensor:
    return Linearly.apply(x, 0) if x.is_contiguous() else x


def taking_channels_last_for_contiguous(x: torch.Tensor) -> torch.Tensor:
    last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return ignoring_strides(x) if last else x


def reading_past_the_end(x: torch.Tensor) -> torch.Tensor:
    """Adds nothing, in exact arithmetic, that lies behind the last element, if memory holds
    anything there.
    """
    end = x.storage_offset() + sum((n - 1) * s for n, s in zip(x.shape, x.stride(), strict=True)) + 1
    behind = (
        x.detach().as_strided((1,), (1,), end)
        if end < x.untyped_storage().nbytes() // x.element_size()
        else torch.zeros(1)
    )
    return x + 0 * behind[0]


def asking_a_copy(x: torch.Tensor) -> torch.Tensor:
    return AskingACopy.apply(x)


def needing_contiguous(x: torch.Tensor) -> torch.Tensor:
    if not x.is_contiguous():
        raise RuntimeError("must be contiguous")
    return x


def never_written_if_strided(x: torch.Tensor) -> torch.Tensor:
    return x if x.is_contiguous() else x * torch.empty_like(x)


def first_for_all_if_expanded(x: torch.Tensor) -> torch.Tensor:
    return x.reshape(-1)[0].expand(x.shape) if 0 in x.stride() else x


def in_memory_only_once(x: torch.Tensor) -> torch.Tensor:
    """Counts on elements that do not overlap: takes the second of two windows for the place right behind the
    first.
    """
    return ignoring_strides(x) if x.dim() == 2 and x.stride() == (1, 1) and x.shape[1] > 1 else x


ELEMENT, ROW, CLASS, PROBABILITY = "binary_cross_entropy_with_logits", "softmax", "nll_loss", "cross_entropy"
READING = [
    *(
        (operator, "input", change, VIEWS)
        for operator in OPERATORS
        for change in (ignoring_strides, ignoring_the_offset)
    ),
    (ROW, "input", asking_a_copy, VIEWS),
    (PROBABILITY, "input", asking_a_copy, VIEWS),
    (ELEMENT, "target", ignoring_strides, VIEWS),
    (ELEMENT, "weight", ignoring_strides, VIEWS),
    (ELEMENT, "pos_weight", ignoring_strides, VIEWS),
    (CLASS, "weight", ignoring_strides, VIEWS),
    (CLASS, "target", ignoring_strides, VIEWS),
    (PROBABILITY, "target", ignoring_strides, SHARED),
    (PROBABILITY, "weight", ignoring_strides, VIEWS),
    (ROW, "input", taking_channels_last_for_contiguous, VIEWS),
    (ELEMENT, "target", taking_channels_last_for_contiguous, VIEWS),
    (ROW, "input", reading_past_the_end, VIEWS),
    (CLASS, "weight", reading_past_the_end, VIEWS),
    (ROW, "input", needing_contiguous, VIEWS),
    (CLASS, "weight", needing_contiguous, VIEWS),
    (ROW, "input", never_written_if_strided, VIEWS),
    (ROW, "input", in_memory_only_once, SHARED),
    (ROW, "input", first_for_all_if_expanded, SHARED),
]


@pytest.mark.parametrize(
    ("operator", "argument", "change", "check"),
    READING,
    ids=[f"{o}: {a} {c.__name__}".replace("_", " ") for o, a, c, _ in READING],
)
def test_a_wrong_way_to_read_an_argument_fails(
    operator: str, argument: str, change: Change, check: Callable[..., None]
) -> None:
    function = of_argument(operator, argument, change)
    assert passes_an_ordinary_test(operator, function)
    with pytest.raises(AssertionError):
        checked(operator, function, check)


BACKWARD = [
    (change, VIEWS)
    for change in (ignoring_strides, ignoring_the_offset, reading_past_the_end, needing_contiguous)
]
BACKWARD += [
    (change, SHARED) for change in (ignoring_strides, first_for_all_if_expanded, in_memory_only_once)
]


@pytest.mark.parametrize(
    ("change", "check"),
    BACKWARD,
    ids=[f"{c.__name__} in {v.__name__}".replace("_", " ") for c, v in BACKWARD],
)
@pytest.mark.parametrize("of_operator", [ROW, ELEMENT])
def test_a_wrong_way_to_read_the_upstream_gradient_fails(
    of_operator: str, change: Change, check: Callable[..., None]
) -> None:
    function = of_upstream(of_operator, change)
    assert passes_an_ordinary_test(of_operator, function)
    with pytest.raises(AssertionError):
        checked(of_operator, function, check)


# --- writing, and what comes back ---------------------------------------------------------------------------


def writing_into_the_input(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
    result = functional.softmax(input, dim, dtype=dtype)
    input.data.sub_(input.data.amax(dim, keepdim=True))
    return result


def writing_in_front_of_the_input(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
    if input.storage_offset():
        input.data.as_strided((1,), (1,), input.storage_offset() - 1).zero_()
    return functional.softmax(input, dim, dtype=dtype)


def zeroing_the_upstream_gradient(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
    def zeroing(grad: torch.Tensor) -> torch.Tensor:
        kept = grad.clone()
        grad.zero_()
        return kept

    return Upstream.apply(functional.softmax(input, dim, dtype=dtype), zeroing)


def in_double_if_strided(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
    return functional.softmax(input, dim, dtype=dtype if input.is_contiguous() else torch.float64)


def detached_if_strided(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
    result = functional.softmax(input, dim, dtype=dtype)
    return result if input.is_contiguous() else result.detach()


def flat_if_strided(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
    result = functional.softmax(input, dim, dtype=dtype)
    return result if input.is_contiguous() else result.reshape(-1)


WRITING = {
    writing_into_the_input: "the forward pass wrote into the memory of input",
    writing_in_front_of_the_input: "the forward pass wrote into the memory of input, or around it",
    zeroing_the_upstream_gradient: "the backward pass wrote into the memory of grad_output",
    in_double_if_strided: "the result has dtype torch.float64, expected torch.float32",
    detached_if_strided: "the result does not require a gradient",
    flat_if_strided: "the result has shape",
}


@pytest.mark.parametrize("fault", list(WRITING), ids=[f.__name__.replace("_", " ") for f in WRITING])
def test_a_wrong_result_that_is_no_number_fails(fault: Callable[..., torch.Tensor]) -> None:
    with pytest.raises(AssertionError, match=WRITING[fault]):
        checked(ROW, fault)


def test_another_layout_of_the_result_is_news() -> None:
    softmax = OPERATORS["softmax"]
    otherwise = replace(softmax, layouts=replace(softmax.layouts, result="kept"))
    tally = Tally("softmax", "float32")
    checks.the_result_lies_in_memory_as_recorded(otherwise, "float32", SETTINGS, tally)
    assert tally.news
    assert all("edit the layouts of parity_tests/operators/softmax.py" in news["text"] for news in tally.news)


def recorded(cases: str) -> ledger.Shortfall:
    return ledger.Shortfall(
        "planted", "layouts", (ROW,), (cases,), what="", reason="", torch=">=2", link="", script="", prints=""
    )


def test_a_recorded_shortfall_that_does_not_occur_is_news(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "shortfalls", lambda: (recorded("2-D transposed input"),))
    tally = Tally("softmax", "float32")
    VIEWS(OPERATORS["softmax"], "float32", SETTINGS, tally)
    assert {(news["kind"], news["id"]) for news in tally.news} == {("ledger", "planted")}


def test_a_missing_gradient_is_counted_where_it_is_recorded_and_fails_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refusing(grad: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no gradient today")

    monkeypatch.setattr(ledger, "shortfalls", lambda: (recorded("*-D*"),))
    tally = checked(ROW, of_upstream(ROW, refusing))
    assert 0 < tally.diverged["planted"] == tally.cases  # of each call the forward result is still judged
    monkeypatch.setattr(ledger, "shortfalls", lambda: (recorded("?-D strided input"),))
    with pytest.raises(AssertionError, match="no gradient today"):
        checked(ROW, of_upstream(ROW, refusing))
