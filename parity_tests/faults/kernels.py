"""Kernels with a fault that is planted in a composition of torch's functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from torch_loss_parity.faults.components import WITHOUT_A_FAULT
from torch_loss_parity.faults.right.definition import Forward, kernel
from torch_loss_parity.operators import OPERATORS


def composed(operator: str, faulty: Forward) -> Forward:
    """A kernel that differs from the right one exactly where a faulty composition differs from the same one
    without its fault.

    Autograd's gradient of a composition has rounding errors, and a way with infinities, of its own; they are
    no part of the fault.
    """
    whole = WITHOUT_A_FAULT[operator]

    def forward(**arguments: Any) -> torch.Tensor:
        right: torch.Tensor = OPERATORS[operator].forward(**arguments)
        return _planted(right, faulty(**arguments), whole(**arguments))

    def backward(grad_output: torch.Tensor, **arguments: Any) -> Any:
        result = OPERATORS[operator].backward(grad_output, **arguments)
        right = {"input": result} if isinstance(result, torch.Tensor) else result._asdict()
        names = [name for name, gradient in right.items() if gradient is not None]
        wrong, base = (
            _gradients(composition, names, grad_output, arguments) for composition in (faulty, whole)
        )
        planted = {name: _planted(right[name], wrong[name], base[name]) for name in names}
        return planted["input"] if isinstance(result, torch.Tensor) else result._replace(**planted)

    return kernel(operator, forward, backward)


def _planted(right: torch.Tensor, wrong: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
    """``wrong`` where it differs from ``base``, else ``right``."""
    if wrong.shape != base.shape:
        return wrong
    return torch.where((wrong == base) | (wrong.isnan() & base.isnan()), right, wrong)


def _gradients(
    composition: Forward, names: Sequence[str], grad_output: torch.Tensor, arguments: Mapping[str, Any]
) -> dict[str, torch.Tensor]:
    """Autograd's gradients of a composition."""
    with torch.enable_grad():
        leaves = {name: arguments[name].detach().requires_grad_() for name in names}
        output = composition(**{**arguments, **leaves})
        if output.shape != grad_output.shape:
            grad_output = (
                grad_output.reshape(-1)[:1].expand(output.shape)
                if grad_output.numel()
                else output.detach() * 0
            )
        gradients = torch.autograd.grad(
            output,
            list(leaves.values()),
            grad_output.to(output.dtype),
            allow_unused=True,
            materialize_grads=True,
        )
    return dict(zip(names, gradients, strict=True))
