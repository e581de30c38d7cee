"""Right kernels that are differentiated twice, by formulas of their own, from what was stored."""

from __future__ import annotations

from typing import Any

import torch

from torch_loss_parity.faults.right.definition import RIGHT, bound, refuse, wide
from torch_loss_parity.faults.right.record import TEXTBOOK, whole

Tensor = torch.Tensor


class _SoftmaxBackward(torch.autograd.Function):
    """p (g - sum(g p)) of p as it was stored, and its own backward."""

    @staticmethod
    def forward(ctx: Any, p: Tensor, g: Tensor, dim: int) -> Tensor:
        ctx.save_for_backward(p, g)
        ctx.dim = dim
        gradient = wide(p) * (wide(g) - (wide(p) * wide(g)).sum(dim, keepdim=True))
        return gradient.to(p.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, v: Tensor) -> tuple[Any, ...]:
        stored, dim = ctx.saved_tensors[0], ctx.dim
        p, g, v = (wide(tensor) for tensor in (*ctx.saved_tensors, v))
        pv, pg = ((p * tensor).sum(dim, keepdim=True) for tensor in (v, g))
        return (v * g - v * pg - g * pv).to(stored.dtype), (p * (v - pv)).to(stored.dtype), None


class _Softmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, dim: int) -> Tensor:
        x = wide(input)
        e = (x - x.amax(dim, keepdim=True)).exp()
        p: Tensor = (e / e.sum(dim, keepdim=True)).to(input.dtype)
        ctx.save_for_backward(p)
        ctx.dim = dim
        return p

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        return _SoftmaxBackward.apply(*ctx.saved_tensors, g, ctx.dim), None


class _LogSoftmax(torch.autograd.Function):
    """log_softmax, a rule for forward mode and one for vmap; p is the exponential of what was stored."""

    @staticmethod
    def forward(input: Tensor, dim: int) -> Tensor:
        x = wide(input)
        shifted = x - x.amax(dim, keepdim=True)
        return (shifted - shifted.exp().sum(dim, keepdim=True).log()).to(input.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)
        ctx.dim = inputs[1]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        (y,) = ctx.saved_tensors
        g = wide(g)  # once: what comes back to it is added up in float32
        gradient = g - wide(y).exp() * g.sum(ctx.dim, keepdim=True)
        return gradient.to(y.dtype), None

    @staticmethod
    def jvp(ctx: Any, v: Tensor, _: None) -> Tensor:
        (y,) = ctx.saved_tensors
        tangent: Tensor = wide(v) - (wide(y).exp() * wide(v)).sum(ctx.dim, keepdim=True)
        return tangent.to(y.dtype)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int, None], input: Tensor, dim: int) -> tuple[Tensor, int]:
        result: Tensor = _LogSoftmax.apply(input.movedim(in_dims[0], 0), dim)
        return result, 0


def _called(
    operator: str, function: type[torch.autograd.Function], positional: tuple[Any, ...], named: dict[str, Any]
) -> Tensor:
    arguments = bound(operator, *positional, **named)
    refuse(operator, arguments)
    input, dtype = arguments["input"], arguments["dtype"]
    if not input.numel():
        return RIGHT[operator](**arguments)
    x = input if dtype is None else input.to(dtype)
    rows = x if x.ndim else x.reshape(1)
    result: Tensor = function.apply(rows, arguments["dim"] % rows.ndim - rows.ndim)
    return result.reshape(x.shape)


@whole("softmax", ships="well known: a Function whose backward is a Function", grade=TEXTBOOK)
def softmax_is_differentiated_twice_from_what_was_stored(*positional: Any, **named: Any) -> Tensor:
    """The double backward is written by hand, of the probabilities in the dtype of the result."""
    return _called("softmax", _Softmax, positional, named)


@whole("log_softmax", ships="pytorch/pytorch: extending torch.func with autograd.Function", grade=TEXTBOOK)
def log_softmax_has_rules_for_forward_mode_and_vmap(*positional: Any, **named: Any) -> Tensor:
    """The rules of forward mode and vmap, and the backward, are of the result in its dtype."""
    return _called("log_softmax", _LogSoftmax, positional, named)
