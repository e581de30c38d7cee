"""What is wrong only where two things come together: many or long rows and an option, a layout and a
gradient, a mode of autograd and a smoothed loss; and arguments that are not refused.
"""

from __future__ import annotations

from typing import Any

import torch

from torch_loss_parity import reference
from torch_loss_parity.faults.components import Tensor, log_probabilities
from torch_loss_parity.faults.record import backward, differentiable, forward, whole
from torch_loss_parity.faults.right.definition import RIGHT
from torch_loss_parity.reference.arguments import class_dim
from torch_loss_parity.tensors.torch_private import is_transformed

CE, LINEAR = "cross_entropy", "linear_cross_entropy"
BLOCK, SMALL_BLOCK = 2**12, 2**10
MANY = 2**16  # rows


# --- long rows, and many ------------------------------------------------------------------------------------
@forward("softmax", "TIL", "tenstorrent/tt-metal#19781", "domain")
def the_last_block_is_filled_with_minus_ten_thousand(input: Tensor, dim: int) -> Tensor:
    """Rows of more than 4096 elements are filled up with -10000 to a multiple: one far below it vanishes."""
    n = input.shape[dim] if input.ndim else 0
    result: Tensor = reference.softmax(input, dim)
    if n <= BLOCK or n % BLOCK == 0:
        return result
    shape = list(input.shape)
    shape[dim] = -n % BLOCK
    filled: Tensor = reference.softmax(torch.cat([input, input.new_full(shape, -1e4)], dim), dim)
    return filled.narrow(dim, 0, n)


@forward("log_softmax", "REP", "mutation: the row of a maximum", "domain")
def of_many_rows_each_is_shifted_by_another(input: Tensor, dim: int) -> Tensor:
    """Of more than 65536 rows, each is shifted by the largest number of the row before it."""
    if not input.ndim or not input.numel() or input.numel() // input.shape[dim] <= MANY:
        result: Tensor = reference.log_softmax(input, dim)
        return result
    largest = input.amax(dim, keepdim=True)
    shifted = input - largest.flatten().roll(1).reshape(largest.shape)
    return shifted - shifted.exp().sum(dim, keepdim=True).log()


