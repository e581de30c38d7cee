"""The definitions as kernels, for faults: ``--subject torch_loss_parity.faults.right.definition``.

Half precision is computed in float32 and rounded once; the backward is the closed form and can be
differentiated once. Nothing of torch's own operators is in them, so that a fault is judged by what it is, not
by what torch gets wrong too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from torch_loss_parity.operators import OPERATORS, record

Forward = Callable[..., torch.Tensor]
# The derivatives are closed forms, for eager mode and once.
PROMISES = {"double_backward": False, "forward_mode": False, "transforms": False}
HALVES = (torch.float16, torch.bfloat16)


def wide(tensor: torch.Tensor) -> torch.Tensor:
    """Half precision in float32, all else as it is."""
    return tensor.float() if tensor.dtype in HALVES else tensor


def result_dtype(operator: str, arguments: Mapping[str, Any]) -> torch.dtype:
    """The dtype of the result, as torch promotes; the kernel computes in it, or in float32 where it is
    narrower.
    """
    dtype: torch.dtype = arguments.get("dtype") or arguments["input"].dtype
    others = {"cross_entropy": ("target", "weight"), "binary_cross_entropy_with_logits": ("target",)}.get(
        operator, ()
    )
    if operator == "cross_entropy" and not arguments["target"].is_floating_point():
        others = ()
    for name in others:
        if arguments.get(name) is not None:
            dtype = torch.promote_types(dtype, arguments[name].dtype)
    return dtype


def prepared(operator: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as the kernel computes with them; a ``dtype=`` has been followed."""
    arguments_of_kernel = dict(arguments)
    dtype = arguments_of_kernel.pop("dtype", None)
    if dtype is not None:
        arguments_of_kernel["input"] = arguments_of_kernel["input"].to(dtype)
    result = result_dtype(operator, arguments)
    compute = torch.float32 if result in HALVES else result
    for name, value in arguments_of_kernel.items():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            arguments_of_kernel[name] = value.to(torch.promote_types(compute, value.dtype))
    return arguments_of_kernel


def bound(operator: str, *positional: Any, **named: Any) -> dict[str, Any]:
    """All arguments of a call by name, defaults among them."""
    return record.bound(OPERATORS[operator], *positional, **named)


def refuse(operator: str, arguments: Mapping[str, Any], by: Forward | None = None) -> None:
    """Raise what the definition, or another function, raises for malformed arguments."""
    with torch.no_grad():
        (by or OPERATORS[operator].forward)(**arguments)


def kernel(
    operator: str,
    forward: Forward | None = None,
    backward: Callable[..., Any] | None = None,
    refusals: Forward | None = None,
) -> Forward:
    """An implementation with the definition's forward and closed-form backward, or with others in their
    places.

    Parameters
    ----------
    forward : callable, optional
        Takes the operator's arguments, prepared.
    backward : callable, optional
        Takes the upstream gradient first, and returns what the reference's ``..._backward`` returns.
    refusals : callable, optional
        Takes the operator's arguments as they are given, and raises where they are malformed.
    """
    compute: Forward = forward or OPERATORS[operator].forward
    differentiate: Callable[..., Any] = backward or OPERATORS[operator].backward

    class Kernel(torch.autograd.Function):
        @staticmethod
        def forward(
            ctx: Any, names: tuple[str, ...], options: dict[str, Any], *tensors: torch.Tensor
        ) -> torch.Tensor:
            ctx.names, ctx.options = names, options
            ctx.save_for_backward(*tensors)
            arguments = {**options, **dict(zip(names, tensors, strict=True))}
            return compute(**prepared(operator, arguments)).to(result_dtype(operator, arguments))

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[Any, ...]:
            arguments = {**ctx.options, **dict(zip(ctx.names, ctx.saved_tensors, strict=True))}
            result = differentiate(wide(grad_output), **prepared(operator, arguments))
            gradients = {"input": result} if isinstance(result, torch.Tensor) else result._asdict()
            through = arguments.get("dtype")
            gradients_of_tensors = []
            for name, tensor, needed in zip(
                ctx.names, ctx.saved_tensors, ctx.needs_input_grad[2:], strict=True
            ):
                gradient = gradients.get(name) if needed else None
                if gradient is not None and through is not None:
                    gradient = gradient.to(through)
                gradients_of_tensors.append(gradient if gradient is None else gradient.to(tensor.dtype))
            return (None, None, *gradients_of_tensors)

    def function(*positional: Any, **named: Any) -> torch.Tensor:
        arguments = bound(operator, *positional, **named)
        refuse(operator, arguments, refusals)
        tensors = {name: value for name, value in arguments.items() if isinstance(value, torch.Tensor)}
        options = {name: value for name, value in arguments.items() if name not in tensors}
        output: torch.Tensor = Kernel.apply(tuple(tensors), options, *tensors.values())
        return output

    return function


def differentiable(operator: str, forward: Forward) -> Forward:
    """An implementation composed of torch's elementary operations, differentiated by autograd, as often and
    in whatever way.
    """

    def function(*positional: Any, **named: Any) -> torch.Tensor:
        arguments = bound(operator, *positional, **named)
        refuse(operator, arguments)
        return forward(**prepared(operator, arguments)).to(result_dtype(operator, arguments))

    return function


RIGHT: Mapping[str, Forward] = {name: kernel(name) for name in OPERATORS}


def __getattr__(name: str) -> Forward:
    """The kernel of an operator, for whoever takes this module as a subject."""
    if name not in RIGHT:
        raise AttributeError(f"{__name__} has no {name}")
    return RIGHT[name]
