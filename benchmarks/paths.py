"""What is timed against each other: one record a path. Adding one is an entry in `PATHS`.

A path turns a work and its buffers into a `Step`: what is prepared for a call and not timed, the call that
is, and what it returned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch

from torch_loss_parity.benchmarks.buffers import Buffers
from torch_loss_parity.benchmarks.promised import dtypes_inside
from torch_loss_parity.benchmarks.workload import BACKWARD, FORWARD, TRAINING, Work
from torch_loss_parity.claims.transforms.compilers import INDUCTOR, UNDER_COMPILE
from torch_loss_parity.expectation import quantity
from torch_loss_parity.expectation.second_order import gradient_of
from torch_loss_parity.operators import DTYPES, Gap
from torch_loss_parity.reference.arithmetic.profiles import DEFAULT, Profile
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.run_subject import by_position_and_name

SINGLE_AND_DOUBLE = ("float32", "float64")
RESULT = quantity.FORWARD
BASELINE, SUBJECT = "torch", "subject"


@dataclass(frozen=True)
class Step:
    """One call of a path in one mode.

    Attributes
    ----------
    prepare : callable
        Takes the number of a buffer and returns what ``call`` takes; not timed.
    call : callable
        What is timed.
    read : callable
        What ``call`` returned, by quantity: RESULT, and the arguments whose gradients they are.
    """

    prepare: Callable[[int], Any]
    call: Callable[[Any], Any]
    read: Callable[[Any], Mapping[str, Any]]


Maker = Callable[[Work, str, Buffers], Step]


@dataclass(frozen=True)
class Path:
    """A way of computing a work.

    Attributes
    ----------
    name, what : str
        As it is shown, and described.
    step : callable
        Makes the `Step` of a work in a mode on buffers.
    dtypes : tuple of str
        Those that it has.
    judged_as, judged_under : str
        The subject and the mode whose entries in the ledger explain what it does; none unless given.
    profile : Profile
        What the arithmetic that it runs on may do.
    compiles : bool
        Whether the first call makes what the others run.
    cpu_only : bool
    lacks : callable
        Why it does not offer a work in a mode; empty where it does.
    """

    name: str
    what: str
    step: Maker
    dtypes: tuple[str, ...] = DTYPES
    judged_as: str = ""
    judged_under: str = ""
    profile: Profile = DEFAULT
    compiles: bool = False
    cpu_only: bool = False
    lacks: Callable[[Work, str], str] = lambda work, mode: ""

    def why_not(self, work: Work, mode: str, dtype: str, device: str) -> str:
        """Why this path does not compute a work; empty where it does."""
        if dtype not in self.dtypes:
            return f"{self.name} has no {dtype}"
        if self.cpu_only and device != "cpu":
            return f"{self.name} runs on the CPU only"
        return self.lacks(work, mode)


def differentiated(function_of: Callable[[Work], Callable[..., Any]]) -> Maker:
    """The steps of a function on torch tensors that autograd differentiates.

    A graph is built for each backward, as in training.
    """

    def step(work: Work, mode: str, buffers: Buffers) -> Step:
        function = function_of(work)
        operands = [buffers.operands(number) for number in range(len(buffers.arguments))]
        buffers.require_grad(mode != FORWARD)
        calls = [by_position_and_name(arguments) for arguments in buffers.arguments]
        positional, named = zip(*calls, strict=True)
        upstream = buffers.grad_outputs

        def forward(i: int) -> Any:
            return function(*positional[i], **named[i])

        def training(i: int) -> tuple[Any, ...]:
            output = function(*positional[i], **named[i])
            return (output, *torch.autograd.grad(output, operands[i], upstream[i]))

        def backward(prepared: tuple[Any, Any, Any]) -> tuple[Any, ...]:
            return torch.autograd.grad(*prepared)

        return {
            FORWARD: Step(lambda i: i, forward, lambda output: {RESULT: output}),
            BACKWARD: Step(
                lambda i: (forward(i), operands[i], upstream[i]), backward, _named(work.gradients)
            ),
            TRAINING: Step(lambda i: i, training, _named((RESULT, *work.gradients))),
        }[mode]

    return step


def _named(quantities: Sequence[str]) -> Callable[[Sequence[Any]], Mapping[str, Any]]:
    """Gives each of several results its name."""
    return lambda results: dict(zip(quantities, results, strict=True))


def of_torch(work: Work) -> Callable[..., Any]:
    """The function of torch, where the record of the operator has it."""
    module, _, name = work.record.function.rpartition(".")
    function: Callable[..., Any] = getattr(import_module(module), name)
    return function


def written_out(seen_as: Callable[[Any], Any]) -> Maker:
    """The steps of the reference: the definition, and the derivative beside it, which begins from the inputs.

    ``seen_as`` turns a tensor of the buffers into the array on the same memory that they are evaluated on.
    """

    def step(work: Work, mode: str, buffers: Buffers) -> Step:
        forward, derivative = work.record.forward, work.record.backward
        arguments = [
            {
                name: seen_as(value) if isinstance(value, torch.Tensor) else value
                for name, value in each.items()
                if name != "dtype"
            }
            for each in buffers.arguments
        ]
        upstream = [seen_as(each) for each in buffers.grad_outputs]

        def backward(i: int) -> tuple[Any, ...]:
            gradients = derivative(upstream[i], **arguments[i])
            return tuple(gradient_of(gradients, name) for name in work.gradients)

        return {
            FORWARD: Step(lambda i: i, lambda i: forward(**arguments[i]), lambda output: {RESULT: output}),
            BACKWARD: Step(lambda i: i, backward, _named(work.gradients)),
            TRAINING: Step(
                lambda i: i,
                lambda i: (forward(**arguments[i]), *backward(i)),
                _named((RESULT, *work.gradients)),
            ),
        }[mode]

    return step


def _numpy(tensor: torch.Tensor) -> Any:
    return tensor.detach().numpy()


def on_scipy(work: Work, mode: str, buffers: Buffers) -> Step:
    import scipy.special

    name = work.facet.scipy
    assert not isinstance(name, Gap), name.why
    function = getattr(scipy.special, name)
    inputs = [(_numpy(each["input"]), each["dim"]) for each in buffers.arguments]
    return Step(
        lambda i: i, lambda i: function(inputs[i][0], axis=inputs[i][1]), lambda output: {RESULT: output}
    )


def _scipy_lacks(work: Work, mode: str) -> str:
    if isinstance(work.facet.scipy, Gap):
        return work.facet.scipy.why
    return "" if mode == FORWARD else "scipy.special has no gradients"


def of_subject(subject: Subject) -> Path:
    """What ``--subject`` names, as a path."""

    def lacks(work: Work, mode: str) -> str:
        if not subject.offers(work.operator):
            return f"{subject.name} has no {work.operator}"
        promised = subject.promise.differentiated(work.operator, work.gradients)
        if mode != FORWARD and (lacking := [name for name in work.gradients if name not in promised]):
            return f"{subject.name} does not promise the gradient of {' and '.join(lacking)}"
        return f"{subject.name} does not promise {work.name}: {work.outside}" if work.outside else ""

    step = differentiated(lambda work: subject.function(work.operator))
    under = "" if subject.profile == DEFAULT else f", judged under profile {subject.profile.name}"
    what = f"--subject {subject.name}{under}"
    return Path(
        SUBJECT,
        what,
        step,
        dtypes_inside(subject.promise),
        judged_as=subject.name,
        profile=subject.profile,
        lacks=lacks,
    )


PATHS: Mapping[str, Path] = {
    path.name: path
    for path in (
        Path(
            BASELINE,
            "torch.nn.functional, eager: one fused kernel, or a few",
            differentiated(of_torch),
            judged_as="torch",
        ),
        Path(
            "compile",
            "torch.nn.functional under torch.compile with inductor, for the shape at hand",
            differentiated(lambda work: torch.compile(of_torch(work), dynamic=False)),
            judged_as="torch",
            judged_under=f"{UNDER_COMPILE} with {INDUCTOR}",
            compiles=True,
        ),
        Path(
            "composed",
            "the reference on torch tensors: its formulas, composed of primitives. Each primitive stores "
            "what "
            "it returns, so none in half "
            "precision keeps within what rounding allows",
            written_out(torch.Tensor.detach),
            SINGLE_AND_DOUBLE,
        ),
        Path("numpy", "the reference on NumPy arrays", written_out(_numpy), SINGLE_AND_DOUBLE, cpu_only=True),
        Path("scipy", "scipy.special", on_scipy, SINGLE_AND_DOUBLE, cpu_only=True, lacks=_scipy_lacks),
    )
}
