"""Faults of logits that are capped softly, and of a log-sum-exp that is returned beside the loss."""

from __future__ import annotations

from typing import Any

import torch

from torch_loss_parity import reference
from torch_loss_parity.faults.components import Tensor
from torch_loss_parity.faults.record import backward, forward
from torch_loss_parity.reference.arguments import class_dim
from torch_loss_parity.reference.linear_cross_entropy import NO_INDEX, linear
from torch_loss_parity.reference.softcap import softcap_slope, softcapped
from torch_loss_parity.reference.z_loss import z_losses, z_losses_backward

CE, LINEAR = "cross_entropy", "linear_cross_entropy"
CAPPED = {CE: {"softcap": (30.0, 4.0)}}
OF_A_LAYER = {LINEAR: {"softcap": (30.0, 4.0)}}
RETURNED = {CE: {"z_loss": (1e-4, 0.1)}}


def _without(options: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key != name}


# --- capped logits ------------------------------------------------------------------------------------------


@forward(CE, "SAT", "unslothai/unsloth-zoo#593", "forward", promises=CAPPED)
def the_tanh_multiplies_the_logit(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """x tanh(x / s) in place of s tanh(x / s): large logits are not capped."""
    others, cap = _without(options, "softcap"), options.get("softcap")
    x = input if cap is None else input * (input / cap).tanh()
    result: Tensor = reference.cross_entropy(x, target, **others)
    return result


@forward(CE, "INF", "lightseekorg/tokenspeed#183", "domain", promises=CAPPED)
def the_tanh_is_a_quotient_that_overflows(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """tanh(x) as (exp(2 x) - 1) / (exp(2 x) + 1): of a large logit nan."""
    others, cap = _without(options, "softcap"), options.get("softcap")
    if cap is None:
        return reference.cross_entropy(input, target, **others)
    e = (2 * input / cap).exp()
    result: Tensor = reference.cross_entropy(cap * ((e - 1) / (e + 1)), target, **others)
    return result


@forward(CE, "ACC", "microsoft/onnxruntime#21683", "forward", promises=CAPPED)
def the_tanh_has_eleven_bits(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """The tanh of a fast instruction, which is 2^-11 off."""
    others, cap = _without(options, "softcap"), options.get("softcap")
    x = input if cap is None else softcapped(input, cap) * (1 + 2.0**-11)
    result: Tensor = reference.cross_entropy(x, target, **others)
    return result


@forward(CE, "SAT", "NVIDIA-NeMo/Megatron-Bridge#4645", "forward", promises=CAPPED)
def logits_are_capped_twice(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """By the model, and by the loss again."""
    cap = options.get("softcap")
    x = input if cap is None else softcapped(input, cap)
    result: Tensor = reference.cross_entropy(x, target, **options)
    return result


@backward(CE, "UPG", "linkedin/Liger-Kernel#423", "gradients", promises=CAPPED)
def the_slope_of_the_cap_is_forgotten(
    grad_output: Tensor, input: Tensor, target: Tensor, **options: Any
) -> Any:
    """The gradient is that of the capped logits."""
    others, cap = _without(options, "softcap"), options.get("softcap")
    x = input if cap is None else softcapped(input, cap)
    return reference.cross_entropy_backward(grad_output, x, target, **others)


@backward(CE, "UPG", "linkedin/Liger-Kernel#423", "gradients", promises=CAPPED)
def the_slope_is_that_of_the_capped_logits(
    grad_output: Tensor, input: Tensor, target: Tensor, **options: Any
) -> Any:
    """1 - tanh^2 of what was capped already: the logits were overwritten."""
    others, cap = _without(options, "softcap"), options.get("softcap")
    if cap is None:
        return reference.cross_entropy_backward(grad_output, input, target, **others)
    x = softcapped(input, cap)
    result = reference.cross_entropy_backward(grad_output, x, target, **others)
    return result._replace(input=result.input * softcap_slope(x, cap))


@forward(LINEAR, "SHP", "huggingface/trl#5691", "forward", promises=OF_A_LAYER)
def the_bias_comes_behind_the_cap(
    input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Tensor:
    """The products are capped, and then the bias is added."""
    cap, bias = options.get("softcap"), options["linear_bias"]
    if cap is None or bias is None:
        return reference.linear_cross_entropy(input, linear_weight, target, **options)
    logits = softcapped(linear(input, linear_weight), cap)
    logits = logits + bias.reshape((1,) * (logits.ndim - bias.ndim) + tuple(bias.shape))
    index = NO_INDEX if options["ignore_index"] is None else options["ignore_index"]
    others = {key: options[key] for key in ("weight", "reduction", "label_smoothing")}
    result: Tensor = reference.cross_entropy(logits, target, ignore_index=index, **others)
    return result


@backward(LINEAR, "UPG", "apple/ml-cross-entropy#48", "gradients", promises=OF_A_LAYER)
def the_gradient_of_the_layer_is_that_without_a_cap(
    grad_output: Tensor, input: Tensor, linear_weight: Tensor, target: Tensor, **options: Any
) -> Any:
    """The gradient of the input knows of the cap, and that of the layer does not."""
    whole = reference.linear_cross_entropy_backward(grad_output, input, linear_weight, target, **options)
    others = _without(options, "softcap")
    plain = reference.linear_cross_entropy_backward(grad_output, input, linear_weight, target, **others)
    return whole._replace(linear_weight=plain.linear_weight)


# --- a log-sum-exp beside the loss, squared by its caller ---------------------------------------------------


@forward(CE, "STB", "linkedin/Liger-Kernel#234", "forward", promises=RETURNED)
def the_returned_logarithm_lacks_the_largest(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """What is returned beside the loss is the logarithm of the shifted sum."""
    return _with_logarithms(
        input, target, options, lambda x, dim: reference.logsumexp(x - x.amax(dim, keepdim=True), dim)
    )


@forward(CE, "WGT", "Dao-AILab/flash-attention#141", "forward", promises=RETURNED)
def the_returned_logarithm_is_in_base_2(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """What is returned beside the loss is the logarithm that the kernel computes with."""
    return _with_logarithms(
        input, target, options, lambda x, dim: reference.logsumexp(x, dim) * 1.4426950408889634
    )


def _with_logarithms(input: Tensor, target: Tensor, options: dict[str, Any], log_sum: Any) -> Tensor:
    """The loss, and the z-loss of other logarithms."""
    z_loss, others = options.get("z_loss", 0.0), _without(options, "z_loss")
    result: Tensor = reference.cross_entropy(input, target, **others)
    given = (input, target, options["ignore_index"], options["reduction"])
    return result + z_loss * z_losses(*given, log_sum=log_sum) if z_loss and input.numel() else result


@backward(CE, "UPG", "apple/ml-cross-entropy#43", "gradients", promises=RETURNED)
def the_gradient_of_the_returned_logarithm_is_not_that_of_its_square(
    grad_output: Tensor, input: Tensor, target: Tensor, **options: Any
) -> Any:
    """What reaches a row's logarithm is what reaches its loss, whatever its caller made of it."""
    z_loss, others = options.get("z_loss", 0.0), _without(options, "z_loss")
    result = reference.cross_entropy_backward(grad_output, input, target, **others)
    ones = z_losses_backward(
        grad_output,
        input,
        target,
        options["ignore_index"],
        options["reduction"],
        log_sum=lambda x, dim: torch.ones_like(reference.logsumexp(x, class_dim(x))),
    )
    return result._replace(input=result.input + z_loss * ones) if z_loss else result
