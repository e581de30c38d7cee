"""UPG: the upstream gradient, and the formulas of backward passes."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from torch_loss_parity import reference
from torch_loss_parity.faults.components import (
    Tensor,
    binary_cross_entropy,
    holds_probabilities,
    log_probabilities,
    reduced,
    weighted,
)
from torch_loss_parity.faults.record import backward, composed, differentiable
from torch_loss_parity.reference.arguments import class_dim
from torch_loss_parity.tensors.torch_private import is_transformed


def _first(grad_output: Tensor) -> Tensor:
    return grad_output.reshape(-1)[0].expand(grad_output.shape) if grad_output.numel() else grad_output


@backward("cross_entropy", "UPG", "linkedin/Liger-Kernel#680", "gradients")
def the_upstream_gradient_of_a_row_is_that_of_the_first(
    grad_output: Tensor, *args: Any, **options: Any
) -> Any:
    """Without reduction all rows get the first row's upstream gradient."""
    return reference.cross_entropy_backward(_first(grad_output), *args, **options)


@backward("nll_loss", "UPG", "linkedin/Liger-Kernel#968", "gradients")
def no_row_has_a_gradient_if_the_first_is_ignored(
    grad_output: Tensor, input: Tensor, target: Tensor, ignore_index: int, **options: Any
) -> Any:
    """The gradient is 0 for every row where the first one is ignored."""
    result = reference.nll_loss_backward(grad_output, input, target, ignore_index=ignore_index, **options)
    ignored = target.numel() > 0 and int(target.reshape(-1)[0]) == ignore_index
    return result._replace(input=result.input * 0) if ignored else result


@backward("cross_entropy", "UPG", "microsoft/DirectML#739", "gradients")
def without_reduction_the_gradient_is_zero(grad_output: Tensor, *args: Any, **options: Any) -> Any:
    """The backward of unreduced losses returns zeros."""
    return reference.cross_entropy_backward(grad_output * (options["reduction"] != "none"), *args, **options)


@backward("cross_entropy", "UPG", "pytorch/pytorch#94226", "gradients")
def the_upstream_gradient_of_a_mean_is_one(grad_output: Tensor, *args: Any, **options: Any) -> Any:
    """The upstream gradient of a reduced loss is ignored."""
    grad = grad_output if options["reduction"] == "none" else torch.ones_like(grad_output)
    return reference.cross_entropy_backward(grad, *args, **options)


@backward("binary_cross_entropy", "UPG", "paiml/aprender#2182", "gradients")
def the_gradient_of_a_sum_is_that_of_a_mean(
    grad_output: Tensor, input: Tensor, *args: Any, **options: Any
) -> Any:
    """The gradient of a sum is divided by the number of elements."""
    grad = grad_output / max(input.numel(), 1) if options["reduction"] == "sum" else grad_output
    return reference.binary_cross_entropy_backward(grad, input, *args, **options)


@backward("log_softmax", "UPG", "mlpack/mlpack#2360", "gradients")
def the_sum_is_added_not_subtracted(grad_output: Tensor, input: Tensor, dim: int) -> Tensor:
    """The backward adds p times the sum of the upstream gradient."""
    result: Tensor = reference.log_softmax_backward(grad_output, input, dim)
    return 2 * grad_output - result


@backward("log_softmax", "UPG", "ROCm/MIOpen#112", "gradients")
def log_softmax_has_the_gradient_of_softmax(grad_output: Tensor, input: Tensor, dim: int) -> Tensor:
    """The backward is that of softmax."""
    result: Tensor = reference.softmax_backward(grad_output, input, dim)
    return result


@backward("log_softmax", "UPG", "microsoft/onnxruntime#5160", "gradients")
def the_backward_multiplies_by_the_logarithm(grad_output: Tensor, input: Tensor, dim: int) -> Tensor:
    """The backward is y (g - sum g), with y the output."""
    return reference.log_softmax(input, dim) * (
        grad_output - (grad_output.sum(dim, keepdim=True) if input.ndim else grad_output)
    )


@backward("log_softmax", "UPG", "pytorch/pytorch#190746", "gradients")
def the_upstream_gradient_comes_through(grad_output: Tensor, input: Tensor, dim: int) -> Tensor:
    """The backward returns the upstream gradient, which is right for nobody but nll_loss fused with it."""
    return grad_output.clone()


