"""The closed-form derivatives are the derivatives of the definitions.

Shown twice, with no number that anybody chose as a tolerance:

*Mean value theorem, in ball arithmetic.* Along a direction v, phi(s) = sum(g f(x + s v)) has (phi(h) -
phi(0)) / h = phi'(s) for some s between 0 and h. Evaluated on balls that cover the whole segment, <v,
backward(g, X)> encloses phi'(s) for every s: the two balls must overlap, and a derivative that is wrong by
more than their radii is *proved* wrong. Where undecided comparisons choose the shift of a softmax, any choice
is sound. Kinks (the clamps of binary cross-entropy, logit 0) are kept outside the segment.

*Autograd through the definition, in float64.* It applies the chain rule to the definition, line by line, with
a unit roundoff of 2**-53. The closed form evaluated in rounding arithmetic says what float32, with 2**-24,
may cost, which is 2**29 times the room that the same conditioning needs in float64. So only a wrong formula
fails, and no constant is guessed.

Both are run on planted faults, and must reject each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import flint
import numpy as np
import pytest
import torch

from torch_loss_parity import reference
from torch_loss_parity.reference.arithmetic.balls import balls, precision
from torch_loss_parity.reference.arithmetic.formats import Arithmetic
from torch_loss_parity.reference.arithmetic.rounding import Rounded

FLOAT32 = Arithmetic.for_dtype("float32")
BITS, STEP = 256, -40  # enclosures are about 2**STEP wide, and 2**-BITS is nothing beside that
REDUCTIONS = ("none", "mean", "sum")

Arguments = dict[str, Any]
# (upstream gradient, arguments, the one to differentiate) -> gradient.
Backward = Callable[[Any, Arguments, str], Any]


@dataclass(frozen=True, eq=False)
class Problem:
    """An operator with arguments of float32 numbers, and one argument to differentiate."""

    operator: str
    sentence: str
    arguments: Arguments
    name: str

    def __str__(self) -> str:
        return f"{self.operator}[{self.sentence}] by {self.name}"

    @property
    def definition(self) -> Callable[..., Any]:
        return getattr(reference, self.operator)

    def backward(self, g: Any, arguments: Arguments, name: str) -> Any:
        gradients = getattr(reference, f"{self.operator}_backward")(g, **arguments)
        return getattr(gradients, name) if isinstance(gradients, tuple) else gradients


RNG = np.random.default_rng(2025)
PROBLEMS: list[Problem] = []


def problem(operator: str, sentence: str, names: str = "input", **arguments: Any) -> None:
    PROBLEMS.extend(Problem(operator, sentence, arguments, name) for name in names.split())


def reals(*shape: int) -> np.ndarray:
    return np.asarray(RNG.standard_normal(shape), dtype=np.float32).astype(np.float64)


def shares(*shape: int) -> np.ndarray:
    return np.asarray(RNG.uniform(0.05, 0.95, shape), dtype=np.float32).astype(np.float64)


for operator in ("softmax", "log_softmax"):
    for shape, dim in (((5,), 0), ((3, 4), 0), ((3, 4), -1), ((2, 3, 2), 1)):
        problem(operator, f"shape {shape}, dim {dim}", input=2 * reals(*shape), dim=dim)
    problem(operator, "ties", input=np.asarray([[1.5, 1.5, -1.0, 1.5], [0.0, 0.0, 0.0, 0.0]]), dim=1)
for reduction in REDUCTIONS:
    indices: Arguments = {"input": 2 * reals(3, 4), "target": np.asarray([1, 3, 0]), "reduction": reduction}
    weighted = indices | {"weight": shares(4), "ignore_index": 3}
    planes = weighted | {"input": 2 * reals(2, 4, 2), "target": np.asarray([[1, 3], [0, 2]])}
    for operator in ("nll_loss", "cross_entropy"):
        problem(operator, f"indices, {reduction}", **indices)
        problem(operator, f"indices, weight, ignored row, {reduction}", **weighted)
        problem(operator, f"indices, weight, ignored row, planes, {reduction}", **planes)
        problem(
            operator,
            f"index of a single row, {reduction}",
            **weighted | {"input": reals(4), "target": np.asarray(2)},
        )
    problem("cross_entropy", f"indices, smoothing, {reduction}", **indices, label_smoothing=0.25)
    problem(
        "cross_entropy",
        f"indices, smoothing, weight, ignored row, {reduction}",
        **weighted,
        label_smoothing=0.25,
    )
    problem(
        "cross_entropy",
        f"indices, smoothing, weight, ignored row, planes, {reduction}",
        **planes,
        label_smoothing=0.25,
    )
    for shape in ((4,), (3, 4), (2, 4, 2)):
        soft: Arguments = {"input": 2 * reals(*shape), "target": shares(*shape), "reduction": reduction}
        problem("cross_entropy", f"probabilities, shape {shape}, {reduction}", "input target", **soft)
        soft |= {"weight": shares(4), "label_smoothing": 0.25}
        problem(
            "cross_entropy",
            f"probabilities, shape {shape}, weight, smoothing, {reduction}",
            "input target weight",
            **soft,
        )
    pair: Arguments = {"input": shares(3, 4), "target": shares(3, 4), "reduction": reduction}
    problem("binary_cross_entropy", reduction, "input target", **pair)
    problem("binary_cross_entropy", f"weight, {reduction}", "input target", **pair, weight=shares(4))
    pair["input"] = np.copysign(4 * shares(3, 4), reals(3, 4))
    for given in ((), ("weight",), ("pos_weight",), ("weight", "pos_weight")):
        sentence = ", ".join((*given, reduction))
        problem(
            "binary_cross_entropy_with_logits",
            sentence,
            "input target",
            **pair,
            **{name: 2 * shares(4) for name in given},
        )


def upstream(problem: Problem) -> np.ndarray:
    with np.errstate(all="ignore"):
        return (
            np.random.default_rng(1)
            .standard_normal(np.shape(problem.definition(**problem.arguments)))
            .astype(np.float32)
            .astype(np.float64)
        )


def with_arrays(array: Callable[[np.ndarray], Any], arguments: Arguments) -> Arguments:
    return {
        name: array(value) if isinstance(value, np.ndarray) else value for name, value in arguments.items()
    }


def total(array: Any) -> flint.arb:
    return sum(np.asarray(array, dtype=object).reshape(-1), flint.arb(0))


@dataclass(frozen=True)
class MeanValue:
    """What the mean value theorem says about a derivative: ``slope`` encloses it over the segment,
    ``quotient`` is one of its values.
    """

    slope: flint.arb
    quotient: flint.arb
    magnitude: flint.arb

    @property
    def holds(self) -> bool:
        return bool(self.slope.overlaps(self.quotient))

    @property
    def is_tight(self) -> bool:
        """Whether the enclosure could tell: its radius is certainly below 2**-20 of the terms that were
        added.
        """
        return bool(self.slope.rad() < self.magnitude * flint.arb(2) ** -20)


def mean_value(problem: Problem, backward: Backward) -> MeanValue:
    with precision(BITS):
        arguments, g = with_arrays(balls, problem.arguments), balls(upstream(problem))
        start = arguments[problem.name]
        v = balls(np.random.default_rng(2).standard_normal(np.shape(start)))
        h = flint.arb(2) ** STEP
        end = np.asarray(start + h * v, dtype=object)
        covering = np.asarray(np.frompyfunc(lambda a, b: a.union(b), 2, 1)(start, end), dtype=object)

        def phi(point: Any) -> flint.arb:
            return total(g * problem.definition(**arguments | {problem.name: point}))

        terms = np.asarray(v * backward(g, arguments | {problem.name: covering}, problem.name), dtype=object)
        return MeanValue(total(terms), (phi(end) - phi(start)) / h, total(abs(terms)))


def by_autograd(problem: Problem) -> np.ndarray:
    arguments = with_arrays(torch.tensor, problem.arguments)
    leaf = arguments[problem.name].requires_grad_()
    (gradient,) = torch.autograd.grad(problem.definition(**arguments), leaf, torch.tensor(upstream(problem)))
    return np.asarray(gradient)


def in_rounding_arithmetic(problem: Problem, backward: Backward) -> Rounded:
    return backward(
        Rounded(upstream(problem), FLOAT32),
        with_arrays(lambda array: Rounded(array, FLOAT32), problem.arguments),
        problem.name,
    )


def explained(gradient: np.ndarray, expected: Rounded) -> bool:
    return bool(np.all(np.abs(gradient - expected.value) <= expected.total_error()))


@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_mean_value_theorem(problem: Problem) -> None:
    """The difference quotient is a value that the closed form takes on the segment."""
    point = mean_value(problem, problem.backward)
    assert point.is_tight
    assert point.holds, f"{point.quotient} is none of {point.slope}"


@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_autograd_through_the_definition(problem: Problem) -> None:
    """Autograd in float64 finds the closed form to within what float32 may cost, and that is little."""
    expected, gradient = in_rounding_arithmetic(problem, problem.backward), by_autograd(problem)
    assert gradient.shape == expected.shape
    assert np.all(expected.total_error() <= 2.0**-16 * np.max(np.abs(expected.value)))
    assert explained(gradient, expected), f"{gradient} is not {expected}"


# --- planted faults -----------------------------------------------------------------------------------------


def without(*names: str, **instead: Any) -> Callable[[Problem], Backward]:
    """The derivative for other arguments than those that were given."""
    return lambda problem: (
        lambda g, a, name: problem.backward(g, {k: v for k, v in a.items() if k not in names} | instead, name)
    )


def times(factor: float, **instead: Any) -> Callable[[Problem], Backward]:
    return lambda problem: lambda g, a, name: factor * problem.backward(g, a | instead, name)


def formula(write: Callable[[Any, Any, Any], Any]) -> Callable[[Problem], Backward]:
    """A formula of (g, x, t) where the derivative should be; t is the target, or dim."""
    return lambda problem: lambda g, a, name: write(g, a["input"], a.get("target", a.get("dim")))


FAULTS: list[tuple[str, str, Callable[[Problem], Backward]]] = [
    (
        "softmax[shape (3, 4), dim -1] by input",
        "the sum is dropped",
        formula(lambda g, x, d: reference.softmax(x, d) * g),
    ),
    ("softmax[shape (3, 4), dim 0] by input", "along the other dimension", without(dim=1)),
    (
        "log_softmax[ties] by input",
        "the sign of p is flipped",
        formula(lambda g, x, d: 2 * g - reference.log_softmax_backward(g, x, d)),
    ),
    ("log_softmax[ties] by input", "of softmax", formula(reference.softmax_backward)),
    (
        "binary_cross_entropy[mean] by input",
        "no division by x (1 - x)",
        formula(lambda g, x, t: g * (x - t) / 12),
    ),
    (
        "binary_cross_entropy[sum] by input",
        "target and input swapped",
        formula(lambda g, x, t: g * (t - x) / (x * (1 - x))),
    ),
    (
        "binary_cross_entropy_with_logits[sum] by input",
        "of probabilities",
        formula(lambda g, x, t: g * (x - t)),
    ),
    (
        "binary_cross_entropy_with_logits[sum] by target",
        "the sign is flipped",
        formula(lambda g, x, t: g * x),
    ),
    (
        "cross_entropy[indices, weight, ignored row, mean] by input",
        "the mean divides by N",
        times(1 / 3, reduction="sum"),
    ),
    (
        "cross_entropy[probabilities, shape (3, 4), weight, smoothing, sum] by target",
        "no factor 1 - smoothing",
        without("label_smoothing"),
    ),
    (
        "cross_entropy[probabilities, shape (3, 4), weight, smoothing, sum] by weight",
        "target not smoothed",
        without("label_smoothing"),
    ),
    (
        "cross_entropy[probabilities, shape (3, 4), weight, smoothing, mean] by weight",
        "divides by another N",
        times(3 / 4),
    ),
]
NLL, CE = (
    "nll_loss[indices, weight, ignored row, {}]",
    ("cross_entropy[indices, smoothing, weight, ignored row, {}]"),
)
SOFT = "cross_entropy[probabilities, shape (3, 4), weight, smoothing, {}]"
BCE, BCE_LOGITS = (
    "binary_cross_entropy[weight, {}]",
    ("binary_cross_entropy_with_logits[weight, pos_weight, {}]"),
)
for kind, reduction in product((NLL, CE, SOFT, BCE, BCE_LOGITS), REDUCTIONS):
    name = f"{kind.format(reduction)} by input"
    FAULTS.append((name, "weight is ignored", without("weight")))
    FAULTS += [(name, "the mean is a sum", without(reduction="sum"))] * (reduction == "mean")
    FAULTS += [(name, "an ignored row counts", without("ignore_index"))] * (kind in (NLL, CE))
    FAULTS += [(name, "smoothing is ignored", without("label_smoothing"))] * (kind in (CE, SOFT))
    FAULTS += [(name, "pos_weight is ignored", without("pos_weight"))] * (kind == BCE_LOGITS)
for kind in (SOFT, BCE, BCE_LOGITS):
    name = f"{kind.format('mean')} by target"
    FAULTS += [
        (name, "weight is ignored", without("weight")),
        (name, "the mean is a sum", without(reduction="sum")),
    ]
    FAULTS += [(name, "pos_weight is ignored", without("pos_weight"))] * (kind == BCE_LOGITS)
    FAULTS.append((name, "the sign is flipped", times(-1)))
FAULTS += [
    (str(each), "a thousandth too large", times(1 + 2.0**-10))
    for each in PROBLEMS
    if each.arguments.get("reduction") == "sum"
]


@pytest.mark.parametrize(
    ("name", "fault"), [pytest.param(n, f, id=f"{n}: {sentence}") for n, sentence, f in FAULTS]
)
def test_detects(name: str, fault: Callable[[Problem], Backward]) -> None:
    """The mean value theorem, and autograd, each reject a wrong derivative."""
    problem = next(problem for problem in PROBLEMS if str(problem) == name)
    assert not mean_value(problem, fault(problem)).holds
    assert not explained(by_autograd(problem), in_rounding_arithmetic(problem, fault(problem)))
