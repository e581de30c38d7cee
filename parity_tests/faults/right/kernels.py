"""What turns the two passes of a kernel into a function that is called as torch's is.

A kernel is written for one shape, as people write them: rows of numbers, a batch of rows with a class each,
or elements. Here is what its users write around it: malformed arguments are refused, dimensions are moved to
where the kernel wants them, half precision is widened, results and gradients are rounded once to the dtype
that they have in torch. What a kernel's authors left out, class probabilities and empty inputs, is computed
as the definition says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch

from torch_loss_parity.faults.right.batch import Batch
from torch_loss_parity.faults.right.definition import RIGHT, bound, kernel, refuse, wide
from torch_loss_parity.faults.right.elements import reduced
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.reference.arguments import class_dim, normalized_dims

Tensor = torch.Tensor
Function = Callable[..., Tensor]


@dataclass(frozen=True)
class Passes:
    """The two passes of a kernel.

    Attributes
    ----------
    forward : callable
        Returns the result, and after it the tensors that the backward takes.
    backward : callable
        Takes the upstream gradient and those tensors, and returns the gradient of the input.
    """

    forward: Callable[..., tuple[Tensor, ...]]
    backward: Callable[..., Tensor]


class _Rows(torch.autograd.Function):
    """The passes of a kernel of rows."""

    @staticmethod
    def forward(ctx: Any, passes: Passes, input: Tensor) -> Tensor:
        result, *saved = passes.forward(input)
        ctx.backward_pass, ctx.dtype = passes.backward, input.dtype
        result = result.to(input.dtype)
        ctx.save_for_backward(*saved)
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Any, ...]:
        gradient = ctx.backward_pass(wide(grad_output), *ctx.saved_tensors)
        return None, gradient.to(ctx.dtype)


def of_rows(operator: str, forward: Callable[..., Any], backward: Callable[..., Tensor]) -> Function:
    """A kernel of softmax, log_softmax or logsumexp, from its passes over rows.

    Parameters
    ----------
    forward : callable
        Takes rows, shape (N, C), in the caller's dtype.
    backward : callable
        Takes the upstream gradient, of the shape (N, C), or (N, 1) for logsumexp.
    """
    passes = Passes(forward, backward)

    def function(*positional: Any, **named: Any) -> Tensor:
        arguments = bound(operator, *positional, **named)
        refuse(operator, arguments)
        if not arguments["input"].numel():
            return RIGHT[operator](**arguments)
        dtype = arguments.get("dtype")
        input = arguments["input"] if dtype is None else arguments["input"].to(dtype)
        dims = normalized_dims(arguments["dim"], input.ndim)
        moved = input.reshape(1) if input.ndim == 0 else input.movedim(dims, [*range(-len(dims), 0)])
        kept = moved.shape[: moved.ndim - len(dims)]
        result = _Rows.apply(passes, moved.reshape(prod(kept), -1))
        if operator != "logsumexp":
            back = result.reshape(moved.shape)
            return back.reshape(()) if input.ndim == 0 else back.movedim([*range(-len(dims), 0)], dims)
        if not arguments["keepdim"] or input.ndim == 0:
            return result.reshape(kept)
        return result.reshape([1 if axis in dims else size for axis, size in enumerate(input.shape)])

    return function


class _Classes(torch.autograd.Function):
    """The passes of a kernel of rows that have a class each."""

    @staticmethod
    def forward(
        ctx: Any,
        passes: Passes,
        options: Mapping[str, Any],
        input: Tensor,
        target: Tensor,
        weight: Tensor | None,
    ) -> Tensor:
        result, *saved = passes.forward(Batch(input, target, weight, **options))
        ctx.backward_pass, ctx.options = passes.backward, options
        result = result.to(input.dtype)
        ctx.save_for_backward(input, target, weight, *saved)
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Any, ...]:
        input, target, weight, *saved = ctx.saved_tensors
        batch = Batch(input, target, weight, **ctx.options)
        gradient = ctx.backward_pass(wide(grad_output), batch, *saved)
        return None, None, gradient.to(input.dtype), None, None


def of_classes(operator: str, forward: Callable[..., Any], backward: Callable[..., Tensor]) -> Function:
    """A kernel of nll_loss or cross_entropy with class indices, from its passes over a `Batch`."""
    passes = Passes(forward, backward)

    def function(*positional: Any, **named: Any) -> Tensor:
        arguments = bound(operator, *positional, **named)
        refuse(operator, arguments)
        input, target, weight = (arguments.pop(name) for name in ("input", "target", "weight"))
        if not input.numel() or target.is_floating_point():
            return RIGHT[operator](input, target, weight, **arguments)
        rows = input.reshape(1, -1) if input.ndim == 1 else input.movedim(1, -1).reshape(-1, input.shape[1])
        result = _Classes.apply(passes, arguments, rows, target.reshape(-1).long(), weight)
        shape = input.shape[:0] if input.ndim == 1 else (len(input), *input.shape[2:])
        return result.reshape(shape) if arguments["reduction"] == "none" else result

    return function


def of_probabilities(losses: Callable[..., Tensor], backward: Callable[..., Tensor]) -> Function:
    """A kernel of cross_entropy with class probabilities, from its passes over rows.

    Parameters
    ----------
    losses : callable
        Takes logits and targets, smoothed and weighted, both of shape (..., C); returns the loss of each row.
    backward : callable
        Takes the upstream gradient of each row, shape (..., 1), or of all, and the same; returns the gradient
        of the logits. Those of the targets and of the weights are the definition's.
    """
    known = OPERATORS["cross_entropy"]

    def rows(input: Tensor, target: Tensor, weight: Tensor | None, smoothing: float) -> tuple[Tensor, Tensor]:
        """The logits and the targets, with the classes last."""
        x, q = (array.movedim(class_dim(input), -1) for array in (input, target))
        smoothed = q * (1 - smoothing) + smoothing / x.shape[-1] if smoothing else q
        return x, smoothed if weight is None else smoothed * weight

    def forward(input: Tensor, target: Tensor, weight: Tensor | None, **options: Any) -> Tensor:
        if not input.numel() or not target.is_floating_point():
            return known.forward(input, target, weight, **options)
        per_row = losses(*rows(input, target, weight, options["label_smoothing"]))
        return reduced(per_row, options["reduction"])

    def differentiate(
        grad_output: Tensor, input: Tensor, target: Tensor, weight: Tensor | None, **options: Any
    ) -> Any:
        gradients = known.backward(grad_output, input, target, weight, **options)
        if not input.numel() or not target.is_floating_point():
            return gradients
        reduction, dim = options["reduction"], class_dim(input)
        count = input.numel() // input.shape[dim]
        g = grad_output.unsqueeze(-1) if reduction == "none" else grad_output
        x, q = rows(input, target, weight, options["label_smoothing"])
        gradient = backward(g / count if reduction == "mean" else g, x, q)
        return gradients._replace(input=gradient.movedim(-1, dim))

    return kernel("cross_entropy", forward, differentiate)


def of_elements(operator: str, forward: Callable[..., Any], backward: Callable[..., Any]) -> Function:
    """A kernel of binary_cross_entropy or of binary_cross_entropy_with_logits, from its passes over elements.

    Both take the caller's arguments by name, widened, the backward after the upstream gradient; that returns
    the gradients of ``input`` and of ``target``.
    """
    gradients = ("input", "target")

    def differentiate(grad_output: Tensor, **arguments: Any) -> Any:
        return _Gradients(dict(zip(gradients, backward(grad_output, **arguments), strict=True)))

    right = kernel(operator, forward, differentiate)

    def function(*positional: Any, **named: Any) -> Tensor:
        arguments = bound(operator, *positional, **named)
        input = arguments["input"]
        empty = isinstance(input, Tensor) and not input.numel()
        return RIGHT[operator](**arguments) if empty else right(**arguments)

    return function


class _Gradients(dict):
    """Gradients by name, as the closed forms of the reference return them."""

    def _asdict(self) -> dict[str, Any]:
        return self
