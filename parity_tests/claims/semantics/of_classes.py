"""The semantics of softmax, log_softmax, nll_loss and cross_entropy: the table."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from torch_loss_parity.claims.semantics.record import (
    CE,
    LOG_SOFTMAX,
    NLL,
    REDUCTIONS,
    SOFTMAX,
    Table,
    indices,
    reals,
    shares,
)

ROWS = Table()
add = ROWS.add
inf, nan = np.inf, np.nan
shape: tuple[int, ...]
given: dict[str, Any]

X, Q, T, W = reals(2, 3), shares(2, 3), [2, 0], [0.5, 2.0, 1.25]

# --- softmax and log_softmax --------------------------------------------------------------------------------

BOTH = f"{SOFTMAX} {LOG_SOFTMAX}"
for shape in ((3,), (2, 3), (2, 3, 4), (2, 3, 2, 2), (0, 3), (2, 0), (0,), (2, 3, 0)):
    for dim in range(-len(shape), len(shape)):
        add(BOTH, f"shape {shape}, dim {dim}", input=reals(*shape), dim=dim, about_shape=True)
for shape, dim in (((), 0), ((), -1), ((2, 1), 1), ((1,), 0)):
    given = {"input": reals(*shape), "dim": dim, "gradient": 0.0}
    add(SOFTMAX, f"one class, shape {shape}, dim {dim} -> 1, gradient 0", **given, value=1.0)
    add(LOG_SOFTMAX, f"one class, shape {shape}, dim {dim} -> 0, gradient 0", **given, value=0.0)
for shape, dim in (((), 0), ((3,), 0), ((2, 3), 1), ((2, 3, 4), 0), ((2, 3, 2, 2), 1), ((1, 3, 2, 1, 2), 1)):
    add(
        BOTH,
        f"no dim given, shape {shape} -> dim {dim}",
        input=reals(*shape),
        dim=None,
        stands_for={"dim": dim},
    )
for row in ([-inf, -inf], [inf, 0.0], [inf, inf, 0.0], [nan, 0.0, 1.0], [nan, inf, -inf], [inf, -inf]):
    add(BOTH, f"a row {row} -> nan, gradient nan", input=[row], dim=1, value=nan, gradient=nan)
    given = {"input": [row, [0.5] * len(row)], "dim": -1}
    add(
        SOFTMAX,
        f"a row {row} beside another -> nan in this row only",
        **given,
        value=[[nan] * len(row), [1 / len(row)] * len(row)],
    )
    add(LOG_SOFTMAX, f"a row {row} beside another -> nan in this row only", **given)
add(SOFTMAX, "-inf -> 0 and the rest share", input=[[-inf, 0.5, 0.5]], dim=1, value=[[0.0, 0.5, 0.5]])
add(
    LOG_SOFTMAX,
    "-inf -> -inf and the rest share",
    input=[[-inf, 0.0, -inf]],
    dim=1,
    value=[[-inf, 0.0, -inf]],
)
add(SOFTMAX, "ties share evenly", input=[[3.0] * 4], dim=1, value=0.25)
FAR: dict[str, Any] = {"input": lambda format: [[format.largest / 2, -format.largest / 2]], "dim": 1}
add(SOFTMAX, "half the largest numbers do not overflow", **FAR, value=[[1.0, 0.0]])
add(
    LOG_SOFTMAX,
    "half the largest numbers do not overflow",
    **FAR,
    value=lambda format: [[0.0, -format.largest]],
)
FARTHEST: dict[str, Any] = {"input": lambda format: [[format.largest, -format.largest]], "dim": 1}
add(SOFTMAX, "the largest numbers -> 1 and 0", **FARTHEST, value=[[1.0, 0.0]], gradient=0.0)
add(
    LOG_SOFTMAX,
    "the largest numbers -> 0 and -inf",
    **FARTHEST,
    value=[[0.0, -inf]],
    gradient=[[-1.0, 1.0]],
    upstream=1.0,
)
for wide in ("float32", "float64"):
    add(
        BOTH,
        f"dtype {wide} -> the result in it, the gradient in the input's",
        input=reals(2, 3),
        dim=1,
        dtype=wide,
    )

# --- class indices: nll_loss and cross_entropy --------------------------------------------------------------

BOTH = f"{NLL} {CE}"
SHAPES = ((3,), (2, 3), (2, 3, 2), (2, 3, 2, 2), (2, 3, 2, 1, 2), (0, 3), (2, 3, 0), (2, 3, 2, 0))
for shape, reduction in product(SHAPES, REDUCTIONS):
    given = {"input": reals(*shape), "target": indices(shape), "reduction": reduction, "about_shape": True}
    add(BOTH, f"shape {shape}, {reduction}", **given)
    given |= {"weight": W, "ignore_index": 1}
    add(NLL, f"shape {shape}, weight, class 1 ignored, {reduction}", **given)
    add(CE, f"shape {shape}, smoothing, weight, class 1 ignored, {reduction}", **given, label_smoothing=0.25)
    if len(shape) > 1 and 0 not in shape:
        given = {
            "input": reals(*shape),
            "target": indices(shape).astype(np.uint8),
            "reduction": reduction,
            "ignore_index": 2,
        }
        add(BOTH, f"uint8 targets, shape {shape}, class 2 ignored, {reduction}", **given, about_shape=True)
for reduction, empty in {"none": 0.0, "mean": nan, "sum": 0.0}.items():
    given = {"input": X, "target": [-100, -100], "reduction": reduction, "value": empty, "gradient": 0.0}
    add(BOTH, f"all targets ignored, {reduction} -> {empty:g}, gradient 0", **given)
    add(BOTH, f"all targets ignored, weight, {reduction} -> {empty:g}, gradient 0", **given, weight=W)
    add(
        CE,
        f"all targets ignored, smoothing, {reduction} -> {empty:g}, gradient 0",
        **given,
        label_smoothing=0.25,
    )
    add(
        CE,
        f"all targets ignored, smoothing, weight, {reduction} -> {empty:g}, gradient 0",
        **given,
        weight=W,
        label_smoothing=0.25,
    )
    for shape in ((0,), (2, 0), (2, 0, 2), (2, 0, 2, 2), (2, 0, 1, 2, 2), (2, 0, 0)):
        given = {
            "input": reals(*shape),
            "target": 0 * indices(shape) - 100,
            "reduction": reduction,
            "about_shape": len(shape) > 2,
        }
        add(BOTH, f"no classes, shape {shape}, all ignored, {reduction} -> {empty:g}", **given, value=empty)
        add(
            CE,
            f"no classes, shape {shape}, all ignored, smoothing, {reduction} -> nan",
            **given,
            label_smoothing=0.25,
            value=nan,
        )
    add(
        CE,
        f"one class, {reduction} -> 0, gradient 0",
        input=reals(2, 1),
        target=[0, 0],
        reduction=reduction,
        value=0.0,
        gradient=0.0,
    )
    add(
        BOTH,
        f"ignore_index beyond the classes, {reduction}",
        input=X,
        target=[7, 0],
        ignore_index=7,
        reduction=reduction,
    )
    given = {
        "input": X,
        "target": np.asarray([255, 0], dtype=np.uint8),
        "ignore_index": 255,
        "reduction": reduction,
    }
    add(BOTH, f"ignore_index 255 in uint8, {reduction}", **given)
    add(CE, f"ignore_index 255 in uint8, smoothing, {reduction}", **given, label_smoothing=0.25)
for name, far in {"2**63 - 1": 2**63 - 1, "-2**63": -(2**63)}.items():
    add(BOTH, f"ignore_index {name}", input=X, target=[far, 0], ignore_index=far)
IGNORED: dict[str, Any] = {"input": X, "ignore_index": 1}
add(BOTH, "ignore_index is a class", **IGNORED, target=[1, 0])
add(
    BOTH,
    "ignore_index is a class, all ignored -> nan, gradient 0",
    **IGNORED,
    target=[1, 1],
    value=nan,
    gradient=0.0,
)
add(
    CE,
    "ignore_index is a class, all ignored, smoothing -> nan, gradient 0",
    **IGNORED,
    target=[1, 1],
    label_smoothing=0.25,
    value=nan,
    gradient=0.0,
)
add(BOTH, "weight inf at the ignored class", **IGNORED, target=[1, 0], weight=[1.0, inf, 1.0])
add(BOTH, "weight 0 at the ignored class", **IGNORED, target=[1, 0], weight=[1.0, 0.0, 1.0])
add(BOTH, "ignore_index -1", input=X, target=[-1, 0], ignore_index=-1)
add(BOTH, "ignore_index 0", input=X, target=[2, 0], ignore_index=0)
add(CE, "ignore_index 0, smoothing", input=X, target=[2, 0], ignore_index=0, label_smoothing=0.25)
add(BOTH, "the target of a single row may have shape (1,)", input=reals(3), target=[1], since="2.13")
add(
    NLL,
    "log-probabilities may be positive",
    input=[[2.0, 0.0]],
    target=[0],
    value=-2.0,
    gradient=[[-1.0, 0.0]],
)
SPARSE: dict[str, Any] = {"input": X, "target": T}
add(
    NLL,
    "weight 0 where the targets are, mean -> nan, gradient nan at the targets",
    **SPARSE,
    weight=[0.0, 1.0, 0.0],
    value=nan,
    gradient=[[0.0, 0.0, nan], [nan, 0.0, 0.0]],
)
add(
    NLL,
    "weight that cancels, mean -> inf, gradient infinite at the targets",
    input=[[0.0, -1.0, -2.0], [-1.0, 0.0, 0.0]],
    target=T,
    weight=[-1.0, 1.0, 1.0],
    value=inf,
    gradient=[[0.0, 0.0, -inf], [inf, 0.0, 0.0]],
)
add(
    CE,
    "weight 0 where the targets are, smoothing, mean -> nan, gradient nan",
    **SPARSE,
    weight=[0.0, 1.0, 0.0],
    label_smoothing=0.25,
    value=nan,
    gradient=nan,
)
WEIGHTS = {
    "0 where the targets are": [0.0, 1.0, 0.0],
    "0 at one target": [0.0, 1.0, 2.0],
    "that cancels": [-1.0, 1.0, 1.0],
}
WEIGHTS |= {
    "negative": [-1.0, 1.0, 3.0],
    "nan beside the targets": [1.0, nan, 1.0],
    "inf at a target": [inf, 1.0, 1.0],
}
for (name, weight), reduction in product(WEIGHTS.items(), ("none", "mean")):
    add(BOTH, f"weight {name}, {reduction}", **SPARSE, weight=weight, reduction=reduction)
    add(
        CE,
        f"weight {name}, smoothing, {reduction}",
        **SPARSE,
        weight=weight,
        label_smoothing=0.25,
        reduction=reduction,
    )
add(CE, "no smoothing", **SPARSE)
add(CE, "smoothing", **SPARSE, label_smoothing=0.25)
add(CE, "smoothing, weight", **SPARSE, label_smoothing=0.25, weight=W)
add(CE, "smoothing, an ignored row", input=X, target=[-100, 0], label_smoothing=0.25)
add(CE, "smoothing, weight, an ignored row", input=X, target=[-100, 0], label_smoothing=0.25, weight=W)
add(CE, "all smoothed away", **SPARSE, label_smoothing=1.0, weight=W)
add(CE, "ties share evenly", input=[[0.0, 0.0]], target=[0], gradient=[[-0.5, 0.5]])
add(NLL, "-inf at the target -> inf", input=[[0.0, -inf]], target=[1], value=inf)
add(
    NLL,
    "-inf at the target, weight 0 -> nan",
    input=[[0.0, -inf], [0.0, 0.0]],
    target=[1, 0],
    weight=[1.0, 0.0],
    value=nan,
)
add(
    NLL,
    "nan beside the target -> unaffected",
    input=[[nan, -0.5]],
    target=[1],
    value=0.5,
    gradient=[[0.0, -1.0]],
)
for bad in (nan, -inf, inf):
    given = {
        "input": [[bad, bad], [-0.5, 0.0]],
        "target": [-100, 0],
        "value": 0.5,
        "gradient": [[0.0, 0.0], [-1.0, 0.0]],
    }
    add(NLL, f"{bad} in an ignored row -> unaffected, its gradient 0", **given)
    for row in ([bad, bad], [bad, 0.0]):
        given = {"input": [row, [0.0, -inf]]}
        ignored: dict[str, Any] = {"target": [-100, 0], "value": 0.0}
        ignored["gradient"] = 0.0 if row == [-inf, 0.0] else [[nan, nan], [0.0, 0.0]]
        named = "0" if row == [-inf, 0.0] else "nan"
        add(CE, f"an ignored row {row}, mean -> unaffected, its gradient {named}", **given, **ignored)
        add(
            CE,
            f"an ignored row {row}, sum -> unaffected, its gradient {named}",
            **given,
            **ignored,
            reduction="sum",
        )
        add(CE, f"an ignored row {row}, smoothing", **given, target=[-100, 0], label_smoothing=0.25)
        add(CE, f"a counted row {row}", **given, target=[1, 0], reduction="none")
add(
    CE,
    "-inf at the target -> inf, gradient finite",
    input=[[0.0, -inf]],
    target=[1],
    value=inf,
    gradient=[[1.0, -1.0]],
)
add(CE, "-inf beside the target -> 0, gradient 0", input=[[0.0, -inf]], target=[0], value=0.0, gradient=0.0)
add(
    CE,
    "-inf beside the target, smoothing -> inf",
    input=[[0.0, -inf]],
    target=[0],
    label_smoothing=0.25,
    value=inf,
    gradient=[[0.125, -0.125]],
)

# --- class probabilities ------------------------------------------------------------------------------------

for shape, reduction in product((*SHAPES, (0,), (2, 0), (2, 1)), REDUCTIONS):
    given = {"input": reals(*shape), "target": shares(*shape), "reduction": reduction}
    given |= {"weight": shares(*shape[:2][-1:], draw=2), "label_smoothing": 0.25, "about_shape": True}
    add(CE, f"probabilities, shape {shape}, weight, smoothing, {reduction}", **given)
add(CE, "probabilities", input=X, target=Q)
add(CE, "probabilities, as many classes as rows", input=reals(2, 2), target=shares(2, 2))
add(CE, "probabilities, weight", input=X, target=Q, weight=W)
add(CE, "probabilities, smoothing", input=X, target=Q, label_smoothing=0.25)
add(CE, "probabilities, all smoothed away", input=X, target=Q, label_smoothing=1.0)
ONE_HOT = [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
add(
    CE,
    "probabilities of one class, weight, smoothing",
    input=X,
    target=ONE_HOT,
    weight=W,
    label_smoothing=0.25,
)
MASKED = [[0.0, -inf]] * 2
SURE: dict[str, Any] = {"input": [[0.0, -256.0]] * 2, "weight": [1.0, 3.0]}
add(CE, "weighted mean over probabilities divides by N", **SURE, target=[[0.0, 1.0]] * 2, value=768.0)
add(CE, "weighted mean over indices divides by the weights", **SURE, target=[1, 1], value=256.0)
add(CE, "probabilities are not normalised", input=X, target=2 * Q, weight=W)
add(CE, "negative probabilities", input=X, target=-Q)
add(CE, "all-zero probabilities -> -0.0, gradient 0", input=X, target=0 * Q, value=-0.0, gradient=0.0)
add(CE, "probabilities with a negative ignore_index, which is unused", input=X, target=Q, ignore_index=-1)
CERTAIN: dict[str, Any] = {"input": MASKED, "target": [[1.0, 0.0]] * 2}
add(
    CE,
    "probability 0 at a -inf logit -> nan, gradient 0 and of the target inf",
    **CERTAIN,
    value=nan,
    gradient=0.0,
    target_gradient=[[0.0, inf]] * 2,
    reduction="sum",
)
add(CE, "probability 0 at a -inf logit, smoothing -> inf", **CERTAIN, label_smoothing=0.25, value=inf)
add(
    CE, "weight 0 at a -inf logit -> nan", input=MASKED, target=[[0.5, 0.5]] * 2, weight=[1.0, 0.0], value=nan
)
add(CE, "probability 1 at a -inf logit -> inf", input=MASKED, target=[[0.0, 1.0]] * 2, value=inf)
for bad in (nan, inf, -inf):
    add(
        CE,
        f"probabilities, a row of {bad}",
        input=[[bad, bad], [0.0, 1.0]],
        target=[[0.5, 0.5]] * 2,
        reduction="none",
    )
    add(
        CE,
        f"probabilities, one logit {bad}",
        input=[[bad, 0.0], [0.0, 1.0]],
        target=[[0.5, 0.5]] * 2,
        weight=[0.0, 1.0],
    )
