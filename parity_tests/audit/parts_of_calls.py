"""Parts of a call: chosen rows or elements of it, a row made shorter, and blocks of rows.

Note [Rows in balls]
    Of a batch only the rows that hold a chosen element are evaluated; and where the record says `Shortened`,
    the elements of a row that were not chosen are put together where they are equal, as 16 bits make them: m
    equal logits x weigh as much in every sum as one logit x + log m. The definitions and the derivatives are
    evaluated as they are, on shorter rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import flint
import numpy as np

from torch_loss_parity.audit.operator_facets import audited
from torch_loss_parity.audit.single_row import class_axis
from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.expectation import FORWARD
from torch_loss_parity.operators import OPERATORS, Gap
from torch_loss_parity.operators.facets_audit import AVERAGED, Shortened
from torch_loss_parity.reference.arithmetic import balls
from torch_loss_parity.reference.arithmetic.formats import FORMATS

LONG = 64  # a row that may be worth shortening
BLOCK = 2**16  # elements that are evaluated at once, where rows are apart: their arrays fit into a cache


def blocks(
    call: Call, quantities: Sequence[str], grad_output: np.ndarray | None
) -> Iterator[tuple[Call, np.ndarray | None]]:
    """The call in parts, one after the other along the first dimension of every result; whole where rows are
    not apart, lie along another dimension than the last of two, or are few.
    """
    input = call.arguments["input"]
    has_rows = OPERATORS[call.operator].family.has_rows
    apart = all(has_rows_alone(call, name) for name in quantities) if has_rows else False
    if not (apart and input.ndim == 2 and _along(call) == 1 and input.size >= 2 * BLOCK):
        yield call, grad_output
        return
    rows = max(1, BLOCK // input.shape[1])
    for start in range(0, len(input), rows):
        yield several(call, grad_output, np.arange(start, min(start + rows, len(input))))


def has_rows_alone(call: Call, quantity: str) -> bool:
    """Whether each row of a result, or of a gradient, follows from its own row of the input, which lies along
    one dimension.
    """
    dim = call.arguments.get("dim")
    if call.arguments.get("reduction", "none") != "none" or (isinstance(dim, tuple) and len(dim) > 1):
        return False
    if not OPERATORS[call.operator].targets_classes:
        return True
    named = quantity in (FORWARD, "input") and call.arguments["input"].ndim > 1
    return named and _shortened_as(call) is not None


def _shortened_as(call: Call) -> Shortened | None:
    """How a row of the call may be shortened, if it may."""
    shortened = audited(call.operator).shortened
    return None if isinstance(shortened, Gap) or not shortened.holds(call) else shortened


def elements(call: Call, indices: np.ndarray) -> Call:
    """The call on chosen elements alone, of an operator of elements that are not reduced."""
    shape = call.arguments["input"].shape
    picked = {
        name: np.broadcast_to(value, shape).reshape(-1)[indices] if isinstance(value, np.ndarray) else value
        for name, value in call.arguments.items()
    }
    return replace(call, arguments=picked)


def element_alone(
    call: Call, quantity: str, grad_output: np.ndarray | None, index: int
) -> tuple[Call, np.ndarray | None, tuple[int, ...]]:
    """The element with this flat index, of a call that reduces nothing: the call on that element or its row,
    and where it is there.
    """
    indices = np.asarray([index])
    if not OPERATORS[call.operator].family.has_rows:
        return (
            elements(call, indices),
            None if grad_output is None else grad_output.reshape(-1)[indices],
            (0,),
        )
    input = call.arguments["input"]
    shape = OPERATORS[call.operator].result_shape(call.arguments) if quantity == FORWARD else input.shape
    row, column = places(call, quantity, shape, indices)
    part, g = several(call, grad_output, row)
    return part, g, (0,) if len(shape) < input.ndim else (0, int(column[0]))


def several(call: Call, grad_output: np.ndarray | None, rows: np.ndarray) -> tuple[Call, np.ndarray | None]:
    """The call on chosen rows, of one that reduces nothing; they lie along the last of two dimensions."""
    arguments, axis = call.arguments, _along(call)
    input = arguments["input"]
    place = np.unravel_index(rows, _without(input.shape, axis))
    changed: dict[str, Any] = {"input": np.moveaxis(input, axis, -1)[place]}
    if "dim" in arguments:
        changed["dim"] = 1
    if OPERATORS[call.operator].targets_classes:
        changed["target"] = arguments["target"][place]
    upstream = grad_output
    if grad_output is not None:  # as large as the input, or one for each row
        each = grad_output if grad_output.ndim < input.ndim else np.moveaxis(grad_output, axis, -1)
        upstream = each[place]
    return replace(call, arguments={**arguments, **changed}), upstream


def repeats(call: Call, row: int) -> bool:
    """Whether a row is worth shortening."""
    input, axis = call.arguments["input"], _along(call)
    if _shortened_as(call) is None or input.shape[axis] < LONG:
        return False
    x = np.moveaxis(input, axis, -1)[np.unravel_index(row, _without(input.shape, axis))]
    return 2 * len(np.unique(x)) <= len(x)


def _along(call: Call) -> int:
    axis = class_axis(call)
    assert axis is not None, "elements have no rows"
    return axis


def places(
    call: Call, quantity: str, shape: tuple[int, ...], indices: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The row and the column of each element of a result, by its flat index."""
    if len(shape) < call.arguments["input"].ndim:  # a result for each row
        return indices, np.zeros_like(indices)
    axis, places = _along(call), np.unravel_index(indices, shape)
    others = [n for i, n in enumerate(shape) if i != axis]
    return np.ravel_multi_index([p for i, p in enumerate(places) if i != axis], others), places[axis]


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]


