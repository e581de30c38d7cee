"""Arrays of the rounding arithmetic as bytes, and back: the same numbers to the last bit, of the same kinds.

A header of JSON, and the arrays one after another. Nothing that is read is run. What several of the arrays
depend on in common, an `Unknown`, they do afterwards too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from typing import Any

import numpy as np

from torch_loss_parity.reference.arithmetic.double_double import DoubleDouble
from torch_loss_parity.reference.arithmetic.error import Error, Unknown
from torch_loss_parity.reference.arithmetic.formats import Arithmetic, Format
from torch_loss_parity.reference.arithmetic.rounding import Rounded

_ALIGNED = 8  # bytes; arrays begin at multiples of it
_LARGE = 64  # elements of an array in which it is worth to look for what is there again and again
_KINDS = "fiub"  # of dtypes


def encode(values: Sequence[Any]) -> bytes:
    """Rounded arrays, arrays, double-doubles, texts, numbers and tuples of these as bytes.

    Raises
    ------
    TypeError
        If there is something else.
    """
    writer = _Writer()
    described = [writer.value(each) for each in values]
    header = json.dumps([writer.arithmetics, described], separators=(",", ":")).encode()
    start = len(header).to_bytes(4, "little") + header
    return b"".join([start, bytes(-len(start) % _ALIGNED), *writer.parts])


def decode(data: bytes) -> list[Any]:
    """What `encode` made bytes of."""
    end = 4 + int.from_bytes(data[:4], "little")
    arithmetics, described = json.loads(data[4:end])
    reader = _Reader(data, end + -end % _ALIGNED, [_arithmetic(text) for text in arithmetics])
    return [reader.value(each) for each in described]


class _Writer:
    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.arithmetics: list[str] = []
        self.unknowns: dict[Unknown, int] = {}

    def value(self, value: Any) -> Any:
        if not isinstance(value, Rounded):
            return self.part(value)
        text, error = _text(value.arithmetic), value.error
        if text not in self.arithmetics:
            self.arithmetics.append(text)
        shared = [
            [self.unknowns.setdefault(unknown, len(self.unknowns)), unknown.axis, self.part(r), self.part(a)]
            for unknown, (r, a) in error.shared.items()
        ]
        parts = [self.part(each) for each in (value.value, error.relative, error.absolute)]
        return {"rounded": [self.arithmetics.index(text), shared, *parts]}

    def part(self, value: Any) -> Any:
        kind = type(value)
        if kind is np.ndarray:
            return self.array(value)
        if (kind is float and math.isfinite(value)) or kind in (int, str, bool) or value is None:
            return value
        if kind is np.float64 or kind is float:
            return [*self.array(np.asarray(value)), kind.__name__]
        if kind is DoubleDouble:
            return {"halves": [self.part(value.high), self.part(value.low)]}
        if kind is tuple:
            return {"tuple": [self.part(each) for each in value]}
        raise TypeError(f"a {kind.__name__} is not written down")

    def array(self, array: np.ndarray) -> list[Any]:
        """The dtype and the shape; where it is held otherwise, the shape that is spread out to it, or the
        order of its axes.
        """
        if array.dtype.kind not in _KINDS:
            raise TypeError(f"an array of {array.dtype} is not written down")
        described: list[Any] = [array.dtype.str, list(array.shape)]
        if array.size >= _LARGE:
            array = _without_repetition(array)
            if list(array.shape) != described[1]:
                described.append(list(array.shape))
            elif not array.flags.c_contiguous:
                order = sorted(range(array.ndim), key=lambda axis: -array.strides[axis])
                described += [None, order]
                array = array.transpose(order)
        data = array.tobytes()
        self.parts += [data, bytes(-len(data) % _ALIGNED)]
        return described


def _without_repetition(array: np.ndarray) -> np.ndarray:
    """The first part along every axis along which all are the same."""
    bits = array.view(f"u{array.dtype.itemsize}")
    for axis, length in enumerate(array.shape):
        first, second = (slice(None),) * axis + (slice(0, 1),), (slice(None),) * axis + (slice(1, 2),)
        if length > 1 and bits[second].flat[0] == bits[first].flat[0] and (bits == bits[first]).all():
            array, bits = array[first], bits[first]
    return array


class _Reader:
    def __init__(self, data: bytes, start: int, arithmetics: list[Arithmetic]) -> None:
        self.data = np.array(np.frombuffer(data, dtype=np.uint8, offset=start))
        self.at, self.arithmetics = 0, arithmetics
        self.unknowns: dict[int, Unknown] = {}

    def value(self, described: Any) -> Any:
        if type(described) is not dict or "rounded" not in described:
            return self.part(described)
        arithmetic, shared, value, relative, absolute = described["rounded"]
        coefficients = {}
        for number, axis, r, a in shared:
            if (unknown := self.unknowns.get(number)) is None:
                unknown = self.unknowns[number] = Unknown(axis)
            coefficients[unknown] = (self.part(r), self.part(a))
        parts = self.part(value), self.part(relative), self.part(absolute)
        return Rounded(parts[0], self.arithmetics[arithmetic], Error(parts[1], parts[2], coefficients))

    def part(self, described: Any) -> Any:
        kind = type(described)
        if kind is list:
            return self.array(*described)
        if kind is dict:
            ((name, parts),) = described.items()
            made = tuple(self.part(each) for each in parts)
            return DoubleDouble(*made) if name == "halves" else made
        return described

    def array(self, dtype: str, shape: list[int], held: Any = None, order: Any = None) -> Any:
        number, held = (held, None) if type(held) is str else (None, held)
        stored = held or ([shape[axis] for axis in order] if order else shape)
        array: np.ndarray = np.ndarray(stored, dtype, self.data, self.at)
        self.at += array.nbytes + -array.nbytes % _ALIGNED
        if number:
            return float(array) if number == "float" else array[()]
        if held:
            return np.broadcast_to(array, shape)
        return array.transpose(np.argsort(order)) if order else array


@cache
def _text(arithmetic: Arithmetic) -> str:
    given = {field.name: getattr(arithmetic, field.name) for field in fields(arithmetic)}
    return json.dumps(
        {
            name: [value.name, value.precision, value.min_exponent, value.max_exponent]
            if isinstance(value, Format)
            else value
            for name, value in given.items()
        }
    )


@cache
def _arithmetic(text: str) -> Arithmetic:
    given: dict[str, Any] = {
        name: Format(*value) if isinstance(value, list) else value for name, value in json.loads(text).items()
    }
    return Arithmetic(**given)
