"""The subject torch.compile is compiled code: nothing else can have answered a call, and a run says so where
something would.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch

from torch_loss_parity.subjects import load
from torch_loss_parity.subjects.compiled import CompiledFunction, NotCompiled
from torch_loss_parity.tensors import torch_private

TRACED = "eager"  # the backend that runs what dynamo traced, node by node: there is nothing to wait for
SIZES = (0, 1, 3)


def test_each_call_is_answered_by_a_graph_however_many_there_are() -> None:
    """More variants of one function than dynamo's limit allows: beyond it, eager mode would answer."""
    softmax = CompiledFunction(torch.nn.functional.softmax, TRACED)
    shapes = list(product(SIZES, repeat=3))
    assert len(shapes) > torch_private.variants_limit()
    for number, shape in enumerate(shapes, 1):
        assert softmax(torch.ones(shape), dim=-1).shape == shape
        assert softmax.ran == number
    assert len(softmax.variants) == 1
    assert torch_private.variants_limit() < softmax.graphs <= len(shapes)


def test_sizes_share_a_graph_and_dtypes_dimensions_and_options_do_not() -> None:
    softmax = CompiledFunction(torch.nn.functional.softmax, TRACED)
    for rows in (2, 3, 70):
        softmax(torch.ones(rows, 5), dim=-1)
    assert (softmax.graphs, softmax.ran, len(softmax.variants)) == (1, 3, 1)
    others: tuple[tuple[torch.Tensor, dict[str, Any]], ...] = (
        (torch.ones(2, 5, dtype=torch.float64), {"dim": -1}),
        (torch.ones(2, 5, 2), {"dim": -1}),
        (torch.ones(2, 5, requires_grad=True), {"dim": -1}),
        (torch.ones(2, 5), {"dim": 1}),
        (torch.ones(2, 5), {"dim": -1, "dtype": torch.float64}),
    )
    for input, options in others:
        softmax(input, **options)
    assert (softmax.graphs, softmax.ran, len(softmax.variants)) == (6, 8, 6)


def test_what_eager_mode_answers_is_refused() -> None:
    softmax, x = CompiledFunction(torch.nn.functional.softmax, TRACED), torch.ones(2, 3)
    with (
        torch.compiler.set_stance("force_eager"),
        pytest.raises(NotCompiled, match="softmax was not compiled"),
    ):
        softmax(x, dim=0)
    softmax(x, dim=0)


def test_a_break_in_the_graph_is_an_error() -> None:
    broken = torch.compiler.disable(lambda input: input + 1)
    with pytest.raises(torch_private.untraceable()):
        CompiledFunction(broken, TRACED)(torch.ones(2))


@pytest.mark.whole_runs
@pytest.mark.parametrize("operator", ["softmax", "binary_cross_entropy"])
def test_inductor_writes_the_code_that_answers(operator: str) -> None:
    function: Callable[..., Any] = load("torch.compile", ()).function(operator)
    arguments = (torch.full((2, 3), 0.5), torch.full((2, 3), 0.5))[: 1 + (operator != "softmax")]
    options = {"dim": -1} if operator == "softmax" else {}
    written = torch_private.code_of(function, *arguments, **options)
    assert any("cpp_fused" in code for code in written), "no C++ kernel was generated"


@pytest.mark.whole_runs
def test_what_torch_compile_does_not_offer_it_says_in_words_that_are_known() -> None:
    """A graph that is kept, a second derivative, and torch.func around a compiled function."""
    subject, x, t = load("torch.compile", ()), torch.tensor([0.5, 2.0], requires_grad=True), torch.ones(2)
    loss = partial(subject.function("binary_cross_entropy_with_logits"), target=t)
    refused: tuple[Callable[[], Any], ...] = (
        lambda: torch.autograd.grad(loss(x), x, retain_graph=True),
        lambda: torch.autograd.grad(
            torch.autograd.grad(subject.function("softmax")(x, dim=0)[0], x, create_graph=True)[0].sum(), x
        ),
        lambda: torch.func.grad(loss)(x.detach()),
        lambda: torch.func.vmap(loss)(x.detach()[None]),
    )
    for call in refused:
        with pytest.raises(Exception) as raised:
            call()
        assert subject.declines(raised.value), raised.value
