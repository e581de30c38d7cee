"""The ways in which torch is asked for derivatives of second order, and of forward mode; see
`torch_loss_parity.expectation.second_order`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad

from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.claims.modes.first_order import Bound
from torch_loss_parity.expectation.expectation import (
    expected,
    upstream_gradient,
)
from torch_loss_parity.expectation.quantity import Quantity
from torch_loss_parity.expectation.second_order import direction_of, double_backward
from torch_loss_parity.judging import report
from torch_loss_parity.judging.finding import Finding
from torch_loss_parity.judging.judge_modes import judge_modes
from torch_loss_parity.judging.mode import Mode
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.reference.arithmetic.profiles import DEFAULT
from torch_loss_parity.subjects import Subject
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


@dataclass(frozen=True)
class InDirection:
    """A mode that takes derivatives in the direction of an argument, for any direction.

    Attributes
    ----------
    name : str
        Completes the sentence "is right ...".
    drive : callable
        Takes a call with its tensors, the argument and its direction, and returns what torch finds.
    """

    name: str
    drive: Callable[[Bound, str, torch.Tensor], Found]

    def along(self, argument: str, direction: np.ndarray) -> Mode:
        """The mode in one direction of one argument."""

        def observe(
            subject: Subject, call: Call, device: str, grad_output: np.ndarray
        ) -> dict[str, np.ndarray]:
            bound = Bound.of(subject, call, device, grad_output)
            like = bound.arguments[argument]
            v = to_tensor(direction, like.dtype, like.device)
            return {str(quantity): found for quantity, found in self.drive(bound, argument, v).items()}

        return Mode(self.name, observe, along=argument)


SECOND_ORDER = (
    InDirection(CREATE_GRAPH, create_graph),
    InDirection(VJP_TWICE, vjp_of_vjp),
    InDirection(JVP, functional_jvp),
    InDirection(FORWARD_AD, dual_level),
    InDirection(JVP_OF_VJP, jvp_of_vjp),
)


# --- judged -------------------------------------------------------------------------------------------------


def verify_second_order(
    subject: Subject,
    case: Case,
    device: str = "cpu",
    *,
    certify: bool = False,
    modes: Sequence[InDirection] = SECOND_ORDER,
) -> Iterator[Finding]:
    """Judge every quantity of every mode along a random direction of one differentiable argument, another one
    from case to case.
    """
    call = OPERATORS[case.operator].call(case)
    along = call.differentiable[int(case.generator("along").integers(len(call.differentiable)))]
    grad_output, direction = _probe(call, case, along)
    driven = [mode.along(along, direction) for mode in modes]
    yield from judge_modes(subject, device, case, call, driven, grad_output, direction, certify=certify)


def _probe(call: Call, case: Case, along: str) -> tuple[np.ndarray, np.ndarray]:
    """Where derivatives of a case are taken: a random upstream gradient, and a random direction."""
    grad_output = upstream_gradient(call, case)
    return grad_output, direction_of(call, case, along)


def explain(finding: Finding, subject: Subject, device: str) -> str:
    """Why a finding fails, and a script that shows it."""
    return report.explain(finding, subject, device, _script)


def _script(finding: Finding, subject: Subject, device: str) -> str:
    profile = "" if subject.profile == DEFAULT else f", {subject.profile.choice!r}"
    return "\n".join(
        [
            "from torch_loss_parity.cases.case import Case",
            "from torch_loss_parity.claims.modes.second_order import reproduce",
            "from torch_loss_parity.subjects import load",
            f"reproduce(load({subject.name!r}, (){profile}), {finding.case!r}, {device!r}, {finding.mode!r}, "
            f"{finding.quantity!r})",
        ]
    )


def reproduce(subject: Subject, case: Case, device: str, mode: str, quantity: str) -> None:
    """Print what one mode finds for one quantity of a case, what is expected and what is allowed."""
    call = OPERATORS[case.operator].call(case)
    driven = next(each for each in SECOND_ORDER if each.name == mode)
    # What a double backward finds may be a derivative along another argument than it took.
    for along in call.differentiable:
        grad_output, direction = _probe(call, case, along)
        results = driven.along(along, direction).observe(subject, call, device, grad_output)
        if quantity in results:
            bounds = expected(call, (quantity,), grad_output, direction, profile=subject.profile)
            bound = bounds[quantity]
            print(
                f"{mode}, {quantity}:\n{results[quantity]}\nexpected\n{bound.value}\nallowed "
                f"error\n{bound.total_error()}"
            )
