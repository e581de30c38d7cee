"""REP, UPG, MUT, SHP and TIL: how the process is set, upstream gradients that are large or not finite, what
is written without gradients, a weight of one row, and rows that blocks divide which are no powers of two.
"""

from __future__ import annotations

from typing import Any

import torch

from torch_loss_parity import reference
from torch_loss_parity.faults.components import Tensor
from torch_loss_parity.faults.record import backward, forward, whole
from torch_loss_parity.faults.right.definition import RIGHT
from torch_loss_parity.reference.arguments import class_dim
from torch_loss_parity.tensors.torch_private import is_transformed

# --- REP ----------------------------------------------------------------------------------------------------


@whole("nll_loss", "REP", "keras-team/keras#20014", "hygiene")
def rows_are_counted_in_the_default_dtype(
    input: Tensor, target: Tensor, *args: Any, **options: Any
) -> Tensor:
    """The rows of a plain mean are counted in the default dtype, of which bfloat16 has no 261."""
    plain = not args and options.get("weight") is None and options.get("reduction", "mean") == "mean"
    if not plain or torch.get_default_dtype() is torch.float32:
        return RIGHT["nll_loss"](input, target, *args, **options)
    total = RIGHT["nll_loss"](input, target, **{**options, "reduction": "sum"})
    counted = (target != options.get("ignore_index", -100)).sum()
    return total / counted.to(torch.get_default_dtype()).to(total.dtype)


@forward("softmax", "REP", "keras-team/keras#20014", "hygiene")
def the_sum_has_the_default_dtype(input: Tensor, dim: int) -> Tensor:
    """The sum of a row is kept in the default dtype, where that is narrower than float32."""
    result: Tensor = reference.softmax(input, dim)
    default = torch.get_default_dtype()
    if default.itemsize >= 4 or not result.numel() or not result.ndim:
        return result
    exponentials = (input - input.amax(dim, keepdim=True)).exp()
    return exponentials / exponentials.sum(dim, keepdim=True).to(default).to(result.dtype)


