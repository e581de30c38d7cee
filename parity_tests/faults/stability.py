"""STB and SAT: compositions that overflow or cancel, clamps, and probabilities that are 0 or 1."""

from __future__ import annotations

from typing import Any

import torch

from torch_loss_parity import reference
from torch_loss_parity.faults.components import (
    Tensor,
    cross_entropy,
    log_probabilities,
    reduced,
    softmax,
    softplus,
    weighted,
)
from torch_loss_parity.faults.record import backward, composed, forward
from torch_loss_parity.reference.arguments import class_dim


def _logsumexp(x: Tensor, dim: int) -> Tensor:
    return torch.logsumexp(x, dim, keepdim=True) if x.numel() else x


@composed("log_softmax", "STB", "pytorch/pytorch#11752", "forward", "domain")
def the_logarithm_of_the_sum_is_formed_first(input: Tensor, dim: int) -> Tensor:
    """x - logsumexp(x): a large common offset swallows the logarithm."""
    return input - _logsumexp(input, dim)


@composed("log_softmax", "STB", "pytorch/pytorch#38839", "forward", "domain")
def the_shift_is_added_to_the_logarithm(input: Tensor, dim: int) -> Tensor:
    """x - (max + log sum exp(x - max))."""
    if not input.numel():
        return input
    top = input.amax(dim, keepdim=True)
    return input - (top + (input - top).exp().sum(dim, keepdim=True).log())


