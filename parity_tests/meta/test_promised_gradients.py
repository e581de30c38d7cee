"""A kernel promises the gradients of some arguments, or of none: the others are not asked for, and everything
else is.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from torch_loss_parity.api import verify
from torch_loss_parity.audit import exhaustive_parts, float32_sweep
from torch_loss_parity.audit.exhaustive import sweeps
from torch_loss_parity.audit.float32_result import has_closed_form
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.operators.kinds import KINDS
from torch_loss_parity.subjects import Subject, load
from torch_loss_parity.subjects.promise import EVERYTHING, together
from torch_loss_parity.subjects.written_promise import PromiseError, of_mapping, of_text

Function = Callable[..., torch.Tensor]
ONCE = {"double_backward": False, "forward_mode": False, "transforms": False}


def detached(scale: float = 1.0) -> Function:
    """Softmax as a library without autograd returns it."""

    def softmax(input: torch.Tensor, dim: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        return F.softmax(input.detach(), dim, dtype=dtype) * scale

    return softmax


class OfLogits(torch.autograd.Function):
    """Losses with the gradient of the logits, and none of targets and weights."""

    @staticmethod
    def forward(
        ctx: Any,
        loss: Callable[..., torch.Tensor],
        scale: float,
        x: torch.Tensor,
        target: torch.Tensor,
        weight: torch.Tensor | None,
    ) -> torch.Tensor:
        ctx.loss, ctx.scale = loss, scale
        ctx.save_for_backward(x, target, weight)
        return loss(x, target, weight)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: torch.Tensor) -> tuple[Any, ...]:
        x, target, weight = ctx.saved_tensors
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(ctx.loss(x, target, weight), x, g)
        return None, None, gradient * ctx.scale, None, None


def soft_targets(scale: float = 1.0) -> Function:
    def cross_entropy(
        input: torch.Tensor,
        target: torch.Tensor,
        weight: torch.Tensor | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> torch.Tensor:
        def loss(x: torch.Tensor, t: torch.Tensor, w: torch.Tensor | None) -> torch.Tensor:
            return F.cross_entropy(x, t, w, reduction=reduction, label_smoothing=label_smoothing)

        result: torch.Tensor = OfLogits.apply(loss, scale, input, target, weight)
        return result

    return cross_entropy


def verified(function: Function, operator: str, **promise: Any) -> Any:
    refusals = {"claims": tuple(kind for kind in KINDS if kind not in ("errors", "sample inputs"))}
    return verify(
        function,
        operator,
        promise={**refusals, **promise},
        dtypes=("float32",),
        effort="quick",
        like="torch",
        raise_exception=False,
    )


def test_results_alone_are_judged_where_no_gradient_is_promised() -> None:
    report = verified(detached(), "softmax", gradients=None)
    assert report, str(report)
    assert "gradients=None" in str(report)
    asked = {
        failure.partition(":")[0] for failure in verified(detached(1.01), "softmax", gradients=None).failures
    }
    assert len(asked) >= 3  # of several claims
    assert not verified(detached(), "softmax", claims=("gradients",))


def test_a_gradient_that_is_not_promised_is_not_asked_for_and_the_others_are() -> None:
    promise = {**ONCE, "target": "probabilities", "gradients": "input"}
    assert verified(soft_targets(), "cross_entropy", **promise)
    promise["claims"] = ("gradients",)
    wrong = verified(soft_targets(1.01), "cross_entropy", **promise)
    assert any("the gradient with respect to input is wrong" in failure for failure in wrong.failures)
    asked = verified(soft_targets(), "cross_entropy", **{**promise, "gradients": ("input", "target")})
    assert any("there is no gradient with respect to target" in failure for failure in asked.failures)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_sweep_of_every_input_asks_for_what_is_promised(dtype: str) -> None:
    """By blocks in closed form (float32), and by the usual means; torch beside it has all its gradients."""
    sweep = next(
        each for each in sweeps(("softmax",), (dtype,)) if has_closed_form(each) or dtype == "float16"
    )
    measured = float32_sweep.measured if dtype == "float32" else exhaustive_parts.measured
    kernel = Subject("mine", SimpleNamespace(softmax=detached()), "", promise=of_mapping({"gradients": None}))
    parts = measured(sweep, 0x3C00, 64, {"mine": kernel, "torch": load("torch", ("softmax",))}, "cpu")[
        "parts"
    ]
    kinds = ("1",) if dtype == "float32" else ("1", "random")
    gradients = [f"torch input {kind}" for kind in kinds]
    assert sorted(parts) == sorted(["mine forward ", "torch forward ", *gradients])


def test_it_is_written_by_operator_or_for_all() -> None:
    promise = of_mapping({"gradients": "input", "softmax": {"gradients": None}})
    assert promise.gradients["cross_entropy"] == ("input",)
    assert promise.gradients["softmax"] == ()
    assert "gradients" not in promise.claims_of("softmax")
    assert promise.claims_of("cross_entropy") == KINDS
    written = of_mapping(of_text("gradients=input|target,cross_entropy.gradients=input")).gradients
    assert set(written) == set(OPERATORS)
    assert written["nll_loss"] == written["cross_entropy"] == ("input",)
    assert written["binary_cross_entropy"] == ("input", "target")
    assert together([promise, EVERYTHING]).gradients == promise.gradients
    assert promise.of(["softmax"]).gradients == {"softmax": ()}
    assert "gradients=None" in str(promise.of(["softmax"]))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"gradients": "reduction"}, r"^gradients='reduction'; choose from None, input"),
        ({"nll_loss": {"gradients": "target"}}, r"^nll_loss.gradients='target'; choose from None, input$"),
        ({"gradients": False}, r"^gradients=False; choose from None, input"),
        ({"gradients": ()}, r"^gradients=\(\); it must have at least one value"),
    ],
)
def test_what_torch_does_not_differentiate_cannot_be_promised(given: Any, message: str) -> None:
    with pytest.raises(PromiseError, match=message):
        of_mapping(given)
