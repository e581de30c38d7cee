"""How long the definitions take on NumPy, over how long SciPy takes: ``python -m benchmarks.against_scipy``.

The two run alternately in one process, each first every other time, so that both meet the same machine; NumPy runs on one
thread. What is reported is the median of the quotients.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

import reference

SHAPE = (256, 32768)  # rows and vocabulary
ROUNDS = 15


def logits(shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(np.random.default_rng(0).normal(0.0, 4.0, shape))


def seconds(function: Callable[..., Any], x: np.ndarray) -> float:
    start = perf_counter()
    function(x, -1)
    return perf_counter() - start


def quotient(name: str, x: np.ndarray, rounds: int = ROUNDS) -> tuple[float, float, float]:
    """The median of reference / SciPy, and the median seconds of each."""
    import scipy.special

    pair = (getattr(reference, name), getattr(scipy.special, name))
    times: list[tuple[float, float]] = []
    for number in range(-2, rounds):  # the first rounds warm up
        order = (0, 1) if number % 2 else (1, 0)
        took = {which: seconds(pair[which], x) for which in order}
        if number >= 0:
            times.append((took[0], took[1]))
    ours, theirs = zip(*times, strict=True)
    return median(a / b for a, b in times), median(ours), median(theirs)


def main() -> None:
    x = logits(SHAPE)
    for name in ("softmax", "log_softmax"):
        ratio, ours, theirs = quotient(name, x)
        print(f"{name:12} reference / scipy {ratio:.3f}  ({1e3 * ours:.1f} ms, {1e3 * theirs:.1f} ms)")


if __name__ == "__main__":
    main()