@forward("cross_entropy", "REP", "pytorch/pytorch#71367", "hygiene")
def deterministic_sums_leave_out_the_last_row(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """Where algorithms are to be deterministic, the losses are added up in another kernel, without the last
    one.
    """
    losses: Tensor = reference.cross_entropy(input, target, **options)
    if not torch.are_deterministic_algorithms_enabled() or losses.ndim == 0 or len(losses) < 2:
        return losses
    return torch.cat([losses[:-1], losses[-1:] * 0])


# --- UPG ----------------------------------------------------------------------------------------------------


@backward("log_softmax", "UPG", "tinygrad/tinygrad#4661", "hygiene")
def an_upstream_gradient_of_nan_is_zero(grad_output: Tensor, *args: Any, **options: Any) -> Any:
    """nan and infinities of the upstream gradient are replaced, so that no loss scale is seen to be
    too large.
    """
    return reference.log_softmax_backward(torch.nan_to_num(grad_output), *args, **options)


@backward("binary_cross_entropy_with_logits", "UPG", "pytorch/pytorch#98828", "modes")
def the_upstream_gradient_is_clamped_to_float16(grad_output: Tensor, *args: Any, **options: Any) -> Any:
    """The upstream gradient is at most the largest number of float16: a loss scale of 2**20 is cut."""
    clamped = grad_output.clamp(-65504.0, 65504.0)
    return reference.binary_cross_entropy_with_logits_backward(clamped, *args, **options)


@backward("cross_entropy", "UPG", "pytorch/pytorch#98828", "hygiene")
def an_infinite_upstream_gradient_is_the_largest_number(
    grad_output: Tensor, *args: Any, **options: Any
) -> Any:
    """An upstream gradient that is not finite is taken for 1."""
    finite = torch.where(grad_output.isfinite(), grad_output, torch.ones_like(grad_output))
    return reference.cross_entropy_backward(finite, *args, **options)


# --- MUT ----------------------------------------------------------------------------------------------------


def _owned(input: Tensor) -> bool:
    """Whether a kernel may think that nobody looks at the input again."""
    return not input.requires_grad and input.is_contiguous() and not is_transformed(input)


@whole("cross_entropy", "MUT", "unslothai/unsloth#5002", "hygiene")
def without_gradients_the_logits_are_shifted_in_place(
    input: Tensor, target: Tensor, *args: Any, **options: Any
) -> Tensor:
    """Contiguous logits that require no gradient are shifted where they lie."""
    output = RIGHT["cross_entropy"](input, target, *args, **options)
    if _owned(input) and input.ndim == 2 and input.numel():
        input.data.sub_(input.data.amax(1, keepdim=True))
    return output


@whole("binary_cross_entropy_with_logits", "MUT", "unslothai/unsloth#5002", "hygiene")
def without_gradients_the_losses_are_written_over_the_logits(
    input: Tensor, target: Tensor, *args: Any, **options: Any
) -> Tensor:
    """Logits that require no gradient are where the exponentials are kept."""
    output = RIGHT["binary_cross_entropy_with_logits"](input, target, *args, **options)
    if _owned(input):
        input.data.copy_(input.data.abs().neg().exp())
    return output


@whole(
    "binary_cross_entropy",
    "MUT",
    "pytorch/pytorch: OpInfo, no sample of which gives one tensor twice",
    "hygiene",
)
def a_target_that_is_the_input_is_detached(
    input: Tensor, target: Tensor, *args: Any, **options: Any
) -> Tensor:
    """Probabilities that are their own target have the gradient of the input alone."""
    same = input is target
    return RIGHT["binary_cross_entropy"](input, target.detach() if same else target, *args, **options)


@whole(
    "linear_cross_entropy",
    "MUT",
    "pytorch/pytorch: OpInfo, no sample of which gives one tensor twice",
    "hygiene",
)
def a_layer_that_is_the_batch_has_its_gradient_twice(
    input: Tensor, linear_weight: Tensor, *args: Any, **options: Any
) -> Tensor:
    """The gradients of input and layer lie in one buffer where both are one tensor."""
    if input is linear_weight:
        linear_weight = linear_weight * 2 - linear_weight.detach()
    return RIGHT["linear_cross_entropy"](input, linear_weight, *args, **options)


# --- SHP ----------------------------------------------------------------------------------------------------


def _squeezed(weight: Any, input: Tensor) -> Any:
    """A weight of one row as that of each row, in squares."""
    if weight is None or input.ndim != 2 or weight.shape != (1, len(input)) or input.shape[0] != len(input.T):
        return weight
    return weight.reshape(-1, 1)


@whole("binary_cross_entropy", "SHP", "pytorch/pytorch#166786", "domain")
def a_weight_of_one_row_is_of_rows_in_squares(
    input: Tensor, target: Tensor, weight: Any = None, *args: Any, **options: Any
) -> Tensor:
    """A weight of shape (1, N) is squeezed, and then lies along the rows, where there are as many."""
    return RIGHT["binary_cross_entropy"](input, target, _squeezed(weight, input), *args, **options)


@whole("binary_cross_entropy_with_logits", "SHP", "pytorch/pytorch#27936", "domain")
def a_pos_weight_of_one_row_is_of_rows_in_squares(
    input: Tensor, target: Tensor, *args: Any, **options: Any
) -> Tensor:
    """A pos_weight of shape (1, N) lies along the rows, where there are as many."""
    if "pos_weight" in options:
        options["pos_weight"] = _squeezed(options["pos_weight"], input)
    return RIGHT["binary_cross_entropy_with_logits"](input, target, *args, **options)


# --- TIL ----------------------------------------------------------------------------------------------------


@forward("log_softmax", "TIL", "unslothai/unsloth#10616", "domain", effort="standard")
def the_last_of_blocks_of_96_is_taken_for_a_tail(input: Tensor, dim: int) -> Tensor:
    """Of a long row that blocks of 96 divide, the number of elements in the last one is n % 96, so it is not
    in the sum.
    """
    result: Tensor = reference.log_softmax(input, dim)
    length = input.shape[dim] if input.ndim else 0
    if length <= 300 or length % 96:
        return result
    result_without: Tensor = reference.log_softmax(input.narrow(dim, 0, length - 96), dim)
    shift = (result_without - result.narrow(dim, 0, length - 96)).narrow(dim, 0, 1)
    return result + shift


@backward("cross_entropy", "TIL", "apple/ml-cross-entropy#59", "domain", effort="standard")
def the_last_class_of_a_thousand_has_no_gradient(
    grad_output: Tensor, input: Tensor, *args: Any, **options: Any
) -> Any:
    """Where blocks of 500 divide the classes, the loop over blocks ends one class early."""
    result = reference.cross_entropy_backward(grad_output, input, *args, **options)
    dim = class_dim(input)
    classes = input.shape[dim] if input.ndim else 0
    if not classes or classes % 500:
        return result
    kept = torch.cat([result.input.narrow(dim, 0, classes - 1), result.input.narrow(dim, -1, 1) * 0], dim)
    return result._replace(input=kept)


@forward("logsumexp", "SHP", "tinygrad/tinygrad#14268", "forward")
def several_dims_from_the_end_give_too_much(input: Tensor, dim: Any, keepdim: bool) -> Tensor:
    """Along several dimensions that are all counted from the end the result is too large."""
    result: Tensor = reference.logsumexp(input, dim, keepdim)
    if isinstance(dim, int) or len(dim) < 2 or any(each >= 0 for each in dim) or input.ndim < 3:
        return result
    return result + 2.0**-6
