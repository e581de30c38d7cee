"""The calls whose bits are compared, and the changes that are made to them.

Note [Invariances]
    torch promises none of these, and the bound allows every one to be broken. People count on them all the
    same: who caches, who compares two runs, who serves the same prompt in another batch. So it is recorded,
    for every operator, where its rows lie, and dtype, whether each of them holds, and the smallest
    counterexample where one does not:

    twice       the same call gives the same bits
    alone       a row gives the same bits alone and in a batch of 2, 3, 17 and 64, in whatever position
    batches     the same in batches of all these sizes and in all positions, apart from being alone
    threads     one thread gives the same bits as two
    layouts     views with other strides give the same bits as contiguous tensors
    gradients   the result is the same without gradients and under inference_mode; a gradient, if only its
                argument requires one

    "Holds" means over all sizes that are tried here: lengths around those of vectors, sizes that cross the
    thresholds from which on torch works with several threads. Inputs follow from nothing but the size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np

INVARIANCES = ("twice", "alone", "batches", "threads", "layouts", "gradients")
QUANTITIES = ("forward", "gradient")
# Sizes of batches; different rows in them, so that each is met in each position.
BATCHES, DISTINCT = (2, 3, 17, 64), 2
Size = tuple[int, int]  # rows, and the length of each

SMALL = ((3, 5), (5, 33), (7, 67), (33, 130))
SHARED_AMONG_THREADS = 2**15  # elements, the least of which torch gives each thread a part
LARGE = (850, 40)  # beyond it
WIDTHS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65, 70, 256, 1025)
SIZES: Mapping[str, tuple[Size, ...]] = {  # of each probe
    "rows": tuple((DISTINCT, width) for width in WIDTHS),
    "threads": (SMALL[1], SMALL[-1], LARGE),
    "layouts": SMALL,
    "gradients": (*SMALL, LARGE),
}
PROBE = {
    "twice": "threads",
    "alone": "rows",
    "batches": "rows",
    "threads": "threads",
    "layouts": "layouts",
    "gradients": "gradients",
}


@dataclass(frozen=True)
class Family:
    """Calls of one operator that differ in their size alone.

    Attributes
    ----------
    where : str
        Where the rows lie, or what is reduced: completes the operator's name to the name of a row of the
        table.
    shape : callable
        Of input, from the number and the length of rows.
    batch : int or None
        The dimension along which rows are stacked; None if they are reduced to one number.
    options : mapping
        The operator's own.
    target : str
        "indices", "probabilities" or none.
    weights : tuple of str
        Weights along the row, which all rows share.
    """

    operator: str
    where: str
    shape: Callable[[int, int], tuple[int, ...]]
    batch: int | None
    options: Mapping[str, Any]
    target: str = ""
    weights: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.operator} {self.where}"

    @property
    def wanted(self) -> tuple[str, ...]:
        return ("input", "target") if self.target == "probabilities" else ("input",)

    @property
    def invariances(self) -> tuple[str, ...]:
        return tuple(name for name in INVARIANCES if self.batch is not None or PROBE[name] != "rows")

    def draw(self, size: Size) -> dict[str, np.ndarray]:
        """The arguments, and the upstream gradient."""
        rows, width = size
        shape = self.shape(rows, width)
        rng = np.random.Generator(np.random.Philox([crc32(self.name.encode()), rows, width]))
        drawn: dict[str, np.ndarray] = {"input": rng.normal(0, 3, shape)}
        if self.operator == "binary_cross_entropy":
            drawn["input"] = rng.uniform(0.001, 0.999, shape)
        elif self.operator == "nll_loss":
            drawn["input"] = -rng.exponential(3.0, shape)
        without_classes = (shape[0], *shape[2:])
        if self.target == "indices":
            drawn["target"] = rng.integers(0, width, without_classes)
        elif self.target == "probabilities":
            drawn["target"] = rng.uniform(0, 1, shape)
        drawn |= {name: rng.uniform(0.25, 2, width) for name in self.weights}
        result = shape if self.operator in _ELEMENTWISE else without_classes
        drawn["grad_output"] = rng.normal(0, 1, () if self.batch is None else result)
        return drawn

    def take(self, drawn: Mapping[str, np.ndarray], rows: Sequence[int]) -> dict[str, np.ndarray]:
        """These rows, as one batch."""
        assert self.batch is not None
        return {
            k: v if k in self.weights else np.take(v, rows, axis=min(self.batch, v.ndim - 1))
            for k, v in drawn.items()
        }


_ELEMENTWISE = ("softmax", "log_softmax", "binary_cross_entropy", "binary_cross_entropy_with_logits")


def _families() -> Iterator[Family]:
    def flat(rows: int, width: int) -> tuple[int, ...]:
        return rows, width

    def across(rows: int, width: int) -> tuple[int, ...]:
        return width, rows

    def middle(rows: int, width: int) -> tuple[int, ...]:
        return rows, width, 3

    for operator in ("softmax", "log_softmax"):
        yield Family(operator, "along the last dim", flat, 0, {"dim": -1})
        yield Family(operator, "along the first dim", across, 1, {"dim": 0})
        yield Family(operator, "along a dim in the middle", middle, 0, {"dim": 1})
    for operator in ("nll_loss", "cross_entropy"):
        for target in ("indices", "probabilities") if operator == "cross_entropy" else ("indices",):
            of = f"of {target}, " if operator == "cross_entropy" else ""
            smoothed: dict[str, Any] = {"label_smoothing": 0.1} if target == "probabilities" else {}
            yield Family(
                operator, f"{of}classes last", flat, 0, {"reduction": "none"} | smoothed, target, ("weight",)
            )
            yield Family(
                operator,
                f"{of}classes in the middle",
                middle,
                0,
                {"reduction": "none"} | smoothed,
                target,
                ("weight",),
            )
            for reduction in ("mean", "sum"):
                yield Family(
                    operator,
                    f"{of}{reduction}",
                    flat,
                    None,
                    {"reduction": reduction} | smoothed,
                    target,
                    ("weight",),
                )
    for operator, weights in (
        ("binary_cross_entropy", ("weight",)),
        ("binary_cross_entropy_with_logits", ("weight", "pos_weight")),
    ):
        for reduction in ("none", "mean", "sum"):
            batch = 0 if reduction == "none" else None
            where = "without reduction" if reduction == "none" else reduction
            yield Family(operator, where, flat, batch, {"reduction": reduction}, "probabilities", weights)


FAMILIES = tuple(_families())
