"""binary_cross_entropy: of probabilities, with the logarithm clamped at -100."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy import inf, nan

from torch_loss_parity import reference
from torch_loss_parity.cases import distributions
from torch_loss_parity.operators.facets import (
    REFUSED,
    SINGLE,
    Autocast,
    Compiled,
    Domain,
    Gap,
    Layouts,
    Modules,
    Rewritten,
)
from torch_loss_parity.operators.facets_audit import Audited
from torch_loss_parity.operators.facets_workload import INPUT, WHOLE_INPUT, Workload
from torch_loss_parity.operators.families import (
    audits,
    bits,
    elements,
    elements_refusals,
    elements_semantics,
    identities,
    workloads,
)
from torch_loss_parity.operators.families.tables import mixed
from torch_loss_parity.operators.meaning import CLAMPED, INFINITE_WEIGHT_OF_A_SLOPE, NAN
from torch_loss_parity.operators.record import REDUCTION, Operator, as_given, of_input
from torch_loss_parity.operators.refusals import NOT_REAL, WHOLE, Refusal, X, of_another_dtype, refusal
from torch_loss_parity.operators.semantics import Row, row
from torch_loss_parity.reference.arithmetic.formats import FORMATS, Format
from torch_loss_parity.reference.ways import ways_of

NEAR_0_AND_1: dict[str, Callable[[Format], float]] = {
    "the smallest subnormal": lambda format: format.smallest_subnormal,
    "seven smallest subnormals": lambda format: 7 * format.smallest_subnormal,
    "the smallest normal": lambda format: format.smallest_normal,
    "1/2": lambda format: 0.5,
    "the largest below 1": lambda format: 1 - format.unit_roundoff,
}
OUTSIDE: dict[str, Callable[[Format], float]] = {
    "1.5": lambda format: 1.5,
    "-0.5": lambda format: -0.5,
    "nan": lambda format: nan,
    "inf": lambda format: inf,
    "the largest below 0": lambda format: -format.smallest_subnormal,
    "the smallest above 1": lambda format: 1 + 2 * format.unit_roundoff,
}


def semantics() -> Iterator[Row]:
    """What binary_cross_entropy means at the corners of its domain."""
    yield from elements_semantics.semantics(INFINITE_WEIGHT_OF_A_SLOPE)
    sentence = "weighted mean divides by N"
    yield row(sentence, input=[0.0, 0.0], target=[1.0, 1.0], weight=[1.0, 3.0], value=200.0, meaning=CLAMPED)
    yield row(
        "weight nan where the loss is 0 -> nan, gradient nan",
        input=[0.0],
        target=[0.0],
        weight=[nan],
        value=nan,
        gradient=nan,
        meaning=NAN,
    )
    yield from _at_0_and_1()
    yield from _next_to_0_and_1()


def _at_0_and_1() -> Iterator[Row]:
    for x, t, loss in (
        (0, 0, 0.0),
        (0, 1, 100.0),
        (1, 0, 100.0),
        (1, 1, -0.0),
        (0, 0.5, 50.0),
        (1, 0.5, 50.0),
    ):
        far = -inf if x else inf
        yield row(
            f"input {x}, target {t} -> {loss}, gradient of the target {far}",
            input=[float(x)],
            target=[float(t)],
            reduction="none",
            value=loss,
            gradient=0.0 if x == t else None,
            target_gradient=far,
            meaning=CLAMPED,
        )
    sentence = "input -0.0, target 0 -> 0, gradient 0"
    yield row(sentence, input=[-0.0], target=[0.0], value=0.0, gradient=0.0, meaning=CLAMPED)


def _next_to_0_and_1() -> Iterator[Row]:
    given: dict[str, Any] = {"weight": [0.75], "reduction": "none"}
    for (name, near), t in product(NEAR_0_AND_1.items(), (0.0, 0.5, 1.0)):
        sentence = f"input {name}, target {t}"
        yield row(sentence, input=lambda format, near=near: [near(format)], target=[t], **given)
    wide = ("bfloat16", "float32", "float64")  # with the exponents of float32 at least
    for x, dtypes, reason in (
        (1e-13, wide, "0 in float16"),
        (1e-12, wide, "0 in float16"),
        (1e-300, ("float64",), "0 or subnormal"),
        (1e-44, ("float64",), "0 or subnormal"),
    ):
        for t in (0.0, 0.5, 1.0):
            sentence = f"input {x}, target {t}"
            yield row(sentence, input=[x], target=[t], dtypes=dtypes, reason=reason, **given)


def refusals() -> Iterator[Refusal]:
    """What binary_cross_entropy refuses."""
    yield from elements_refusals.refusals()
    for bad in NOT_REAL:
        words = f"target has dtype | float64 | {bad.dtype}"
        yield refusal(f"{bad.dtype} input, real target", RuntimeError, words, bad, X)
    words = "input has dtype | int64 | real"
    yield refusal("int64 input and target", NotImplementedError, words, WHOLE, WHOLE)
    for dtype in ("int64", "bool", "complex128"):
        words = f"target has dtype | {dtype} | float64"
        yield refusal(f"{dtype} target", RuntimeError, words, X, X.astype(dtype))
    words = "target has dtype | float32 | float64"
    yield refusal("target of another real dtype", RuntimeError, words, X, of_another_dtype(X))
    for (name, outside), argument, reduction in product(OUTSIDE.items(), ("input", "target"), REDUCTION):
        given: dict[str, Any] = {"input": X, "target": X, argument: _holding(outside)}
        words = f"{argument} holds {outside(FORMATS['float64'])} | between 0 and 1"
        yield refusal(f"{argument} {name}, {reduction}", RuntimeError, words, **given, reduction=reduction)


def _holding(outside: Callable[[Format], float]) -> Callable[[Format], np.ndarray]:
    """An array with one element outside [0, 1]: who looks at one end only is not excused by another."""
    return lambda format: np.asarray([[0.25, outside(format), 0.75], [1.0, 0.25, 0.5]])


def rewritten(dtype: str) -> Iterator[Rewritten]:
    """What compilers have got wrong: the loss of a sigmoid, without its clamp."""
    # tensorflow#118313. These are 0 and 1 to the last bit, whatever the dtype.
    certain = {
        "input": np.asarray([0.0, 0.0, 1.0, 1.0]),
        "target": np.asarray([0.0, 1.0, 0.0, 1.0]),
        "weight": None,
        "reduction": "none",
    }
    yield Rewritten(
        name="binary_cross_entropy of a sigmoid",
        judged=certain,
        given={**certain, "input": np.asarray([-1000.0, -1000.0, 1000.0, 1000.0])},
        before=lambda x: x.sigmoid(),
    )


OPERATOR = Operator(
    name="binary_cross_entropy",
    family=elements.ELEMENTS,
    forward=reference.binary_cross_entropy,
    backward=reference.binary_cross_entropy_backward,
    ways=ways_of("binary_cross_entropy"),
    second_order=("bce_double_backward", "bce_jvp_of_backward"),
    function="torch.nn.functional.binary_cross_entropy",
    draw=elements.draw,
    differentiable=elements.differentiable,
    options=elements.OPTIONS,
    extensions={},
    reconcile=as_given,
    output_dtype=of_input,
    result_shape=elements.result_shape,
    values=distributions.PROBABILITIES,
    shapes=elements.SHAPES,
    sizes=elements.sizes("certain_probabilities"),
    domain=Domain(
        values=distributions.EXTREME_PROBABILITIES,
        marked="zero_but_one",
        masked=Gap("an element has no row of which others are left"),
        options=elements.EXTREME_OPTIONS,
        dtypes=mixed(
            ("float16,bfloat16,float64", "weight=float32", {"weight": "full"}),
            ("float16,bfloat16,float32", "weight=float64", {"weight": "last dimension"}),
        ),
        copies={"forward": 3, "gradients": 7},
    ),
    semantics=tuple(semantics()),
    promotions=Gap("a target of another dtype is refused"),
    refusals=tuple(refusals()),
    layouts=Layouts(result="kept", views=elements.VIEWS),
    identities=identities.of_elements("plain", of_logits=False),
    bits=bits.of_elements(bits.probabilities, weights=("weight",)),
    rewritten=rewritten,
    clamps=True,
    autocast=Autocast(cpu=SINGLE, cuda=REFUSED),  # its gradient does not fit float16
    modules=Modules(name="BCELoss", of_images=Gap("each element stands for itself")),
    compiled=(
        Compiled((4, 9), "confident_probabilities", {"weight": "full", "target": "soft"}),
        Compiled((17,), "boundary_probabilities", {"reduction": "none", "target": "hard"}),
    ),
    sample_inputs="nn.functional.binary_cross_entropy",
    log_probabilities=Gap("its input is what is to be compared"),
    audit=Audited(
        telling=("uniform_probabilities", "confident_probabilities", "boundary_probabilities"),
        scales=(),
        base=audits.ELEMENTS_BASE,
        paths=audits.ELEMENTS_PATHS,
        probabilities=("input", "target"),
        shortened=Gap("there are no rows"),
        every_number=audits.every_element(
            "probability",
            zero=("-log(1-x)", "x/variance"),
            one=("-log(x)", "-(1-x)/variance"),
        ),
    ),
    workload=Workload(
        values="uniform_probabilities",
        options={"target": "soft"},
        variants={},
        exponentials=(2, 0),
        reads=WHOLE_INPUT,
        gradient_from=INPUT,
        beside=workloads.target,
        scipy=Gap("scipy.special has no binary_cross_entropy"),
    ),
)
