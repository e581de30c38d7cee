"""nll_loss: minus the log-probability of the class that the target names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy import inf, nan

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
from torch_loss_parity.operators.facets_audit import Audited
from torch_loss_parity.operators.facets_workload import ONE_OF_A_ROW, TARGET, Workload
from torch_loss_parity.operators.families import (
    audits,
    bits,
    classes,
    classes_refusals,
    classes_semantics,
    identities,
    workloads,
)
from torch_loss_parity.operators.families.drawing import real
from torch_loss_parity.operators.families.tables import mixed
from torch_loss_parity.operators.meaning import CANCELLING_WEIGHTS, IGNORED, INDETERMINATE, LIMIT
from torch_loss_parity.operators.record import DTYPES, Operator, as_given, of_input
from torch_loss_parity.operators.refusals import WHOLE, Refusal, T, X, refusal
from torch_loss_parity.operators.semantics import Row, row
from torch_loss_parity.reference.ways import ways_of


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


def semantics() -> Iterator[Row]:
    """What nll_loss means at the corners of its domain."""
    yield from classes_semantics.semantics()
    yield row(
        "log-probabilities may be positive",
        input=[[2.0, 0.0]],
        target=[0],
        value=-2.0,
        gradient=[[-1.0, 0.0]],
    )
    yield from _weights()
    yield row("-inf at the target -> inf", input=[[0.0, -inf]], target=[1], value=inf, meaning=LIMIT)
    sentence = "nan beside the target -> unaffected"
    yield row(sentence, input=[[nan, -0.5]], target=[1], value=0.5, gradient=[[0.0, -1.0]])
    for bad in (nan, -inf, inf):
        yield row(
            f"{bad} in an ignored row -> unaffected, its gradient 0",
            input=[[bad, bad], [-0.5, 0.0]],
            target=[-100, 0],
            value=0.5,
            gradient=[[0.0, 0.0], [-1.0, 0.0]],
            meaning=IGNORED,
        )


def _weights() -> Iterator[Row]:
    yield row(
        "weight 0 where the targets are, mean -> nan, gradient nan at the targets",
        input=classes_semantics.INPUT,
        target=classes_semantics.TARGET,
        weight=[0.0, 1.0, 0.0],
        value=nan,
        gradient=[[0.0, 0.0, nan], [nan, 0.0, 0.0]],
        meaning=INDETERMINATE,
    )
    yield row(
        "weight that cancels, mean -> inf, gradient infinite at the targets",
        input=[[0.0, -1.0, -2.0], [-1.0, 0.0, 0.0]],
        target=classes_semantics.TARGET,
        weight=[-1.0, 1.0, 1.0],
        value=inf,
        gradient=[[0.0, 0.0, -inf], [inf, 0.0, 0.0]],
        meaning=CANCELLING_WEIGHTS,
    )
    yield row(
        "-inf at the target, weight 0 -> nan",
        input=[[0.0, -inf], [0.0, 0.0]],
        target=[1, 0],
        weight=[1.0, 0.0],
        value=nan,
        meaning=INDETERMINATE,
    )


def refusals() -> Iterator[Refusal]:
    """What nll_loss refuses."""
    yield from classes_refusals.refusals()
    words = "target has shape (2, 3) | (2,)"
    yield refusal("int64 probabilities", RuntimeError, words, X, WHOLE)
    words = "input has shape () | (C), (N, C)"
    yield refusal("0-d input", ValueError, words, X[0, 0], T[0])


OPERATOR = Operator(
    name="nll_loss",
    family=classes.CLASSES,
    forward=reference.nll_loss,
    backward=reference.nll_loss_backward,
    ways=ways_of("nll_loss"),
    second_order=Gap("the loss is linear: torch evaluates no formula of its own"),
    function="torch.nn.functional.nll_loss",
    draw=draw,
    differentiable=differentiable,
    options=classes.OPTIONS,
    extensions={},
    reconcile=as_given,
    output_dtype=of_input,
    result_shape=classes.result_shape,
    values=distributions.LOG_PROBABILITIES,
    shapes=classes.SHAPES,
    sizes=classes.sizes("integers"),
    domain=Domain(
        values=distributions.EXTREME_LOG_PROBABILITIES,
        marked="equal_but_one",
        masked="masked_but_ends",
        options=classes.EXTREME_OPTIONS,
        dtypes=mixed((",".join(DTYPES), "target=uint8", {"ignore_index": 255, "ignored": "some"})),
        copies={"forward": 1, "gradients": 2},
    ),
    semantics=tuple(semantics()),
    promotions=Gap("a target holds integers, and a weight of another dtype is refused"),
    refusals=tuple(refusals()),
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
    log_probabilities=Gap("its input is what is to be compared"),
    audit=Audited(
        telling=("log_probabilities", "integers", "any_sign"),
        scales=(),
        base=audits.CLASSES_BASE,
        paths=(audits.WEIGHTED, audits.WEIGHTED_MEAN),
        probabilities=(),
        shortened=Gap("a row is one number of it: there is nothing to put together"),
        every_number=Gap("a result is a number of the input itself, negated"),
    ),
    workload=Workload(
        values="log_probabilities",
        options={},
        variants={"weight": {"weight": "positive"}},
        exponentials=(0, 0),
        reads=ONE_OF_A_ROW,
        gradient_from=TARGET,
        beside=workloads.target_and_class_weights,
        scipy=Gap("scipy.special has no nll_loss"),
    ),
)
