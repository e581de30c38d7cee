"""ACC, UPG, SHP and REP: what is rounded in a buffer on the way, terms that are not asked for, and programs
that are kept.
"""

from __future__ import annotations

from typing import Any

import torch

from torch_loss_parity import reference
from torch_loss_parity.faults.components import Tensor, holds_probabilities, reduced
from torch_loss_parity.faults.record import backward, forward, whole
from torch_loss_parity.faults.right.definition import RIGHT, bound
from torch_loss_parity.reference.arguments import class_dim
from torch_loss_parity.tensors.torch_private import is_transformed

Z_LOSS = 1e-4  # what a square of the logarithm of the sum of exponentials is multiplied by
_programs: dict[Any, Any] = {}


def _rounded(tensor: Tensor) -> Tensor:
    return tensor.bfloat16().to(tensor.dtype)


def _picks_classes(input: Tensor, target: Tensor) -> bool:
    """Whether each row has a class, and there are any."""
    return not holds_probabilities(input, target) and input.numel() > 0


# --- ACC ----------------------------------------------------------------------------------------------------


@backward("cross_entropy", "ACC", "linkedin/Liger-Kernel#1329", "domain")
def the_true_class_is_rounded_before_the_subtraction(
    grad_output: Tensor, input: Tensor, target: Tensor, **options: Any
) -> Any:
    """The probability of the true class is kept in bfloat16 before 1 is subtracted: of a confident row
    nothing is left.
    """
    result = reference.cross_entropy_backward(grad_output, input, target, **options)
    plain = options["weight"] is None and options["label_smoothing"] == 0
    if not plain or not _picks_classes(input, target):
        return result
    dim = class_dim(input)
    classes = torch.where(target == options["ignore_index"], 0, target).long().unsqueeze(dim)
    p = torch.gather(reference.softmax(input, dim), dim, classes)
    scale = (_rounded(p) - 1) / (p - 1)
    true = torch.zeros_like(input, dtype=torch.bool).scatter(dim, classes, True)
    return result._replace(input=torch.where(true & (p != 1), result.input * scale, result.input))


@backward("cross_entropy", "ACC", "NVIDIA/TransformerEngine#3193", "domain", dtype="bfloat16")
def the_gradient_lies_in_the_buffer_of_the_logits(
    grad_output: Tensor, input: Tensor, target: Tensor, **options: Any
) -> Any:
    """Each step of the gradient is written into the buffer of the logits, which holds bfloat16: the
    probability, what is left of it, and what the upstream gradient makes of that.
    """
    result = reference.cross_entropy_backward(grad_output, input, target, **options)
    plain = options["weight"] is None and options["label_smoothing"] == 0
    if not plain or not _picks_classes(input, target) or options["reduction"] != "none":
        return result
    dim = class_dim(input)
    counted = (target != options["ignore_index"]).unsqueeze(dim)
    classes = torch.where(counted, target.unsqueeze(dim), 0).long()
    buffer = _rounded(reference.softmax(input, dim))
    buffer = _rounded(buffer - torch.zeros_like(buffer).scatter(dim, classes, 1.0))
    buffer = buffer * grad_output.unsqueeze(dim)
    return result._replace(input=torch.where(counted, buffer, torch.zeros_like(buffer)))


@forward("cross_entropy", "ACC", "Modalities/modalities#464", "forward")
def the_loss_is_stored_in_bfloat16(*args: Any, **options: Any) -> Tensor:
    """The loss of float32 logits is kept in bfloat16 before it is returned."""
    return _rounded(reference.cross_entropy(*args, **options))


# --- UPG ----------------------------------------------------------------------------------------------------


