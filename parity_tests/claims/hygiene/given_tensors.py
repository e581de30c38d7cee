"""A check that a call is right of whatever kind of tensor it is given.

Tensors of the same numbers come in kinds that code which looks at memory or at types tells apart: a view
that is negated when it is read, a parameter, a tensor that was made in inference mode, one that an operation
of autograd's has made. The latter is what a loss is given in training, and nobody seems to need it any more:
its memory is used for the gradient, though whoever made it may have kept it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from torch_loss_parity.claims.hygiene.conduct import Probe, probes
from torch_loss_parity.claims.layouts.layouts import GRAD_OUTPUT, bits, called
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
    made : bool
        Whether ``make`` is recorded by autograd: what it makes is no leaf.
    """

    make: Callable[[torch.Tensor], torch.Tensor]
    lines: tuple[str, ...]
    differentiable: bool = True
    refusable: bool = False
    refused_with: str = ""
    made: bool = False

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
    "of what other operations have made": Kind(torch.clone, ("make = torch.clone",), made=True),
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
    """Arguments and the upstream gradient, all of one kind, which stay as they are. Of what autograd does not
    record, the result alone. What cannot be read is refused, and never read for something else.
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
        name: _of_kind(kind, value, name in wanted) if isinstance(value, torch.Tensor) else value
        for name, value in arguments.items()
    }
    grad_output = kind.make(grad_output)
    tensors = {name: value for name, value in arguments.items() if isinstance(value, torch.Tensor)}
    given = {**tensors, GRAD_OUTPUT: grad_output}
    before = {name: _bits(value) for name, value in given.items()}
    results = {FORWARD: called(probe.settings.subject, call, arguments)}
    must_be_a_tensor("the result", results[FORWARD])
    gradients = gradients_of(results[FORWARD], [arguments[name] for name in wanted], grad_output)
    if changed := [name for name, value in given.items() if not torch.equal(_bits(value), before[name])]:
        raise WrongResult(f"the call, or its backward pass, wrote into {', '.join(changed)}")
    results |= dict(zip(wanted, gradients, strict=True))
    return {name: result.resolve_neg() for name, result in results.items()}


def _of_kind(kind: Kind, value: torch.Tensor, wanted: bool) -> torch.Tensor:
    return kind.make(value.requires_grad_(wanted)) if kind.made else kind.make(value).requires_grad_(wanted)


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return bits(tensor.resolve_neg()).clone()


# --- the same in a script -----------------------------------------------------------------------------------

# `run`, which a script calls in the end, goes on with what has begun.
_GIVEN = "given = {name: make(v.clone()) if isinstance(v, torch.Tensor) else v for name, v in mine.items()}"
_OF_KIND = (
    _GIVEN,
    "leaves = [given[name].requires_grad_() for name in differentiable]",
    "output = call(given)",
    "gradients = torch.autograd.grad(output, leaves, make(grad_output))",
    "for name, tensor in given.items():",
    "    if isinstance(tensor, torch.Tensor): show(name, tensor.resolve_neg(), bits(mine[name]))",
    "run = lambda *_: [None, None, [output, *gradients]]",
)
_MADE = (  # by an operation that autograd records
    "given = {name: v.clone().requires_grad_(name in differentiable)",
    "         if isinstance(v, torch.Tensor) else v for name, v in mine.items()}",
    "given = {name: make(v) if isinstance(v, torch.Tensor) else v for name, v in given.items()}",
    *_OF_KIND[1:],
)
_RESULT = (_GIVEN, "result = call(given)")


def _happens(kind: Kind) -> tuple[str, ...]:
    return (*kind.lines, *(_MADE if kind.made else _OF_KIND if kind.differentiable else _RESULT))
