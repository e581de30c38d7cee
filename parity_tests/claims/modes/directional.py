"""How torch is asked for derivatives in a direction, mode by mode; see
`torch_loss_parity.claims.modes.second_order`.

Nothing is imported that judges: this runs where a subject is only observed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad

from torch_loss_parity.cases.case import Call
from torch_loss_parity.claims.modes.drives import Bound
from torch_loss_parity.expectation.quantity import Quantity
from torch_loss_parity.expectation.second_order import double_backward
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.observing.source import observable
from torch_loss_parity.subjects.run_subject import WrongResult
from torch_loss_parity.tensors.arrays import to_tensor, widen

Found = Mapping[Quantity, np.ndarray]
CREATE_GRAPH = "through create_graph"
VJP_TWICE = "under torch.func.vjp twice"
JVP = "under torch.func.jvp"
FORWARD_AD = "under forward_ad"
JVP_OF_VJP = "under torch.func.jvp of vjp"


def create_graph(bound: Bound, along: str, direction: torch.Tensor) -> Found:
    """Double backward: the gradient of <v, grad> through ``create_graph=True``.

    By backward() into ``.grad``, which goes through the whole graph: a function that can be differentiated
    once says so there, while torch.autograd.grad finds no way to what it is asked for, and nothing wrong.
    """
    leaves = bound.leaves(*bound.call.differentiable)
    upstream = bound.grad_output.requires_grad_()
    (gradient,) = torch.autograd.grad(bound(**leaves), leaves[along], upstream, create_graph=True)
    torch.autograd.backward(gradient, direction)
    leaf_gradients = {
        by: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        for by, leaf in {**leaves, "grad_output": upstream}.items()
    }
    return {
        double_backward(bound.call.operator, along, by): widen(second)
        for by, second in leaf_gradients.items()
    }


def vjp_of_vjp(bound: Bound, along: str, direction: torch.Tensor) -> Found:
    """Reverse over reverse through torch.func."""
    names = bound.call.differentiable

    def gradient(*values: torch.Tensor) -> torch.Tensor:
        *arguments, upstream = values
        return torch.func.vjp(_of(bound, names), *arguments)[1](upstream)[names.index(along)]

    pull = torch.func.vjp(gradient, *(bound.arguments[name] for name in names), bound.grad_output)[1]
    leaf_gradients = zip((*names, "grad_output"), pull(direction), strict=True)
    return {double_backward(bound.call.operator, along, by): widen(second) for by, second in leaf_gradients}


@cache
def _prepare_forward_mode() -> None:
    """The first use of forward mode makes torch compile its rules with torch.jit.script, which it deprecates
    itself.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.func.jvp(torch.sin, (torch.zeros(()),), (torch.ones(()),))


def functional_jvp(bound: Bound, along: str, direction: torch.Tensor) -> Found:
    """``torch.func.jvp``."""
    _prepare_forward_mode()
    tangent = torch.func.jvp(_of(bound, (along,)), (bound.arguments[along],), (direction,))[1]
    return {Quantity(along): widen(tangent)}


def dual_level(bound: Bound, along: str, direction: torch.Tensor) -> Found:
    """``torch.autograd.forward_ad``."""
    _prepare_forward_mode()
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(bound.arguments[along], direction)
        tangent = forward_ad.unpack_dual(bound(**{along: dual})).tangent
        if tangent is None:
            raise WrongResult(f"the result has no tangent along {along}")
        return {Quantity(along): widen(tangent)}


def jvp_of_vjp(bound: Bound, along: str, direction: torch.Tensor) -> Found:
    """Forward over reverse: a Hessian-vector product."""
    _prepare_forward_mode()
    names = bound.call.differentiable

    def gradients(value: torch.Tensor) -> Any:
        arguments = [value if name == along else bound.arguments[name] for name in names]
        return torch.func.vjp(_of(bound, names), *arguments)[1](bound.grad_output)

    tangents = torch.func.jvp(gradients, (bound.arguments[along],), (direction,))[1]
    return {Quantity(along, name): widen(tangent) for name, tangent in zip(names, tangents, strict=True)}


def _of(bound: Bound, names: tuple[str, ...]) -> Callable[..., torch.Tensor]:
    return lambda *values: bound(**dict(zip(names, values, strict=True)))


DRIVES: Mapping[str, Callable[[Bound, str, torch.Tensor], Found]] = {
    CREATE_GRAPH: create_graph,
    VJP_TWICE: vjp_of_vjp,
    JVP: functional_jvp,
    FORWARD_AD: dual_level,
    JVP_OF_VJP: jvp_of_vjp,
}

# What a subject must promise to be asked in a mode.
NEEDS: Mapping[str, tuple[str, ...]] = {
    CREATE_GRAPH: ("double_backward",),
    VJP_TWICE: ("double_backward", "transforms"),
    JVP: ("forward_mode", "transforms"),
    FORWARD_AD: ("forward_mode",),
    JVP_OF_VJP: ("double_backward", "forward_mode", "transforms"),
}


@observable
def in_direction(
    subject: Subject,
    call: Call,
    device: str,
    grad_output: np.ndarray,
    direction: np.ndarray,
    along: str,
    mode: str,
) -> dict[str, np.ndarray]:
    """What a mode finds in a direction of the argument ``along``, by the names of quantities."""
    subject.promise.must_offer(*NEEDS[mode])
    bound = Bound.of(subject, call, device, grad_output)
    like = bound.arguments[along]
    v = to_tensor(direction, like.dtype, like.device)
    return {str(quantity): derivative for quantity, derivative in DRIVES[mode](bound, along, v).items()}
