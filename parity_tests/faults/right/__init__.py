"""Right kernels: correct implementations of every operator, in the orders of operations that people ship.

``pytest parity_tests --subject right:NAME`` puts one under test. None of them may be rejected: what a failure
is worth is what would have passed.
"""

from torch_loss_parity.faults.right import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    compositions,
    cross_entropy_gradients,
    cross_entropy_in_parts,
    cross_entropy_losses,
    linear_cross_entropy,
    log_softmax,
    logsumexp,
    nll_loss,
    smoothed,
    soft_targets,
    softcap,
    softmax,
    softmax_backward,
    softplus,
    twice_differentiable,
    z_loss,
)
from torch_loss_parity.faults.right.record import GRADES, RIGHT_KERNELS, RightKernel

__all__ = [
    "GRADES",
    "RIGHT_KERNELS",
    "RightKernel",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "compositions",
    "cross_entropy_gradients",
    "cross_entropy_in_parts",
    "cross_entropy_losses",
    "linear_cross_entropy",
    "log_softmax",
    "logsumexp",
    "nll_loss",
    "smoothed",
    "soft_targets",
    "softcap",
    "softmax",
    "softmax_backward",
    "softplus",
    "twice_differentiable",
    "z_loss",
]
