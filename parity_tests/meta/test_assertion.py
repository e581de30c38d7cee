"""`assert_close_to_truth` accepts what a right kernel computes, and no tensor that is planted to be off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from torch_loss_parity import assert_close_to_truth
from torch_loss_parity.meta.planted_tensors import CALLS, X, computed, off
from torch_loss_parity.operators import DTYPES


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("operator", list(CALLS))
def test_what_is_right_is_close_and_a_planted_tensor_is_not(operator: str, dtype: str) -> None:
    given, output, grads, upstream = computed(operator, dtype)
    assert_close_to_truth(output, operator, **given, grads=grads, grad_output=upstream)
    with pytest.raises(AssertionError, match=f"^{operator}: the result is wrong: the error is .* times"):
        assert_close_to_truth(off(output, dtype), operator, **given)
    for name in grads:
        wrong = {**grads, name: off(grads[name], dtype)}
        with pytest.raises(AssertionError) as raised:
            assert_close_to_truth(output, operator, **given, grads=wrong, grad_output=upstream)
        message = str(raised.value)
        assert message.startswith(f"{operator}: the gradient with respect to {name} is wrong: the error is ")
        assert f"worst     element [0, 7] of {grads[name].numel()}" in message
        assert "certified by balls" in message
        assert "reproduce" not in message
    with pytest.raises(AssertionError, match="the gradient with respect to input is wrong"):
        assert_close_to_truth(
            None, operator, **given, grads={"input": torch.zeros_like(grads["input"])}, grad_output=upstream
        )


def test_what_a_wrong_result_looks_like_is_said() -> None:
    """0 times an infinite upstream gradient is nan; a class that is no target has the gradient 0."""
    target, upstream = torch.tensor([1]), torch.tensor([float("inf")])
    given: dict[str, Any] = {"input": torch.zeros(1, 2), "target": target, "reduction": "none"}
    right, wrong = torch.tensor([[0.0, float("-inf")]]), torch.tensor([[float("nan"), float("-inf")]])
    assert_close_to_truth(None, "nll_loss", **given, grads={"input": right}, grad_output=upstream)
    with pytest.raises(AssertionError, match="resembles g w times -1 or 0: infinite and nan numbers"):
        assert_close_to_truth(None, "nll_loss", **given, grads={"input": wrong}, grad_output=upstream)


def test_results_are_held_against_the_dtype_that_they_are_in() -> None:
    x, target = X.to(torch.bfloat16), torch.arange(6)
    loss = F.cross_entropy(x.float(), target)
    assert_close_to_truth(loss, "cross_entropy", input=x, target=target)
    assert_close_to_truth(loss.to(torch.bfloat16), "cross_entropy", input=x, target=target)
    with pytest.raises(AssertionError, match="the result is wrong"):
        assert_close_to_truth(loss.to(torch.bfloat16).float(), "cross_entropy", input=x, target=target)


def test_what_is_made_of_torchs_functions_may_be_judged_like_torch() -> None:
    """Log-probabilities in 16 bits: a loss of 4.9e-4 is 0."""
    x = torch.tensor([8.0, 0.0], dtype=torch.float16)
    wrong = x.log_softmax(0)
    said = r"resembles half-log-softmax-\S+: torch's own; judged like torch it is no failure"
    with pytest.raises(AssertionError, match=said):
        assert_close_to_truth(wrong, "log_softmax", x, 0)
    assert_close_to_truth(wrong, "log_softmax", x, 0, like="torch")
    with pytest.raises(AssertionError):  # what torch does not do is wrong all the same
        assert_close_to_truth(wrong + 0.5, "log_softmax", x, 0, like="torch")


def test_arrays_views_and_other_ways_to_call_are_taken() -> None:
    x = X.float()
    assert_close_to_truth(x.t().softmax(0), "softmax", x.t(), 0)
    assert_close_to_truth(x.softmax(-1).numpy(), "softmax", x.numpy(), dim=-1)
    assert_close_to_truth(x.softmax(-1, torch.float64), "softmax", x, -1, dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    loss = F.cross_entropy(leaf, torch.arange(6), label_smoothing=0.1)
    loss.backward()
    given: dict[str, Any] = {"input": leaf, "target": torch.arange(6), "label_smoothing": 0.1}
    for one in (1.0, 1, torch.ones(()), np.ones(())):
        grads = {"input": leaf.grad}
        assert_close_to_truth(loss, "cross_entropy", **given, grads=grads, grad_output=one)


def test_a_wrong_shape_of_what_is_judged_fails() -> None:
    with pytest.raises(AssertionError, match=r"the result is wrong: shape is \(10, 6\), expected \(6, 10\)"):
        assert_close_to_truth(X.softmax(-1).t(), "softmax", X, -1)


def test_a_result_is_judged_under_the_profile_that_is_asked_for() -> None:
    x = X.float()
    assert_close_to_truth(x.softmax(-1), "softmax", x, -1, profile="cuda")
    with pytest.raises(AssertionError, match="under profile triton"):
        assert_close_to_truth(x.softmax(-1) * 1.01, "softmax", x, -1, profile="triton")


LOSS = F.cross_entropy(X, torch.arange(6))


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        ((LOSS, "crossentropy"), {}, ValueError, "operator is 'crossentropy'; choose from softmax, "),
        ((LOSS, "cross_entropy"), {"input": X}, TypeError, "missing a required argument: 'target'"),
        ((X, "softmax", X), {"axis": 1}, TypeError, "missing a required argument: 'dim'"),
        (
            (X, "softmax", X, 1),
            {"axis": 1},
            TypeError,
            "argument 'axis'; its arguments are input, dim, dtype",
        ),
        ((X, "softmax", X, 2), {}, ValueError, "dim is 2; it must be between -2 and 1"),
        (
            (LOSS, "cross_entropy", X, torch.arange(5)),
            {},
            ValueError,
            r"target has shape \(5,\); for an input of shape \(6, 10\) it must be \(6,\)",
        ),
        (
            (LOSS, "cross_entropy", X, torch.arange(6)),
            {"reduction": "average"},
            ValueError,
            "reduction is 'average'; it must be 'none', 'mean' or 'sum'",
        ),
        (
            (LOSS, "cross_entropy", X, torch.arange(6)),
            {"grads": {"input": X}},
            ValueError,
            r"grads are given and grad_output is not; it must be the upstream gradient, of shape \(\)",
        ),
        (
            (LOSS, "cross_entropy", X, torch.arange(6)),
            {"grads": {"input": X}, "grad_output": torch.ones(6)},
            ValueError,
            r"grad_output has shape \(6,\); it must have that of the result, \(\)",
        ),
        (
            (LOSS, "cross_entropy", X, torch.arange(6)),
            {"grads": {"weight": X}, "grad_output": 1.0},
            ValueError,
            "grads has 'weight'; choose from input",
        ),
        (
            (LOSS, "cross_entropy", X, torch.arange(6)),
            {"grads": X},
            TypeError,
            "grads is a Tensor; it must be",
        ),
        ((None, "softmax", X, 1), {}, ValueError, "actual is None and there are no grads"),
        (([1.0], "softmax", X, 1), {}, TypeError, "actual is a list; it must be a tensor or an array"),
        ((X.int(), "softmax", X, 1), {}, ValueError, "actual is of dtype int32; it must be one of float16"),
        ((X, "softmax", X, 1), {"profile": "fast"}, ValueError, "profile is 'fast'"),
    ],
)
def test_a_wrong_call_names_what_is_allowed(
    arguments: Any, options: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as raised:
        assert_close_to_truth(*arguments, **options)
    assert "\n" not in str(raised.value)
    assert not isinstance(raised.value, AssertionError)
