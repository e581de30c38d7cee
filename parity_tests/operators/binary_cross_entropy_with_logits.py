"""binary_cross_entropy_with_logits: sigmoid and binary_cross_entropy in one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch_loss_parity import reference
from torch_loss_parity.cases import distributions
from torch_loss_parity.cases.case import Case
from torch_loss_parity.operators import binary_cross_entropy_with_logits_semantics as corners
from torch_loss_parity.operators.facets import (
    SINGLE,
    Autocast,
    Compiled,
    Domain,
    Gap,
    Layouts,
    Modules,
)
from torch_loss_parity.operators.facets_audit import Audited
from torch_loss_parity.operators.facets_workload import INPUT, WHOLE_INPUT, Workload
from torch_loss_parity.operators.families import (
    audits,
    bits,
    elements,
    elements_refusals,
    identities,
    workloads,
)
from torch_loss_parity.operators.families.tables import mixed
from torch_loss_parity.operators.record import Operator, as_given, dtypes_of
from torch_loss_parity.operators.refusals import Refusal, X, no_real_input, refusal
from torch_loss_parity.reference.arithmetic.formats import promoted
from torch_loss_parity.reference.ways import ways_of

POS_WEIGHTS = ("last dimension", "full", "rows", "channels", "full")  # of the calls on views


def draw(case: Case) -> dict[str, Any]:
    """Logits, target, weights and reduction."""
    return elements.draw(case) | {"pos_weight": elements.draw_weight(case, "pos_weight")}


def output_dtype(case: Case) -> str:
    """A target of another dtype is promoted, and the result with it."""
    return promoted(case.dtype, dtypes_of(case).get("target", case.dtype))


def refusals() -> Iterator[Refusal]:
    """What binary_cross_entropy_with_logits refuses."""
    yield from elements_refusals.refusals()
    yield from elements_refusals.wrong_weights("pos_weight")
    yield from no_real_input(X)
    for dtype in ("int64", "bool", "complex128"):
        yield refusal(
            f"{dtype} target",
            RuntimeError,
            f"target has dtype | {dtype} | real floating point",
            X,
            X.astype(dtype),
            changed=(("2.14", NotImplementedError),) if dtype == "bool" else (),
            taken_of_no_rows=dtype == "complex128",
        )


OPERATOR = Operator(
    name="binary_cross_entropy_with_logits",
    family=elements.ELEMENTS,
    forward=reference.binary_cross_entropy_with_logits,
    backward=reference.binary_cross_entropy_with_logits_backward,
    ways=ways_of("binary_cross_entropy_with_logits"),
    second_order=(
        "bce_with_logits_double_backward",
        "bce_with_logits_jvp",
        "bce_with_logits_decomposed_double_backward",
        "bce_with_logits_decomposed_jvp",
        "bce_with_logits_logsigmoid_double_backward",
    ),
    function="torch.nn.functional.binary_cross_entropy_with_logits",
    draw=draw,
    differentiable=elements.differentiable,
    options={**elements.OPTIONS, "pos_weight": (None, *elements.WEIGHTS)},
    extensions={},
    reconcile=as_given,
    output_dtype=output_dtype,
    result_shape=elements.result_shape,
    values=distributions.BINARY_LOGITS,
    shapes=elements.SHAPES,
    sizes=elements.sizes("signed_integer_losses"),
    domain=Domain(
        values=distributions.EXTREME_BINARY_LOGITS,
        marked="costless_but_one",
        masked=Gap("an element has no row of which others are left"),
        options={**elements.EXTREME_OPTIONS, "pos_weight": elements.SPECIAL_WEIGHTS},
        dtypes=mixed(
            ("float16,bfloat16", "target=float32", {"target": "soft"}),
            ("float16,bfloat16,float32", "target=float64", {"target": "soft"}),
            ("float16,bfloat16,float64", "weight=float32", {"weight": "full", "target": "soft"}),
            ("float32", "weight=float64", {"weight": "last dimension", "target": "soft"}),
            (
                "float16,bfloat16,float64",
                "pos_weight=float32",
                {"pos_weight": "last dimension", "target": "soft"},
            ),
            ("float32", "pos_weight=float64", {"pos_weight": "last dimension", "target": "soft"}),
        ),
        copies={"forward": 6, "gradients": 8},
    ),
    semantics=tuple(corners.semantics()),
    promotions=tuple(corners.promotions()),
    refusals=tuple(refusals()),
    layouts=Layouts(
        result="kept",
        views=tuple(
            (shape, {**options, "pos_weight": kind})
            for (shape, options), kind in zip(elements.VIEWS, POS_WEIGHTS, strict=True)
        ),
    ),
    identities=identities.of_elements("plain", "pos_weight", of_logits=True),
    bits=bits.of_elements(bits.logits, weights=("weight", "pos_weight")),
    rewritten=Gap("no rewrite of a compiler around it is known to have gone wrong"),
    clamps=False,
    autocast=Autocast(cpu=SINGLE, cuda=SINGLE),
    modules=Modules(name="BCEWithLogitsLoss", of_images=Gap("each element stands for itself")),
    compiled=(
        Compiled((4, 9), "normal", {"weight": "full", "pos_weight": "last dimension", "target": "soft"}),
        Compiled((33,), "wide", {"reduction": "none", "target": "hard"}),
    ),
    sample_inputs="nn.functional.binary_cross_entropy_with_logits",
    log_probabilities=Gap("an element is no distribution over classes"),
    audit=Audited(
        telling=("normal", "wide", "nearly_equal"),
        scales=(),
        base=audits.ELEMENTS_BASE,
        paths=(
            *audits.ELEMENTS_PATHS,
            {"reduction": "none", "target": "soft", "pos_weight": "last dimension"},
        ),
        probabilities=("target",),
        shortened=Gap("there are no rows"),
        every_number=audits.every_element(
            "logit",
            zero=("softplus(x)", "sigmoid(x)"),
            one=("softplus(-x)", "-sigmoid(-x)"),
        ),
    ),
    workload=Workload(
        values="normal",
        options={"target": "soft"},
        variants={},
        exponentials=(2, 1),
        reads=WHOLE_INPUT,
        gradient_from=INPUT,
        beside=workloads.target,
        scipy=Gap("scipy.special has no binary_cross_entropy_with_logits"),
    ),
)
