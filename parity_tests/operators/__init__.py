"""One record an operator: its definition, its derivative, its options and how its arguments are drawn.

Adding an operator is a definition in `reference`, a record here, and its faults. Everything else asks the
record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from torch_loss_parity import reference
from torch_loss_parity.cases import distributions
from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.reference.arithmetic.formats import FORMATS, promoted

REDUCTION = ("mean", "sum", "none")
ROW_SHAPES = ((5,), (7, 3), (3, 33, 2), (2, 17, 3, 2), (2, 3, 2, 9, 2), (1, 1), (0, 4), (4, 256))
CLASS_SHAPES = ((5,), (7, 3), (3, 33, 2), (2, 17, 3, 2), (2, 9, 2, 3, 2), (1, 1), (0, 4), (3, 256))
ELEMENT_SHAPES = ((), (5,), (7, 3), (3, 33, 2), (2, 17, 3, 2), (2, 9, 2, 3, 2), (1, 1), (0, 4), (4, 256))
AROUND_POWERS = tuple(2**k + d for k in (3, 5, 7, 8, 10) for d in (-1, 0, 1))
VOCABULARY, MANY_ROWS = 131072, 65536


@dataclass(frozen=True)
class Operator:
    """What the harness knows about an operator.

    Attributes
    ----------
    forward, backward : callable
        Definition and derivative, from `reference`.
    draw : callable
        Makes the arguments of a case, by name, in the order of the signature.
    differentiable : callable
        The arguments that torch differentiates, for a case.
    options : mapping of str to tuple
        Every option that a case may set, with the values that each run meets, and meets in pairs.
    values : mapping of str to distribution
        The distributions of ``input``.
    shapes : tuple
        Small shapes for the grid.
    sizes : tuple of (shape, options)
        Class counts around powers of two, a vocabulary, long reductions along every dimension, many rows.
    settle : callable
        Replaces options that make no sense together.
    output_dtype : callable
        The dtype of the result, for a case.
    extreme_values : mapping of str to distribution
    extreme_options : mapping of str to tuple
        What only the claim about the domain meets, as most other claims would decide nothing there. An option
        named ``weight_dtype`` gives the argument ``weight`` another dtype than the case's.
    targets_classes : bool
        Whether the second dimension (the only one of a 1-D input) holds classes that targets name.
    acts_on_elements : bool
        Whether each element of an unreduced result depends on the same element of its arguments alone.
    """

    name: str
    forward: Callable[..., Any]
    backward: Callable[..., Any]
    draw: Callable[[Case], dict[str, Any]]
    differentiable: Callable[[Mapping[str, Any]], tuple[str, ...]]
    options: Mapping[str, tuple[Any, ...]]
    values: Mapping[str, distributions.Distribution]
    shapes: tuple[tuple[int, ...], ...]
    sizes: tuple[tuple[tuple[int, ...], Mapping[str, Any]], ...]
    settle: Callable[[tuple[int, ...], dict[str, Any]], dict[str, Any]] = lambda shape, options: options
    output_dtype: Callable[[Case], str] = lambda case: case.dtype
    targets_classes: bool = False
    acts_on_elements: bool = False
    extreme_values: Mapping[str, distributions.Distribution] = field(default_factory=dict)
    extreme_options: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def case(
        self, dtype: str, shape: tuple[int, ...], values: str, options: Mapping[str, Any], seed: int
    ) -> Case:
        """A case of this operator, its options completed and settled."""
        complete = {name: allowed[0] for name, allowed in self.options.items()} | dict(options)
        return Case(
            self.name, dtype, shape, values, tuple(sorted(self.settle(shape, complete).items())), seed
        )

    def call(self, case: Case) -> Call:
        """Draw the arguments of ``case``."""
        return Call(
            operator=self.name,
            arguments=self.draw(case),
            dtype=case.dtype,
            output_dtype=self.output_dtype(case),
            differentiable=self.differentiable(case.option),
            facts=facts(case),
            dtypes=dtypes_of(case),
        )


def dtypes_of(case: Case) -> dict[str, str]:
    """The dtypes of the arguments that do not have the case's."""
    return {
        name.removesuffix("_dtype"): dtype
        for name, dtype in case.options
        if name.endswith("_dtype") and dtype
    }


def facts(case: Case) -> dict[str, Any]:
    """What a condition in the ledger may ask about a case: its options, its distribution, and where its rows
    lie.
    """
    dim = case.option.get("dim")
    return dict(case.option) | {
        "values": case.values,
        "last_dim": dim is None or not case.shape or dim % len(case.shape) == len(case.shape) - 1,
    }