def _z_losses(input: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    squares: Tensor = reference.logsumexp(input, class_dim(input)) ** 2
    counted = (target != ignore_index) & squares.isfinite()
    return Z_LOSS * torch.where(counted, squares, torch.zeros_like(squares))


@forward("cross_entropy", "UPG", "allenai/OLMo-core#702", "forward")
def a_z_loss_that_is_off_is_in_the_loss(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """1e-4 times the square of the logarithm of the sum of exponentials is added to the loss of a row."""
    result: Tensor = reference.cross_entropy(input, target, **options)
    if not _picks_classes(input, target):
        return result
    losses = _z_losses(input, target, options["ignore_index"])
    return result + reduced(losses, options["reduction"], max(losses.numel(), 1))


@backward("cross_entropy", "UPG", "allenai/OLMo-core#702", "gradients")
def a_z_loss_that_is_off_is_in_the_gradient(
    grad_output: Tensor, input: Tensor, target: Tensor, **options: Any
) -> Any:
    """The gradient of unreduced losses has that of 1e-4 times the square of the logarithm of the sum."""
    result = reference.cross_entropy_backward(grad_output, input, target, **options)
    if not _picks_classes(input, target) or options["reduction"] != "none":
        return result
    dim = class_dim(input)
    roots = (_z_losses(input, target, options["ignore_index"]) * Z_LOSS).sqrt()
    more = 2 * roots * reference.logsumexp(input, dim).sign() * grad_output
    more = more.unsqueeze(dim) * reference.softmax(input, dim)
    return result._replace(input=result.input + torch.where(more.isfinite(), more, torch.zeros_like(more)))


# --- SHP ----------------------------------------------------------------------------------------------------


def _along_columns(terms: Tensor, dim: int) -> Tensor:
    """The sums of rows of a square, along its columns; of all else, where they belong."""
    square = terms.ndim == 2 and terms.shape[0] == terms.shape[1] and dim % 2 == 1
    return terms.sum(dim, keepdim=not square)


@forward("softmax", "SHP", "sahandsafizadeh/qeep#29", "domain")
def the_sums_of_square_rows_lie_along_columns(input: Tensor, dim: int) -> Tensor:
    """The sum of a row loses its dimension, and where there are as many rows as columns, it divides another
    row's elements.
    """
    if input.ndim == 0 or not input.numel():
        result: Tensor = reference.softmax(input, dim)
        return result
    exponentials = (input - input.amax(dim, keepdim=True)).exp()
    return exponentials / _along_columns(exponentials, dim)


@backward("log_softmax", "SHP", "SKaiNET-developers/SKaiNET#863", "domain")
def the_sums_of_square_gradients_lie_along_columns(grad_output: Tensor, input: Tensor, dim: int) -> Tensor:
    """The sum of a row of the upstream gradient belongs to a column, where there are as many."""
    if input.ndim == 0:
        return grad_output * 0
    p: Tensor = reference.softmax(input, dim)
    return grad_output - p * _along_columns(grad_output, dim)


# --- REP ----------------------------------------------------------------------------------------------------


@whole("softmax", "REP", "flashinfer-ai/flashinfer#4214", "forward")
def programs_are_kept_without_their_dim(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """A program is built for a shape and a dtype, and its dim is that of the first call."""
    if is_transformed(input) or input.ndim < 2 or not -input.ndim <= dim < input.ndim:
        return RIGHT["softmax"](input, dim, dtype)
    built = _programs.setdefault(("softmax", input.shape, input.dtype, dtype), dim)
    return RIGHT["softmax"](input, built, dtype)


@whole("cross_entropy", "REP", "flashinfer-ai/flashinfer#4214", "semantics")
def programs_are_kept_without_their_smoothing(*positional: Any, **named: Any) -> Tensor:
    """A program is built for shapes, dtypes and a reduction, and its label_smoothing is that of the first
    call.
    """
    arguments = bound("cross_entropy", *positional, **named)
    input, target, smoothing = (arguments[name] for name in ("input", "target", "label_smoothing"))
    output = RIGHT["cross_entropy"](**arguments)
    if is_transformed(input):
        return output
    key = ("cross_entropy", input.shape, input.dtype, target.shape, target.dtype, arguments["reduction"])
    built = _programs.setdefault(key, smoothing)
    return output if built == smoothing else RIGHT["cross_entropy"](**arguments | {"label_smoothing": built})
