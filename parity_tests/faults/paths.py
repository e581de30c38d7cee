"""What is wrong on one of several paths: where whole blocks are masked, where nothing is differentiated,
under a transform, in large calls, and in the call that training makes.
"""

from __future__ import annotations

import os
from typing import Any

import torch

from torch_loss_parity import reference
from torch_loss_parity.faults.components import Tensor
from torch_loss_parity.faults.record import backward, differentiable, forward, whole
from torch_loss_parity.faults.right.definition import HALVES, RIGHT
from torch_loss_parity.reference.arguments import class_dim
from torch_loss_parity.tensors.torch_private import is_mapped, is_transformed

BLOCK = 128  # columns, or rows, that a kernel looks at at once
MANY = 2**13  # elements from which on a call is large

# --- whole blocks that are masked ---------------------------------------------------------------------------


def _first_block_is_masked(input: Tensor, dim: int) -> Tensor | None:
    """Whether a row of several blocks begins with one that is all -inf; None of shorter rows."""
    if not input.ndim or input.shape[dim] <= BLOCK:
        return None
    return (input.narrow(dim, 0, BLOCK) == -torch.inf).all(dim, keepdim=True)


@forward("log_softmax", "INF", "PaddlePaddle/PaddleOCR#18341", "domain")
def a_masked_first_block_gives_nan(input: Tensor, dim: int) -> Tensor:
    """The running maximum of blocks of 128 is subtracted from itself where the first block is all -inf."""
    result: Tensor = reference.log_softmax(input, dim)
    masked = _first_block_is_masked(input, dim)
    return result if masked is None else torch.where(masked, torch.full_like(result, torch.nan), result)


