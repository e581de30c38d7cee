"""How the time grows with the size: the exponent of cost against rows, and against classes.

A path whose cost is proportional to its size has the exponent 1; a call that costs the same whatever the size
has 0. The exponent is the slope of a least-squares line through the logarithms, over sizes at which the call
itself no longer counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from torch_loss_parity.benchmarks.matrix import CLASSES, ROWS, shape_from, shape_name
from torch_loss_parity.benchmarks.result import Result

FEWEST = 3  # sizes that a slope is taken from
OVERHEAD = 4.0  # times the shortest median: from there on the call itself is the smaller part


@dataclass(frozen=True)
class Curve:
    """Median seconds of one path against the number of elements."""

    work: str
    mode: str
    dtype: str
    path: str
    along: str
    points: tuple[tuple[int, float], ...]

    @property
    def exponent(self) -> float | None:
        """None where too few sizes are beyond the cost of a call."""
        shortest = min(seconds for _, seconds in self.points)
        beyond = [(n, seconds) for n, seconds in self.points if seconds >= OVERHEAD * shortest]
        if len(beyond) < FEWEST:
            return None
        sizes, times = np.log(np.asarray(beyond, dtype=np.float64)).T
        return float(np.polyfit(sizes, times, 1)[0])


def curves(results: Sequence[Result]) -> list[Curve]:
    """The curves of a run that swept over sizes."""
    swept: list[Curve] = []
    for along, shapes in (("classes", CLASSES), ("rows", ROWS)):
        names = [shape_name(shape) for shape in shapes]
        points: dict[tuple[str, str, str, str], list[tuple[int, float]]] = defaultdict(list)
        for result in results:
            if result.shape in names:
                rows, classes = shape_from(result.shape)
                points[result.work, result.mode, result.dtype, result.path].append(
                    (rows * classes, result.median)
                )
        swept += [
            Curve(*key, along, tuple(sorted(each))) for key, each in points.items() if len(each) >= FEWEST
        ]
    return swept


def lines(results: Sequence[Result]) -> Iterator[str]:
    """The exponents, a line for each work, mode and direction."""
    by_work: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for curve in curves(results):
        shown = "-" if curve.exponent is None else f"{curve.exponent:.2f}"
        by_work[curve.work, curve.mode, curve.dtype, curve.along].append(f"{curve.path} {shown}")
    for (work, mode, dtype, along), exponents in by_work.items():
        yield f"time grows with {along} to the power of: {work}, {mode}, {dtype}: {', '.join(exponents)}"
