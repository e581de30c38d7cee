"""What ought not to matter and does: threads, vector instructions, compilation, strides, the batch.

The same numbers go two ways. Where the bits differ, the truth says by how much each way errs and which is
nearer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Literal

import numpy as np

from torch_loss_parity.audit.operator_facets import audited
from torch_loss_parity.audit.record import Axis
from torch_loss_parity.audit.single_row import OF_ROWS
from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.claims.bits.measure import threads
from torch_loss_parity.claims.layouts.layouts import TRANSPOSED, from_views
from torch_loss_parity.expectation.expectation import FORWARD, certified, expected, upstream_gradient
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.reference.arithmetic.formats import FORMATS
from torch_loss_parity.subjects import Subject, run_subject

SHAPE = (34, 1000)  # more than 2**15 elements, the least of which torch gives each thread a part
LAYOUT = TRANSPOSED
Results = Mapping[str, np.ndarray]


def case_of(operator: str, dtype: str, seed: int) -> Case:
    """What goes both ways."""
    measured = audited(operator)
    return OPERATORS[operator].case(dtype, SHAPE, measured.telling[0], measured.base, seed)


def drawn_call(case: Case) -> tuple[Call, np.ndarray]:
    call = OPERATORS[case.operator].call(case)
    return call, upstream_gradient(call, case)


def plainly(subject: Subject, call: Call, device: str, grad_output: np.ndarray) -> Results:
    return run_subject.results(subject, subject.promise.asked_of(call), device, grad_output)


def with_two_threads(subject: Subject, call: Call, device: str, grad_output: np.ndarray) -> Results:
    with threads(2):
        return plainly(subject, call, device, grad_output)


def strided(subject: Subject, call: Call, device: str, grad_output: np.ndarray) -> Results:
    def strides(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        return LAYOUT.fitting(len(shape)).strides(shape)

    return dict(from_views(subject, subject.promise.asked_of(call), device, grad_output, strides))


def one_by_one(subject: Subject, call: Call, device: str, grad_output: np.ndarray) -> Results:
    """Each row of the batch in a call of its own; what rows share, as a layer, has its gradient from all."""
    rows_of: dict[str, list[np.ndarray]] = {}
    x, has_rows = call.arguments["input"], OPERATORS[call.operator].family.has_rows
    for place in range(x.shape[0]):

        def taken(array: np.ndarray, place: int = place) -> np.ndarray:
            return array[place : place + 1]

        rows = {
            name: taken(value)
            if isinstance(value, np.ndarray) and (name in OF_ROWS or not has_rows)
            else value
            for name, value in call.arguments.items()
        }
        row = plainly(subject, replace(call, arguments=rows), device, taken(grad_output))
        for quantity, result in row.items():
            if quantity in (FORWARD, *OF_ROWS) or not has_rows:
                rows_of.setdefault(quantity, []).append(result)
    return {quantity: np.concatenate(results) for quantity, results in rows_of.items()}


# --- judged -------------------------------------------------------------------------------------------------


class Known:
    """The true values of a call's results, certified where they are first asked for."""

    def __init__(self, call: Call, grad_output: np.ndarray) -> None:
        self.call, self.grad_output = call, grad_output
        self._known: dict[str, np.ndarray] = {}

    def of(self, quantity: str) -> np.ndarray:
        if quantity not in self._known:
            upstream = None if quantity == "forward" else self.grad_output
            bound = expected(self.call, (quantity,), upstream)[quantity]
            true = certified(self.call, quantity, upstream, bound)
            if true is None:
                raise ArithmeticError(
                    f"no true value of {quantity} of {self.call.operator}, {self.call.dtype}, could be "
                    f"certified"
                )
            self._known[quantity] = true.value
        return self._known[quantity]


def compared(
    axis: str, first: str, second: str, one: Results, other: Results, call: Call, truth: Known
) -> Iterator[Axis]:
    """How two ways to the same results differ; ``other`` may have fewer of them."""
    for quantity, result in other.items():
        yield _axis(axis, first, second, one[quantity], result, call, quantity, truth)


def _axis(
    axis: str, first: str, second: str, a: np.ndarray, b: np.ndarray, call: Call, quantity: str, truth: Known
) -> Axis:
    if a.shape != b.shape:
        raise run_subject.WrongResult(
            f"{quantity} has shape {a.shape} with {axis} {first} and {b.shape} with {second}"
        )
    differ = (a != b) & ~(np.isnan(a) & np.isnan(b)) | (np.signbit(a) != np.signbit(b))
    apart = first_ulp = second_ulp = 0.0
    nearer: Literal["first", "second", "neither"] = "neither"
    if differ.any():
        value, format = truth.of(quantity)[differ], FORMATS[call.dtype_of(quantity)]
        with np.errstate(all="ignore"):
            ulp = format.spacing(value)
            errors = [np.abs(x[differ] - value).astype(np.float64) / ulp for x in (a, b)]
            apart = _largest(np.abs(a[differ] - b[differ]) / ulp)
            first_ulp, second_ulp = (_largest(error) for error in errors)
            means = [float(np.mean(np.where(np.isfinite(error), error, np.inf))) for error in errors]
        nearer = "neither" if means[0] == means[1] else "first" if means[0] < means[1] else "second"
    return Axis(
        operator=call.operator,
        dtype=call.dtype,
        quantity=quantity,
        axis=axis,
        first=first,
        second=second,
        elements=a.size,
        differing=int(differ.sum()),
        max_apart_ulp=apart,
        first_max_ulp=first_ulp,
        second_max_ulp=second_ulp,
        nearer=nearer,
    )


def _largest(error: np.ndarray) -> float:
    return float(np.max(np.where(np.isnan(error), np.inf, error)))
