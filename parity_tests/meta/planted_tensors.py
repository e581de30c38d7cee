"""Calls of every operator with a right result and gradients, and tensors that are planted to be off."""

from __future__ import annotations

from typing import Any

import torch

from torch_loss_parity.faults.right.definition import RIGHT
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.reference.arithmetic.formats import FORMATS
from torch_loss_parity.tensors.arrays import TORCH_DTYPES

X = torch.linspace(-3, 3, 60, dtype=torch.float64).reshape(6, 10).sin() * 3
INDICES = torch.tensor([0, 9, 3, -100, 4, 4])
PROBABILITIES = X.abs().softmax(-1)
CALLS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "softmax": ({"input": X}, {"dim": -1}),
    "log_softmax": ({"input": X}, {"dim": 1}),
    "logsumexp": ({"input": X}, {"dim": 1}),
    "nll_loss": ({"input": X, "target": INDICES, "weight": X[0].abs() + 1}, {"reduction": "sum"}),
    "cross_entropy": ({"input": X, "target": PROBABILITIES}, {"label_smoothing": 0.25}),
    "linear_cross_entropy": (
        {"input": X, "linear_weight": X.flip(0, 1).repeat(2, 1)[:10].cos(), "target": INDICES},
        {"reduction": "none"},
    ),
    "binary_cross_entropy": ({"input": X.sigmoid(), "target": X.sin().abs()}, {}),
    "binary_cross_entropy_with_logits": ({"input": X, "target": X.sin().abs()}, {"reduction": "none"}),
}


def computed(operator: str, dtype: str) -> tuple[dict[str, Any], Any, dict[str, Any], Any]:
    """The arguments in a dtype, and a right result, gradients and the upstream gradient."""
    assert set(CALLS) == set(OPERATORS)
    arrays, options = CALLS[operator]
    real = {k: v.to(TORCH_DTYPES[dtype]) if v.is_floating_point() else v for k, v in arrays.items()}
    factors = ("input", "linear_weight", "target")
    wanted = [name for name in factors if real.get(name, INDICES).is_floating_point()]
    if operator.startswith("nll"):
        wanted = ["input"]
    given = {k: v.clone().requires_grad_(k in wanted) for k, v in real.items()} | options
    output = RIGHT[operator](**given)
    upstream = torch.linspace(0.5, 1.5, output.numel()).reshape(output.shape).to(output.dtype)
    gradients = torch.autograd.grad(output, [given[name] for name in wanted], upstream)
    return given, output, dict(zip(wanted, gradients, strict=True)), upstream


def off(tensor: Any, dtype: str, index: int = 7) -> Any:
    """One element moved by many units of roundoff of the largest one."""
    moved = tensor.detach().clone()
    flat = moved.view(-1)
    at = index % len(flat)
    units = 64 if FORMATS[dtype].precision < 24 else 1024
    flat[at] += units * FORMATS[dtype].unit_roundoff * float(moved.abs().max())
    return moved
