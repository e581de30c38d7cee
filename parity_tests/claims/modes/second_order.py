"""The ways in which torch is asked for derivatives of second order, and of forward mode; see
`torch_loss_parity.expectation.second_order`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad

from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.claims.modes.first_order import Bound
from torch_loss_parity.expectation.expectation import upstream_gradient
from torch_loss_parity.expectation.quantity import Quantity
from torch_loss_parity.expectation.second_order import direction_of, double_backward
from torch_loss_parity.judging.finding import Finding
from torch_loss_parity.judging.judge_modes import judge_modes
from torch_loss_parity.judging.mode import Mode
from torch_loss_parity.judging.reproduction import Lines, Steps, Wanted, requiring
from torch_loss_parity.operators import OPERATORS
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


# --- the same in a script -----------------------------------------------------------------------------------
#
# Of a failure that leaves nothing to compare, what the mode finds first.


def _first_and_second(along: str, wanted: Wanted) -> tuple[str, str]:
    """The argument whose gradient double backward takes, and what it differentiates by, see
    `double_backward`.
    """
    quantity = wanted.quantity
    if not quantity.of:
        return quantity.along or along, "grad_output"
    pair = quantity.along, quantity.of
    return pair[::-1] if OPERATORS[wanted.operator].acts_on_elements else pair


def _create_graph(along: str, wanted: Wanted) -> Lines:
    first, by = _first_and_second(along, wanted)
    yield from requiring(dict.fromkeys((first, *wanted.differentiable, "grad_output")))
    yield f"gradient, = torch.autograd.grad({wanted.call}, {first}, grad_output, create_graph=True)"
    yield "torch.autograd.backward(gradient, v)"
    yield f"result = torch.zeros_like({by}) if {by}.grad is None else {by}.grad"


def _vjp_twice(along: str, wanted: Wanted) -> Lines:
    first, by = _first_and_second(along, wanted)
    call = wanted.call
    yield f"gradient = lambda {by}: torch.func.vjp(lambda {first}: {call}, {first})[1](grad_output)[0]"
    yield f"result = torch.func.vjp(gradient, {by})[1](v)[0]"


def _jvp(along: str, wanted: Wanted) -> Lines:
    along = wanted.quantity.along or along
    yield f"result = torch.func.jvp(lambda {along}: {wanted.call}, ({along},), (v,))[1]"


def _forward_ad(along: str, wanted: Wanted) -> Lines:
    along = wanted.quantity.along or along
    yield "with torch.autograd.forward_ad.dual_level():"
    yield f"    {along} = torch.autograd.forward_ad.make_dual({along}, v)"
    yield f"    result = torch.autograd.forward_ad.unpack_dual({wanted.call}).tangent"


def _jvp_of_vjp(along: str, wanted: Wanted) -> Lines:
    along, of = wanted.quantity.along or along, wanted.quantity.of or wanted.differentiable[0]
    pulled = f"torch.func.vjp(lambda {of}: {wanted.call}, {of})[1](grad_output)[0]"
    yield f"gradient = lambda {along}: {pulled}"
    yield f"result = torch.func.jvp(gradient, ({along},), (v,))[1]"


@dataclass(frozen=True)
class InDirection:
    """A mode that takes derivatives in the direction of an argument, for any direction.

    Attributes
    ----------
    name : str
        Completes the sentence "is right ...".
    drive : callable
        Takes a call with its tensors, the argument and its direction, and returns what torch finds.
    write : callable
        The lines by which a script does the same along the argument.
    """

    name: str
    drive: Callable[[Bound, str, torch.Tensor], Found]
    write: Callable[[str, Wanted], Lines]

    def along(self, argument: str, direction: np.ndarray) -> Mode:
        """The mode in one direction of one argument."""

        def observe(
            subject: Subject, call: Call, device: str, grad_output: np.ndarray
        ) -> dict[str, np.ndarray]:
            bound = Bound.of(subject, call, device, grad_output)
            like = bound.arguments[argument]
            v = to_tensor(direction, like.dtype, like.device)
            return {
                str(quantity): derivative for quantity, derivative in self.drive(bound, argument, v).items()
            }

        return Mode(self.name, observe, along=argument, steps=Steps(partial(self.write, argument)))


SECOND_ORDER = (
    InDirection(CREATE_GRAPH, create_graph, _create_graph),
    InDirection(VJP_TWICE, vjp_of_vjp, _vjp_twice),
    InDirection(JVP, functional_jvp, _jvp),
    InDirection(FORWARD_AD, dual_level, _forward_ad),
    InDirection(JVP_OF_VJP, jvp_of_vjp, _jvp_of_vjp),
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
    grad_output, direction = upstream_gradient(call, case), direction_of(call, case, along)
    driven = [mode.along(along, direction) for mode in modes]
    yield from judge_modes(subject, device, case, call, driven, grad_output, direction, certify=certify)
