"""One row, or one element, of a call as a call of its own: small enough to print, to reproduce and to climb
from.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from torch_loss_parity.audit.operator_facets import audited
from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.expectation import FORWARD
from torch_loss_parity.operators import OPERATORS

OF_ROWS = ("input", "target")  # of these each row, or element, has its own


def class_axis(call: Call) -> int | None:
    """The axis along which the rows of ``input`` lie; None where elements stand for themselves."""
    axis = OPERATORS[call.operator].family.axis(call.arguments)
    return None if axis is None else axis % max(call.arguments["input"].ndim, 1)


def rows_of(call: Call) -> tuple[np.ndarray, int | None]:
    """The numbers that rows are made of, and the axis that they lie along; None where there are no rows."""
    made = audited(call.operator).logits
    if made is None:
        return call.arguments["input"], class_axis(call)
    with np.errstate(all="ignore"):
        return made(call), -1


def extent(call: Call) -> tuple[int, int]:
    """How many rows a call has, and how long they are: 0 where elements stand for themselves."""
    x, axis = rows_of(call)
    if axis is None or not x.ndim:
        return x.size, 0
    return x.size // max(x.shape[axis], 1), x.shape[axis]


def logit_range(call: Call) -> float:
    """Largest finite input, or logit of a layer, minus smallest, of a row; of all elements where there are no
    rows.
    """
    x, axis = rows_of(call)
    finite = np.isfinite(x)
    if not finite.any():
        return 0.0
    largest = np.max(np.where(finite, x, -np.inf), axis=axis if x.ndim else None)
    smallest = np.min(np.where(finite, x, np.inf), axis=axis if x.ndim else None)
    return float(np.max(np.where(np.isfinite(largest), largest - smallest, 0.0)))


def row_of_element(
    call: Call, quantity: str, grad_output: np.ndarray, index: tuple[int, ...]
) -> tuple[Call, np.ndarray, tuple[int, ...]] | None:
    """The row that the element at ``index`` of a result belongs to, as a call, its upstream gradient, and the
    index there.

    None where the element belongs to all rows: to a reduced loss, or to the gradient of what they share.
    """
    x, axis = call.arguments["input"], class_axis(call)
    if (
        call.arguments.get("reduction", "none") != "none"
        or x.ndim != (1 if axis is None else 2)
        or quantity not in (FORWARD, *OF_ROWS)
    ):
        return None
    along = 0 if axis is None else 1 - axis  # what rows are stacked along
    if axis is None or (quantity == FORWARD and len(index) < x.ndim):
        place = index[0]
        at: tuple[int, ...] = (0,)
    else:
        place = index[along]
        at = (0, index[axis]) if along == 0 else (index[axis], 0)

    def taken(array: Any) -> Any:
        if not isinstance(array, np.ndarray):
            return array
        return np.take(array, [place], axis=along if array.ndim == x.ndim else 0)

    def is_shared(name: str, value: Any) -> bool:
        """Weights of classes are shared by rows, those that broadcast by elements."""
        return name not in OF_ROWS and (value is None or axis is not None or np.shape(value) != x.shape)

    arguments = {
        name: value if is_shared(name, value) else taken(value) for name, value in call.arguments.items()
    }
    return replace(call, arguments=arguments), taken(grad_output), at
