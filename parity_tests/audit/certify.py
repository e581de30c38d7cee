"""The true values of a quantity, enclosed twice: all of them by an evaluation with a bound on its own error,
chosen ones by balls.

Note [Filter first]
    Evaluated in double-double (results of 16 bits in float64), in the rounding arithmetic with a format as
    fine as that, every element is known to within a few units of roundoff of the evaluation: a
    hundred-millionth of an ulp of float32, a thousandth of one of float64. That decides all but the few
    elements whose enclosure lies across the edge of a cell. Those, and every element that is reported as the
    worst, go to balls. That the others need not is tried, see Note [Two witnesses] in
    `torch_loss_parity.audit.doubts`.

Note [Rows in balls]
    Of a batch only the rows that hold a chosen element are evaluated; and where the record says `Shortened`,
    the elements of a row that were not chosen are put together where they are equal, as 16 bits make them: m
    equal logits x weigh as much in every sum as one logit x + log m. The definitions and the derivatives are
    evaluated as they are, on shorter rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from zlib import crc32

import flint
import numpy as np

from torch_loss_parity.audit.operator_facets import audited
from torch_loss_parity.audit.single_row import class_axis
from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.expectation import FORWARD, enclosed, in_balls
from torch_loss_parity.operators import OPERATORS, Gap
from torch_loss_parity.operators.facets_audit import AVERAGED, Shortened
from torch_loss_parity.reference.arithmetic import balls
from torch_loss_parity.reference.arithmetic.formats import FLOAT32, FLOAT64, FORMATS, Arithmetic, Format
from torch_loss_parity.reference.arithmetic.rounding import Rounded

_BITS = 67  # of double-double exp and log are within 3 ulps of so many
# The exponents of float64 are enough, as bounds are kept in it; its smallest number is the smallest error
# that is ever charged.
EXTENDED = Format(
    "double-double", _BITS, FLOAT64.min_exponent - FLOAT64.precision + _BITS, FLOAT64.max_exponent
)
IN_DOUBLE_DOUBLE = Arithmetic(compute=EXTENDED, storage=EXTENDED, flushes_subnormals=False)
HIGHEST = 4096  # bits; what they do not tell from zero is zero
LONG = 64  # a row that may be worth shortening
HELD = 2**19  # balls that are kept, in case more elements of their rows or of the result are asked for


class _InFloat64(Arithmetic):
    """Evaluates in the format that it models, not in a wider one: the bound is on the evaluation itself,
    charged twice.
    """

    @property
    def evaluation_type(self) -> type:
        return np.float64


IN_FLOAT64 = _InFloat64(compute=FLOAT64, storage=FLOAT64, flushes_subnormals=False)


class Evaluation(NamedTuple):
    """Values, and the largest distance of the true value from each; 0 where a value is not finite."""

    value: Any
    error: np.ndarray

    @classmethod
    def of(cls, result: Rounded) -> Evaluation:
        """What an arithmetic that is as fine as its evaluation says of the evaluation itself."""
        value = result.value
        # The bound itself was evaluated in float64, with some hundred roundings at most.
        error = np.asarray(result.total_error(), dtype=np.float64) * (1 + 2.0**-40) + 2.0**-1074
        return cls(value, np.where(np.isfinite(value), np.broadcast_to(error, value.shape), 0.0))


@dataclass(frozen=True)
class Truth:
    """The true values of one result.

    Attributes
    ----------
    value : ndarray or DoubleDouble
        An approximation, of the shape of the result.
    error : ndarray of float64
        Largest distance of the true value from it; 0 where it is not finite.
    format : Format
        Of the result: the unit of errors.
    balls : callable
        Takes flat indices and bits, and returns the true values of these elements as balls.
    second : Evaluation or None
        The same by other means, see Note [Two witnesses] in `torch_loss_parity.audit.doubts`.
    key : int
        Seeds what is drawn among the elements: a number that follows from the arguments.
    """

    value: Any
    error: np.ndarray
    format: Format
    balls: Callable[[np.ndarray, int], Sequence[Any]]
    second: Evaluation | None = None
    key: int = 0

    def of(self, chosen: np.ndarray) -> Truth:
        """The true values of chosen elements, by their flat indices."""
        value, error = self.value.reshape(-1)[chosen], self.error.reshape(-1)[chosen]
        second = self.second and Evaluation(*(array.reshape(-1)[chosen] for array in self.second))

        def source(indices: np.ndarray, bits: int) -> Sequence[Any]:
            return self.balls(chosen[indices], bits)

        return Truth(value, error, self.format, source, second, self.key)

    def decimal(self, index: int, digits: int = 20) -> str:
        """The true value of an element, all digits certified."""
        value = self.value.reshape(-1)[index]
        if not np.isfinite(value):
            return str(float(value))
        bits = 128
        while True:
            ball = self.balls(np.asarray([index]), bits)[0]
            text = str(ball.str(digits, radius=False))
            if (bits >= HIGHEST or ball.rel_accuracy_bits() > 4 * digits) or ball.is_exact():
                return text
            bits *= 2


def truths(call: Call, quantities: Sequence[str], grad_output: np.ndarray | None = None) -> dict[str, Truth]:
    """The true value of each quantity: ``"forward"`` alone, or names of arguments whose gradients are
    meant.
    """
    halves = FORMATS[call.dtype_of(quantities[0])].precision < FLOAT32.precision
    arithmetics = (IN_FLOAT64, IN_DOUBLE_DOUBLE) if halves else (IN_DOUBLE_DOUBLE, IN_FLOAT64)
    with np.errstate(invalid="ignore"):  # some patterns of nan are no longer what they were in another format
        first, second = (enclosed(call, quantities, grad_output, arithmetic) for arithmetic in arithmetics)
    by_quantity = {}
    for quantity in quantities:
        value, error = Evaluation.of(first[quantity])
        source = chosen_balls(call, quantity, grad_output, value.shape)
        format, key = FORMATS[call.dtype_of(quantity)], key_of(call, quantity, grad_output)
        by_quantity[quantity] = Truth(value, error, format, source, Evaluation.of(second[quantity]), key)
    return by_quantity


def key_of(call: Call, quantity: str, grad_output: np.ndarray | None) -> int:
    """A number that follows from the arguments of a call."""
    key = crc32(f"{call.operator} {call.dtype} {quantity}".encode())
    for array in (*call.arguments.values(), grad_output):
        if isinstance(array, np.ndarray):
            key = crc32(array.tobytes(), key)
    return key


def chosen_balls(
    call: Call, quantity: str, grad_output: np.ndarray | None, shape: tuple[int, ...]
) -> Callable[[np.ndarray, int], Sequence[Any]]:
    """What encloses chosen elements of a result of ``shape``; see Note [Rows in balls]."""
    held: dict[int, np.ndarray] = {}

    def whole(indices: np.ndarray, bits: int) -> Sequence[Any]:
        if bits not in held:
            if sum(map(len, held.values())) > HELD:
                held.clear()
            with balls.precision(bits):
                held[bits] = np.asarray(in_balls(call, quantity, grad_output), dtype=object).reshape(-1)
        return [flint.arb(ball) for ball in held[bits][indices]]

    def of_elements(indices: np.ndarray, bits: int) -> Sequence[Any]:
        part, upstream = (
            elements(call, indices),
            None if grad_output is None else grad_output.reshape(-1)[indices],
        )
        with balls.precision(bits):
            return list(in_balls(part, quantity, upstream))

    rows: dict[tuple[int, int], np.ndarray] = {}

    def of_rows(indices: np.ndarray, bits: int) -> Sequence[Any]:
        enclosed_elements: list[Any] = [None] * len(indices)
        row_of, column_of = _places(call, quantity, shape, indices)
        order = np.argsort(row_of, kind="stable")
        row_numbers, begins = np.unique(row_of[order], return_index=True)
        positions = dict(zip(row_numbers.tolist(), np.split(order, begins[1:]), strict=True))
        if sum(map(len, rows.values())) > HELD:
            rows.clear()
        missing = [row for row in positions if (row, bits) not in rows]
        long = [row for row in missing if _repeats(call, row)]
        if plain := sorted(set(missing) - set(long)):
            part, upstream = several(call, grad_output, np.asarray(plain))
            with balls.precision(bits):
                result = np.asarray(in_balls(part, quantity, upstream), dtype=object).reshape(len(plain), -1)
            rows.update(((row, bits), line) for row, line in zip(plain, result, strict=True))
        for row, at in positions.items():
            line, columns = rows.get((row, bits)), column_of[at]
            if line is None:
                part, upstream, columns = _short_row(call, quantity, grad_output, row, columns, bits)
                with balls.precision(bits):
                    line = np.asarray(in_balls(part, quantity, upstream), dtype=object).reshape(-1)
            for position, column in zip(at, columns, strict=True):
                enclosed_elements[position] = flint.arb(line[column])
        return enclosed_elements

    if OPERATORS[call.operator].family.has_rows:
        return of_rows if _has_rows_alone(call, quantity) and shape else whole
    return of_elements if call.arguments.get("reduction", "none") == "none" else whole


def _has_rows_alone(call: Call, quantity: str) -> bool:
    """Whether each row of a result, or of a gradient, follows from its own row of the input."""
    if call.arguments.get("reduction", "none") != "none":
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
    row, column = _places(call, quantity, shape, indices)
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


def _repeats(call: Call, row: int) -> bool:
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


def _places(
    call: Call, quantity: str, shape: tuple[int, ...], indices: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The row and the column of each element of a result, by its flat index."""
    if len(shape) < call.arguments["input"].ndim:  # a result for each row
        return indices, np.zeros_like(indices)
    axis, places = _along(call), np.unravel_index(indices, shape)
    others = [n for i, n in enumerate(shape) if i != axis]
    return np.ravel_multi_index([p for i, p in enumerate(places) if i != axis], others), places[axis]


def _short_row(
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


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]


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
