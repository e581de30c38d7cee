"""Inputs of identities on which none of them is blind.

Neither side vanishes and nothing is equal by chance: rows differ, upstream gradients and weights are not
constant, some rows are ignored. Numbers lie on grids that every dtype holds, so that what an identity does to
its inputs (a shift, a sum of two, 1 - t) is exact: the two sides speak of the same numbers.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from torch_loss_parity.operators.facets import Identities, Shape
from torch_loss_parity.operators.record import REDUCTION
from torch_loss_parity.reference.arithmetic.formats import FORMATS

IGNORED = -100
SMOOTHING = 0.25  # a power of two, as the numbers of classes: smoothed targets are numbers of every dtype


def _upstream(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Never a constant, never 0; the sum of two is a number of every dtype."""
    return np.asarray(rng.integers(8, 64, shape) * rng.choice([-1.0, 1.0], shape) / 32)


def _weights(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return np.asarray(rng.integers(32, 256, shape) / 128)


def _upstream_gradients(rng: np.random.Generator, shape: Shape) -> dict[str, Any]:
    grad, other = _upstream(rng, shape), _upstream(rng, shape)
    return {"grad": grad, "other_grad": np.where(other == -grad, 2 * other, other)}


def _logits(rng: np.random.Generator, dtype: str, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Logits below 16, and a shift for each row that is added to them exactly, and is large: exp of it
    overflows in the widest format a dtype is computed in, but for float64, where the sum would lose all
    digits."""
    largest = {"bfloat16": 128, "float16": 256}.get(dtype, 4096)
    quantum = max(largest * FORMATS[dtype].unit_roundoff, 2.0**-10)
    logits = np.clip(np.rint(rng.normal(0, 3, shape) / quantum) * quantum, -15, 15)
    of_rows = (shape[0], 1, *shape[2:])
    shift = rng.choice([-1.0, 1.0], of_rows) * rng.integers(largest - 32, largest - 16, of_rows)
    shift[0] = np.abs(shift[0])
    return logits, shift


def _rows(
    rng: np.random.Generator, dtype: str, shape: Shape, *, reduced: bool, sample: int
) -> dict[str, Any]:
    """Rows along dim 1: logits, the first row with a clear winner; upstream gradients of each element, or of
    each row.
    """
    logits, shift = _logits(rng, dtype, shape)
    logits[0, shape[1] // 2] = 15.0
    return {
        "input": logits,
        "shift": shift,
        **_upstream_gradients(rng, (shape[0], *shape[2:]) if reduced else shape),
        "classes": rng.permutation(shape[1]),
        "rows": rng.permutation(shape[0]),
        "options": {"dim": 1},
    }


def _classes(
    rng: np.random.Generator,
    dtype: str,
    shape: Shape,
    *,
    of_logits: bool,
    reduction: str,
    weighted: bool,
    kind: str,
) -> dict[str, Any]:
    """Rows of classes: targets of the kind, class weights, the last row ignored and others with it.

    ``used`` is the weight that the loss of each row has in a weighted mean.
    """
    input, shift = _logits(rng, dtype, shape)
    if not of_logits:
        input, shift = -np.abs(input) - 0.5, -np.abs(shift)
    classes, of_rows = shape[1], (shape[0], *shape[2:])
    indices = rng.integers(0, classes, of_rows)
    indices[0], indices[1] = classes - 1, 0
    ignored = (rng.random(of_rows) < 0.3) & (kind != "probabilities")
    ignored[:2], ignored[-1] = False, kind != "probabilities"
    parts = np.sort(rng.integers(0, 65, (shape[0], classes - 1, *shape[2:])), axis=1)
    probabilities = np.diff(parts, axis=1, prepend=0, append=64) / 64  # each row sums to 1
    weight = _weights(rng, (classes,))
    weight[0], weight[-1] = 0.25, 1.875
    if np.sum(weight[indices] * ~ignored) == ignored.size:
        weight[0] = 0.5  # by chance the mean would divide by the number of rows
    hot = (
        np.expand_dims(indices, 1) == np.arange(classes).reshape((-1,) + (1,) * (len(shape) - 2))
    ) & ~np.expand_dims(ignored, 1)
    used = np.where(ignored | (kind == "probabilities"), ~ignored * 1.0, weight[indices] if weighted else 1.0)
    if kind == "probabilities":
        target, likeliest = probabilities, (input == np.max(input, axis=1, keepdims=True)).astype(np.float64)
    else:
        target, likeliest = (np.where(ignored, IGNORED, i) for i in (indices, np.argmax(input, axis=1)))
    return {
        "input": input,
        "target": target,
        "likeliest": likeliest,
        "hot": hot.astype(np.float64),
        "weight": weight,
        "shift": shift,
        "used": used,
        "denominator": np.asarray(np.sum(used)),
        "count": np.asarray(float(used.size)),
        **_upstream_gradients(rng, of_rows if reduction == "none" else ()),
        "classes": rng.permutation(classes),
        "rows": np.roll(rng.permutation(shape[0]), 1),
        "options": {"reduction": reduction, **({"weight": weight} if weighted else {})}
        | ({"label_smoothing": SMOOTHING} if kind == "smoothed" else {}),
    }


def _elements(
    rng: np.random.Generator,
    dtype: str,
    shape: Shape,
    *,
    of_logits: bool,
    reduction: str,
    weighted: bool,
    kind: str,
) -> dict[str, Any]:
    """Elements: logits or probabilities, targets from 0 to 1 with both ends, weights of elements."""
    logits = np.clip(np.rint(rng.normal(0, 2, shape) * 16), -112, 112) / 16 + 2.0**-5
    probabilities = rng.integers(1, 256, shape) / 256
    logits.flat[2:4], probabilities.flat[2:4] = (-7.0, 7.0), (1 / 256, 255 / 256)  # some are confident
    target = rng.integers(0, 65, shape) / 64
    target.flat[:2] = 0.0, 1.0
    weight, pos_weight = _weights(rng, shape), _weights(rng, shape)
    input, even = (logits, 0.0) if of_logits else (probabilities, 0.5)
    return {
        "input": input,
        "target": target,
        "likeliest": (input > even).astype(np.float64),
        "hard": rng.permutation(target.size).reshape(shape) % 2.0,
        "weight": weight,
        "pos_weight": pos_weight,
        "used": np.ones(shape),
        "denominator": np.asarray(float(target.size)),
        "count": np.asarray(float(target.size)),
        **_upstream_gradients(rng, shape if reduction == "none" else ()),
        "rows": np.roll(rng.permutation(shape[0]), 1),
        "options": {"reduction": reduction, **({"weight": weight} if weighted else {})}
        | ({"pos_weight": pos_weight} if kind == "pos_weight" else {}),
    }


def of_rows(*, reduced: bool = False) -> Identities:
    """The inputs of an operator of rows, whose result is as large as its input, or one number a row."""
    return Identities(
        draw=partial(_rows, reduced=reduced),
        shapes=((4, 7), (3, 5, 2), (2, 33)),
        large_shapes=((3, 1025), (64, 10, 3)),
        options={"sample": tuple(range(4))},
        exceptions={},
    )


def of_classes(*kinds: str, of_logits: bool) -> Identities:
    """The inputs of an operator of rows of classes, whose numbers are powers of two; ``kinds`` of targets are
    "plain" (indices), "smoothed" and "probabilities".
    """
    return Identities(
        draw=partial(_classes, of_logits=of_logits),
        shapes=((6, 8), (3, 4, 5), (9, 2)),
        large_shapes=((4, 64), (128, 16)),
        options={"reduction": REDUCTION, "weighted": (True, False), "kind": kinds},
        exceptions={},
    )


def of_elements(*kinds: str, of_logits: bool) -> Identities:
    """The inputs of an operator of elements, logits or probabilities; ``kinds`` are "plain" and
    "pos_weight".
    """
    return Identities(
        draw=partial(_elements, of_logits=of_logits),
        shapes=((4, 5), (3, 4, 2), (17,)),
        large_shapes=((2049,), (64, 33)),
        options={"reduction": REDUCTION, "weighted": (True, False), "kind": kinds},
        exceptions={},
    )


FEATURES = 6  # of which the products of `_linear_classes` are sums: exact in every dtype


def _linear_classes(
    rng: np.random.Generator,
    dtype: str,
    shape: Shape,
    *,
    reduction: str,
    weighted: bool,
    biased: bool,
    kind: str,
) -> dict[str, Any]:
    """Factors whose products are multiples of 1/16 below 16, which every dtype holds; the rest as
    `_classes` draws it.
    """
    drawn = _classes(rng, dtype, shape, of_logits=True, reduction=reduction, weighted=weighted, kind=kind)
    del drawn["shift"], drawn["likeliest"]
    layer = rng.integers(-16, 17, (*shape[1:], FEATURES)) / 8
    bias = rng.integers(-16, 17, shape[1:]) / 8
    return drawn | {
        "input": rng.integers(-2, 3, (shape[0], FEATURES)) / 2,
        "layer": layer,
        "bias": bias,
        "shift": rng.integers(-16, 17, FEATURES) / 8,
        "features": rng.permutation(FEATURES),
        "options": drawn["options"] | ({"linear_bias": bias} if biased else {}),
    }


def of_linear_classes() -> Identities:
    """The inputs of an operator of rows of classes whose logits are a product."""
    return Identities(
        draw=_linear_classes,
        shapes=((6, 8), (3, 4, 5), (9, 2)),
        large_shapes=((4, 64), (128, 16)),
        options={
            "reduction": REDUCTION,
            "weighted": (True, False),
            "biased": (True, False),
            "kind": ("plain", "smoothed", "probabilities"),
        },
        exceptions={},
    )
