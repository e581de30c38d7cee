"""Right kernels of log_softmax."""

from __future__ import annotations

import torch

from torch_loss_parity.faults.right import sums
from torch_loss_parity.faults.right.definition import wide
from torch_loss_parity.faults.right.probabilities import (
    LN_2,
    LOG2_E,
    log_softmax_by_log1p,
    log_sum_exp,
    of_shards,
    online,
    shifted,
    softmax,
    total,
)
from torch_loss_parity.faults.right.record import SHARP, TEXTBOOK, of_rows

Tensor = torch.Tensor


def exp_of_the_result(g: Tensor, y: Tensor) -> Tensor:
    """g - exp(y) sum g, with the result that the forward kept."""
    return g - wide(y).exp() * g.sum(-1, keepdim=True)


def _recomputed(g: Tensor, x: Tensor) -> Tensor:
    return g - softmax(x) * g.sum(-1, keepdim=True)


def _summed_by_lanes(g: Tensor, y: Tensor) -> Tensor:
    return g - y.exp() * sums.by_lanes(g).unsqueeze(-1)


@of_rows(
    "log_softmax", exp_of_the_result, ships="pytorch/pytorch: torch.distributions.Categorical", grade=None
)
def log_softmax_is_x_minus_logsumexp(x: Tensor) -> tuple[Tensor, ...]:
    """x - lse with lse = m + log s."""
    y = wide(x) - log_sum_exp(x)
    return y, y


@of_rows(
    "log_softmax",
    exp_of_the_result,
    ships="NVIDIA/online-softmax: Milakov and Gimelshein 2018",
    grade=TEXTBOOK,
)
def log_softmax_is_online_in_blocks(x: Tensor) -> tuple[Tensor, ...]:
    """Largest and sum from one pass over blocks of 32."""
    largest, sum = online(x)
    y = (wide(x) - largest) - sum.log()
    return y, y


@of_rows(
    "log_softmax", exp_of_the_result, ships="triton-lang/triton: tutorial 06, fused attention", grade=TEXTBOOK
)
def log_softmax_by_powers_and_logarithms_of_two(x: Tensor) -> tuple[Tensor, ...]:
    """(x - m) - ln(2) log2(sum of exp2((x - m) log2(e)))."""
    z = shifted(x)
    y = z - total((z * LOG2_E).exp2()).log2() * LN_2
    return y, y


@of_rows("log_softmax", exp_of_the_result, ships="scipy/scipy: logsumexp, from 1.15 on", grade=SHARP)
def log_softmax_is_by_log1p_of_the_others(x: Tensor) -> tuple[Tensor, ...]:
    """(x - m) - log1p(sum of all exponentials but the largest): a confident row keeps its digits."""
    y = log_softmax_by_log1p(x)
    return y, y


@of_rows("log_softmax", _recomputed, ships="pytorch/pytorch: torch.utils.checkpoint", grade=TEXTBOOK)
def backward_of_log_softmax_computes_probabilities_again(x: Tensor) -> tuple[Tensor, ...]:
    """g - p sum g, with p as softmax computes it."""
    z = shifted(x)
    return z - total(z.exp()).log(), x


@of_rows(
    "log_softmax", exp_of_the_result, ships="pytorch/pytorch: log_softmax of half precision", grade=TEXTBOOK
)
def backward_of_log_softmax_has_the_result_as_it_was_stored(x: Tensor) -> tuple[Tensor, ...]:
    """In half precision the backward begins with the rounded result."""
    z = shifted(x)
    y = (z - total(z.exp()).log()).to(x.dtype)
    return y, y


@of_rows("log_softmax", _summed_by_lanes, ships="pytorch/pytorch: PersistentSoftmax.cuh", grade=TEXTBOOK)
def log_softmax_is_summed_by_the_lanes_of_a_warp(x: Tensor) -> tuple[Tensor, ...]:
    """Both sums are made by 32 lanes, each with a 32nd."""
    z = shifted(x)
    y = z - total(z.exp(), sums.by_lanes).log()
    return y, y


@of_rows(
    "log_softmax", exp_of_the_result, ships="pytorch/pytorch: DTensor, _log_softmax_handler", grade=TEXTBOOK
)
def log_softmax_of_a_row_in_two_shards(x: Tensor) -> tuple[Tensor, ...]:
    """Two devices have a part of the row each: maxima are merged, sums are added."""
    largest, sum = of_shards(x, 2)
    y = (wide(x) - largest) - sum.log()
    return y, y
