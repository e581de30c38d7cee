"""What a subject does not promise it is not asked for, and is judged by nothing of it; the same function that
promises it fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from torch_loss_parity.api import VerificationError, verify
from torch_loss_parity.cases.case import Call
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.operators.sampling import EFFORTS, grid
from torch_loss_parity.subjects.declined import OutsideThePromise, missing_in
from torch_loss_parity.subjects.promise import Promise
from torch_loss_parity.subjects.written_promise import of_mapping, of_signature

CE, LINEAR = "cross_entropy", "linear_cross_entropy"
BCE = "binary_cross_entropy_with_logits"


class Softmax(torch.autograd.Function):
    """Differentiates once: what it keeps is no result, so that a second derivative misses it, in silence."""

    @staticmethod
    def forward(ctx: Any, input: torch.Tensor, dim: int) -> torch.Tensor:
        wide = torch.exp(input.double() - input.double().amax(dim, keepdim=True))
        p = wide / wide.sum(dim, keepdim=True)
        ctx.save_for_backward(p)
        ctx.dim = dim
        return p.to(input.dtype)

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor, None]:
        (p,) = ctx.saved_tensors
        g = grad_output.double()
        return (p * (g - (p * g).sum(ctx.dim, keepdim=True))).to(grad_output.dtype), None


def softmax(input: torch.Tensor, dim: int, dtype: torch.dtype | None = None) -> torch.Tensor:
    if input.ndim == 0 or not input.numel():
        raise NotImplementedError("no rows")
    result: torch.Tensor = Softmax.apply(input if dtype is None else input.to(dtype), dim)
    return result


def test_a_second_derivative_that_is_not_promised_is_not_asked() -> None:
    options: Mapping[str, Any] = {"dtypes": ["float32"], "claims": ["modes"]}
    assert verify(softmax, "softmax", **options, promise={"double_backward": False, "forward_mode": False})
    with pytest.raises(VerificationError, match="through create_graph"):
        verify(softmax, "softmax", **options)


def test_a_mode_needs_what_it_is_made_of() -> None:
    promise = of_mapping({"forward_mode": False})
    promise.must_offer("double_backward", "transforms")
    with pytest.raises(OutsideThePromise, match="forward_mode=False"):
        promise.must_offer("double_backward", "forward_mode")
    # Who may lack something is asked for it, and may say so.
    lenient = Promise(may_lack=("forward_mode",))
    lenient.must_offer("forward_mode")
    assert lenient.excludes("You must implement the jvp function for custom autograd.Function")


def test_class_indices_of_one_byte_are_of_a_mixed_dtype() -> None:
    arguments = {"input": np.zeros((2, 3)), "target": np.asarray([255, 0], np.uint8), "ignore_index": 255}
    call = Call(CE, arguments, "float32", "float32", ("input",))
    assert of_mapping({"mixed_dtypes": False}).outside_call(call) == "target of uint8"
    assert of_mapping({}).outside_call(call) == ""


@pytest.mark.parametrize(
    ("promised", "given", "reason"),
    [
        ({"reduction": "none"}, {}, "reduction=mean"),
        ({"reduction": "none"}, {"reduction": "none"}, ""),
        ({"weight": "given"}, {}, "weight=None"),
        ({"label_smoothing": 0.1}, {}, "label_smoothing=0.0"),
        ({"reduction": ("none", "mean")}, {}, ""),
    ],
)
def test_what_is_left_out_has_torchs_default(promised: Any, given: Any, reason: str) -> None:
    arguments = {"input": torch.zeros(2, 3), "target": torch.tensor([0, 1]), **given}
    assert of_mapping({CE: promised}).outside(CE, arguments) == reason


@pytest.mark.parametrize("library", [torch.tensor, np.asarray])
def test_a_target_of_zeros_and_ones_is_hard(library: Any) -> None:
    labels, shares = {"target": library([0.0, 1.0])}, {"target": library([0.0, 0.5])}
    hard, soft = of_mapping({BCE: {"target": "hard"}}), of_mapping({BCE: {"target": "soft"}})
    assert [each.outside(BCE, labels) for each in (hard, soft)] == ["", "target=hard"]
    assert [each.outside(BCE, shares) for each in (hard, soft)] == ["target=soft", ""]
    # What a transform maps is drawn inside.
    inside = torch.vmap(lambda target: torch.zeros(()) + len(hard.outside(BCE, {"target": target})))
    assert inside(torch.tensor([0.0, 0.5])).sum() == 0


def of_labels(input: torch.Tensor, target: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    """The loss of labels 0 and 1, as boosted trees have it; of what lies between it knows nothing."""
    signed = torch.where(target > 0, -input, input).double()
    losses = signed.clamp(min=0) + signed.abs().neg().exp().log1p()
    reduced = losses if reduction == "none" else losses.mean() if reduction == "mean" else losses.sum()
    return reduced.to(input.dtype)


def test_a_kernel_of_labels_is_asked_for_labels_alone() -> None:
    options: Mapping[str, Any] = {"dtypes": ["float32"], "claims": ["forward", "hygiene"], "effort": "quick"}
    promise = {"gradients": None, "mixed_dtypes": False}
    assert verify(of_labels, BCE, **options, promise={**promise, "target": "hard"})
    with pytest.raises(VerificationError, match="target=soft"):
        verify(of_labels, BCE, **options, promise=promise)


def test_an_index_that_is_left_out_is_whatever_the_function_chooses() -> None:
    arguments = {"input": torch.zeros(2, 4), "linear_weight": torch.zeros(3, 4), "target": torch.zeros(2)}
    assert of_mapping({LINEAR: {"ignore_index": -100}}).outside(LINEAR, arguments) == ""


def test_a_layer_of_more_dimensions_has_logits_of_more() -> None:
    arguments = {"input": torch.zeros(2, 4), "linear_weight": torch.zeros(3, 5, 4)}
    assert of_mapping({"ndim": 2}).outside(LINEAR, arguments) == "logits of 3 dimensions"
    assert of_mapping({"ndim": 2}).outside(LINEAR, {**arguments, "linear_weight": torch.zeros(3, 4)}) == ""


def test_a_layer_of_probabilities_that_takes_no_index_has_cases() -> None:
    def of_probabilities(
        input: Any, linear_weight: Any, target: Any, *, linear_bias: Any = None, reduction: str = "mean"
    ) -> Any:
        losses = -(F.linear(input, linear_weight, linear_bias).log_softmax(-1) * target).sum(-1)
        return losses if reduction == "none" else getattr(losses, reduction)()

    options = {**of_signature(LINEAR, of_probabilities), "target": ("probabilities",)}
    record = Promise(options={LINEAR: options}).operator(OPERATORS[LINEAR])
    cases = list(grid(record, "float32", EFFORTS["quick"], 0))
    assert len(cases) >= 10
    assert {case.option["ignore_index"] for case in cases} == {None}


def test_what_torch_says_of_a_mask_under_vmap_is_a_limit() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.func.vmap(lambda x: x[x > 0])(torch.ones(2, 3))
    assert missing_in(str(raised.value)) == "transforms"
