"""A check that a first call in inference mode leaves nothing behind that a later call fails on: what a kernel
makes once and keeps, a table of its classes, is an inference tensor then, which autograd cannot save.
"""

from __future__ import annotations

import torch

from torch_loss_parity.claims.hygiene.conduct import Probe, offered
from torch_loss_parity.claims.layouts.layouts import called
from torch_loss_parity.expectation.expectation import FORWARD
from torch_loss_parity.judging.judge import of_the_subject
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import Operator
from torch_loss_parity.subjects.run_subject import WrongResult, gradients_of
from torch_loss_parity.subjects.settings import Settings

UNSEEN = (3, 1951)  # classes: a number of them that no other case has
MODE = "after a first call of its shape in inference mode"


def a_first_call_may_be_in_inference_mode(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    """The call that follows is right, and has its gradients."""
    options = offered(operator, {"reduction": "sum", "dim": -1, "label_smoothing": 0.1})
    case = operator.case(dtype, UNSEEN, next(iter(operator.values)), options, settings.seed)
    probe = Probe(case, settings, tally)
    with torch.inference_mode():
        probe.start(())
    try:
        with of_the_subject(settings.subject):
            arguments, grad_output = probe.given()
            output = called(settings.subject, probe.call, arguments)
            leaves = [arguments[name] for name in probe.call.differentiable]
            gradients = gradients_of(output, leaves, grad_output)
    except WrongResult as error:
        raise probe.wrong(MODE, error, (*SHOWN, "run(mine, grad_output)")) from error.__cause__
    results = dict(zip(probe.call.differentiable, gradients, strict=True))
    probe.agrees({FORWARD: output, **results}, MODE, exactly=False, happens=SHOWN)


SHOWN = (
    "with torch.inference_mode():",
    "    call({name: v.clone() if isinstance(v, torch.Tensor) else v for name, v in mine.items()})",
)
