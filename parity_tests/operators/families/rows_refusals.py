"""What operators that act on rows refuse: dimensions that are none, and dtypes that are not real."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch_loss_parity.operators.refusals import Refusal, X, all_taken_of_no_rows, no_real_input, refusal


def refusals() -> Iterator[Refusal]:
    """What every operator refuses whose rows lie along one dimension."""
    yield from out_of_range()
    yield from no_integers(1.0, "1", (0,), True)
    yield refusal(
        "dim None",
        TypeError,
        "dim is None | integer",
        X,
        dim=None,
        definition_alone="torch chooses a dimension, with a warning: see the semantics of rows",
    )
    yield from all_taken_of_no_rows(no_real_input(dim=1))
    yield from all_taken_of_no_rows([_a_dtype_that_is_not_real()])


def _a_dtype_that_is_not_real() -> Refusal:
    return refusal(
        "a dtype that is not real",
        NotImplementedError,
        "input has dtype | int64 | real",
        X,
        dim=1,
        dtype="int64",
    )


def out_of_range() -> Iterator[Refusal]:
    """Dimensions that the input does not have."""
    for dim in (2, -3, 2**31):
        words = f"dim is {dim} | between -2 and 1"
        yield refusal(f"dim {dim} of 2 dimensions", IndexError, words, X, dim=dim)
        yield refusal(f"dim {dim} of 2 dimensions, no elements", IndexError, words, X[:0], dim=dim)
    for dim in (1, -2):
        words = f"dim is {dim} | between -1 and 0"
        yield refusal(f"dim {dim} of 0 dimensions", IndexError, words, X[0, 0], dim=dim)


def no_integers(*values: Any) -> Iterator[Refusal]:
    """What is no dimension."""
    for wrong in values:
        since = "2.13" if wrong in ("1", None) else "2.8"  # before, names of dimensions, and a RuntimeError
        words = f"dim is {wrong!r} | integer"
        yield refusal(f"dim {wrong!r}", TypeError, words, X, dim=wrong, since=since)
