"""Right kernels of cross_entropy with class probabilities; class indices are left to the definition."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from torch_loss_parity.faults.right.compositions import of_rows
from torch_loss_parity.faults.right.elements import reduced
from torch_loss_parity.faults.right.losses import log_softmax
from torch_loss_parity.faults.right.probabilities import log_sum_exp, shifted, softmax, total
from torch_loss_parity.faults.right.record import TEXTBOOK, composed, of_probabilities
from torch_loss_parity.reference.arguments import class_dim

Tensor = torch.Tensor


def p_times_the_sum_minus_the_target(g: Tensor, x: Tensor, target: Tensor) -> Tensor:
    """(p sum(q) - q) g."""
    return (softmax(x) * target.sum(-1, keepdim=True) - target) * g


@of_probabilities(
    p_times_the_sum_minus_the_target, ships="tensorflow/tensorflow: XentEigenImpl", grade=TEXTBOOK
)
def soft_targets_times_the_logarithm_of_the_sum_minus_the_logit(x: Tensor, target: Tensor) -> Tensor:
    """sum of q (log s - (x - m)); the gradient is (p sum(q) - q) g."""
    z = shifted(x)
    return (target * (total(z.exp()).log() - z)).sum(-1)


def _exp_of_x_minus_lse(g: Tensor, x: Tensor, target: Tensor) -> Tensor:
    return g * ((x - log_sum_exp(x)).exp() * target.sum(-1, keepdim=True) - target)


@of_probabilities(_exp_of_x_minus_lse, ships="well known: lse minus the inner product", grade=None)
def soft_targets_are_logsumexp_minus_the_inner_product(x: Tensor, target: Tensor) -> Tensor:
    """lse sum(q) - sum(q x); the gradient's probabilities are exp(x - lse)."""
    return log_sum_exp(x).squeeze(-1) * target.sum(-1) - (target * x).sum(-1)


def _products_first(g: Tensor, x: Tensor, target: Tensor) -> Tensor:
    upstream = target * g
    return softmax(x) * upstream.sum(-1, keepdim=True) - upstream


@of_probabilities(_products_first, ships="google-deepmind/optax: softmax_cross_entropy", grade=TEXTBOOK)
def soft_targets_meet_the_upstream_gradient_first(x: Tensor, target: Tensor) -> Tensor:
    """-sum(q y); the gradient is p sum(q g) - q g, as autograd goes through log_softmax."""
    return -(target * log_softmax(x)).sum(-1)


@composed(
    "cross_entropy",
    ships="huggingface/pytorch-image-models: SoftTargetCrossEntropy",
    grade=TEXTBOOK,
)
def soft_targets_times_torch_log_softmax(
    input: Tensor, target: Tensor, weight: Any, **options: Any
) -> Tensor:
    """sum of -q F.log_softmax(x), differentiated by autograd."""
    if not target.is_floating_point() or not input.numel():
        return of_rows(F.cross_entropy, input, target, weight=weight, **options)
    dim, smoothing = class_dim(input), options["label_smoothing"]
    smoothed = target * (1 - smoothing) + smoothing / input.shape[dim] if smoothing else target
    if weight is not None:
        smoothed = smoothed * weight.reshape(-1, *(1 for _ in range(input.ndim - dim - 1)))
    return reduced((-smoothed * F.log_softmax(input, dim)).sum(dim), options["reduction"])
