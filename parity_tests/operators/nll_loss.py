"""nll_loss: minus the log-probability of the class that the target names."""

from __future__ import annotations

from typing import Any

from torch_loss_parity import reference
from torch_loss_parity.cases import distributions
from torch_loss_parity.cases.case import Case
from torch_loss_parity.operators.facets import (
    SINGLE,
    Autocast,
    Compiled,
    Domain,
    Gap,
    Layouts,
    Modules,
    Options,
)
from torch_loss_parity.operators.families import bits, classes, identities
from torch_loss_parity.operators.families.drawing import real
from torch_loss_parity.operators.families.tables import mixed
from torch_loss_parity.operators.record import DTYPES, Operator, as_given, of_input


def draw(case: Case) -> dict[str, Any]:
    """Log-probabilities, class indices and options."""
    target = classes.draw_indices(case)
    return {
        "input": real(case, "input", case.values, case.shape),
        "target": target,
        "weight": classes.draw_weight(case, target),
        "ignore_index": case.option["ignore_index"],
        "reduction": case.option["reduction"],
    }


def differentiable(option: Options) -> tuple[str, ...]:
    return ("input",)


OPERATOR = Operator(
    name="nll_loss",
    family=classes.CLASSES,
    forward=reference.nll_loss,
    backward=reference.nll_loss_backward,
    function="torch.nn.functional.nll_loss",
    draw=draw,
    differentiable=differentiable,
    options=classes.OPTIONS,
    settle=as_given,
    output_dtype=of_input,
    result_shape=classes.result_shape,
    values=distributions.LOG_PROBABILITIES,
    shapes=classes.SHAPES,
    sizes=classes.sizes("integers"),
    domain=Domain(
        values=distributions.EXTREME_LOG_PROBABILITIES,
        options=classes.EXTREME_OPTIONS,
        dtypes=mixed((",".join(DTYPES), "target=uint8", {"ignore_index": 255, "ignored": "some"})),
        copies={"forward": 1, "gradients": 2},
    ),
    layouts=Layouts(result="contiguous", views=(*classes.VIEWS, ((0, 4), {"reduction": "sum"}))),
    identities=identities.of_classes("plain", of_logits=False),
    bits=bits.of_classes(bits.log_probabilities),
    rewritten=Gap("no rewrite of a compiler around it is known to have gone wrong"),
    clamps=False,
    autocast=Autocast(cpu=SINGLE, cuda=SINGLE),
    modules=Modules(name="NLLLoss", of_images="NLLLoss2d"),
    compiled=(
        Compiled((7, 5), "log_probabilities", {"weight": "positive", "ignored": "some"}),
        Compiled((2, 3, 5), "log_probabilities", {"reduction": "none", "ignored": "some", "ignore_index": 0}),
    ),
    sample_inputs="nn.functional.nll_loss",
)
