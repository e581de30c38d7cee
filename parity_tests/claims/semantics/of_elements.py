"""The semantics of binary_cross_entropy and binary_cross_entropy_with_logits: the table."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from torch_loss_parity.claims.semantics.record import (
    BCE,
    BCE_LOGITS,
    REDUCTIONS,
    WIDE,
    ByFormat,
    Table,
    reals,
    shares,
)

ROWS = Table()
add = ROWS.add
inf, nan = np.inf, np.nan
shape: tuple[int, ...]
x: float
t: float

X, Q, W = reals(2, 3), shares(2, 3), [0.5, 2.0, 1.25]
BOTH = f"{BCE} {BCE_LOGITS}"

# --- shapes, weights and denominators -----------------------------------------------------------------------

for shape, reduction in product(((), (3,), (2, 3), (2, 3, 2), (0,), (0, 3), (2, 0)), REDUCTIONS):
    given: dict[str, Any] = {
        "input": shares(*shape),
        "target": shares(*shape, draw=2),
        "reduction": reduction,
    }
    add(BOTH, f"shape {shape}, {reduction}", **given, about_shape=True)
for reduction, empty in {"mean": nan, "sum": 0.0}.items():
    add(
        BOTH,
        f"no elements, {reduction} -> {empty:g}",
        input=shares(0, 3),
        target=shares(0, 3),
        reduction=reduction,
        value=empty,
    )
for shape, reduction in product(((2, 3), (2, 1), (3,), (), (1, 1)), REDUCTIONS):
    given = {
        "input": Q,
        "target": shares(2, 3, draw=2),
        "weight": shares(*shape, draw=3),
        "reduction": reduction,
        "about_shape": True,
    }
    add(BOTH, f"weight of shape {shape}, {reduction}", **given)
    add(
        BCE_LOGITS,
        f"weight and pos_weight of shape {shape}, {reduction}",
        **given,
        pos_weight=shares(*shape, draw=4),
    )
add(BCE, "weighted mean divides by N", input=[0.0, 0.0], target=[1.0, 1.0], weight=[1.0, 3.0], value=200.0)
add(
    BCE_LOGITS,
    "weighted mean divides by N",
    input=[-256.0, -256.0],
    target=[1.0, 1.0],
    weight=[1.0, 3.0],
    value=512.0,
)
add(BCE_LOGITS, "pos_weight", input=X, target=1 - Q, pos_weight=W)
add(
    BCE_LOGITS,
    "pos_weight of shape (2, 1)",
    input=[[0.0, 0.0]] * 2,
    target=[[1.0, 1.0]] * 2,
    pos_weight=[[2.0], [3.0]],
    reduction="none",
    gradient=[[-1.0, -1.0], [-1.5, -1.5]],
)
add(BOTH, "weight negative, 0, inf", input=Q, target=1 - Q, weight=[-1.0, 0.0, inf])
add(BOTH, "weight nan -> nan, gradient nan", input=Q, target=1 - Q, weight=[nan], value=nan, gradient=nan)
add(
    BCE,
    "weight nan where the loss is 0 -> nan, gradient nan",
    input=[0.0],
    target=[0.0],
    weight=[nan],
    value=nan,
    gradient=nan,
)

# --- probabilities at and next to 0 and 1 -------------------------------------------------------------------

for (x, t), loss in {
    (0, 0): 0.0,
    (0, 1): 100.0,
    (1, 0): 100.0,
    (1, 1): -0.0,
    (0, 0.5): 50.0,
    (1, 0.5): 50.0,
}.items():
    far = -inf if x else inf
    at: dict[str, Any] = {
        "input": [float(x)],
        "target": [float(t)],
        "reduction": "none",
        "target_gradient": far,
    }
    at |= {"gradient": 0.0} if x == t else {}
    add(BCE, f"input {x}, target {t} -> {loss}, gradient of the target {far}", **at, value=loss)
add(BCE, "input -0.0, target 0 -> 0, gradient 0", input=[-0.0], target=[0.0], value=0.0, gradient=0.0)
NEAR: dict[str, ByFormat] = {
    "the smallest subnormal": lambda format: format.smallest_subnormal,
    "seven smallest subnormals": lambda format: 7 * format.smallest_subnormal,
    "the smallest normal": lambda format: format.smallest_normal,
    "1/2": lambda format: 0.5,
    "the largest below 1": lambda format: 1 - format.unit_roundoff,
}
for (name, near), t in product(NEAR.items(), (0.0, 0.5, 1.0)):
    add(
        BCE,
        f"input {name}, target {t}",
        input=lambda f, near=near: [near(f)],
        target=[t],
        weight=[0.75],
        reduction="none",
    )
for x, t in product((1e-13, 1e-12), (0.0, 0.5, 1.0)):
    add(
        BCE,
        f"input {x}, target {t}",
        input=[x],
        target=[t],
        weight=[0.75],
        reduction="none",
        dtypes=WIDE,
        reason="0 in float16",
    )
for x, t in product((1e-300, 1e-44), (0.0, 0.5, 1.0)):
    add(
        BCE,
        f"input {x}, target {t}",
        input=[x],
        target=[t],
        weight=[0.75],
        reduction="none",
        dtypes=("float64",),
        reason="0 or subnormal",
    )

# --- logits -------------------------------------------------------------------------------------------------

for x, t in product((inf, -inf, nan), (0.0, 0.5, 1.0)):
    # Where t is in (0, 1] and x is -inf, torch's (1 - t) x - logsigmoid(x) is inf - inf; the loss is
    # infinite.
    infinite: dict[str, Any] = (
        {"value": inf} if (x, t) in ((-inf, 0.5), (-inf, 1.0), (inf, 0.0), (inf, 0.5)) else {"value": nan}
    )
    name = f"input {x}, target {t}"
    slope: dict[str, Any] = {
        "target_gradient": -x,
        "gradient": (0.0 if x == -inf else 1.0) - t if x == x else nan,
    }
    add(BCE_LOGITS, f"{name} -> {infinite['value']}", input=[x], target=[t], **infinite, **slope)
    add(
        BCE_LOGITS,
        f"{name}, pos_weight 3 -> {infinite['value']}",
        input=[x],
        target=[t],
        pos_weight=[3.0],
        **infinite,
    )
    add(BCE_LOGITS, f"{name}, pos_weight 0", input=[x], target=[t], pos_weight=[0.0])
add(
    BCE_LOGITS,
    "target nan -> nan, gradient nan",
    input=[1.0],
    target=[nan],
    value=nan,
    gradient=nan,
    target_gradient=-1.0,
)
add(BCE_LOGITS, "targets outside [0, 1]", input=[1.0, 0.5, 0.25], target=[2.0, -1.0, 3.0], reduction="none")
add(
    BCE_LOGITS,
    "input 0.0 and -0.0",
    input=[0.0, -0.0],
    target=[0.0, 1.0],
    reduction="none",
    gradient=[0.5, -0.5],
    target_gradient=0.0,
)
for x, t in ((-20.0, 0.0), (-90.0, 0.0), (100.0, 1.0)):
    add(
        BCE_LOGITS, f"input {x:g}, target {t:g}, certain and right", input=[x], target=[t], target_gradient=-x
    )
    add(
        BCE_LOGITS,
        f"input {x:g}, target {t:g}, pos_weight 3.75, certain and right",
        input=[x],
        target=[t],
        pos_weight=[3.75],
    )
FAR: dict[str, Any] = {
    "input": lambda format: [format.largest / 2, -format.largest / 2],
    "target": [0.0, 1.0],
    "reduction": "none",
}
add(
    BCE_LOGITS,
    "half the largest logits do not overflow",
    **FAR,
    value=lambda format: format.largest / 2,
    gradient=[1.0, -1.0],
)
add(
    BCE_LOGITS,
    "half the largest logits, pos_weight 3.75 -> inf where the target is 1",
    **FAR,
    pos_weight=[3.75],
    upstream=1.0,
)
add(
    BCE_LOGITS,
    "pos_weight 0 -> 0 where the target is 1",
    input=[1.0, -2.0],
    target=[1.0, 0.0],
    pos_weight=[0.0],
    reduction="none",
)
add(
    BCE_LOGITS,
    "pos_weight negative, 0",
    input=[1.0, 0.5, 0.25],
    target=[1.0, 1.0, 0.5],
    pos_weight=[-1.0, 0.0, -2.0],
)
add(
    BCE_LOGITS,
    "pos_weight inf at target 0 -> nan, gradient nan",
    input=[1.0],
    target=[0.0],
    pos_weight=[inf],
    value=nan,
    gradient=nan,
)
