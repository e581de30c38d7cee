"""Right kernels of softmax: how probabilities are made."""

from __future__ import annotations

import torch

from torch_loss_parity.faults.right import sums
from torch_loss_parity.faults.right.definition import wide
from torch_loss_parity.faults.right.probabilities import (
    LOG2_E,
    log_sum_exp,
    of_shards,
    online,
    shifted,
    softmax,
    total,
)
from torch_loss_parity.faults.right.record import SHARP, TEXTBOOK, of_rows

Tensor = torch.Tensor


def g_minus_dot(g: Tensor, p: Tensor) -> Tensor:
    """p (g - sum g p), with the probabilities that the forward kept."""
    return p * (g - (g * p).sum(-1, keepdim=True))


@of_rows("softmax", g_minus_dot, ships="microsoft/onnxruntime: MLAS, MlasComputeSoftmax", grade=SHARP)
def exponentials_times_the_reciprocal_of_their_sum(x: Tensor) -> tuple[Tensor, ...]:
    """The sum is inverted once, and each exponential is multiplied by that."""
    e = shifted(x).exp()
    p = e * total(e).reciprocal()
    return p, p


@of_rows("softmax", g_minus_dot, ships="well known: exp of log_softmax", grade=TEXTBOOK)
def softmax_is_exp_of_the_shifted_minus_the_logarithm_of_the_sum(x: Tensor) -> tuple[Tensor, ...]:
    """exp((x - m) - log s): no division."""
    z = shifted(x)
    p = (z - total(z.exp()).log()).exp()
    return p, p


@of_rows("softmax", g_minus_dot, ships="scipy/scipy 1.2: softmax as exp(x - logsumexp(x))", grade=None)
def softmax_is_exp_of_x_minus_logsumexp(x: Tensor) -> tuple[Tensor, ...]:
    """exp(x - lse) with lse = m + log s, one number a row."""
    p = (wide(x) - log_sum_exp(x)).exp()
    return p, p


@of_rows("softmax", g_minus_dot, ships="NVIDIA/online-softmax: Milakov and Gimelshein 2018", grade=SHARP)
def softmax_is_online_in_blocks(x: Tensor) -> tuple[Tensor, ...]:
    """Largest and sum from one pass over blocks of 32, the sum rescaled as the largest grows."""
    largest, sum = online(x)
    p = (wide(x) - largest).exp() / sum
    return p, p


@of_rows("softmax", g_minus_dot, ships="triton-lang/triton: tutorial 06, fused attention", grade=TEXTBOOK)
def exponentials_are_powers_of_two(x: Tensor) -> tuple[Tensor, ...]:
    """exp2 of (x - m) log2(e)."""
    e = (shifted(x) * LOG2_E).exp2()
    p = e / total(e)
    return p, p


@of_rows("softmax", g_minus_dot, ships="ggml-org/ggml: ggml_vec_soft_max_f32 sums in double", grade=SHARP)
def exponentials_are_summed_in_float64(x: Tensor) -> tuple[Tensor, ...]:
    """The sum is accumulated in float64."""
    p = softmax(x, sums.in_float64)
    return p, p


@of_rows("softmax", g_minus_dot, ships="karpathy/llm.c: attention_forward on the CPU", grade=SHARP)
def exponentials_are_summed_one_by_one(x: Tensor) -> tuple[Tensor, ...]:
    """The sum is sequential, and its reciprocal is multiplied by."""
    e = shifted(x).exp()
    p = e * (1 / total(e, sums.sequential))
    return p, p


@of_rows("softmax", g_minus_dot, ships="NVIDIA/apex: scaled_masked_softmax, warp_reduce", grade=SHARP)
def exponentials_are_summed_by_the_lanes_of_a_warp(x: Tensor) -> tuple[Tensor, ...]:
    """32 lanes add a 32nd each, and are added as a tree."""
    p = softmax(x, sums.by_lanes)
    return p, p


@of_rows("softmax", g_minus_dot, ships="scipy/scipy: softmax, over NumPy's pairwise sum", grade=SHARP)
def exponentials_are_summed_in_pairs(x: Tensor) -> tuple[Tensor, ...]:
    """The sum is a tree."""
    p = softmax(x, sums.pairwise)
    return p, p


@of_rows("softmax", g_minus_dot, ships="well known: Kahan 1965", grade=SHARP)
def exponentials_are_summed_with_compensation(x: Tensor) -> tuple[Tensor, ...]:
    """Kahan's sum, in lanes."""
    p = softmax(x, sums.compensated)
    return p, p


@of_rows(
    "softmax", g_minus_dot, ships="NVIDIA/Megatron-LM: exponentials over the sum of all ranks", grade=SHARP
)
def softmax_of_a_row_in_four_shards(x: Tensor) -> tuple[Tensor, ...]:
    """Four devices have a part of the row each: maxima are merged, sums are added."""
    largest, sum = of_shards(x, 4)
    p = (wide(x) - largest).exp() / sum
    return p, p
