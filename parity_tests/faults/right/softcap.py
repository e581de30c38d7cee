"""Right kernels of capped logits, and one that returns each row's log-sum-exp beside its loss."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from torch_loss_parity.faults.right.record import TEXTBOOK, composed
from torch_loss_parity.faults.right.z_loss import (
    layer_and_z_loss_of_its_logits,
    z_loss_is_the_square_of_torch_logsumexp,
)
from torch_loss_parity.reference.linear_cross_entropy import linear

CE, LINEAR = "cross_entropy", "linear_cross_entropy"
CAPPED = {CE: {"softcap": (30.0, 4.0), "z_loss": (0.1,)}}
OF_A_LAYER = {LINEAR: {"softcap": (30.0, 4.0), "z_loss": (0.1,)}}
RETURNED = {CE: {"z_loss": (1e-4, 0.1)}}
Tensor = torch.Tensor


@composed(
    CE,
    ships="huggingface/transformers: Gemma2ForCausalLM, final_logit_softcapping",
    grade=TEXTBOOK,
    promises=CAPPED,
)
def logits_are_capped_by_torch_tanh(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """s tanh(x / s) in float32, and then the loss."""
    cap = options.pop("softcap", None)
    x = input if cap is None else torch.tanh(input / cap) * cap
    return z_loss_is_the_square_of_torch_logsumexp(x, target, **options)


class _Capped(torch.autograd.Function):
    """Logits that are capped where they lie; the slope is 1 - tanh^2 of what was kept."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, cap: float) -> Tensor:
        t = torch.tanh(input * (1 / cap))
        ctx.save_for_backward(t)
        return t * cap

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Any, ...]:
        (t,) = ctx.saved_tensors
        return grad_output * (1 - t * t), None


@composed(
    LINEAR,
    ships="linkedin/Liger-Kernel: fused_linear_cross_entropy with softcap",
    grade=TEXTBOOK,
    promises=OF_A_LAYER,
)
def logits_of_a_layer_are_capped(
    input: Tensor, linear_weight: Tensor, target: Tensor, linear_bias: Tensor | None, **options: Any
) -> Tensor:
    """The logits of a layer, capped by the reciprocal of the cap; the backward keeps the tanh."""
    cap = options.pop("softcap", None)
    if cap is None:
        return layer_and_z_loss_of_its_logits(input, linear_weight, target, linear_bias, **options)
    index = options.pop("ignore_index")
    logits = _Capped.apply(linear(input, linear_weight, linear_bias), cap)
    ignore_index = -100 if index is None else index
    return z_loss_is_the_square_of_torch_logsumexp(logits, target, ignore_index=ignore_index, **options)


class _TwoResults(torch.autograd.Function):
    """The loss of each row and its log-sum-exp, each with an upstream gradient of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        lse = torch.logsumexp(x, 1)
        ctx.save_for_backward(x, labels, lse)
        return lse - x.gather(1, labels[:, None])[:, 0], lse

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_loss: Tensor, grad_lse: Tensor) -> tuple[Any, ...]:
        x, labels, lse = ctx.saved_tensors
        p = (x - lse[:, None]).exp()
        hit = F.one_hot(labels, x.shape[1]).to(x.dtype)
        return (p - hit) * grad_loss[:, None] + p * grad_lse[:, None], None


@composed(
    CE, ships="apple/ml-cross-entropy: linear_cross_entropy with return_lse", grade=None, promises=RETURNED
)
def loss_and_log_sum_are_two_results(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """A kernel returns losses and log-sum-exps; its caller weighs, masks and reduces both."""
    usual = input.ndim == 2 and input.numel() and not target.is_floating_point()
    if not usual or options["label_smoothing"] or not input.isfinite().all():
        return z_loss_is_the_square_of_torch_logsumexp(input, target, **options)
    counted = target != options["ignore_index"]
    labels = torch.where(counted, target, torch.zeros_like(target)).long()
    losses, lse = _TwoResults.apply(input, labels)
    weight = options["weight"]
    own = torch.ones_like(losses) if weight is None else weight[labels].to(losses.dtype)
    own, zeros = torch.where(counted, own, torch.zeros_like(own)), torch.zeros_like(lse)
    losses = torch.where(counted, own * losses, zeros)
    squares = torch.where(counted, options.get("z_loss", 0.0) * lse**2, zeros)
    if options["reduction"] == "none":
        return losses + squares
    if options["reduction"] == "sum":
        return losses.sum() + squares.sum()
    return losses.sum() / own.sum() + squares.sum() / counted.sum()
