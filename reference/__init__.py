"""Definitions of the softmax and cross-entropy family and of their derivatives, in the array API standard.

Each is written once and evaluated in several arithmetics: floating point (NumPy, torch, any array-API
library), Arb balls and rounding bounds (`torch_loss_parity.reference.arithmetic`). Names, signatures and
semantics are those of torch.nn.functional.
"""

from torch_loss_parity.reference.binary_cross_entropy import (
    binary_cross_entropy,
    binary_cross_entropy_backward,
)
from torch_loss_parity.reference.binary_cross_entropy_with_logits import (
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_backward,
)
from torch_loss_parity.reference.cross_entropy import cross_entropy, cross_entropy_backward
from torch_loss_parity.reference.linear_cross_entropy import (
    linear_cross_entropy,
    linear_cross_entropy_backward,
)
from torch_loss_parity.reference.logsumexp import logsumexp, logsumexp_backward
from torch_loss_parity.reference.nll_loss import nll_loss, nll_loss_backward
from torch_loss_parity.reference.softmax import log_softmax, log_softmax_backward, softmax, softmax_backward

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_backward",
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits_backward",
    "cross_entropy",
    "cross_entropy_backward",
    "linear_cross_entropy",
    "linear_cross_entropy_backward",
    "log_softmax",
    "log_softmax_backward",
    "logsumexp",
    "logsumexp_backward",
    "nll_loss",
    "nll_loss_backward",
    "softmax",
    "softmax_backward",
]
