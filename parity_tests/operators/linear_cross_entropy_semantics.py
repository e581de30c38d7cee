"""What linear_cross_entropy means at the corners of its domain: what cross_entropy does, of logits that are a
product.

A row of cross_entropy becomes one of linear_cross_entropy: an identity matrix picks its logits out of the
layer, or, of a single row whose logits are not finite, an input of 0 leaves the bias.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy import inf, nan

from torch_loss_parity.operators import cross_entropy_semantics
from torch_loss_parity.operators.facets import Shape
from torch_loss_parity.operators.meaning import INDETERMINATE, LIMIT, NAN, TIMES_ZERO
from torch_loss_parity.operators.semantics import Row, reals, row
from torch_loss_parity.reference.arithmetic.formats import FLOAT64, Format

SINCE = "2.13"  # the first release that has it


def semantics() -> Iterator[Row]:
    """What linear_cross_entropy means."""
    for each in cross_entropy_semantics.semantics():
        if each.about_shape and (np.ndim(each.arguments["input"]) > 2 or np.size(each.arguments["input"])):
            continue  # shapes of the layer have rows of their own
        if (arguments := as_product(each.arguments)) is not None:
            # The gradients of the logits are stated, not those of the factors: an infinite one is multiplied
            # with zeros, which is nan, and nothing is left open.
            meaning = each.meaning and replace(
                each.meaning, open=tuple(name for name in each.meaning.open if name == "forward")
            )
            yield replace(each, arguments=arguments, gradient=None, since=SINCE, meaning=meaning)
    yield from _of_the_layer()
    yield from _of_rows_that_are_not_finite()


def as_product(arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """The arguments whose product are the logits ``input``; None where there are no such."""
    logits = arguments["input"]
    known = np.asarray(logits(FLOAT64) if callable(logits) else logits)
    others = {name: value for name, value in arguments.items() if name != "input"}
    target = others["target"]
    if not known.ndim or known.dtype.kind != "f":
        return None
    if np.shape(target) == known.shape and "ignore_index" in others:
        return None  # refused
    shape = known.shape if known.ndim > 1 else (1, *known.shape)
    if np.isfinite(known).all():
        rows = max(shape[0], 1)
        input = np.eye(rows)[: shape[0]] if known.ndim > 1 else np.ones(1)
        return {"input": input, "linear_weight": _made(logits, lambda x: _layer(x, shape, rows)), **others}
    if shape[0] > 1:
        return None
    return {
        "input": np.zeros((*known.shape[:-1][:1], 1)),
        "linear_weight": np.ones((*shape[1:], 1)),
        "linear_bias": _made(logits, lambda x: np.reshape(x, shape[1:])),
        **others,
    }


def _layer(logits: np.ndarray, shape: Shape, rows: int) -> np.ndarray:
    """The layer whose product with an identity matrix is ``logits``."""
    if not shape[0]:
        return np.ones((*shape[1:], rows))
    return np.ascontiguousarray(np.moveaxis(np.reshape(logits, shape), 0, -1))


def _made(logits: Any, make: Callable[[np.ndarray], np.ndarray]) -> Any:
    if not callable(logits):
        return make(np.asarray(logits))

    def of_format(format: Format) -> np.ndarray:
        return make(np.asarray(logits(format)))

    return of_format


def _of_the_layer() -> Iterator[Row]:
    given: dict[str, Any] = {"input": reals(2, 4), "linear_weight": reals(3, 4), "target": [2, 0]}
    yield row("a layer without a bias", **given, since=SINCE)
    yield row("a bias", **given, linear_bias=reals(3), since=SINCE)
    sentence = "ignore_index None is -100"
    yield row(sentence, **{**given, "target": [-100, 0]}, ignore_index=None, since=SINCE)
    none: dict[str, Any] = {"input": np.zeros((2, 0)), "linear_weight": np.zeros((3, 0)), "target": [2, 0]}
    yield row("no features -> log C", **none, about_shape=True, since=SINCE)
    yield row("no features, a bias", **none, linear_bias=reals(3), since=SINCE)
    shape: Shape
    for shape in ((3,), (3, 2), (3, 2, 2), (3, 1, 2)):
        logits = (2, *shape)
        product: dict[str, Any] = {"input": reals(2, 4), "linear_weight": reals(*shape, 4)}
        product |= {"target": np.arange(np.prod((2, *shape[1:]))).reshape(2, *shape[1:]) % 3}
        for reduction in ("mean", "none"):
            sentence = f"logits of shape {logits}, bias, {reduction}"
            options: dict[str, Any] = {"linear_bias": reals(*shape), "reduction": reduction}
            yield row(sentence, **product, **options, about_shape=True, since=SINCE)
    yield row(
        "one row without a batch",
        input=reals(4),
        linear_weight=reals(3, 4),
        target=np.asarray(1),
        linear_bias=reals(3),
        since=SINCE,
    )


def _of_rows_that_are_not_finite() -> Iterator[Row]:
    """Rows of the input that hold nan or infinities, ignored and counted."""
    layer = [[1.0], [2.0]]
    for bad in (nan, inf, -inf):
        given: dict[str, Any] = {"input": [[bad], [0.5]], "linear_weight": layer}
        for reduction in ("sum", "none"):
            sentence = f"an ignored row of {bad}, {reduction} -> unaffected"
            options: dict[str, Any] = {"reduction": reduction, "since": SINCE, "meaning": TIMES_ZERO}
            yield row(sentence, **given, target=[-100, 1], **options)
        meaning = NAN if np.isnan(bad) else INDETERMINATE
        sentence = f"a counted row of {bad}"
        yield row(sentence, **given, target=[0, 1], reduction="none", since=SINCE, meaning=meaning)
    masked: dict[str, Any] = {"input": [[1.0]], "linear_weight": [[0.5], [0.25], [1.0]]}
    masked["linear_bias"] = [0.0, -inf, 0.0]
    yield row("a class masked by its bias", **masked, target=[0], since=SINCE)
    yield row(
        "a target masked by its bias -> inf", **masked, target=[1], value=inf, since=SINCE, meaning=LIMIT
    )
