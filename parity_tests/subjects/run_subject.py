"""Run a subject on a call and bring back what it returned, widened exactly to NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from torch_loss_parity.cases.case import Call
from torch_loss_parity.operators.promised import in_result_dtype
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.declined import OutsideThePromise
from torch_loss_parity.subjects.observing.source import observable
from torch_loss_parity.subjects.written_promise import BY_POSITION
from torch_loss_parity.tensors import arrays
from torch_loss_parity.tensors.arrays import TORCH_DTYPES, dtype_in_call, to_tensor, widen


class WrongResult(AssertionError):
    """A subject returned something that cannot be compared: not a tensor, or of the wrong dtype, shape or
    device.
    """


def tensors(call: Call, device: str, *, requires_grad: bool = False) -> dict[str, Any]:
    """The arguments of ``call`` as torch tensors: real arrays in the call's dtype, indices as int64, or as
    ``call.dtypes`` says.
    """
    arguments: dict[str, Any] = {}
    for name, value in call.arguments.items():
        if name == "dtype" and value is not None:
            arguments[name] = getattr(torch, value)
        elif isinstance(value, np.ndarray):
            dtype = call.dtypes.get(name) or dtype_in_call(value, call.dtype)
            tensor = to_tensor(value, dtype, device)
            arguments[name] = tensor.requires_grad_(requires_grad and name in call.differentiable)
        else:
            arguments[name] = value
    return arguments


def by_position_and_name(arguments: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments as people call these functions: input, a layer and target by position, everything else by
    name.
    """
    return (
        [arguments[name] for name in BY_POSITION if name in arguments],
        {name: value for name, value in arguments.items() if name not in BY_POSITION},
    )


@observable
def forward(subject: Subject, call: Call, device: str) -> np.ndarray:
    """What the subject returns for ``call``."""
    return widen(output_of(subject, call, tensors(call, device), device))


@observable
def results(subject: Subject, call: Call, device: str, grad_output: np.ndarray) -> Mapping[str, np.ndarray]:
    """What the subject returns, and the gradient with respect to each differentiable argument,
    from one call.
    """
    arguments = tensors(call, device, requires_grad=True)
    output = output_of(subject, call, arguments, device)
    return {"forward": widen(output), **_gradients(call, arguments, output, grad_output, device)}


@observable
def unrecorded(subject: Subject, call: Call, device: str) -> np.ndarray:
    """What the subject returns where nothing is differentiated, by the arguments and by torch's mode: a
    kernel may take another path there.
    """
    with torch.no_grad():
        output = output_of(subject, call, tensors(call, device), device)
    return widen(output)


@observable
def gradients(subject: Subject, call: Call, device: str, grad_output: np.ndarray) -> Mapping[str, np.ndarray]:
    """The subject's gradient with respect to each differentiable argument, for an upstream gradient."""
    arguments = tensors(call, device, requires_grad=True)
    return _gradients(call, arguments, output_of(subject, call, arguments, device), grad_output, device)


@observable
def separately(
    subject: Subject, call: Call, device: str, grad_output: np.ndarray
) -> Mapping[str, np.ndarray]:
    """As `results`, the gradients from a second call: the first is made as where nobody differentiates."""
    result = {"forward": forward(subject, call, device)}
    return {**result, **gradients(subject, call, device, grad_output)}


def _gradients(
    call: Call, arguments: Mapping[str, Any], output: torch.Tensor, grad_output: np.ndarray, device: str
) -> Mapping[str, np.ndarray]:
    if tuple(output.shape) != grad_output.shape:
        raise WrongResult(f"the result has shape {tuple(output.shape)}, expected {grad_output.shape}")
    upstream = to_tensor(grad_output, output.dtype, device)
    wanted = [arguments[name] for name in call.differentiable]
    gradients_in_order = gradients_of(output, wanted, upstream, allow_unused=True)
    result = {}
    for name, argument, gradient in zip(call.differentiable, wanted, gradients_in_order, strict=True):
        if gradient is None:
            raise WrongResult(f"there is no gradient with respect to {name}")
        _check(f"the gradient with respect to {name}", gradient, argument.dtype, argument.device)
        result[name] = widen(gradient)
    return result


def gradients_of(
    output: torch.Tensor, leaves: Sequence[torch.Tensor], grad_output: torch.Tensor, **options: Any
) -> tuple[torch.Tensor, ...]:
    """As torch.autograd.grad, which wants a leaf: of no leaves, nothing is differentiated."""
    return torch.autograd.grad(output, leaves, grad_output, **options) if leaves else ()


def output_of(subject: Subject, call: Call, arguments: Mapping[str, Any], device: str) -> torch.Tensor:
    """What the subject returns for tensors, if it is a tensor of the right dtype on the right device."""
    if outside := subject.promise.outside_call(call):
        raise OutsideThePromise(outside)
    positional, named = by_position_and_name(arguments)
    output = subject.function(call.operator)(*positional, **named)
    result_dtype = in_result_dtype(call, subject.promise.result_dtype).output_dtype
    _check("the result", output, TORCH_DTYPES[result_dtype], arguments["input"].device)
    return output


def must_be_a_tensor(what: str, value: Any) -> None:
    """A result is a tensor, and of no class that answers for itself what it is compared with.

    Raises
    ------
    WrongResult
        If it is not.
    """
    if not isinstance(value, torch.Tensor):
        raise WrongResult(f"{what} is a {type(value).__name__}, expected a torch.Tensor")
    if type(value) not in arrays.OF_A_BACKEND:
        raise WrongResult(
            f"{what} is a {type(value).__name__}, a class derived from torch.Tensor, expected a torch.Tensor "
            f"itself"
        )


def _check(what: str, tensor: torch.Tensor, dtype: torch.dtype, device: torch.device) -> None:
    must_be_a_tensor(what, tensor)
    if tensor.dtype != dtype:
        raise WrongResult(f"{what} has dtype {tensor.dtype}, expected {dtype}")
    if tensor.device != device:
        raise WrongResult(f"{what} is on {tensor.device}, expected {device}")