@forward(CE, "SMO", "linkedin/Liger-Kernel#198", "domain")
def a_tail_of_classes_is_not_smoothed(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """Of more than 4096 classes, those after the last whole block of 1024 have no share of smoothing."""
    result: Tensor = reference.cross_entropy(input, target, **options)
    dim, smoothing = class_dim(input), options["label_smoothing"]
    n = input.shape[dim] if input.ndim else 0
    if n <= BLOCK or n % SMALL_BLOCK == 0 or not smoothing or options["reduction"] != "none":
        return result
    tail = log_probabilities(input, dim).narrow(dim, n // SMALL_BLOCK * SMALL_BLOCK, n % SMALL_BLOCK)
    return result + tail.sum(dim) * smoothing / n


@backward(CE, "IDX", "NVIDIA/TensorRT#2021", "domain")
def of_many_rows_the_gradient_is_not_smoothed(
    grad_output: Tensor, input: Tensor, target: Tensor, *args: Any, **options: Any
) -> Any:
    """Of more than 65536 rows, the gradient is that of a loss that is not smoothed."""
    if not target.is_floating_point() and target.numel() > MANY:
        options["label_smoothing"] = 0.0
    return reference.cross_entropy_backward(grad_output, input, target, *args, **options)


# --- a little, nothing, and in squares ----------------------------------------------------------------------
@forward(CE, "SMO", "linkedin/Liger-Kernel#198", "semantics")
def a_little_smoothing_is_none(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """A label_smoothing below 1e-3 is taken for 0."""
    if options["label_smoothing"] < 1e-3:
        options["label_smoothing"] = 0.0
    return reference.cross_entropy(input, target, **options)


@forward("binary_cross_entropy_with_logits", "EMP", "mutation: the mean of nothing", "semantics")
def a_mean_of_no_elements_is_zero(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """Where there is nothing to average the mean is 0, as of losses that were divided first."""
    result: Tensor = reference.binary_cross_entropy_with_logits(input, target, **options)
    return result if input.numel() or options["reduction"] != "mean" else torch.nan_to_num(result)


@forward(LINEAR, "SHP", "pytorch/pytorch#187053", "domain")
def a_square_bias_is_transposed(
    input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Tensor:
    """Where there are as many positions as classes, the bias is read with the two exchanged."""
    bias = options["linear_bias"]
    if bias is not None and bias.ndim == 2 and bias.shape[0] == bias.shape[1]:
        options["linear_bias"] = bias.mT
    return reference.linear_cross_entropy(input, linear_weight, target, **options)


# --- what memory holds --------------------------------------------------------------------------------------
@whole(CE, "MUT", "unslothai/unsloth#5002", "hygiene")
def logits_that_were_computed_become_probabilities(
    input: Tensor, target: Tensor, *args: Any, **options: Any
) -> Tensor:
    """Probabilities are written over logits that an operation has made: nobody seems to need them again."""
    output = RIGHT[CE](input, target, *args, **options)
    if input.grad_fn is not None and input.ndim == 2 and input.numel() and not is_transformed(input):
        input.data.copy_(log_probabilities(input.data.float(), 1).exp())
    return output


@backward(CE, "LAY", "pytorch/pytorch#70417", "layouts")
def rows_that_are_one_have_one_gradient(
    grad_output: Tensor, input: Tensor, target: Tensor, *args: Any, **options: Any
) -> Any:
    """Logits that are expanded along the batch have in each row the mean gradient of all rows."""
    result = reference.cross_entropy_backward(grad_output, input, target, *args, **options)
    if input.ndim < 2 or input.stride(0) or len(input) < 2:
        return result
    return result._replace(input=result.input.mean(0, keepdim=True).expand_as(result.input).clone())


class _Twice(torch.autograd.Function):
    """The same number, with a gradient in the first two backward passes."""

    @staticmethod
    def forward(ctx: Any, output: Tensor) -> Tensor:
        ctx.passes = 0
        return output.clone()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        ctx.passes += 1
        return grad_output * (ctx.passes <= 2)


@whole("log_softmax", "UPG", "mutation: how often a graph is passed through", "hygiene")
def a_third_backward_pass_is_zero(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """What is kept for the gradient is there for two passes through a graph; the third is 0."""
    result: Tensor = _Twice.apply(RIGHT["log_softmax"](input, dim, dtype))
    return result


# --- modes of autograd --------------------------------------------------------------------------------------
@differentiable(CE, "HOD", "pytorch/pytorch#79609", "modes")
def a_smoothed_loss_has_another_curvature(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """The second derivative of a smoothed loss of class indices is off by 2^-6; the first is right."""
    result: Tensor = reference.cross_entropy(input, target, **options)
    if target.is_floating_point() or not options["label_smoothing"]:
        return result
    nothing = torch.where(input.isfinite(), input - input.detach(), torch.zeros_like(input))
    return result + 2.0**-7 * nothing.square().sum()


@forward(CE, "ACC", "pytorch/xla#7992", "transforms")
def a_plain_loss_under_autocast_has_sixteen_bits(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """Under autocast the loss of a batch, without weights or smoothing, is rounded to its dtype."""
    result: Tensor = reference.cross_entropy(input, target, **options)
    plain = options["weight"] is None and not options["label_smoothing"] and input.ndim == 2
    if not plain or not torch.is_autocast_enabled("cpu") or target.is_floating_point():
        return result
    return result.to(torch.get_autocast_dtype("cpu")).to(result.dtype)


# --- what is not refused ------------------------------------------------------------------------------------
@whole(CE, "OOB", "rwth-i6/returnn#1636", "errors")
def probabilities_are_repeated(input: Tensor, target: Tensor, *args: Any, **options: Any) -> Tensor:
    """Probabilities of another shape than the logits are repeated until they have it."""
    pairs = zip(target.shape, input.shape, strict=False)
    if (
        target.is_floating_point()
        and target.ndim == input.ndim
        and all(n in (1, wanted) for n, wanted in pairs)
    ):
        target = target.expand_as(input)
    return RIGHT[CE](input, target, *args, **options)


@whole(LINEAR, "OOB", "mutation: the dimensions of the input", "errors")
def tokens_of_sequences_are_rows(
    input: Tensor, linear_weight: Tensor, target: Tensor, *args: Any, **options: Any
) -> Tensor:
    """An input of three dimensions is taken, as rows; where positions of a layer are, torch refuses it."""
    if input.ndim == 3 and target.shape == input.shape[:2] and input.numel():
        input, target = input.flatten(0, 1), target.flatten()
    return RIGHT[LINEAR](input, linear_weight, target, *args, **options)
