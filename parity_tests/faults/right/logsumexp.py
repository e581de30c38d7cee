"""Right kernels of logsumexp."""

from __future__ import annotations

import torch

from torch_loss_parity.faults.right import sums
from torch_loss_parity.faults.right.definition import wide
from torch_loss_parity.faults.right.probabilities import LN_2, LOG2_E, finite, log_sum_exp, online, others
from torch_loss_parity.faults.right.record import SHARP, TEXTBOOK, of_rows

Tensor = torch.Tensor


def _rows(g: Tensor) -> Tensor:
    return g.unsqueeze(-1)


def _largest(x: Tensor) -> Tensor:
    """What is subtracted of a row: its largest, or 0 where that is infinite."""
    return finite(wide(x).amax(-1, keepdim=True))


def exp_of_x_minus_the_result(g: Tensor, x: Tensor, result: Tensor) -> Tensor:
    """g exp(x - y), with the result that the forward kept."""
    return _rows(g) * (wide(x) - _rows(result)).exp()


def times_softmax(g: Tensor, x: Tensor) -> Tensor:
    """g p, with the probabilities computed again."""
    largest = _largest(x)
    e = (wide(x) - largest).exp()
    return _rows(g) * (e / e.sum(-1, keepdim=True))


def _times_what_softmax_returns(g: Tensor, x: Tensor) -> Tensor:
    return _rows(g) * torch.softmax(wide(x), -1)


def _scaled_exponentials(g: Tensor, x: Tensor) -> Tensor:
    largest = _largest(x)
    e = (wide(x) - largest).exp()
    return e * (_rows(g) * e.sum(-1, keepdim=True).reciprocal())


@of_rows("logsumexp", exp_of_x_minus_the_result, ships="pytorch/pytorch: logsumexp_backward", grade=None)
def gradient_of_logsumexp_is_exp_of_x_minus_the_result(x: Tensor) -> tuple[Tensor, ...]:
    """g exp(x - y), with the result y."""
    result = log_sum_exp(x, _largest(x)).squeeze(-1)
    return result, x, result


@of_rows("logsumexp", times_softmax, ships="scipy/scipy: logsumexp, from 1.15 on", grade=SHARP)
def logsumexp_is_by_log1p_of_the_others(x: Tensor) -> tuple[Tensor, ...]:
    """m + log1p(sum of all exponentials but the largest)."""
    largest = wide(x).amax(-1, keepdim=True)
    return (largest + others(x, finite(largest)).log1p()).squeeze(-1), x


@of_rows("logsumexp", _times_what_softmax_returns, ships="ml-explore/mlx: LogSumExp::vjp", grade=TEXTBOOK)
def gradient_of_logsumexp_is_by_softmax(x: Tensor) -> tuple[Tensor, ...]:
    """g softmax(x): a row with an infinity has probabilities that are nan."""
    return log_sum_exp(x, _largest(x)).squeeze(-1), x


@of_rows("logsumexp", times_softmax, ships="NVIDIA/online-softmax: Milakov and Gimelshein 2018", grade=SHARP)
def logsumexp_is_online_in_blocks(x: Tensor) -> tuple[Tensor, ...]:
    """Largest and sum from one pass over blocks of 32."""
    largest, sum = online(x)
    return torch.where(largest.isinf(), largest, largest + sum.log()).squeeze(-1), x


@of_rows(
    "logsumexp",
    _scaled_exponentials,
    ships="triton-lang/triton: tutorial 06, fused attention",
    grade=TEXTBOOK,
)
def logsumexp_by_powers_and_logarithms_of_two(x: Tensor) -> tuple[Tensor, ...]:
    """m + ln(2) log2(sum of exp2((x - m) log2(e))); the gradient scales exponentials by g times the
    reciprocal of the sum.
    """
    largest = _largest(x)
    sum = ((wide(x) - largest) * LOG2_E).exp2().sum(-1, keepdim=True)
    return (largest + sum.log2() * LN_2).squeeze(-1), x


@of_rows("logsumexp", times_softmax, ships="jax-ml/jax: associative_scan of logaddexp", grade=TEXTBOOK)
def logsumexp_is_logaddexp_of_halves(x: Tensor) -> tuple[Tensor, ...]:
    """The logarithms of two sums are added as logarithms, in a tree."""
    y = wide(x)
    while y.shape[-1] > 1:
        half = (y.shape[-1] + 1) // 2
        first, second = y[..., :half], y[..., half:]
        added = torch.logaddexp(first[..., : second.shape[-1]], second)
        y = torch.cat([added, first[..., second.shape[-1] :]], -1)
    return y.squeeze(-1), x


@of_rows("logsumexp", times_softmax, ships="well known: Kahan 1965", grade=SHARP)
def logsumexp_is_summed_with_compensation(x: Tensor) -> tuple[Tensor, ...]:
    """Kahan's sum, in lanes."""
    return log_sum_exp(x, _largest(x), sums.compensated).squeeze(-1), x
