"""What follows from the function itself: its signature, and what torch says that it does not do."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from torch_loss_parity.subjects.written_promise import (
    PromiseError,
    may_say,
    of_signature,
    parameters_of,
    taken_of,
)

CE = "cross_entropy"


class Applied(torch.autograd.Function):
    """Of two forwards: the one has its context."""

    @staticmethod
    def forward(ctx: Any, input: Any, target: Any, reduction: str = "mean") -> Any:
        raise NotImplementedError


class AppliedWithoutContext(torch.autograd.Function):
    @staticmethod
    def forward(input: Any, target: Any, reduction: str = "mean") -> Any:
        raise NotImplementedError

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        raise NotImplementedError


@pytest.mark.parametrize("function", [Applied, AppliedWithoutContext])
def test_apply_of_a_function_takes_what_its_forward_takes(function: Any) -> None:
    limits = of_signature(CE, function.apply)
    assert set(limits) == {"weight", "ignore_index", "label_smoothing", "ignored"}
    with pytest.raises(PromiseError, match=r"softmax\(input.*, target.*it takes no dim"):
        of_signature("softmax", function.apply)


def test_a_layer_that_has_an_index_is_not_told_that_there_is_none() -> None:
    def own(input: Any, linear_weight: Any, target: Any, *, ignore_index: int = -100) -> None: ...

    def torchs(input: Any, linear_weight: Any, target: Any, *, ignore_index: int | None = None) -> None: ...

    given, layer = {"ignore_index": None, "reduction": "mean"}, "linear_cross_entropy"
    assert taken_of(layer, given, parameters_of(own)) == {}
    assert taken_of(layer, given, parameters_of(torchs)) == {"ignore_index": None}
    assert taken_of(layer, {"ignore_index": -100}, parameters_of(own)) == {"ignore_index": -100}
    assert taken_of(layer, given, None) == given
    assert taken_of(layer, {}, parameters_of(own)) == {}
    assert taken_of(CE, given, parameters_of(own)) == {"ignore_index": None}  # to be refused


@pytest.mark.parametrize(("promised", "excluded"), [({}, True), ({"transforms": True}, False)])
def test_what_torch_does_not_do_with_a_function_is_not_too_little(promised: Any, excluded: bool) -> None:
    said = "In order to use an autograd.Function with functorch transforms"
    assert may_say(promised).excludes(said) == excluded
