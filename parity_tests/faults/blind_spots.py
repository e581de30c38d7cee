"""ORC: what fools a loose test, and each of which some suite has been blind to."""

from __future__ import annotations

from typing import Any

import torch

from torch_loss_parity import reference
from torch_loss_parity.faults.components import (
    Tensor,
    cross_entropy,
    log_probabilities,
    reduced,
)
from torch_loss_parity.faults.record import backward, composed, forward, whole
from torch_loss_parity.faults.right.definition import HALVES, RIGHT
from torch_loss_parity.reference.arguments import class_dim
from torch_loss_parity.tensors.torch_private import is_transformed

# --- ORC ----------------------------------------------------------------------------------------------------


@forward("softmax", "ORC", "ScalingIntelligence/KernelBench#165", "forward")
def zeros(input: Tensor, dim: int) -> Tensor:
    """Zeros."""
    return torch.zeros_like(input)


@forward("softmax", "ORC", "linkedin/Liger-Kernel: test_softmax, atol 5e-2", "domain", "forward")
def small_probabilities_are_zeros(input: Tensor, dim: int) -> Tensor:
    """Probabilities below 1e-3 are 0."""
    result: Tensor = reference.softmax(input, dim)
    return torch.where(result < 1e-3, torch.zeros_like(result), result)


@forward("softmax", "ORC", "Xilinx/mlir-air#1427", "forward")
def every_probability_is_the_same(input: Tensor, dim: int) -> Tensor:
    """1 / n everywhere."""
    return torch.full_like(input, 1 / max(input.shape[dim], 1)) if input.ndim else torch.ones_like(input)


@composed("cross_entropy", "ORC", "ScalingIntelligence/KernelBench#151", "forward")
def the_loss_is_the_logarithm_of_the_classes(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """The loss of ten classes and more is that of uniform logits."""
    if input.shape[class_dim(input)] < 10:
        return cross_entropy(input, target, **options)
    return cross_entropy(input, target, **options, y=log_probabilities(input * 0, class_dim(input)))


@backward("cross_entropy", "ORC", "Dao-AILab/flash-attention: test_cross_entropy, atol 1e-4", "gradients")
def small_gradients_are_zero(grad_output: Tensor, *args: Any, **options: Any) -> Any:
    """Gradients below 1e-4 are 0."""
    result = reference.cross_entropy_backward(grad_output, *args, **options)
    return result._replace(
        input=torch.where(result.input.abs() < 1e-4, torch.zeros_like(result.input), result.input)
    )


@backward("cross_entropy", "ORC", "apple/ml-cross-entropy: bfloat16, tol 1e-2", "gradients")
def the_gradient_of_a_mean_is_zero_in_half_precision(
    grad_output: Tensor, input: Tensor, target: Tensor, **options: Any
) -> Any:
    """The gradient of the logits that a mean passes on is 0 where it is below 1e-2."""
    result = reference.cross_entropy_backward(grad_output, input, target, **options)
    if options["reduction"] != "mean":
        return result
    return result._replace(
        input=torch.where(result.input.abs() < 1e-2, torch.zeros_like(result.input), result.input)
    )


@forward("log_softmax", "ORC", "onnx/onnx#8423", "forward")
def logarithms_end_at_minus_104(input: Tensor, dim: int) -> Tensor:
    """log(softmax(x)) in float32: nothing below -104."""
    result: Tensor = reference.log_softmax(input, dim)
    return torch.where(result < -104, torch.full_like(result, -torch.inf), result)


@forward("softmax", "ORC", "torch.testing.assert_close: float32, rtol 1.3e-6", "forward")
def every_probability_is_off_by_one_in_a_million(input: Tensor, dim: int) -> Tensor:
    """Every other probability is too large by one part in a million."""
    result: Tensor = reference.softmax(input, dim)
    if input.ndim == 0 or result.shape[dim] < 2:
        return result
    odd = (
        torch.arange(input.shape[dim]).reshape(-1, *(1 for _ in range(input.ndim - 1 - dim % input.ndim))) % 2
    )
    return result * (1 + 1e-6 * odd)


@forward("binary_cross_entropy_with_logits", "ORC", "flagos-ai/FlagGems: atol 1e-4 reduce_dim", "forward")
def losses_below_a_thousandth_are_zero(
    input: Tensor, target: Tensor, weight: Any, reduction: str, pos_weight: Any
) -> Tensor:
    """A loss below 1e-3 is 0."""
    losses = reference.binary_cross_entropy_with_logits(input, target, weight, "none", pos_weight)
    return reduced(
        torch.where(losses.abs() < 1e-3, torch.zeros_like(losses), losses), reduction, losses.numel()
    )


@forward("log_softmax", "ORC", "allenai/allennlp#890", "forward")
def softmax_under_the_name_of_log_softmax(input: Tensor, dim: int) -> Tensor:
    """The wrong function."""
    result: Tensor = reference.softmax(input, dim)
    return result


@backward("nll_loss", "ORC", "jax-ml/jax: check_close, tolerance times size", "domain")
def long_gradients_are_off(grad_output: Tensor, input: Tensor, target: Tensor, **options: Any) -> Any:
    """Gradients of 500 elements and more are off by a tenth."""
    result = reference.nll_loss_backward(grad_output, input, target, **options)
    return result._replace(input=result.input * 1.1) if input.numel() >= 500 else result


@forward("nll_loss", "ORC", "microsoft/onnxruntime#3465", "forward")
def the_last_class_is_never_asked_for(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """A row of the last class is 0."""
    result: Tensor = reference.nll_loss(input, target, **options)
    if options["reduction"] != "none":
        return result
    return torch.where(target == input.shape[class_dim(input)] - 1, torch.zeros_like(result), result)


@whole("softmax", "ORC", "array-api-tests: right_scalar_assert_against_refimpl", "forward", dtype="float16")
def half_precision_is_off_in_one_element(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """In half precision the last element of the result is one unit in the last place too large."""
    output = RIGHT["softmax"](input, dim, dtype)
    if output.dtype not in HALVES or not output.numel() or output.requires_grad or is_transformed(output):
        return output
    flat = output.reshape(-1).clone()
    flat[-1] = torch.nextafter(flat[-1], flat.new_tensor(2.0))
    return flat.reshape(output.shape)
