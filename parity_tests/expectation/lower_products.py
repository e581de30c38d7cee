"""Matrix products in the fast arithmetic of `torch_loss_parity.expectation.lower_bounds`.

Nothing is charged for them: at least so much of an error rounding allows. Rows that share a layer are judged
whole, and no result of theirs is decided here.
"""

from __future__ import annotations

from typing import Any


def matmul(x: Any, y: Any) -> Any:
    """The product of two matrices."""
    return x.like(x.value @ y.value)


def matrix_transpose(x: Any) -> Any:
    """Rows for columns."""
    return x.like(x.value.T)
