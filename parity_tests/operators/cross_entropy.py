"""cross_entropy: log_softmax and nll_loss in one, of class indices or of class probabilities."""

from __future__ import annotations

from math import inf
from typing import Any

from torch_loss_parity import reference
from torch_loss_parity.cases import distributions
from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.operators import cross_entropy_refusals, cross_entropy_semantics
from torch_loss_parity.operators.facets import (
    SINGLE,
    Autocast,
    Compiled,
    Domain,
    Gap,
    Layouts,
    Modules,
    Options,
    Shape,
)
from torch_loss_parity.operators.facets_audit import SUMMED, Audited, EveryNumber, Shortened, Target
from torch_loss_parity.operators.facets_workload import INPUT, WHOLE_INPUT, Workload
from torch_loss_parity.operators.families import (
    as_log_probabilities,
    audits,
    bits,
    classes,
    identities,
    workloads,
)
from torch_loss_parity.operators.families.drawing import real
from torch_loss_parity.operators.families.tables import VOCABULARY, mixed
from torch_loss_parity.operators.record import DTYPES, Operator, dtypes_of
from torch_loss_parity.reference.arithmetic.formats import promoted
from torch_loss_parity.reference.ways import ways_of

PROBABILITIES: Options = {"target": "probabilities", "label_smoothing": 0.1}


def draw(case: Case) -> dict[str, Any]:
    """Logits, class indices or class probabilities, and options."""
    dim = classes.class_dim(case.shape)
    if case.option["target"] == "indices":
        target = classes.draw_indices(case)
    else:
        target = real(case, "target", case.option.get("probabilities", "simplex"), case.shape, dim)
    return {
        "input": real(case, "input", case.values, case.shape, dim),
        "target": target,
        "weight": classes.draw_weight(case, target),
        "ignore_index": case.option["ignore_index"],
        "reduction": case.option["reduction"],
        "label_smoothing": case.option["label_smoothing"],
    }


def differentiable(option: Options) -> tuple[str, ...]:
    """Class probabilities are differentiated, and then their weights too."""
    if option["target"] == "indices":
        return ("input",)
    return ("input", "target", "weight") if option["weight"] else ("input", "target")


def reconcile(shape: Shape, options: dict[str, Any]) -> dict[str, Any]:
    """Class probabilities know no ignored rows, no classes and no dtype of indices, indices no probabilities
    and neither their dtype nor that of weights, which torch refuses there: a promise may have made one of the
    other.
    """
    if options["target"] == "indices":
        of_probabilities = ["probabilities", "weight_dtype"]
        if options.get("target_dtype") in DTYPES:
            of_probabilities.append("target_dtype")
        return {name: value for name, value in options.items() if name not in of_probabilities}
    of_indices = ("classes", "target_dtype") if options.get("target_dtype") == "uint8" else ("classes",)
    known = {name: value for name, value in options.items() if name not in of_indices}
    return known | {"ignored": "none", "ignore_index": -100}


def output_dtype(case: Case) -> str:
    """Class probabilities and their weights are multiplied with the logarithms, and promoted; indices leave
    the input's dtype.
    """
    if case.option["target"] == "probabilities":
        return promoted(case.dtype, *dtypes_of(case).values())
    return case.dtype


# Of (x, 0) and then (0, x), each with the first and then the second class.
FORMS_OF_PAIRS = {
    "forward": ("softplus(-x)", "softplus(x)", "softplus(x)", "softplus(-x)"),
    "input": (
        *("-sigmoid(-x)", "sigmoid(-x)", "sigmoid(x)", "-sigmoid(x)"),
        *("-sigmoid(x)", "sigmoid(x)", "sigmoid(-x)", "-sigmoid(-x)"),
    ),
}


def is_of_one_class(call: Call) -> bool:
    """Whether a loss is the log-probability of one class: of class indices, not smoothed."""
    return call.arguments["target"].dtype.kind != "f" and not call.arguments["label_smoothing"]


