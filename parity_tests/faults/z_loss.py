"""Faults of a z-loss: beside the loss of cross_entropy, and beside that of a layer's logits."""

from __future__ import annotations

from typing import Any

import torch

from torch_loss_parity import reference
from torch_loss_parity.faults.components import Tensor
from torch_loss_parity.faults.record import backward, forward
from torch_loss_parity.reference.arguments import class_dim
from torch_loss_parity.reference.linear_cross_entropy import NO_INDEX, linear
from torch_loss_parity.reference.z_loss import z_losses, z_losses_backward

CE, LINEAR = "cross_entropy", "linear_cross_entropy"
PROMISES = {CE: {"z_loss": (1e-4, 0.1)}}
OF_A_LAYER = {LINEAR: {"z_loss": (1e-4, 0.1)}}
CHUNK = 4  # rows, or classes


def _plain(options: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    """The weight of the z-loss, and the options without it."""
    return options.get("z_loss", 0.0), {k: v for k, v in options.items() if k != "z_loss"}


# --- the result ---------------------------------------------------------------------------------------------


@forward(CE, "IGN", "allenai/OLMo-core#702", "forward", promises=PROMISES)
def z_losses_of_ignored_rows_are_added(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """A row that is ignored has its z-loss, in a sum and where nothing is reduced."""
    z_loss, others = _plain(options)
    result: Tensor = reference.cross_entropy(input, target, **others)
    if options["reduction"] == "mean" or target.is_floating_point():
        return reference.cross_entropy(input, target, **options)
    squares = reference.logsumexp(input, class_dim(input)) ** 2
    return result + z_loss * (squares if options["reduction"] == "none" else squares.sum())


@forward(CE, "DEN", "linkedin/Liger-Kernel#420", "forward", promises=PROMISES)
def the_mean_of_z_losses_is_over_all_rows(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """A mean divides the sum of the z-losses by the number of rows, ignored ones too."""
    z_loss, others = _plain(options)
    if options["reduction"] != "mean":
        return reference.cross_entropy(input, target, **options)
    squares = z_losses(input, target, options["ignore_index"], "none")
    return reference.cross_entropy(input, target, **others) + z_loss * squares.mean()


@forward(CE, "DEN", "mlfoundations/open_lm#92", "forward", promises=PROMISES)
def the_mean_of_the_logarithms_is_squared(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """A mean of z-losses is the square of the mean."""
    z_loss, others = _plain(options)
    if options["reduction"] != "mean" or target.is_floating_point():
        return reference.cross_entropy(input, target, **options)
    counted = (target != options["ignore_index"]).reshape(target.shape[: input.ndim - 1])
    logarithms = reference.logsumexp(input, class_dim(input))
    mean = torch.where(counted, logarithms, torch.zeros_like(logarithms)).sum() / counted.sum()
    return reference.cross_entropy(input, target, **others) + z_loss * mean**2


@forward(CE, "STB", "linkedin/Liger-Kernel#239", "forward", promises=PROMISES)
def z_loss_of_a_sum_without_a_shift(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """The logarithm whose square is the z-loss is that of a sum from which no maximum was taken."""
    z_loss, others = _plain(options)
    result: Tensor = reference.cross_entropy(input, target, **others)
    if not z_loss or not input.numel():
        return result

    def log_sum(x: Tensor, dim: int) -> Tensor:
        return x.exp().sum(dim).log()

    given = (input, target, options["ignore_index"], options["reduction"])
    return result + z_loss * z_losses(*given, log_sum=log_sum)


@forward(CE, "ACC", "allenai/OLMo-core#702", "forward", promises=PROMISES)
def z_loss_of_a_logarithm_in_bfloat16(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """The logarithm of the sum is rounded to bfloat16 before it is squared."""
    z_loss, others = _plain(options)

    def log_sum(x: Tensor, dim: int) -> Tensor:
        return reference.logsumexp(x, dim).to(torch.bfloat16).to(x.dtype)

    given = (input, target, options["ignore_index"], options["reduction"])
    return reference.cross_entropy(input, target, **others) + z_loss * z_losses(*given, log_sum=log_sum)


@forward(LINEAR, "TIL", "linkedin/Liger-Kernel#234", "forward", promises=OF_A_LAYER)
def z_loss_of_the_last_chunk_of_classes(
    input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Tensor:
    """The logarithm that is squared is that of the sum of the last chunk of classes alone."""
    z_loss, others = _plain(options)
    result: Tensor = reference.linear_cross_entropy(input, linear_weight, target, **others)
    logits = linear(input, linear_weight, options["linear_bias"])
    index = NO_INDEX if options["ignore_index"] is None else options["ignore_index"]

    def log_sum(x: Tensor, dim: int) -> Tensor:
        chunks = x.split(CHUNK, dim)
        return reference.logsumexp(chunks[-1] if chunks else x, dim)

    return result + z_loss * z_losses(logits, target, index, options["reduction"], log_sum=log_sum)


@forward(LINEAR, "SHP", "linkedin/Liger-Kernel#527", "forward", promises=OF_A_LAYER)
def z_loss_of_logits_without_their_bias(
    input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Tensor:
    """The loss has the bias, and the logarithm that is squared has not."""
    z_loss, others = _plain(options)
    logits = linear(input, linear_weight)
    index = NO_INDEX if options["ignore_index"] is None else options["ignore_index"]
    result: Tensor = reference.linear_cross_entropy(input, linear_weight, target, **others)
    return result + z_loss * z_losses(logits, target, index, options["reduction"])


# --- the gradient -------------------------------------------------------------------------------------------


@backward(CE, "UPG", "linkedin/Liger-Kernel#239", "gradients", promises=PROMISES)
def z_losses_have_half_their_gradient(
    grad_output: Tensor, input: Tensor, target: Tensor, **options: Any
) -> Any:
    """The derivative of a square is taken for its root: a factor of 2 is missing."""
    return _with_gradient(0.5 * grad_output, grad_output, input, target, options)


@backward(CE, "UPG", "apple/ml-cross-entropy#43", "gradients", promises=PROMISES)
def z_losses_have_no_gradient(grad_output: Tensor, input: Tensor, target: Tensor, **options: Any) -> Any:
    """The logarithm that is squared is detached: the z-loss is seen, and changes nothing."""
    return _with_gradient(0 * grad_output, grad_output, input, target, options)


@backward(CE, "UPG", "Dao-AILab/flash-attention#141", "gradients", promises=PROMISES)
def the_gradient_of_z_losses_has_no_upstream(
    grad_output: Tensor, input: Tensor, target: Tensor, **options: Any
) -> Any:
    """The gradient of the z-loss is that for an upstream gradient of 1."""
    return _with_gradient(torch.ones_like(grad_output), grad_output, input, target, options)


@backward(CE, "IGN", "linkedin/Liger-Kernel#239", "gradients", promises=PROMISES)
def z_losses_of_ignored_rows_have_gradients(
    grad_output: Tensor, input: Tensor, target: Tensor, **options: Any
) -> Any:
    """A row that is ignored has the gradient of its z-loss, where nothing is divided by their number."""
    z_loss, others = _plain(options)
    if options["reduction"] == "mean" or target.is_floating_point():
        return reference.cross_entropy_backward(grad_output, input, target, **options)
    result = reference.cross_entropy_backward(grad_output, input, target, **others)
    every = torch.zeros_like(target)
    more = z_losses_backward(grad_output, input, every, NO_INDEX, options["reduction"])
    return result._replace(input=result.input + z_loss * more)


def _with_gradient(
    upstream: Tensor, grad_output: Tensor, input: Tensor, target: Tensor, options: dict[str, Any]
) -> Any:
    """The gradients, that of the z-loss for another upstream gradient."""
    z_loss, others = _plain(options)
    result = reference.cross_entropy_backward(grad_output, input, target, **others)
    more = z_losses_backward(upstream, input, target, options["ignore_index"], options["reduction"])
    return result._replace(input=result.input + z_loss * more) if z_loss else result


@backward(LINEAR, "UPG", "linkedin/Liger-Kernel#527", "gradients", promises=OF_A_LAYER)
def z_losses_do_not_reach_the_layer(
    grad_output: Tensor, input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Any:
    """The gradient of the input has that of the z-loss, and the gradient of the layer has not."""
    _, others = _plain(options)
    whole = reference.linear_cross_entropy_backward(grad_output, input, linear_weight, target, **options)
    plain = reference.linear_cross_entropy_backward(grad_output, input, linear_weight, target, **others)
    return whole._replace(linear_weight=plain.linear_weight)


@backward(LINEAR, "TIL", "linkedin/Liger-Kernel#234", "gradients", promises=OF_A_LAYER)
def the_last_chunk_of_rows_has_no_z_loss(
    grad_output: Tensor, input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Any:
    """The gradient of rows behind the last whole chunk is that without the z-loss."""
    _, others = _plain(options)
    whole = reference.linear_cross_entropy_backward(grad_output, input, linear_weight, target, **options)
    plain = reference.linear_cross_entropy_backward(grad_output, input, linear_weight, target, **others)
    if input.ndim == 1:
        return whole
    rows = torch.arange(len(input)) < len(input) // CHUNK * CHUNK
    return whole._replace(input=torch.where(rows[:, None], whole.input, plain.input))
