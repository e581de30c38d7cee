"""What torch means: one row for each corner of an operator's domain, for `test_reference_semantics`.

A row is a sentence and its arguments. What comes out is what torch.nn.functional says; where that is a round number, or nan, the
row says so too.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

REDUCTIONS = ("none", "mean", "sum")
SOFTMAX, LOG_SOFTMAX, NLL, CE = "softmax", "log_softmax", "nll_loss", "cross_entropy"
BCE, BCE_LOGITS = "binary_cross_entropy", "binary_cross_entropy_with_logits"
inf, nan = np.inf, np.nan


@dataclass(frozen=True, eq=False)
class Case:
    """``value`` and ``gradient`` (of input), where given, must come out exactly; both broadcast."""

    operator: str
    sentence: str
    arguments: dict[str, Any]
    value: Any = None
    gradient: Any = None
    torch_has_backward: bool = True
    since: str = "2.8"  # the oldest torch that is known to do so

    def __str__(self) -> str:
        return f"{self.operator}[{self.sentence}]"

    @property
    def differentiable(self) -> tuple[str, ...]:
        """The arguments that torch differentiates."""
        if self.operator == CE and self.arguments["target"].dtype.kind == "f":
            return ("input", "target", "weight") if "weight" in self.arguments else ("input", "target")
        return ("input", "target") if self.operator in (BCE, BCE_LOGITS) else ("input",)


CASES: list[Case] = []
shape: tuple[int, ...]
x: float
t: float


def case(
    operators: str,
    sentence: str,
    *,
    value: Any = None,
    gradient: Any = None,
    backward: bool = True,
    since: str = "2.8",
    **arguments: Any,
) -> None:
    made = {k: np.asarray(v) if isinstance(v, (list, np.ndarray, np.generic)) else v for k, v in arguments.items()}
    CASES.extend(Case(operator, sentence, made, value, gradient, backward, since) for operator in operators.split())


def reals(*shape: int) -> np.ndarray:
    return np.asarray(np.random.default_rng(0).integers(-64, 65, shape) / 32)


def shares(*shape: int, draw: int = 1) -> np.ndarray:
    return np.asarray(np.random.default_rng(draw).integers(4, 61, shape) / 64)


def indices(shape: tuple[int, ...]) -> np.ndarray:
    """Targets of three classes for logits of ``shape``, each class among the first three."""
    rows = shape[:1] * (len(shape) > 1) + shape[2:]
    return np.asarray(np.random.default_rng(3).permutation(np.arange(np.prod(rows, dtype=int)) % 3).reshape(rows))


X, Q, T, W = reals(2, 3), shares(2, 3), [2, 0], [0.5, 2.0, 1.25]

# --- softmax and log_softmax ---------------------------------------------------------------------------------------------

BOTH = f"{SOFTMAX} {LOG_SOFTMAX}"
for shape in ((3,), (2, 3), (2, 3, 4), (2, 3, 2, 2), (0, 3), (2, 0), (0,), (2, 3, 0)):
    for dim in range(-len(shape), len(shape)):
        case(BOTH, f"shape {shape}, dim {dim}", input=reals(*shape), dim=dim)
for shape, dim in (((), 0), ((), -1), ((2, 1), 1), ((1,), 0)):
    case(SOFTMAX, f"one class, shape {shape}, dim {dim} -> 1, gradient 0", input=reals(*shape), dim=dim, value=1.0, gradient=0.0)
    case(LOG_SOFTMAX, f"one class, shape {shape}, dim {dim} -> 0, gradient 0", input=reals(*shape), dim=dim, value=0.0, gradient=0.0)
for row in ([-inf, -inf], [inf, 0.0], [inf, inf, 0.0], [nan, 0.0, 1.0], [nan, inf, -inf], [inf, -inf]):
    case(BOTH, f"a row {row} -> nan", input=[row], dim=1, value=nan, gradient=nan)
    case(BOTH, f"a row {row} beside another", input=[row, [0.5] * len(row)], dim=-1)
case(SOFTMAX, "-inf -> 0 and the rest share", input=[[-inf, 0.5, 0.5]], dim=1, value=[[0.0, 0.5, 0.5]])
case(LOG_SOFTMAX, "-inf -> -inf and the rest share", input=[[-inf, 0.0, -inf]], dim=1, value=[[-inf, 0.0, -inf]])
case(SOFTMAX, "ties share evenly", input=[[3.0] * 4], dim=1, value=0.25)
case(SOFTMAX, "the largest numbers do not overflow", input=[[8e307, -8e307]], dim=1, value=[[1.0, 0.0]])
case(LOG_SOFTMAX, "the largest numbers do not overflow", input=[[8e307, -8e307]], dim=1, value=[[0.0, -16e307]])

# --- class indices: nll_loss and cross_entropy -----------------------------------------------------------------------------

BOTH = f"{NLL} {CE}"
SHAPES = ((3,), (2, 3), (2, 3, 2), (2, 3, 2, 2), (2, 3, 2, 1, 2), (0, 3), (2, 3, 0), (2, 3, 2, 0))
for shape, reduction in product(SHAPES, REDUCTIONS):
    given: dict[str, Any] = {"input": reals(*shape), "target": indices(shape), "reduction": reduction}
    case(BOTH, f"shape {shape}, {reduction}", **given)
    given |= {"weight": W, "ignore_index": 1}
    case(NLL, f"shape {shape}, weight, class 1 ignored, {reduction}", **given)
    case(CE, f"shape {shape}, smoothing, weight, class 1 ignored, {reduction}", **given, label_smoothing=0.25)
for reduction, empty in {"none": 0.0, "mean": nan, "sum": 0.0}.items():
    given = {"input": X, "target": [-100, -100], "reduction": reduction, "value": empty, "gradient": 0.0}
    case(BOTH, f"all targets ignored, {reduction} -> {empty}, gradient 0", **given)
    case(BOTH, f"all targets ignored, weight, {reduction} -> {empty}, gradient 0", **given, weight=W)
    case(CE, f"all targets ignored, smoothing, {reduction} -> {empty}, gradient 0", **given, label_smoothing=0.25)
    case(CE, f"all targets ignored, smoothing, weight, {reduction} -> {empty}, gradient 0", **given, weight=W, label_smoothing=0.25)
    for shape in ((0,), (2, 0), (2, 0, 0)):
        given = {"input": reals(*shape), "target": 0 * indices(shape) - 100, "reduction": reduction}
        case(BOTH, f"no classes, shape {shape}, all ignored, {reduction} -> {empty}", **given, value=empty)
        case(CE, f"no classes, shape {shape}, all ignored, smoothing, {reduction} -> nan", **given, label_smoothing=0.25, value=nan)
    case(CE, f"one class, {reduction} -> 0", input=reals(2, 1), target=[0, 0], reduction=reduction, value=0.0, gradient=0.0)
    case(BOTH, f"ignore_index beyond the classes, {reduction}", input=X, target=[7, 0], ignore_index=7, reduction=reduction)
case(BOTH, "ignore_index is a class", input=X, target=[1, 0], ignore_index=1)
case(BOTH, "ignore_index is a class, all ignored -> nan, gradient 0", input=X, target=[1, 1], ignore_index=1, value=nan, gradient=0.0)
case(CE, "ignore_index is a class, all ignored, smoothing -> nan", input=X, target=[1, 1], ignore_index=1, label_smoothing=0.25, value=nan)
case(BOTH, "weight inf at the ignored class", input=X, target=[1, 0], ignore_index=1, weight=[1.0, inf, 1.0])
case(BOTH, "ignore_index -1", input=X, target=[-1, 0], ignore_index=-1)
case(BOTH, "ignore_index 255 in uint8", input=X, target=np.asarray([255, 0], dtype=np.uint8), ignore_index=255)
case(BOTH, "uint8 target", input=X, target=np.asarray(T, dtype=np.uint8))
case(BOTH, "the target of a single row may have shape (1,)", input=reals(3), target=[1], backward=False, since="2.13")
case(BOTH, "weight 0 at the ignored class", input=X, target=[1, 0], ignore_index=1, weight=[1.0, 0.0, 1.0])
WEIGHTS = {"0 where the targets are": [0.0, 1.0, 0.0], "0 at one target": [0.0, 1.0, 2.0], "that cancels": [-1.0, 1.0, 1.0]}
WEIGHTS |= {"negative": [-1.0, 1.0, 3.0], "nan beside the targets": [1.0, nan, 1.0], "inf at a target": [inf, 1.0, 1.0]}
for (name, weight), reduction in product(WEIGHTS.items(), ("none", "mean")):
    case(BOTH, f"weight {name}, {reduction}", input=X, target=T, weight=weight, reduction=reduction)
    case(CE, f"weight {name}, smoothing, {reduction}", input=X, target=T, weight=weight, label_smoothing=0.25, reduction=reduction)
case(CE, "smoothing", input=X, target=T, label_smoothing=0.25)
case(CE, "smoothing, an ignored row", input=X, target=[-100, 0], label_smoothing=0.25)
case(CE, "all smoothed away", input=X, target=T, label_smoothing=1.0, weight=W)
case(NLL, "-inf at the target -> inf", input=[[0.0, -inf]], target=[1], value=inf)
case(NLL, "-inf at the target, weight 0 -> nan", input=[[0.0, -inf], [0.0, 0.0]], target=[1, 0], weight=[1.0, 0.0], value=nan)
case(NLL, "nan beside the target -> unaffected", input=[[nan, -0.5]], target=[1], value=0.5)
for bad in (nan, -inf, inf):
    case(NLL, f"{bad} in an ignored row -> unaffected, its gradient 0", input=[[bad, bad], [-0.5, 0.0]], target=[-100, 0], value=0.5)
    for row in ([bad, bad], [bad, 0.0]):
        given = {"input": [row, [0.0, -inf]]}
        ignored: dict[str, Any] = {"target": [-100, 0], "value": 0.0}
        gradient = 0.0 if row == [-inf, 0.0] else [[nan, nan], [0.0, 0.0]]
        case(CE, f"an ignored row {row}, mean -> unaffected, its gradient nan", **given, **ignored, gradient=gradient)
        case(CE, f"an ignored row {row}, sum -> unaffected, its gradient nan", **given, **ignored, gradient=gradient, reduction="sum")
        case(CE, f"an ignored row {row}, smoothing", **given, target=[-100, 0], label_smoothing=0.25)
        case(CE, f"a counted row {row}", **given, target=[1, 0], reduction="none")
case(CE, "-inf at the target -> inf, gradient finite", input=[[0.0, -inf]], target=[1], value=inf)
case(CE, "-inf beside the target -> 0, gradient 0", input=[[0.0, -inf]], target=[0], value=0.0, gradient=0.0)
case(CE, "-inf beside the target, smoothing -> inf", input=[[0.0, -inf]], target=[0], label_smoothing=0.25, value=inf)

# --- class probabilities ---------------------------------------------------------------------------------------------------

for shape, reduction in product((*SHAPES, (0,), (2, 0), (2, 1)), REDUCTIONS):
    given = {"input": reals(*shape), "target": shares(*shape), "reduction": reduction}
    given |= {"weight": shares(*shape[:2][-1:], draw=2), "label_smoothing": 0.25}
    case(CE, f"probabilities, shape {shape}, weight, smoothing, {reduction}", **given)
case(CE, "probabilities", input=X, target=Q)
case(CE, "probabilities, weight", input=X, target=Q, weight=W)
case(CE, "probabilities, smoothing", input=X, target=Q, label_smoothing=0.25)
case(CE, "probabilities, all smoothed away", input=X, target=Q, label_smoothing=1.0)
MASKED = [[0.0, -inf]] * 2
SURE: dict[str, Any] = {"input": [[0.0, -256.0]] * 2, "weight": [1.0, 3.0]}
case(CE, "weighted mean over probabilities divides by N", **SURE, target=[[0.0, 1.0]] * 2, value=768.0)
case(CE, "weighted mean over indices divides by the weights", **SURE, target=[1, 1], value=256.0)
case(CE, "probabilities are not normalised", input=X, target=2 * Q, weight=W)
case(CE, "negative probabilities", input=X, target=-Q)
case(CE, "all-zero probabilities -> 0, gradient 0", input=X, target=0 * Q, value=0.0, gradient=0.0)
case(CE, "probabilities with a negative ignore_index, which is unused", input=X, target=Q, ignore_index=-1)
case(CE, "probability 0 at a -inf logit -> nan, gradient 0", input=MASKED, target=[[1.0, 0.0]] * 2, value=nan, gradient=0.0)
case(CE, "probability 0 at a -inf logit, smoothing -> inf", input=MASKED, target=[[1.0, 0.0]] * 2, label_smoothing=0.25, value=inf)
case(CE, "weight 0 at a -inf logit -> nan", input=MASKED, target=[[0.5, 0.5]] * 2, weight=[1.0, 0.0], value=nan)
case(CE, "probability 1 at a -inf logit -> inf", input=MASKED, target=[[0.0, 1.0]] * 2, value=inf)
for bad in (nan, inf, -inf):
    case(CE, f"probabilities, a row of {bad}", input=[[bad, bad], [0.0, 1.0]], target=[[0.5, 0.5]] * 2, reduction="none")
    case(CE, f"probabilities, one logit {bad}", input=[[bad, 0.0], [0.0, 1.0]], target=[[0.5, 0.5]] * 2, weight=[0.0, 1.0])

# --- binary cross-entropy --------------------------------------------------------------------------------------------------

BOTH = f"{BCE} {BCE_LOGITS}"
for shape, reduction in product(((), (3,), (2, 3), (2, 3, 2), (0,), (0, 3), (2, 0)), REDUCTIONS):
    case(BOTH, f"shape {shape}, {reduction}", input=shares(*shape), target=shares(*shape, draw=2), reduction=reduction)
for shape, reduction in product(((2, 3), (2, 1), (3,), (), (1, 1)), REDUCTIONS):
    given = {"input": Q, "target": shares(2, 3, draw=2), "weight": shares(*shape, draw=3), "reduction": reduction}
    case(BOTH, f"weight of shape {shape}, {reduction}", **given)
    case(BCE_LOGITS, f"weight and pos_weight of shape {shape}, {reduction}", **given, pos_weight=shares(*shape, draw=4))
case(BCE_LOGITS, "pos_weight", input=X, target=1 - Q, pos_weight=W)
case(BOTH, "weight negative, 0, inf", input=Q, target=1 - Q, weight=[-1.0, 0.0, inf])
case(BOTH, "weight nan", input=Q, target=1 - Q, weight=[nan], value=nan, gradient=nan)
for (x, t), loss in {(0, 0): 0.0, (0, 1): 100.0, (1, 0): 100.0, (1, 1): 0.0, (0, 0.5): 50.0, (1, 0.5): 50.0}.items():
    case(BCE, f"input {x}, target {t} -> {loss}", input=[float(x)], target=[float(t)], value=loss, gradient=0.0 if x == t else None)
case(BCE, "input -0.0, target 0", input=[-0.0], target=[0.0], value=0.0, gradient=0.0)
for x, t in product((5e-324, 1e-300, 1e-44, 1e-43, 1e-13, 1e-12, 0.5, 1 - 2**-53), (0.0, 0.5, 1.0)):
    case(BCE, f"input {x}, target {t}", input=[x], target=[t], weight=[0.75], reduction="none")
TORCH_CANCELS = ((-inf, 0.5), (-inf, 1.0))  # see test_inf_where_torch_subtracts_infinities
for x, t in product((inf, -inf, nan), (0.0, 0.5, 1.0)):
    case(BCE_LOGITS, f"input {x}, target {t}, pos_weight 0", input=[x], target=[t], pos_weight=[0.0])
    if (x, t) not in TORCH_CANCELS:
        case(BCE_LOGITS, f"input {x}, target {t}", input=[x], target=[t])
        case(BCE_LOGITS, f"input {x}, target {t}, pos_weight", input=[x], target=[t], pos_weight=[3.0])
case(BCE_LOGITS, "target nan", input=[1.0], target=[nan], value=nan, gradient=nan)
case(BCE_LOGITS, "targets outside [0, 1]", input=[1.0, 0.5, 0.25], target=[2.0, -1.0, 3.0], reduction="none")
case(BCE_LOGITS, "logit 0", input=[0.0, -0.0], target=[0.0, 1.0], reduction="none")
case(BCE_LOGITS, "the largest logits do not overflow", input=[1e308, -1e308], target=[0.0, 1.0], reduction="none", value=1e308)
case(BCE_LOGITS, "pos_weight negative, 0", input=[1.0, 0.5, 0.25], target=[1.0, 1.0, 0.5], pos_weight=[-1.0, 0.0, -2.0])
case(BCE_LOGITS, "pos_weight inf at target 0 -> nan", input=[1.0], target=[0.0], pos_weight=[inf], value=nan, gradient=nan)
