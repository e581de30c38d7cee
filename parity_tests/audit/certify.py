"""The true values of a quantity, enclosed twice: all of them by an evaluation with a bound on its own error,
chosen ones by balls.

Note [Filter first]
    Evaluated in double-double (results of 16 bits in float64), in the rounding arithmetic with a format as
    fine as that, every element is known to within a few units of roundoff of the evaluation: a
    hundred-millionth of an ulp of float32, a thousandth of one of float64. That decides all but the few
    elements whose enclosure lies across the edge of a cell. Those, and every element that is reported as the
    worst, go to balls. That the others need not is tried, see Note [Two witnesses] in
    `torch_loss_parity.audit.doubts`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from zlib import crc32

import flint
import numpy as np

from torch_loss_parity.audit.parts_of_calls import (
    blocks,
    elements,
    has_rows_alone,
    places,
    repeats,
    several,
    short_row,
)
from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.expectation import enclosed, in_balls
from torch_loss_parity.operators import OPERATORS
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
        first, second = (_evaluated(call, quantities, grad_output, arithmetic) for arithmetic in arithmetics)
    by_quantity = {}
    for quantity in quantities:
        value, error = first[quantity]
        source = chosen_balls(call, quantity, grad_output, value.shape)
        format, key = FORMATS[call.dtype_of(quantity)], key_of(call, quantity, grad_output)
        by_quantity[quantity] = Truth(value, error, format, source, second[quantity], key)
    return by_quantity


def _evaluated(
    call: Call, quantities: Sequence[str], grad_output: np.ndarray | None, arithmetic: Arithmetic
) -> dict[str, Evaluation]:
    """Each quantity, of many rows or elements block by block: the same to the last bit."""
    parts = [
        {name: Evaluation.of(result) for name, result in enclosed(block, quantities, g, arithmetic).items()}
        for block, g in blocks(call, quantities, grad_output)
    ]
    if len(parts) == 1:
        return parts[0]
    return {
        name: Evaluation(*map(np.concatenate, zip(*(part[name] for part in parts), strict=True)))
        for name in quantities
    }


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
    """What encloses chosen elements of a result of ``shape``; see Note [Rows in balls] of
    `torch_loss_parity.audit.parts_of_calls`."""
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
        row_of, column_of = places(call, quantity, shape, indices)
        order = np.argsort(row_of, kind="stable")
        row_numbers, begins = np.unique(row_of[order], return_index=True)
        positions = dict(zip(row_numbers.tolist(), np.split(order, begins[1:]), strict=True))
        if sum(map(len, rows.values())) > HELD:
            rows.clear()
        missing = [row for row in positions if (row, bits) not in rows]
        long = [row for row in missing if repeats(call, row)]
        if plain := sorted(set(missing) - set(long)):
            part, upstream = several(call, grad_output, np.asarray(plain))
            with balls.precision(bits):
                result = np.asarray(in_balls(part, quantity, upstream), dtype=object).reshape(len(plain), -1)
            rows.update(((row, bits), line) for row, line in zip(plain, result, strict=True))
        for row, at in positions.items():
            line, columns = rows.get((row, bits)), column_of[at]
            if line is None:
                part, upstream, columns = short_row(call, quantity, grad_output, row, columns, bits)
                with balls.precision(bits):
                    line = np.asarray(in_balls(part, quantity, upstream), dtype=object).reshape(-1)
            for position, column in zip(at, columns, strict=True):
                enclosed_elements[position] = flint.arb(line[column])
        return enclosed_elements

    if OPERATORS[call.operator].family.has_rows:
        return of_rows if has_rows_alone(call, quantity) and shape else whole
    return of_elements if call.arguments.get("reduction", "none") == "none" else whole