@composed("cross_entropy", "STB", "ml-explore/mlx#4188", "semantics")
def the_logit_is_subtracted_from_logsumexp(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """logsumexp(x) - x[t]: a large common offset swallows the loss."""
    dim = class_dim(input)
    return cross_entropy(input, target, **options, y=input - _logsumexp(input, dim))


@composed("log_softmax", "STB", "pytorch/pytorch#94043", "forward")
def the_logarithm_of_softmax(input: Tensor, dim: int) -> Tensor:
    """log(softmax(x)): -inf where a probability underflows."""
    return torch.log(log_probabilities(input, dim).exp())


@composed("softmax", "STB", "pytorch/pytorch#795", "forward")
def nothing_is_subtracted(input: Tensor, dim: int) -> Tensor:
    """exp(x) / sum exp(x): overflows from 89 on."""
    return input.exp() / input.exp().sum(dim, keepdim=True)


@composed("softmax", "STB", "pytorch/pytorch#62897", "forward")
def long_rows_are_not_shifted(input: Tensor, dim: int) -> Tensor:
    """Rows of 16 elements and more are not shifted by their maximum."""
    if input.ndim and input.shape[dim] >= 16:
        return input.exp() / input.exp().sum(dim, keepdim=True)
    return softmax(input, dim)


@forward("softmax", "STB", "manassharma07/crysx_nn#7", "forward")
def all_rows_are_shifted_by_one_maximum(input: Tensor, dim: int) -> Tensor:
    """The maximum is that of all rows: a row far below it is 0/0."""
    exponentials = torch.exp(input - input.max()) if input.numel() else input
    return exponentials / exponentials.sum(dim, keepdim=True)


@forward("softmax", "STB", "HabanaAI/vllm-fork#275", "forward")
def the_shift_is_ten(input: Tensor, dim: int) -> Tensor:
    """The shift is the constant 10."""
    exponentials = torch.exp(input - 10)
    return exponentials / exponentials.sum(dim, keepdim=True)


@forward("log_softmax", "STB", "tinygrad/tinygrad#219", "forward")
def the_shift_is_at_most_a_thousand(input: Tensor, dim: int) -> Tensor:
    """The shift is clamped to 1000."""
    if not input.numel():
        return input
    shifted = input - input.amax(dim, keepdim=True).clamp(-1000, 1000)
    return shifted - shifted.exp().sum(dim, keepdim=True).log()


@forward("softmax", "STB", "pytorch/pytorch#152309", "forward")
def exponentials_of_two_with_a_rounded_scale(input: Tensor, dim: int) -> Tensor:
    """exp(x) is 2**(x log2(e)), the product rounded: its error grows with x."""
    if not input.numel():
        return input
    scale = torch.tensor(1.4427, dtype=input.dtype, device=input.device)
    exponentials = torch.exp2((input - input.amax(dim, keepdim=True)) * scale)
    return exponentials / exponentials.sum(dim, keepdim=True)


@composed("binary_cross_entropy_with_logits", "STB", "pytorch/pytorch#2221", "forward")
def the_clamp_has_the_wrong_sign(
    input: Tensor, target: Tensor, weight: Any, reduction: str, pos_weight: Any
) -> Tensor:
    """The shift is max(x, 0) where it should be max(-x, 0): exp overflows."""
    shift = input.clamp(min=0)
    positive = shift + torch.log(torch.exp(-shift) + torch.exp(-input - shift))
    losses = weighted(target * positive, pos_weight) + (1 - target) * (positive + input)
    return reduced(weighted(losses, weight), reduction, input.numel())


@composed("binary_cross_entropy_with_logits", "STB", "pytorch/pytorch#2195", "semantics")
def the_absolute_value_has_no_slope_at_zero(
    input: Tensor, target: Tensor, weight: Any, reduction: str, pos_weight: Any
) -> Tensor:
    """max(x, 0) - x t + log1p(exp(-abs(x))) under autograd: the gradient at 0 is that of another point."""
    positive = torch.relu(-input) + torch.log1p(torch.exp(-input.abs()))
    negative = torch.relu(input) + torch.log1p(torch.exp(-input.abs()))
    losses = weighted(target * positive, pos_weight) + (1 - target) * negative
    return reduced(weighted(losses, weight), reduction, input.numel())


@composed("binary_cross_entropy_with_logits", "STB", "keras-team/keras-core#196", "forward")
def sigmoid_and_then_the_logarithm(
    input: Tensor, target: Tensor, weight: Any, reduction: str, pos_weight: Any
) -> Tensor:
    """log(sigmoid(x)), clamped at -100."""
    p = torch.sigmoid(input)
    losses = -weighted(target * p.log().clamp(min=-100), pos_weight) - (1 - target) * (1 - p).log().clamp(
        min=-100
    )
    return reduced(weighted(losses, weight), reduction, input.numel())


@backward("log_softmax", "STB", "FluxML/NNlib.jl#68", "gradients")
def the_gradient_divides_by_softmax(grad_output: Tensor, input: Tensor, dim: int) -> Tensor:
    """The gradient is that of softmax for g / p: nan where p underflows."""
    result: Tensor = reference.softmax_backward(grad_output / reference.softmax(input, dim), input, dim)
    return result


# --- SAT ----------------------------------------------------------------------------------------------------


def _binary(log_x: Tensor, log_1_x: Tensor, target: Tensor, weight: Any, reduction: str) -> Tensor:
    return reduced(weighted(-(target * log_x + (1 - target) * log_1_x), weight), reduction, target.numel())


@forward("binary_cross_entropy", "SAT", "pytorch/pytorch#24933", "forward")
def logarithms_are_not_clamped(input: Tensor, target: Tensor, weight: Any, reduction: str) -> Tensor:
    """The loss of a probability of 0 is infinite, and nan where the target is 0 too."""
    return _binary(input.log(), torch.log1p(-input), target, weight, reduction)


@composed("binary_cross_entropy", "SAT", "keras-team/keras#9664", "forward")
def probabilities_are_clipped(input: Tensor, target: Tensor, weight: Any, reduction: str) -> Tensor:
    """Probabilities are clipped to [1e-7, 1 - 1e-7]: the loss is at most 16, its gradient there 0."""
    p = input.clamp(1e-7, 1 - 1e-7)
    return _binary(p.log(), torch.log1p(-p), target, weight, reduction)


@forward("binary_cross_entropy", "SAT", "tensorflow/tensorflow#41595", "forward")
def an_epsilon_within_the_logarithm(input: Tensor, target: Tensor, weight: Any, reduction: str) -> Tensor:
    """log(x + 1e-8)."""
    return _binary((input + 1e-8).log(), (1 - input + 1e-8).log(), target, weight, reduction)


@forward("binary_cross_entropy", "SAT", "ml-explore/mlx#1280", "forward")
def logarithms_are_clamped_at_fifty(input: Tensor, target: Tensor, weight: Any, reduction: str) -> Tensor:
    """The logarithms are clamped at -50."""
    return _binary(input.log().clamp(min=-50), torch.log1p(-input).clamp(min=-50), target, weight, reduction)


@backward("binary_cross_entropy", "SAT", "Oneflow-Inc/oneflow#7476", "semantics")
def the_gradient_has_no_smallest_variance(
    grad_output: Tensor, input: Tensor, target: Tensor, weight: Any, reduction: str
) -> Any:
    """The gradient divides by x (1 - x), also where that is 0."""
    result = reference.binary_cross_entropy_backward(grad_output, input, target, weight, reduction)
    g = weighted(grad_output / max(input.numel(), 1) if reduction == "mean" else grad_output, weight)
    return result._replace(input=g * (input - target) / (input * (1 - input)))


@backward("binary_cross_entropy", "SAT", "pytorch/pytorch#103316", "gradients", "semantics")
def the_smallest_variance_is_too_large(
    grad_output: Tensor, input: Tensor, target: Tensor, weight: Any, reduction: str
) -> Any:
    """The gradient divides by at least 1e-7."""
    result = reference.binary_cross_entropy_backward(grad_output, input, target, weight, reduction)
    g = weighted(grad_output / max(input.numel(), 1) if reduction == "mean" else grad_output, weight)
    return result._replace(input=g * (input - target) / (input * (1 - input)).clamp(min=1e-7))


@backward("binary_cross_entropy", "SAT", "pytorch/pytorch#44950", "gradients", "semantics")
def the_gradient_of_the_target_is_clamped(
    grad_output: Tensor, input: Tensor, target: Tensor, weight: Any, reduction: str
) -> Any:
    """The clamp at -100 is carried into the gradient of the target."""
    result = reference.binary_cross_entropy_backward(grad_output, input, target, weight, reduction)
    g = weighted(grad_output / max(input.numel(), 1) if reduction == "mean" else grad_output, weight)
    return result._replace(target=g * (torch.log1p(-input).clamp(min=-100) - input.log().clamp(min=-100)))


@forward("binary_cross_entropy", "SAT", "fastino-ai/GLiNER2#155", "domain")
def one_minus_the_probability_is_formed_first(
    input: Tensor, target: Tensor, weight: Any, reduction: str
) -> Tensor:
    """log(1 - x) in place of log1p(-x): a small probability is lost."""
    return _binary(input.log().clamp(min=-100), (1 - input).log().clamp(min=-100), target, weight, reduction)


@forward("binary_cross_entropy_with_logits", "SAT", "tensorflow/tensorflow#118313", "forward")
def logits_are_clipped_at_thirty(
    input: Tensor, target: Tensor, weight: Any, reduction: str, pos_weight: Any
) -> Tensor:
    """Logits beyond 30 count as 30."""
    x = input.clamp(-30, 30)
    losses = weighted(target * softplus(-x), pos_weight) + (1 - target) * softplus(x)
    return reduced(weighted(losses, weight), reduction, input.numel())
