"""The ways in which torch is asked for derivatives of second order, and of forward mode; see
`torch_loss_parity.expectation.second_order`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad

from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.second_order import Claim, Probe, double_backward
from torch_loss_parity.judging.modes import Bound
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.run_subject import WrongResult
from torch_loss_parity.tensors.arrays import to_tensor, widen

Found = Mapping[Claim, np.ndarray]


def create_graph(subject: Subject, call: Call, device: str, along: str, probe: Probe) -> Found:
    """Double backward: the gradient of <v, grad> through ``create_graph=True``.

    By backward() into ``.grad``, which goes through the whole graph: a function that can be differentiated
    once says so there, while torch.autograd.grad finds no way to what it is asked for, and nothing wrong.
    """
    bound = Bound.of(subject, call, device, probe.grad_output)
    leaves = bound.leaves(*call.differentiable)
    upstream = bound.grad_output.requires_grad_()
    (gradient,) = torch.autograd.grad(bound(**leaves), leaves[along], upstream, create_graph=True)
    torch.autograd.backward(gradient, _direction(bound, along, probe))
    found = {
        by: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        for by, leaf in {**leaves, "grad_output": upstream}.items()
    }
    return {double_backward(call, along, by): widen(second) for by, second in found.items()}


def vjp_of_vjp(subject: Subject, call: Call, device: str, along: str, probe: Probe) -> Found:
    """Reverse over reverse through torch.func."""
    bound = Bound.of(subject, call, device, probe.grad_output)
    names = call.differentiable

    def gradient(*values: torch.Tensor) -> torch.Tensor:
        *arguments, upstream = values
        return torch.func.vjp(_of(bound, names), *arguments)[1](upstream)[names.index(along)]

    pull = torch.func.vjp(gradient, *(bound.made[name] for name in names), bound.grad_output)[1]
    second = pull(_direction(bound, along, probe))
    return {
        double_backward(call, along, by): widen(s)
        for by, s in zip((*names, "grad_output"), second, strict=True)
    }


@cache
def _prepare_forward_mode() -> None:
    """The first use of forward mode makes torch compile its rules with torch.jit.script, which it deprecates
    itself.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.func.jvp(torch.sin, (torch.zeros(()),), (torch.ones(()),))


def functional_jvp(subject: Subject, call: Call, device: str, along: str, probe: Probe) -> Found:
    """``torch.func.jvp``."""
    _prepare_forward_mode()
    bound = Bound.of(subject, call, device, probe.grad_output)
    tangent = torch.func.jvp(_of(bound, (along,)), (bound.made[along],), (_direction(bound, along, probe),))[
        1
    ]
    return {Claim(along): widen(tangent)}


def dual_level(subject: Subject, call: Call, device: str, along: str, probe: Probe) -> Found:
    """``torch.autograd.forward_ad``."""
    _prepare_forward_mode()
    bound = Bound.of(subject, call, device, probe.grad_output)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(bound.made[along], _direction(bound, along, probe))
        tangent = forward_ad.unpack_dual(bound(**{along: dual})).tangent
        if tangent is None:
            raise WrongResult(f"the result has no tangent along {along}")
        return {Claim(along): widen(tangent)}


def jvp_of_vjp(subject: Subject, call: Call, device: str, along: str, probe: Probe) -> Found:
    """Forward over reverse: a Hessian-vector product."""
    _prepare_forward_mode()
    bound = Bound.of(subject, call, device, probe.grad_output)
    names = call.differentiable

    def gradients(value: torch.Tensor) -> Any:
        arguments = [value if name == along else bound.made[name] for name in names]
        return torch.func.vjp(_of(bound, names), *arguments)[1](bound.grad_output)

    tangents = torch.func.jvp(gradients, (bound.made[along],), (_direction(bound, along, probe),))[1]
    return {Claim(along, name): widen(tangent) for name, tangent in zip(names, tangents, strict=True)}


def _direction(bound: Bound, along: str, probe: Probe) -> torch.Tensor:
    like = bound.made[along]
    return to_tensor(probe.direction, like.dtype, like.device)


@dataclass(frozen=True)
class SecondOrder:
    """A mode of second order: how torch is driven. ``name`` completes the sentence "is right ..."."""

    name: str
    observe: Callable[[Subject, Call, str, str, Probe], Found]


SECOND_ORDER = (
    SecondOrder("through create_graph", create_graph),
    SecondOrder("under torch.func.vjp twice", vjp_of_vjp),
    SecondOrder("under torch.func.jvp", functional_jvp),
    SecondOrder("under forward_ad", dual_level),
    SecondOrder("under torch.func.jvp of vjp", jvp_of_vjp),
)


def _of(bound: Bound, names: tuple[str, ...]) -> Callable[..., torch.Tensor]:
    return lambda *values: bound(**dict(zip(names, values, strict=True)))
