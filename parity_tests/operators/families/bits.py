"""Calls whose bits are compared, of each family; see Note [Invariances] in
`torch_loss_parity.claims.bits.calls`.
"""

from __future__ import annotations

import numpy as np

from torch_loss_parity.operators.facets import BitCalls, DrawShape, Options, Shape


def flat(rows: int, width: int) -> Shape:
    return rows, width


def across(rows: int, width: int) -> Shape:
    return width, rows


def middle(rows: int, width: int) -> Shape:
    return rows, width, 3


def logits(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return rng.normal(0, 3, shape)


def log_probabilities(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    _skip(rng, shape)
    return -rng.exponential(3.0, shape)


def probabilities(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    _skip(rng, shape)
    return rng.uniform(0.001, 0.999, shape)


def _skip(rng: np.random.Generator, shape: Shape) -> None:
    """Draw logits first: the table records what was found on the numbers that come after them."""
    logits(rng, shape)


def of_rows(input: DrawShape, *, options: Options | None = None) -> tuple[BitCalls, ...]:
    """Calls along each dimension.

    Parameters
    ----------
    options : mapping, optional
        Of every call. What is reduced keeps its dimension: rows are stacked in the result as in the input.
    """
    placed = (
        ("along the last dim", flat, 0, -1),
        ("along the first dim", across, 1, 0),
        ("along a dim in the middle", middle, 0, 1),
    )
    return tuple(
        BitCalls(
            where=where,
            shape=shape,
            batch=batch,
            input=input,
            target="",
            weights=(),
            options={"dim": dim, **(options or {})},
        )
        for where, shape, batch, dim in placed
    )


def of_classes(
    input: DrawShape, *, target: str = "indices", of: str = "", options: Options | None = None
) -> tuple[BitCalls, ...]:
    """Calls with a class weight: without reduction, with the classes last and in the middle, and reduced.

    Parameters
    ----------
    of : str
        Begins the name, for an operator that has several kinds of targets: "of indices, ".
    options : mapping, optional
        Of every call.
    """
    placed = (
        ("classes last", flat, 0, "none"),
        ("classes in the middle", middle, 0, "none"),
        ("mean", flat, None, "mean"),
        ("sum", flat, None, "sum"),
    )
    return tuple(
        BitCalls(
            where=f"{of}{where}",
            shape=shape,
            batch=batch,
            input=input,
            target=target,
            weights=("weight",),
            options={"reduction": reduction, **(options or {})},
        )
        for where, shape, batch, reduction in placed
    )


def of_elements(input: DrawShape, weights: tuple[str, ...]) -> tuple[BitCalls, ...]:
    """Calls with each reduction, and weights along a row."""
    return tuple(
        BitCalls(
            where="without reduction" if reduction == "none" else reduction,
            shape=flat,
            batch=0 if reduction == "none" else None,
            input=input,
            target="probabilities",
            weights=weights,
            options={"reduction": reduction},
        )
        for reduction in ("none", "mean", "sum")
    )