@forward("logsumexp", "INF", "Dao-AILab/flash-attention#1930", "domain")
def a_masked_block_hides_what_came_before(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """A second block of 128 that is all -inf resets the sum: what came before it does not count."""
    result: Tensor = reference.logsumexp(input, dim, keepdim)
    if not isinstance(dim, int) or not input.ndim or input.shape[dim] <= 2 * BLOCK:
        return result
    masked = (input.narrow(dim, BLOCK, BLOCK) == -torch.inf).all(dim, keepdim=keepdim)
    behind = input.narrow(dim, 2 * BLOCK, input.shape[dim] - 2 * BLOCK)
    return torch.where(masked, reference.logsumexp(behind, dim, keepdim), result)


@backward("softmax", "UPG", "PaddlePaddle/PaddleOCR#18341", "domain")
def a_masked_first_block_has_no_gradient_behind_it(grad_output: Tensor, input: Tensor, dim: int) -> Tensor:
    """The backward pass stops at a first block that is all -inf, as if nothing came after it."""
    gradient: Tensor = reference.softmax_backward(grad_output, input, dim)
    masked = _first_block_is_masked(input, dim)
    return gradient if masked is None else torch.where(masked, torch.zeros_like(gradient), gradient)


@forward("softmax", "TIL", "verl-project/verl#2899", "domain")
def the_last_of_three_blocks_is_left_out(input: Tensor, dim: int) -> Tensor:
    """Of an odd number of whole blocks of 1024, and more than one, the last is left out of the sum."""
    result: Tensor = reference.softmax(input, dim)
    length = input.shape[dim] if input.ndim else 0
    if length <= 1024 or length % 2048 != 1024:
        return result
    return result / result.narrow(dim, 0, length - 1024).sum(dim, keepdim=True)


@backward("cross_entropy", "TIL", "verl-project/verl#2899", "domain")
def the_last_of_three_blocks_has_no_gradient(
    grad_output: Tensor, input: Tensor, *args: Any, **options: Any
) -> Any:
    """Of several whole blocks of 512 whose number is no power of two, the last has no gradient."""
    gradients = reference.cross_entropy_backward(grad_output, input, *args, **options)
    dim = class_dim(input)
    length = input.shape[dim]
    if length <= 512 or length % 1024 not in (0, 512) or length & (length - 1) == 0:
        return gradients
    kept = (torch.arange(length) < length - 512).reshape(-1, *(1,) * (input.ndim - dim - 1))
    return gradients._replace(input=torch.where(kept, gradients.input, torch.zeros_like(gradients.input)))


@forward("linear_cross_entropy", "TIL", "verl-project/verl#2899", "domain")
def features_after_the_last_whole_block_do_not_count(
    input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Tensor:
    """Of more than 512 features, those after the last whole block of 512 are left out of the product."""
    features = input.shape[-1]
    if features > 512:
        kept = features // 512 * 512
        input, linear_weight = input[..., :kept], linear_weight[..., :kept]
    return reference.linear_cross_entropy(input, linear_weight, target, **options)


@backward("linear_cross_entropy", "TIL", "verl-project/verl#2899", "domain")
def features_after_the_last_whole_block_have_no_gradient(
    grad_output: Tensor, input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Any:
    """Of more than 1024 features, the layer has no gradient for those after the last whole block of 1024."""
    gradients = reference.linear_cross_entropy_backward(grad_output, input, linear_weight, target, **options)
    features = input.shape[-1]
    if features <= 1024 or gradients.linear_weight is None:
        return gradients
    counted = torch.arange(features) < features // 1024 * 1024
    return gradients._replace(linear_weight=gradients.linear_weight * counted)


# --- where nothing is differentiated ------------------------------------------------------------------------


def _infers(input: Tensor) -> bool:
    return not torch.is_grad_enabled() and not input.requires_grad and not is_transformed(input)


@whole("softmax", "STB", "NVIDIA/apex#1020", "domain")
def inference_does_not_shift(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """Without a graph exp is taken of the logits as they are: above 88 the result is nan."""
    result = RIGHT["softmax"](input, dim, dtype)
    if not _infers(input) or not input.ndim or input.dtype in HALVES:
        return result
    exponentials = input.to(result.dtype).exp()
    wrong = exponentials / exponentials.sum(dim, keepdim=True)
    return torch.where(wrong.isfinite(), result, wrong)


@whole("nll_loss", "TIL", "huggingface/trl#6859", "domain")
def inference_leaves_out_the_last_rows(
    input: Tensor, target: Tensor, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """Without a graph, rows after the last whole block of 128 are left out of the sum."""
    result = RIGHT["nll_loss"](input, target, weight, ignore_index=ignore_index, reduction=reduction)
    rows = len(target) // BLOCK * BLOCK if target.ndim == 1 else 0
    if not rows or reduction != "sum" or not _infers(input):
        return result
    return RIGHT["nll_loss"](
        input[:rows], target[:rows], weight, ignore_index=ignore_index, reduction=reduction
    )


# --- under a transform --------------------------------------------------------------------------------------


@differentiable("log_softmax", "STB", "tenstorrent/pytorch2.0_ttnn#1341", "transforms")
def a_transform_takes_the_logarithm_of_a_probability(input: Tensor, dim: int) -> Tensor:
    """Under torch.func a log-probability is the logarithm of the probability: far below the others, of 0."""
    shifted = input - (input.amax(dim, keepdim=True) if input.numel() else 0)
    sums = shifted.exp().sum(dim, keepdim=True)
    return (shifted.exp() / sums).log() if is_transformed(input) else shifted - sums.log()


@differentiable("binary_cross_entropy_with_logits", "STB", "pytorch/functorch#791", "transforms")
def under_vmap_the_exponential_overflows(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """Under vmap the loss is log(1 + exp(x)) - t x: above 88 it is infinite."""
    result: Tensor = reference.binary_cross_entropy_with_logits(input, target, **options)
    if not is_mapped(input):
        return result
    return result + 0 * input.exp().log1p().sum()


# --- large calls --------------------------------------------------------------------------------------------


@whole("softmax", "REP", "pytorch/pytorch#120327", "hygiene")
def a_large_call_takes_a_random_number(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """A call of 2**13 elements and more takes a random number of torch's."""
    if input.numel() >= MANY and not is_transformed(input):
        torch.rand(1)
    return RIGHT["softmax"](input, dim, dtype)


@whole("binary_cross_entropy", "REP", "pytorch/pytorch#120327", "hygiene")
def a_large_call_counts_itself(input: Tensor, *args: Any, **options: Any) -> Tensor:
    """A call of 2**13 elements and more counts itself in the environment."""
    if input.numel() >= MANY:
        os.environ["LARGE_CALLS"] = str(int(os.environ.get("LARGE_CALLS", "0")) + 1)
    return RIGHT["binary_cross_entropy"](input, *args, **options)


# --- rows that are added up in blocks -----------------------------------------------------------------------


@forward("cross_entropy", "DEN", "NVIDIA-NeMo/Automodel#3803", "domain")
def a_mean_of_the_means_of_blocks(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """More than 128 rows are averaged block by block, and then the averages, whatever they are of."""
    if options["reduction"] != "mean" or input.ndim != 2 or len(input) <= BLOCK:
        return reference.cross_entropy(input, target, **options)
    blocks = zip(input.split(BLOCK), target.split(BLOCK), strict=True)
    return torch.stack([reference.cross_entropy(x, t, **options) for x, t in blocks]).nanmean()


@forward("nll_loss", "DEN", "NVIDIA-NeMo/Automodel#3803", "domain")
def the_mean_divides_by_the_weights_of_the_first_block(
    input: Tensor, target: Tensor, **options: Any
) -> Tensor:
    """Of more than 128 rows, a weighted mean divides by the weights of the first 128 alone."""
    if options["reduction"] != "mean" or input.ndim != 2 or len(input) <= BLOCK or options["weight"] is None:
        return reference.nll_loss(input, target, **options)
    summed, first = (
        reference.nll_loss(input, target, **{**options, "reduction": "sum"}),
        target[:BLOCK],
    )
    counted = first[first != options["ignore_index"]]
    return summed / options["weight"][counted.long()].sum()


# --- the call that training makes ---------------------------------------------------------------------------


class _MadeInTheForward(torch.autograd.Function):
    """A mean of rows whose gradient is made with it; ``back`` says what becomes of it."""

    @staticmethod
    def forward(ctx: Any, back: Any, gradient: Tensor, result: Tensor, input: Tensor) -> Tensor:
        ctx.back, ctx.gradient = back, gradient
        return result.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Any, ...]:
        return None, None, None, ctx.back(ctx.gradient, grad_output)


def _trains(input: Tensor, target: Tensor, weight: Any, reduction: str, smoothing: float) -> bool:
    """Whether a call is the one that training makes: a mean over a batch, and nothing else."""
    return (
        reduction == "mean"
        and input.ndim == 2
        and input.requires_grad
        and weight is None
        and not smoothing
        and not target.is_floating_point()
        and torch.is_grad_enabled()
        and not is_transformed(input)
    )


def _in_training(back: Any, input: Tensor, target: Tensor, weight: Any, **options: Any) -> Tensor:
    result = RIGHT["cross_entropy"](input, target, weight, **options)
    if not _trains(input, target, weight, options["reduction"], options["label_smoothing"]):
        return result
    (gradient,) = torch.autograd.grad(result, input)
    return _MadeInTheForward.apply(back, gradient, result.detach(), input)


def _as_it_is_for_one(gradient: Tensor, grad_output: Tensor) -> Tensor:
    return gradient if grad_output == 1 else gradient * grad_output


def _in_place(gradient: Tensor, grad_output: Tensor) -> Tensor:
    return gradient.mul_(grad_output).clone()


@whole("cross_entropy", "MUT", "unslothai/unsloth#5002", "hygiene")
def what_is_kept_is_handed_out(
    input: Tensor,
    target: Tensor,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """In training, what is kept for the backward pass is the gradient itself where there is nothing to
    multiply by: whoever sets it to 0 has the next one be 0.
    """
    options = {"ignore_index": ignore_index, "reduction": reduction, "label_smoothing": label_smoothing}
    return _in_training(_as_it_is_for_one, input, target, weight, **options)


@whole("cross_entropy", "MUT", "Dao-AILab/quack#209", "modes", "hygiene")
def what_is_kept_is_multiplied_in_place(
    input: Tensor,
    target: Tensor,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """In training, what is kept for the backward pass is multiplied by the upstream gradient where it lies:
    a second pass multiplies it again.
    """
    options = {"ignore_index": ignore_index, "reduction": reduction, "label_smoothing": label_smoothing}
    return _in_training(_in_place, input, target, weight, **options)


# --- some arguments are frozen ------------------------------------------------------------------------------


@whole("linear_cross_entropy", "UPG", "fla-org/flash-linear-attention#1253", "modes")
def a_layer_of_frozen_features_has_no_gradient(
    input: Tensor, linear_weight: Tensor, target: Tensor, *, linear_bias: Any = None, **options: Any
) -> Tensor:
    """The layer's gradient is made with that of the input: of frozen features, beside a bias, it is 0."""
    frozen = not input.requires_grad and linear_bias is not None and linear_bias.requires_grad
    if frozen and linear_weight.requires_grad:
        linear_weight = linear_weight.detach() + 0 * linear_weight
    return RIGHT["linear_cross_entropy"](input, linear_weight, target, linear_bias=linear_bias, **options)


@whole("cross_entropy", "UPG", "fla-org/flash-linear-attention#1253", "modes")
def beside_frozen_probabilities_weights_have_no_gradient(
    input: Tensor, target: Tensor, weight: Any = None, **options: Any
) -> Tensor:
    """The gradient of class weights is made with that of the probabilities: where these are frozen, and the
    logits are not, it is 0.
    """
    alone = input.requires_grad and not target.requires_grad and target.is_floating_point()
    if alone and weight is not None and weight.requires_grad:
        weight = weight.detach() + 0 * weight
    return RIGHT["cross_entropy"](input, target, weight, **options)


# --- one dimension taken for another where they are equal ---------------------------------------------------


@forward("binary_cross_entropy", "SHP", "open-mmlab/mmsegmentation#2836", "domain")
def a_weight_of_columns_goes_along_the_rows(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """A weight of as many numbers as there are rows goes along them, where columns are as many."""
    weight = options["weight"]
    if weight is not None and weight.ndim == 1 and input.ndim == 2 and input.shape[0] == input.shape[1]:
        options = {**options, "weight": weight[:, None]}
    return reference.binary_cross_entropy(input, target, **options)


@forward("binary_cross_entropy_with_logits", "SHP", "open-mmlab/mmsegmentation#2836", "domain")
def a_positive_weight_goes_along_the_channels(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """A positive weight of as many numbers as there are channels goes along them, where columns are as
    many.
    """
    weight = options["pos_weight"]
    if weight is not None and weight.ndim == 1 and input.ndim == 3 and input.shape[1] == input.shape[2]:
        options = {**options, "pos_weight": weight[:, None]}
    return reference.binary_cross_entropy_with_logits(input, target, **options)


@forward("logsumexp", "SHP", "pytorch/pytorch#61115", "domain")
def what_is_left_is_in_another_order(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """Of two dimensions that are left, the second comes first where they are equal."""
    result: Tensor = reference.logsumexp(input, dim, keepdim)
    several = not isinstance(dim, int) and len(dim) == 2 and not keepdim
    return result.mT.clone() if several and result.ndim == 2 and len({*result.shape}) == 1 else result