def short_row(
    call: Call, quantity: str, grad_output: np.ndarray | None, row: int, columns: np.ndarray, bits: int
) -> tuple[Call, np.ndarray | None, np.ndarray]:
    """One row, shortened: the call, its upstream gradient, and where ``columns`` are."""
    part, upstream = several(call, grad_output, np.asarray([row]))
    arguments = {name: value for name, value in part.arguments.items() if name != "dtype"}
    x = arguments["input"][0]
    if call.arguments.get("dtype"):  # the input is converted
        x = FORMATS[call.output_dtype].round(x)
    if not OPERATORS[call.operator].targets_classes:
        shortened, chosen = _shortened_as(call), np.unique(columns)
        averaged = shortened is not None and shortened.upstream == AVERAGED
        of_row = None if upstream is None else upstream[0]
        of_numbers = of_row is not None and of_row.ndim > 0  # not one for the whole row
        x, g = _shortened(x, of_row if of_numbers else None, chosen, bits, averaged)
        g = g if of_numbers else of_row
        return (
            replace(call, arguments=arguments | {"input": x, "dim": 0}),
            g,
            np.searchsorted(chosen, columns),
        )
    target, weight, ignored = int(arguments["target"][0]), arguments["weight"], arguments["ignore_index"]
    named = columns if quantity != FORWARD else columns[:0]
    chosen = np.unique(named if target == ignored else np.append(named, target))
    x, _ = _shortened(x, None, chosen, bits)
    changed = {
        "input": x[None],
        "target": np.asarray([-100 if target == ignored else int(np.searchsorted(chosen, target))]),
        "weight": None if weight is None else np.append(weight[chosen], np.ones(len(x) - len(chosen))),
        "ignore_index": -100,
    }
    return (
        replace(call, arguments=arguments | changed),
        upstream,
        columns if quantity == FORWARD else np.searchsorted(chosen, columns),
    )


def _shortened(
    row: np.ndarray, upstream: Any, chosen: np.ndarray, bits: int, averaged: bool = False
) -> tuple[np.ndarray, Any]:
    """Balls of the ``chosen`` elements of a row, and of the others with equal ones put together; and their
    upstream gradient.
    """
    others = np.delete(np.arange(len(row)), chosen)
    distinct, inverse, counts = np.unique(row[others], return_inverse=True, return_counts=True)
    with balls.precision(bits):
        logs = {int(m): flint.arb(int(m)).log() for m in np.unique(counts) if m > 1}
        together = [
            balls.ball(x) + logs[int(m)] if m > 1 else balls.ball(x)
            for x, m in zip(distinct, counts, strict=True)
        ]
        short = _objects([balls.ball(x) for x in row[chosen]] + together)
        if upstream is None:
            return short, None
        sums = [flint.arb(0)] * len(distinct)
        for group, g in zip(inverse.reshape(-1), upstream[others], strict=True):
            sums[group] += flint.arb(float(g))
        if averaged:
            sums = [total / int(m) for total, m in zip(sums, counts, strict=True)]
        return short, _objects([balls.ball(g) for g in upstream[chosen]] + sums)


def _objects(items: list[Any]) -> np.ndarray:
    objects = np.empty(len(items), dtype=object)
    objects[:] = items
    return objects