OPERATOR = Operator(
    name="cross_entropy",
    family=classes.CLASSES,
    forward=reference.cross_entropy,
    backward=reference.cross_entropy_backward,
    ways=ways_of("cross_entropy"),
    second_order=("cross_entropy_double_backward", "cross_entropy_jvp"),
    function="torch.nn.functional.cross_entropy",
    draw=draw,
    differentiable=differentiable,
    options={
        **classes.OPTIONS,
        "target": ("indices", "probabilities"),
        "label_smoothing": (0.0, 0.1, 1.0),
    },
    extensions=classes.EXTENSIONS,
    reconcile=reconcile,
    output_dtype=output_dtype,
    result_shape=classes.result_shape,
    values=distributions.LOGITS,
    shapes=classes.SHAPES,
    sizes=(*classes.sizes("integer_losses"), ((1, VOCABULARY // 4), PROBABILITIES)),
    domain=Domain(
        values=distributions.EXTREME_LOGITS,
        marked="equal_but_one",
        masked="masked_but_ends",
        options={**classes.EXTREME_OPTIONS, "probabilities": tuple(distributions.CLASS_PROBABILITIES)},
        dtypes=mixed(
            (
                ",".join(DTYPES),
                "target=uint8",
                {"ignore_index": 255, "ignored": "some", "label_smoothing": 0.1},
            ),
            ("float16,bfloat16", "target=float32", {"target": "probabilities"}),
            ("float16,bfloat16,float32", "target=float64", {"target": "probabilities"}),
            ("float64", "target=float32", PROBABILITIES),
            ("float32", "weight=float64", {"target": "probabilities", "weight": "positive"}),
            ("float16,bfloat16", "weight=float32", {"target": "probabilities", "weight": "positive"}),
        ),
        copies={"forward": 2, "gradients": 4},
    ),
    semantics=tuple(cross_entropy_semantics.semantics()),
    promotions=tuple(cross_entropy_semantics.promotions()),
    refusals=tuple(cross_entropy_refusals.refusals()),
    layouts=Layouts(
        result="contiguous",
        views=(
            *((shape, {**each, "label_smoothing": 0.1 * (len(shape) % 2)}) for shape, each in classes.VIEWS),
            ((5, 7), {**PROBABILITIES, "reduction": "none", "weight": "positive"}),
            ((2, 5, 3, 2), {**PROBABILITIES, "reduction": "mean", "weight": "positive"}),
        ),
    ),
    identities=identities.of_classes("plain", "smoothed", "probabilities", of_logits=True),
    bits=(
        *bits.of_classes(bits.logits, of="of indices, "),
        *bits.of_classes(
            bits.logits, target="probabilities", of="of probabilities, ", options={"label_smoothing": 0.1}
        ),
    ),
    rewritten=Gap("no rewrite of a compiler around it is known to have gone wrong"),
    clamps=False,
    autocast=Autocast(cpu=SINGLE, cuda=SINGLE),
    modules=Modules(name="CrossEntropyLoss", of_images=Gap("torch.nn has no CrossEntropyLoss2d")),
    compiled=(
        Compiled((7, 33), "normal", {"weight": "positive", "ignored": "some", "label_smoothing": 0.1}),
        Compiled((7, 9), "one_dominant", {"reduction": "none", "ignored": "some"}),
        Compiled((7, 9), "one_dominant", {"ignored": "some", "ignore_index": 7}),
        Compiled((3, 5, 2), "wide", {"reduction": "sum", "weight": "positive", **PROBABILITIES}),
        Compiled((4, 5), "few_survivors", {"ignored": "all"}),
    ),
    sample_inputs="nn.functional.cross_entropy",
    log_probabilities=as_log_probabilities.of_losses,
    audit=Audited(
        telling=audits.TELLING_LOGITS,
        scales=audits.SCALES,
        base=audits.CLASSES_BASE,
        paths=(
            audits.WEIGHTED,
            {"reduction": "none", "label_smoothing": 0.1},
            {"reduction": "none", "target": "probabilities"},
            audits.WEIGHTED_MEAN,
            {"reduction": "mean", "weight": "positive", **PROBABILITIES},
        ),
        probabilities=(),
        shortened=Shortened(holds=is_of_one_class, upstream=SUMMED),
        every_number=EveryNumber(
            inputs=audits.PAIRS,
            place=audits.pairs_and_classes,
            targets={"": Target(values=(), options={"reduction": "none"}, forms=FORMS_OF_PAIRS)},
            undefined_at=(inf,),
            gradient=Gap("a row has one upstream gradient: its gradient is the closed forms times that"),
        ),
    ),
    workload=Workload(
        values="normal",
        options={},
        variants={
            "weight": {"weight": "positive"},
            "smoothing": {"label_smoothing": 0.1},
            "probabilities": {"target": "probabilities"},
        },
        exponentials=(1, 1),
        reads=WHOLE_INPUT,
        gradient_from=INPUT,
        beside=workloads.target_and_class_weights,
        scipy=Gap("scipy.special has no cross_entropy"),
    ),
)
