"""Wrong subjects for the identities of logsumexp: each is torch but for one thing, and named for what is
wrong.
"""

from __future__ import annotations

import torch

from torch_loss_parity.meta.planted_function import EPSILON
from torch_loss_parity.meta.planted_identities import with_backward


def _reduced(kept: torch.Tensor, dim: int, keepdim: bool) -> torch.Tensor:
    return kept if keepdim else kept.squeeze(dim)


def last_not_summed(input: torch.Tensor, dim: int, keepdim: bool = False) -> torch.Tensor:
    return torch.logsumexp(input.narrow(dim, 0, input.shape[dim] - 1), dim, keepdim)


def shift_of_the_row_before(input: torch.Tensor, dim: int, keepdim: bool = False) -> torch.Tensor:
    """The last row gets the maximum of the row before it."""
    top = input.amax(dim, keepdim=True)
    logarithm = (input - top).exp().sum(dim, keepdim=True).log()
    return _reduced(logarithm + torch.cat([top[:-1], top[-2:-1]]), dim, keepdim)


def sum_not_shifted(input: torch.Tensor, dim: int, keepdim: bool = False) -> torch.Tensor:
    return _reduced(input.exp().sum(dim, keepdim=True).log(), dim, keepdim)


def summed_with_zero_for_masked(input: torch.Tensor, dim: int, keepdim: bool = False) -> torch.Tensor:
    """-inf is replaced by a finite number."""
    return torch.logsumexp(input.nan_to_num(neginf=0.0), dim, keepdim)


def gradient_halved(input: torch.Tensor, dim: int, keepdim: bool = False) -> torch.Tensor:
    return torch.logsumexp(with_backward(input, lambda g: g / 2), dim, keepdim)


def sum_with_epsilon(input: torch.Tensor, dim: int, keepdim: bool = False) -> torch.Tensor:
    return torch.logsumexp(input, dim, keepdim) + EPSILON