@backward("softmax", "UPG", "tinygrad: helper_test_op", "gradients")
def the_gradient_of_softmax_is_zero(grad_output: Tensor, input: Tensor, dim: int) -> Tensor:
    """The backward returns zeros, which is right for the sum of all probabilities."""
    return torch.zeros_like(grad_output)


@backward("softmax", "UPG", "PyTorch: test_variant_consistency_eager", "gradients")
def the_gradient_of_softmax_has_the_other_sign(grad_output: Tensor, input: Tensor, dim: int) -> Tensor:
    """The backward is negated."""
    result: Tensor = reference.softmax_backward(grad_output, input, dim)
    return -result


@backward("softmax", "UPG", "ROCm/MIOpen#3427", "gradients")
def the_row_is_summed_over_all_rows(grad_output: Tensor, input: Tensor, dim: int) -> Tensor:
    """The backward subtracts the mean over rows of sum(g p), not each row's own."""
    if input.ndim == 0:
        return grad_output * 0
    p = reference.softmax(input, dim)
    inner = (grad_output * p).sum(dim, keepdim=True)
    return p * (grad_output - (inner.mean() if inner.numel() else inner))


@composed("binary_cross_entropy", "UPG", "ooples/AiDotNet#1827", "gradients")
def the_clamp_detaches(input: Tensor, target: Tensor, weight: Any, reduction: str) -> Tensor:
    """The loss is right; the clamp of the logarithms drops their gradient."""
    loss = binary_cross_entropy(input, target, weight, reduction)
    return loss.detach() + 0 * (input.sum() + target.sum())


@backward("binary_cross_entropy_with_logits", "UPG", "NVIDIA-NeMo/Automodel#3853", "gradients")
def the_upstream_gradient_of_an_element_is_that_of_the_first(
    grad_output: Tensor, *args: Any, **options: Any
) -> Any:
    """Without reduction all elements get the first one's upstream gradient."""
    return reference.binary_cross_entropy_with_logits_backward(_first(grad_output), *args, **options)


@backward("cross_entropy", "UPG", "fetchai/ledger#1580", "semantics")
def the_gradient_takes_logits_for_logarithms(
    grad_output: Tensor, input: Tensor, target: Tensor, **options: Any
) -> Any:
    """The softmax in the gradient is that of a row without its largest shift: exp(x - max) is not divided by
    its sum for two classes.
    """
    result = reference.cross_entropy_backward(grad_output, input, target, **options)
    dim = class_dim(input)
    if input.shape[dim] != 2 or holds_probabilities(input, target):
        return result
    total = (log_probabilities(input, dim) - input + input.amax(dim, keepdim=True)).exp()
    return result._replace(input=result.input / total)


# --- differentiated twice -----------------------------------------------------------------------------------


@differentiable("binary_cross_entropy_with_logits", "HOD", "pytorch/pytorch#58509", "modes")
def the_second_derivative_lacks_the_upstream_gradient(
    input: Tensor, target: Tensor, weight: Any, reduction: str, pos_weight: Any
) -> Tensor:
    """The gradient of the input, differentiated by the input, is that of an upstream gradient of 1."""

    def slope(x: Tensor, t: Tensor) -> Tensor:
        return weighted((1 - t) * torch.sigmoid(x) - weighted(t * torch.sigmoid(-x), pos_weight), weight)

    positive, negative = F.logsigmoid(input), F.logsigmoid(-input)
    losses = weighted(-weighted(target * positive, pos_weight) - (1 - target) * negative, weight)
    right: Tensor = reduced(losses, reduction, input.numel())
    if is_transformed(right):
        return right
    share = 1 / max(input.numel(), 1) if reduction == "mean" else 1.0
    curved = slope(input, target.detach()) * share
    through: Tensor = _WithoutUpstream.apply(right, input, curved, curved.detach())
    return through


class _WithoutUpstream(torch.autograd.Function):
    """A loss as it is, whose gradient has beside it, times 0, what is differentiated as if it were 1 times
    the slope.
    """

    @staticmethod
    def forward(ctx: Any, output: Tensor, input: Tensor, slope: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(slope, value)
        return output.clone()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Any, ...]:
        slope, value = ctx.saved_tensors
        return grad_output, (1 - grad_output.detach()) * (slope - value), None, None
