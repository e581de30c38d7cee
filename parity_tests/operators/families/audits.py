"""What the audit measures of the operators of a family."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from torch_loss_parity.cases.case import Call
from torch_loss_parity.operators.facets import Gap, Options
from torch_loss_parity.operators.facets_audit import EveryNumber, Target

# Of logits: the most telling, and scales from rows that are nearly equal to those with one winner.
TELLING_LOGITS = ("normal", "wide", "one_dominant")
SCALES = tuple(f"normal_times_{scale:g}" for scale in (1e-3, 1.0, 1e2, 1e4))
FORWARD, INPUT = "forward", "input"
PAIRS = "x in (x, 0) and (0, x)"

# --- rows ---------------------------------------------------------------------------------------------------

ROWS_BASE: Options = {"dim": -1}
ROWS_PATHS: tuple[Options, ...] = ({"dim": 0}, {"dim": -1, "dtype": "float32"})


def pairs(x: np.ndarray, target: np.ndarray) -> dict[str, np.ndarray]:
    """The pairs (x, 0) and (0, x): a vectorised loop need not treat both places alike."""
    zeros = np.zeros_like(x)
    return {"input": np.stack([x, zeros, zeros, x], axis=1).reshape(-1, 2)}


def target_of_pairs(forward: tuple[str, ...], gradient: tuple[str, ...]) -> Mapping[str, Target]:
    """No target, and what the four numbers of a result and of a gradient are."""
    forms = {FORWARD: forward, INPUT: gradient}
    return {"": Target(values=(), options={"dim": 1}, forms=forms)}


# --- classes ------------------------------------------------------------------------------------------------

CLASSES_BASE: Options = {"reduction": "none"}
WEIGHTED: Options = {"reduction": "none", "weight": "positive"}
WEIGHTED_MEAN: Options = {"reduction": "mean", "weight": "positive", "ignored": "some"}


def pairs_and_classes(x: np.ndarray, target: np.ndarray) -> dict[str, np.ndarray]:
    """The pairs (x, 0) and (0, x), each with either class."""
    zeros = np.zeros_like(x)
    rows = np.stack([x, zeros, x, zeros, zeros, x, zeros, x], axis=1).reshape(-1, 2)
    return {"input": rows, "target": np.tile([0, 1], len(rows) // 2)}


# --- logits of a layer --------------------------------------------------------------------------------------

LAYER_BASE: Options = {"reduction": "none", "features": 8}
LAYER_FEATURES = (64, 1024)
TELLING_PRODUCTS = ("products", "wide_products", "dominant_product", "common_offset", "cancelling_products")


def logits_of_a_layer(call: Call) -> np.ndarray:
    """As float64 has them."""
    logits = call.arguments["input"] @ call.arguments["linear_weight"].T
    bias = call.arguments["linear_bias"]
    return np.asarray(logits if bias is None else logits + bias)


# --- elements -----------------------------------------------------------------------------------------------

ELEMENTS_BASE: Options = {"reduction": "none", "target": "soft"}
ELEMENTS_PATHS: tuple[Options, ...] = (
    {"reduction": "none", "target": "hard"},
    {"reduction": "none", "target": "soft", "weight": "full"},
    {"reduction": "mean", "target": "soft"},
)
_SOFT = Gap("the two terms of a soft target have no closed form here")


def numbers_and_targets(x: np.ndarray, target: np.ndarray) -> dict[str, np.ndarray]:
    """Each number with each target."""
    return {
        "input": np.repeat(x, len(target)),
        "target": np.tile(np.asarray(target, dtype=x.dtype), len(x)),
    }


def every_element(inputs: str, zero: tuple[str, str], one: tuple[str, str]) -> EveryNumber:
    """Every number with the targets 0 and 1, of which the forms of loss and gradient are given, and some
    between.
    """
    hard: Options = {"reduction": "none", "target": "hard"}
    forms = {
        name: {FORWARD: (loss,), INPUT: (gradient,)} for name, (loss, gradient) in (("0", zero), ("1", one))
    }
    return EveryNumber(
        inputs=inputs,
        place=numbers_and_targets,
        targets={
            "0": Target(values=(0.0,), options=hard, forms=forms["0"]),
            "1": Target(values=(1.0,), options=hard, forms=forms["1"]),
            "soft": Target(values=(0.1, 0.5, 0.9), options=ELEMENTS_BASE, forms=_SOFT),
        },
        undefined_at=(),
        gradient=Gap("elements have no pairs: they are evaluated as any other call is"),
    )
