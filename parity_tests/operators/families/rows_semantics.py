"""What operators that act on rows mean at the corners of their domain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy import inf, nan

from torch_loss_parity.operators.facets import Shape
from torch_loss_parity.operators.meaning import INDETERMINATE, NAN, Meaning
from torch_loss_parity.operators.semantics import Row, reals, row

SPECIAL_ROWS: tuple[list[float], ...] = (
    [-inf, -inf],
    [inf, 0.0],
    [inf, inf, 0.0],
    [nan, 0.0, 1.0],
    [nan, inf, -inf],
    [inf, -inf],
    [nan],
    [inf],
    [-inf],
)
# The dimension that torch chooses where none is given.
DIMS_OF_TORCH: tuple[tuple[Shape, int], ...] = (
    ((), 0),
    ((3,), 0),
    ((2, 3), 1),
    ((2, 3, 4), 0),
    ((2, 3, 2, 2), 1),
    ((1, 3, 2, 1, 2), 1),
)
FAR: dict[str, Any] = {"input": lambda format: [[format.largest / 2, -format.largest / 2]], "dim": 1}
FARTHEST: dict[str, Any] = {"input": lambda format: [[format.largest, -format.largest]], "dim": 1}


def meaning_of(special: list[float]) -> Meaning:
    """What the documentation says of a row that has no maximum to shift by.

    Of [inf, 0] x - logsumexp(x) is nan and -inf: a way, which a report names.
    """
    return NAN if any(x != x for x in special) else INDETERMINATE


def semantics() -> Iterator[Row]:
    """What is true of every operator whose result has the shape of its input."""
    yield from shapes()
    for shape, dim in DIMS_OF_TORCH:
        sentence = f"no dim given, shape {shape} -> dim {dim}"
        yield row(sentence, input=reals(*shape), dim=None, stands_for={"dim": dim})
    for special in SPECIAL_ROWS:
        sentence = f"a row {special} -> nan, gradient nan"
        yield row(sentence, input=[special], dim=1, value=nan, gradient=nan, meaning=meaning_of(special))
    for wide in ("float32", "float64"):
        sentence = f"dtype {wide} -> the result in it, the gradient in the input's"
        yield row(sentence, input=reals(2, 3), dim=1, dtype=wide)


def shapes(of_nothing: Meaning | None = None) -> Iterator[Row]:
    """Every dimension of shapes, empty ones among them: ``of_nothing`` what a row of none means."""
    shape: Shape
    for shape in ((3,), (2, 3), (2, 3, 4), (2, 3, 2, 2), (0, 3), (2, 0), (0,), (2, 3, 0)):
        for dim in range(-len(shape), len(shape)):
            meaning = None if shape[dim] else of_nothing
            given: dict[str, Any] = {"input": reals(*shape), "dim": dim, "about_shape": True}
            yield row(f"shape {shape}, dim {dim}", **given, meaning=meaning)


def one_class(value: float) -> Iterator[Row]:
    """Rows of one class, whatever it holds."""
    for shape, dim in (((), 0), ((), -1), ((2, 1), 1), ((1,), 0)):
        sentence = f"one class, shape {shape}, dim {dim} -> {value:g}, gradient 0"
        yield row(sentence, input=reals(*shape), dim=dim, value=value, gradient=0.0)
