"""Run a subject on a call and bring back what it returned, widened exactly to NumPy.

The only file of the harness that handles torch tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from torch_loss_parity.cases.case import Call
from torch_loss_parity.subjects import Subject

TORCH_DTYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}


class WrongResult(AssertionError):
    """A subject returned something that cannot be compared: not a tensor, or of the wrong dtype, shape or
    device.
    """


def tensors(call: Call, device: str, *, requires_grad: bool = False) -> dict[str, Any]:
    """The arguments of ``call`` as torch tensors: real arrays in the call's dtype, indices as int64, or as
    ``call.dtypes`` says.
    """
    made: dict[str, Any] = {}
    for name, value in call.arguments.items():
        if name == "dtype" and value is not None:
            made[name] = TORCH_DTYPES[value]
        elif isinstance(value, np.ndarray):
            name_of_dtype = call.dtypes.get(name, call.dtype if value.dtype.kind == "f" else str(value.dtype))
            tensor = torch.from_numpy(np.array(value)).to(device=device, dtype=getattr(torch, name_of_dtype))
            made[name] = tensor.requires_grad_(requires_grad and name in call.differentiable)
        else:
            made[name] = value
    return made


def forward(subject: Subject, call: Call, device: str) -> np.ndarray:
    """What the subject returns for ``call``."""
    return widen(_output(subject, call, tensors(call, device), device))


def results(subject: Subject, call: Call, device: str, grad_output: np.ndarray) -> Mapping[str, np.ndarray]:
    """What the subject returns, and the gradient with respect to each differentiable argument,
    from one call.
    """
    made = tensors(call, device, requires_grad=True)
    output = _output(subject, call, made, device)
    return {"forward": widen(output), **_gradients(call, made, output, grad_output, device)}


def gradients(subject: Subject, call: Call, device: str, grad_output: np.ndarray) -> Mapping[str, np.ndarray]:
    """The subject's gradient with respect to each differentiable argument, for an upstream gradient."""
    made = tensors(call, device, requires_grad=True)
    return _gradients(call, made, _output(subject, call, made, device), grad_output, device)


def _gradients(
    call: Call, made: Mapping[str, Any], output: torch.Tensor, grad_output: np.ndarray, device: str
) -> Mapping[str, np.ndarray]:
    if tuple(output.shape) != grad_output.shape:
        raise WrongResult(f"the result has shape {tuple(output.shape)}, expected {grad_output.shape}")
    upstream = torch.from_numpy(np.array(grad_output)).to(device=device, dtype=output.dtype)
    wanted = [made[name] for name in call.differentiable]
    found = torch.autograd.grad(output, wanted, upstream, allow_unused=True)
    result = {}
    for name, argument, gradient in zip(call.differentiable, wanted, found, strict=True):
        if gradient is None:
            raise WrongResult(f"there is no gradient with respect to {name}")
        _check(f"the gradient with respect to {name}", gradient, argument.dtype, argument.device)
        result[name] = widen(gradient)
    return result


def widen(tensor: torch.Tensor) -> np.ndarray:
    """The tensor's numbers in float64, each exactly."""
    return tensor.detach().to(device="cpu", dtype=torch.float64).numpy()


def _output(subject: Subject, call: Call, made: Mapping[str, Any], device: str) -> torch.Tensor:
    named = {name: value for name, value in made.items() if name not in ("input", "target")}
    positional = [made[name] for name in ("input", "target") if name in made]
    output = subject.function(call.operator)(*positional, **named)
    if not isinstance(output, torch.Tensor):
        raise WrongResult(f"the result is a {type(output).__name__}, expected a torch.Tensor")
    _check("the result", output, TORCH_DTYPES[call.output_dtype], made["input"].device)
    return output


def _check(what: str, tensor: torch.Tensor, dtype: torch.dtype, device: torch.device) -> None:
    if tensor.dtype != dtype:
        raise WrongResult(f"{what} has dtype {tensor.dtype}, expected {dtype}")
    if tensor.device != device:
        raise WrongResult(f"{what} is on {tensor.device}, expected {device}")
