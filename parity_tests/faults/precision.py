"""ACC and DTY: what is computed or accumulated in too little precision, and dtypes of results."""

from __future__ import annotations

from typing import Any

import torch

from torch_loss_parity import reference
from torch_loss_parity.faults.components import Tensor, cross_entropy, log_probabilities, reduced
from torch_loss_parity.faults.record import backward, forward, whole
from torch_loss_parity.faults.right.definition import HALVES, RIGHT, bound
from torch_loss_parity.reference.arguments import class_dim
from torch_loss_parity.tensors.torch_private import is_transformed


def _through(dtype: torch.dtype, tensor: Any) -> Any:
    return (
        tensor.to(dtype).to(tensor.dtype)
        if isinstance(tensor, torch.Tensor) and tensor.is_floating_point()
        else tensor
    )


def _one_by_one(terms: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
    """A sum that is kept in ``dtype`` while it grows, in steps of a sixteenth of the row."""
    total = torch.zeros_like(terms.select(dim, 0)).to(dtype)
    for part in terms.to(dtype).split(max(1, terms.shape[dim] // 16), dim):
        total = total + part.sum(dim).to(dtype)
    return total.unsqueeze(dim).to(terms.dtype)


@whole("softmax", "ACC", "huggingface/candle#3727", "forward", dtype="float16")
def the_row_is_added_up_in_half_precision(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """The sum of a half-precision row is kept in half precision."""
    if (dtype or input.dtype) not in HALVES or not input.numel() or input.requires_grad or input.ndim == 0:
        return RIGHT["softmax"](input, dim, dtype)
    half, x = dtype or input.dtype, input.to(dtype or input.dtype).float()
    exponentials = (x - x.amax(dim, keepdim=True)).exp()
    return (exponentials / _one_by_one(exponentials, dim, half)).to(half)


@whole("cross_entropy", "ACC", "pytorch/pytorch#85791", "forward", dtype="float16")
def losses_are_added_up_in_half_precision(
    input: Tensor, target: Tensor, *args: Any, **options: Any
) -> Tensor:
    """The sum over half-precision losses is kept in half precision."""
    arguments = bound("cross_entropy", input, target, *args, **options)
    output = RIGHT["cross_entropy"](**arguments)
    if (
        output.dtype not in HALVES
        or arguments["reduction"] != "sum"
        or output.requires_grad
        or is_transformed(output)
    ):
        return output
    losses = RIGHT["cross_entropy"](**{**arguments, "reduction": "none"})
    return (
        _one_by_one(losses.float().reshape(-1), 0, output.dtype).reshape(()).to(output.dtype)
        if losses.numel()
        else output
    )


@forward("log_softmax", "ACC", "google-deepmind/optax#1020", "forward")
def the_normaliser_is_rounded_to_bfloat16(input: Tensor, dim: int) -> Tensor:
    """The logarithm of the sum is rounded to bfloat16."""
    if not input.numel() or input.ndim == 0:
        result: Tensor = reference.log_softmax(input, dim)
        return result
    shifted = input - input.amax(dim, keepdim=True)
    return shifted - _through(torch.bfloat16, shifted.exp().sum(dim, keepdim=True).log())


@backward("cross_entropy", "ACC", "NVIDIA/TransformerEngine#3193", "gradients")
def the_gradient_is_staged_in_bfloat16(grad_output: Tensor, *args: Any, **options: Any) -> Any:
    """The gradient is kept in bfloat16 before the upstream gradient multiplies it."""
    result = reference.cross_entropy_backward(grad_output, *args, **options)
    return result._replace(input=_through(torch.bfloat16, result.input))


@backward("log_softmax", "ACC", "ROCm/MIOpen#3427", "gradients")
def the_backward_adds_up_in_float16(grad_output: Tensor, input: Tensor, dim: int) -> Tensor:
    """The sum of the upstream gradient is rounded to float16."""
    if input.ndim == 0:
        return grad_output * 0
    return grad_output - reference.softmax(input, dim) * _through(
        torch.float16, grad_output.sum(dim, keepdim=True)
    )


@forward("nll_loss", "ACC", "pytorch/pytorch#64163", "forward", dtype="float64")
def the_total_of_float64_is_kept_in_float32(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """The accumulator is a float32, for float64 losses too."""
    result: Tensor = reference.nll_loss(input, target, **options)
    return _through(torch.float32, result) if options["reduction"] != "none" else result


@forward("softmax", "ACC", "torch.testing.assert_close: float64", "forward", dtype="float64")
def float64_is_computed_in_float32(input: Tensor, dim: int) -> Tensor:
    """A float64 row is computed in float32: right to seven digits, as a default tolerance allows."""
    result: Tensor = reference.softmax(input.float(), dim)
    return result.to(input.dtype)


@forward("binary_cross_entropy", "ACC", "pytorch/pytorch#24457", "forward")
def probabilities_are_rounded_to_bfloat16(
    input: Tensor, target: Tensor, *args: Any, **options: Any
) -> Tensor:
    """The loss is that of probabilities rounded to bfloat16."""
    result: Tensor = reference.binary_cross_entropy(_through(torch.bfloat16, input), target, *args, **options)
    return result


@forward("binary_cross_entropy_with_logits", "ACC", "Modalities/modalities#464", "forward")
def each_loss_is_rounded_to_float16(input: Tensor, target: Tensor, reduction: str, **options: Any) -> Tensor:
    """Losses are stored in float16 before they are reduced."""
    losses = reference.binary_cross_entropy_with_logits(input, target, reduction="none", **options)
    return reduced(_through(torch.float16, losses), reduction, losses.numel())


@forward("cross_entropy", "ACC", "tinygrad/tinygrad#17445", "semantics")
def one_row_of_many_is_lost(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """Of more than 60 rows the sum and the mean lose the last."""
    if options["reduction"] == "none" or input.ndim != 2 or len(input) <= 60 or target.is_floating_point():
        return cross_entropy(input, target, **options)
    counted = target.clone()
    counted[-1] = options["ignore_index"]
    below = (target != options["ignore_index"]).sum() if options["weight"] is None else None
    return cross_entropy(input, counted, **options, denominator=below)


# --- DTY ----------------------------------------------------------------------------------------------------


@whole("softmax", "DTY", "vllm-project/vllm#55249", "forward")
def the_dtype_is_not_followed(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """The result has the dtype of the input, whatever ``dtype`` says."""
    return RIGHT["softmax"](input, dim)


@whole("log_softmax", "DTY", "pytorch/pytorch#123911", "forward")
def the_dtype_is_followed_last(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """The result is converted to ``dtype``, not the input."""
    result = RIGHT["log_softmax"](input, dim)
    return result if dtype is None else result.to(dtype)


@whole("softmax", "DTY", "pytorch/pytorch#30572", "gradients")
def another_dtype_along_another_dim_has_no_backward(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """With ``dtype``, along a dim that is not the last, the backward finds two dtypes and raises."""
    output = RIGHT["softmax"](input, dim, dtype)
    if (
        dtype not in (None, input.dtype)
        and output.requires_grad
        and input.ndim
        and dim % input.ndim != input.ndim - 1
    ):
        output.register_hook(lambda grad: _raise(f"expected scalar type {input.dtype} but found {dtype}"))
    return output


def _raise(message: str) -> None:
    raise RuntimeError(message)


@whole("binary_cross_entropy_with_logits", "DTY", "Modalities/modalities#464", "forward", dtype="float16")
def the_loss_of_half_precision_is_a_float32(input: Tensor, *args: Any, **options: Any) -> Tensor:
    """The loss of half-precision logits is returned in float32."""
    result = RIGHT["binary_cross_entropy_with_logits"](input, *args, **options)
    return result.float() if result.dtype in HALVES else result


@whole("nll_loss", "DTY", "pytorch/pytorch#123328", "forward", dtype="float16")
def half_precision_is_not_implemented_and_raises(input: Tensor, *args: Any, **options: Any) -> Tensor:
    """float16 raises a RuntimeError."""
    if input.dtype == torch.float16:
        raise RuntimeError("\"nll_loss_forward_reduce_cuda_kernel_1d_index\" not implemented for 'Half'")
    return RIGHT["nll_loss"](input, *args, **options)


@forward("cross_entropy", "DTY", "mgmalek/efficient_cross_entropy#7", "forward")
def logits_are_kept_in_bfloat16(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """The softmax is that of logits rounded to bfloat16."""
    y = log_probabilities(_through(torch.bfloat16, input), class_dim(input))
    return cross_entropy(input, target, **options, y=y)
