"""A check that a call is right of whatever kind of tensor it is given.

Tensors of the same numbers come in kinds that code which looks at memory or at types tells apart: a view
that is negated when it is read, a parameter, a tensor that was made in inference mode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from torch_loss_parity.claims.hygiene.conduct import Probe, probes
from torch_loss_parity.claims.layouts.layouts import called
from torch_loss_parity.expectation.expectation import FORWARD
from torch_loss_parity.judging.judge import of_the_subject
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import Operator
from torch_loss_parity.subjects.run_subject import WrongResult, gradients_of, must_be_a_tensor
from torch_loss_parity.subjects.settings import Settings
from torch_loss_parity.tensors.torch_private import negated_view


@dataclass(frozen=True)
class Kind:
    """A kind of tensor.

    Attributes
    ----------
    make : callable
        A tensor of this kind, with the values of one that requires no gradient.
    lines : tuple of str
        The same in a script, as a function ``make``.
    differentiable : bool
        Whether autograd differentiates what is computed of it.
    refusable : bool
        Whether an exception is right, too: code that looks at memory cannot read it, and few ever meet one.
    refused_with : str
        What an exception that is right says; "" where every one is. torch.utils.checkpoint saves what it is
        given even where nothing requires a gradient, and torch refuses that of an inference tensor.
    """

    make: Callable[[torch.Tensor], torch.Tensor]
    lines: tuple[str, ...]
    differentiable: bool = True
    refusable: bool = False
    refused_with: str = ""

    def refuses(self, error: BaseException | None) -> bool:
        """Whether an exception that a subject raised is right."""
        return self.refusable and error is not None and self.refused_with in str(error)


def _negated(tensor: torch.Tensor) -> torch.Tensor:
    return negated_view(-tensor) if tensor.is_floating_point() else tensor


def _made_in_inference_mode(tensor: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return tensor.clone()


KINDS: Mapping[str, Kind] = {
    "of lazily negated views (as x.conj().imag is)": Kind(
        _negated,
        ("make = lambda v: torch._neg_view(-v) if v.is_floating_point() else v",),
        refusable=True,
    ),
    "of parameters": Kind(
        lambda tensor: torch.nn.Parameter(tensor, requires_grad=False),
        ("make = lambda v: torch.nn.Parameter(v, requires_grad=False)",),
    ),
    "of inference tensors outside inference mode": Kind(
        _made_in_inference_mode,
        ("def make(v):", "    with torch.inference_mode():", "        return v.clone()"),
        differentiable=False,
        refusable=True,
        refused_with="Inference tensors cannot be saved for backward",
    ),
}


def every_kind_of_tensor_gives_the_right_results(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    """Arguments and the upstream gradient, all of one kind. Of what autograd does not record, the result
    alone. What cannot be read is refused, and never read for something else.
    """
    for probe in probes(operator, dtype, settings, tally):
        assert probe.first
        for what, kind in KINDS.items():
            try:
                with of_the_subject(settings.subject):
                    results = _results(probe, kind)
            except WrongResult as error:
                if kind.refuses(error.__cause__):
                    tally.decline(f"{what}: {error}")
                    continue
                raise probe.wrong(what, error, _happens(kind)) from error.__cause__
            probe.agrees(results, what, exactly=False, happens=_happens(kind))


def _results(probe: Probe, kind: Kind) -> dict[str, torch.Tensor]:
    call = probe.call
    arguments, grad_output = probe.given(())
    wanted = call.differentiable if kind.differentiable else ()
    arguments = {
        name: kind.make(value).requires_grad_(name in wanted) if isinstance(value, torch.Tensor) else value
        for name, value in arguments.items()
    }
    results = {FORWARD: called(probe.settings.subject, call, arguments)}
    must_be_a_tensor("the result", results[FORWARD])
    leaves = [arguments[name] for name in wanted]
    gradients = gradients_of(results[FORWARD], leaves, kind.make(grad_output))
    results |= dict(zip(wanted, gradients, strict=True))
    return {name: result.resolve_neg() for name, result in results.items()}


# --- the same in a script -----------------------------------------------------------------------------------

# `run`, which a script calls in the end, goes on with what has begun.
_OF_KIND = (
    "given = {name: make(v.clone()) if isinstance(v, torch.Tensor) else v for name, v in mine.items()}",
    "leaves = [given[name].requires_grad_() for name in differentiable]",
    "output = call(given)",
    "gradients = torch.autograd.grad(output, leaves, make(grad_output))",
    "run = lambda *_: [None, None, [output, *gradients]]",
)
_RESULT = (
    "given = {name: make(v.clone()) if isinstance(v, torch.Tensor) else v for name, v in mine.items()}",
    "result = call(given)",
)


def _happens(kind: Kind) -> tuple[str, ...]:
    return (*kind.lines, *(_OF_KIND if kind.differentiable else _RESULT))