def _real(case: Case, name: str, values: str, shape: tuple[int, ...], axis: int = 0) -> np.ndarray:
    """Numbers of the argument's dtype; a finite one beyond its largest number becomes that."""
    format = FORMATS[dtypes_of(case).get(name, case.dtype)]
    drawn = np.array(
        distributions.BY_NAME[values](case.generator(name), shape, axis, format), dtype=np.float64
    )
    return format.round(np.where(np.isfinite(drawn), np.clip(drawn, -format.largest, format.largest), drawn))


# --- softmax, log_softmax -----------------------------------------------------------------------------------


def _draw_rows(case: Case) -> dict[str, Any]:
    dim = case.option["dim"]
    x = _real(case, "input", case.values, case.shape, dim)
    return {"input": x, "dim": dim, "dtype": case.option["dtype"]}


def _settle_dim(shape: tuple[int, ...], options: dict[str, Any]) -> dict[str, Any]:
    dims = max(len(shape), 1)
    return options | {"dim": options["dim"] % dims - (dims if options["dim"] < 0 else 0)}


_ROW_SIZES = (
    *(((3, n), {"dim": 1}) for n in AROUND_POWERS),
    ((1, VOCABULARY), {"dim": 1}),
    ((VOCABULARY // 4, 2), {"dim": 0}),
    ((2, VOCABULARY // 16, 3), {"dim": -2}),
)


def _rows(name: str) -> Operator:
    return Operator(
        name=name,
        forward=getattr(reference, name),
        backward=getattr(reference, f"{name}_backward"),
        draw=_draw_rows,
        differentiable=lambda option: ("input",),
        options={"dim": (-1, 0, 1, -2, 2), "dtype": (None, "float32", "float64")},
        values=distributions.LOGITS,
        shapes=((), *ROW_SHAPES),
        sizes=_ROW_SIZES,
        settle=_settle_dim,
        output_dtype=lambda case: case.option["dtype"] or case.dtype,
        extreme_values=distributions.EXTREME_LOGITS,
        extreme_options={"dtype": ("float16", "bfloat16")},
    )


# --- nll_loss, cross_entropy --------------------------------------------------------------------------------


def _class_dim(shape: tuple[int, ...]) -> int:
    return 0 if len(shape) == 1 else 1


def _draw_indices(case: Case) -> np.ndarray:
    """Class indices with the first and the last class among them, and some or all of them ignored."""
    dim = _class_dim(case.shape)
    shape, classes = case.shape[:dim] + case.shape[dim + 1 :], case.shape[dim]
    rng, ignore_index = case.generator("target"), case.option["ignore_index"]
    target = np.asarray(rng.integers(0, classes, shape))
    ends = rng.random(shape)
    target = np.where(ends < 0.15, 0, np.where(ends > 0.85, classes - 1, target))
    if "classes" in case.option:
        target = np.full(shape, {"first": 0, "last": classes - 1}[case.option["classes"]])
    if case.option["ignored"] == "adjacent":  # one block, from the first row on
        ignored = (np.arange(target.size) < (target.size + 1) // 2).reshape(shape)
    else:
        ignored = rng.random(shape) < {"none": 0.0, "some": 0.4, "all": 1.0}[case.option["ignored"]]
    return np.where(ignored, ignore_index, target).astype(np.int64)


def _draw_class_weight(case: Case, target: np.ndarray) -> np.ndarray | None:
    kind, classes = case.option["weight"], case.shape[_class_dim(case.shape)]
    if kind is None:
        return None
    if kind == "zero where present":  # every counted row weighs nothing: a mean is 0 / 0
        return np.where(
            np.isin(np.arange(classes), target), 0.0, _real(case, "weight", "positive", (classes,))
        )
    return _real(case, "weight", kind, (classes,))


def _draw_nll(case: Case) -> dict[str, Any]:
    target = _draw_indices(case)
    return {
        "input": _real(case, "input", case.values, case.shape),
        "target": target,
        "weight": _draw_class_weight(case, target),
        "ignore_index": case.option["ignore_index"],
        "reduction": case.option["reduction"],
    }


def _draw_cross_entropy(case: Case) -> dict[str, Any]:
    dim = _class_dim(case.shape)
    target = (
        _draw_indices(case) if case.option["target"] == "indices" else _draw_class_probabilities(case, dim)
    )
    return {
        "input": _real(case, "input", case.values, case.shape, dim),
        "target": target,
        "weight": _draw_class_weight(case, target),
        "ignore_index": case.option["ignore_index"],
        "reduction": case.option["reduction"],
        "label_smoothing": case.option["label_smoothing"],
    }


def _draw_class_probabilities(case: Case, dim: int) -> np.ndarray:
    return _real(case, "target", case.option.get("probabilities", "simplex"), case.shape, dim)


def _settle_cross_entropy(shape: tuple[int, ...], options: dict[str, Any]) -> dict[str, Any]:
    """Class probabilities know no ignored rows and no classes of indices, indices no probabilities."""
    if options["target"] == "indices":
        return {name: value for name, value in options.items() if name != "probabilities"}
    return {name: value for name, value in options.items() if name != "classes"} | {
        "ignored": "none",
        "ignore_index": -100,
    }


def _cross_entropy_dtype(case: Case) -> str:
    """Class probabilities and their weights are multiplied with the logarithms, and promoted; indices leave
    the input's dtype.
    """
    return (
        promoted(case.dtype, *dtypes_of(case).values())
        if case.option["target"] == "probabilities"
        else case.dtype
    )


_CLASS_SIZES = (
    *(((3, n), {}) for n in AROUND_POWERS),
    ((1, VOCABULARY), {}),
    ((1, VOCABULARY // 8, 2), {}),
    ((MANY_ROWS // 4, 3), {"reduction": "sum", "weight": "positive"}),
    ((MANY_ROWS, 2), {"values": "integers"}),
    ((MANY_ROWS, 2), {"values": "integers", "reduction": "sum"}),
)
_CLASS_OPTIONS = {
    "reduction": REDUCTION,
    "weight": (None, "positive", "some zero"),
    "ignored": ("none", "some", "all"),
    "ignore_index": (-100, 0, 7, 255),
}
_EXTREME_CLASS_OPTIONS = {
    "weight": (*distributions.EXTREME_WEIGHTS, "zero where present"),
    "ignored": ("adjacent",),
    "ignore_index": (-1, 1, 2**40),
    "classes": ("first", "last"),
}

NLL_LOSS = Operator(
    name="nll_loss",
    forward=reference.nll_loss,
    backward=reference.nll_loss_backward,
    draw=_draw_nll,
    differentiable=lambda option: ("input",),
    options=_CLASS_OPTIONS,
    values=distributions.LOG_PROBABILITIES,
    shapes=CLASS_SHAPES,
    sizes=_CLASS_SIZES,
    targets_classes=True,
    extreme_values=distributions.EXTREME_LOG_PROBABILITIES,
    extreme_options=_EXTREME_CLASS_OPTIONS,
)

CROSS_ENTROPY = Operator(
    name="cross_entropy",
    forward=reference.cross_entropy,
    backward=reference.cross_entropy_backward,
    draw=_draw_cross_entropy,
    differentiable=lambda option: (
        ("input",)
        + (
            ("target",) + (("weight",) if option["weight"] else ())
            if option["target"] == "probabilities"
            else ()
        )
    ),
    options=_CLASS_OPTIONS | {"target": ("indices", "probabilities"), "label_smoothing": (0.0, 0.1, 1.0)},
    values=distributions.LOGITS,
    shapes=CLASS_SHAPES,
    sizes=(
        *(
            (shape, {k: "integer_losses" if v == "integers" else v for k, v in options.items()})
            for shape, options in _CLASS_SIZES
        ),
        ((1, VOCABULARY // 4), {"target": "probabilities", "label_smoothing": 0.1}),
    ),
    settle=_settle_cross_entropy,
    output_dtype=_cross_entropy_dtype,
    targets_classes=True,
    extreme_values=distributions.EXTREME_LOGITS,
    extreme_options=_EXTREME_CLASS_OPTIONS | {"probabilities": tuple(distributions.CLASS_PROBABILITIES)},
)


# --- binary_cross_entropy, with and without logits ----------------------------------------------------------


def _draw_binary(case: Case) -> dict[str, Any]:
    """The arguments of both operators; the one of logits has a ``pos_weight`` among its options."""
    arguments = {
        "input": _real(case, "input", case.values, case.shape),
        "target": _real(
            case, "target", (BINARY_TARGETS | EXTREME_BINARY_TARGETS)[case.option["target"]], case.shape
        ),
        "weight": _draw_element_weight(case, "weight"),
        "reduction": case.option["reduction"],
    }
    return (
        arguments | {"pos_weight": _draw_element_weight(case, "pos_weight")}
        if "pos_weight" in case.option
        else arguments
    )


def _draw_element_weight(case: Case, name: str) -> np.ndarray | None:
    """A weight of one of the shapes that broadcast, or of the full shape with special values."""
    kind = case.option[name]
    if kind is None:
        return None
    shapes = {**ELEMENT_WEIGHTS, **EXTREME_ELEMENT_WEIGHTS}
    if kind in shapes:
        return _real(case, name, "positive", shapes[kind](case.shape))
    return _real(case, name, kind, case.shape)


BINARY_TARGETS = {"hard": "certain_probabilities", "soft": "uniform_probabilities"}
EXTREME_BINARY_TARGETS = {"boundary": "boundary_probabilities", "extreme": "extreme_probabilities"}
ELEMENT_WEIGHTS: Mapping[str, Callable[[tuple[int, ...]], tuple[int, ...]]] = {
    "full": lambda shape: shape,
    "last dimension": lambda shape: shape[-1:],
    "rows": lambda shape: (*shape[:-1], 1)[: len(shape)],
}
EXTREME_ELEMENT_WEIGHTS: Mapping[str, Callable[[tuple[int, ...]], tuple[int, ...]]] = {
    "scalar": lambda shape: (),
    "one": lambda shape: (1,) * min(len(shape), 1),
    "ones": lambda shape: (1,) * len(shape),
    "without the first dimension": lambda shape: shape[1:],
    "first dimension": lambda shape: shape[:1] + (1,) * len(shape[1:]),
    "middle": lambda shape: tuple(1 if i in (0, len(shape) - 1) else n for i, n in enumerate(shape)),
    "ends": lambda shape: tuple(n if i in (0, len(shape) - 1) else 1 for i, n in enumerate(shape)),
}
_BINARY_OPTIONS = {
    "reduction": REDUCTION,
    "weight": (None, *ELEMENT_WEIGHTS),
    "target": tuple(BINARY_TARGETS),
}
_SPECIAL_ELEMENT_WEIGHTS = (*EXTREME_ELEMENT_WEIGHTS, "some zero", *distributions.EXTREME_WEIGHTS)
_EXTREME_BINARY_OPTIONS = {"weight": _SPECIAL_ELEMENT_WEIGHTS, "target": tuple(EXTREME_BINARY_TARGETS)}


def _element_sizes(exact: str) -> tuple[tuple[tuple[int, ...], Mapping[str, Any]], ...]:
    return (
        *(((n,), {}) for n in AROUND_POWERS),
        ((MANY_ROWS,), {"values": exact}),
        ((MANY_ROWS,), {"values": exact, "reduction": "sum"}),
    )


BINARY_CROSS_ENTROPY = Operator(
    name="binary_cross_entropy",
    forward=reference.binary_cross_entropy,
    backward=reference.binary_cross_entropy_backward,
    draw=_draw_binary,
    differentiable=lambda option: ("input", "target"),
    options=_BINARY_OPTIONS,
    values=distributions.PROBABILITIES,
    shapes=ELEMENT_SHAPES,
    sizes=_element_sizes("certain_probabilities"),
    acts_on_elements=True,
    extreme_values=distributions.EXTREME_PROBABILITIES,
    extreme_options=_EXTREME_BINARY_OPTIONS,
)

BINARY_CROSS_ENTROPY_WITH_LOGITS = Operator(
    name="binary_cross_entropy_with_logits",
    forward=reference.binary_cross_entropy_with_logits,
    backward=reference.binary_cross_entropy_with_logits_backward,
    draw=_draw_binary,
    differentiable=lambda option: ("input", "target"),
    options=_BINARY_OPTIONS | {"pos_weight": (None, *ELEMENT_WEIGHTS)},
    values=distributions.BINARY_LOGITS,
    shapes=ELEMENT_SHAPES,
    sizes=_element_sizes("signed_integer_losses"),
    acts_on_elements=True,
    output_dtype=lambda case: promoted(case.dtype, dtypes_of(case).get("target", case.dtype)),
    extreme_values=distributions.EXTREME_BINARY_LOGITS,
    extreme_options=_EXTREME_BINARY_OPTIONS | {"pos_weight": _SPECIAL_ELEMENT_WEIGHTS},
)

OPERATORS: Mapping[str, Operator] = {
    operator.name: operator
    for operator in (
        _rows("softmax"),
        _rows("log_softmax"),
        NLL_LOSS,
        CROSS_ENTROPY,
        BINARY_CROSS_ENTROPY,
        BINARY_CROSS_ENTROPY_WITH_LOGITS,
    )
}
DTYPES = ("float16", "bfloat16", "float32", "float64")
