"""The ways in which torch is asked for derivatives of second order, and of forward mode; see
`torch_loss_parity.expectation.second_order`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.claims.modes.directional import (
    CREATE_GRAPH,
    FORWARD_AD,
    JVP,
    JVP_OF_VJP,
    VJP_TWICE,
    in_direction,
)
from torch_loss_parity.expectation.expectation import upstream_gradient
from torch_loss_parity.expectation.second_order import direction_of
from torch_loss_parity.judging.finding import Finding
from torch_loss_parity.judging.judge_modes import judge_modes
from torch_loss_parity.judging.mode import Mode
from torch_loss_parity.judging.reproduction import Lines, Steps, Wanted, requiring
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.subjects import Subject

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
        Completes the sentence "is right ..."; how torch is asked stands in
        `torch_loss_parity.claims.modes.directional` under it.
    write : callable
        The lines by which a script does the same along the argument.
    """

    name: str
    write: Callable[[str, Wanted], Lines]

    def along(self, argument: str, direction: np.ndarray) -> Mode:
        """The mode in one direction of one argument."""

        def observe(
            subject: Subject, call: Call, device: str, grad_output: np.ndarray
        ) -> dict[str, np.ndarray]:
            return in_direction(
                subject, call, device, grad_output, direction=direction, along=argument, mode=self.name
            )

        return Mode(self.name, observe, along=argument, steps=Steps(partial(self.write, argument)))


SECOND_ORDER = (
    InDirection(CREATE_GRAPH, _create_graph),
    InDirection(VJP_TWICE, _vjp_twice),
    InDirection(JVP, _jvp),
    InDirection(FORWARD_AD, _forward_ad),
    InDirection(JVP_OF_VJP, _jvp_of_vjp),
)


# --- judged -------------------------------------------------------------------------------------------------


def verify_second_order(
    subject: Subject,
    case: Case,
    device: str = "cpu",
    *,
    certify: bool = False,
    modes: Sequence[InDirection] = SECOND_ORDER,
    along: str = "",
) -> Iterator[Finding]:
    """Judge every quantity of every mode along a random direction of one differentiable argument: the one
    given, or another one from case to case.
    """
    call = OPERATORS[case.operator].call(case)
    names = call.differentiable
    along = along or names[int(case.generator("along").integers(len(names)))]
    grad_output, direction = upstream_gradient(call, case), direction_of(call, case, along)
    driven = [mode.along(along, direction) for mode in modes]
    yield from judge_modes(subject, device, case, call, driven, grad_output, direction, certify=certify)
