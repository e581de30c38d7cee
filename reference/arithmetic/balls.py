"""Ball arithmetic: the definitions on Arb balls enclose the true value with certainty.

A NumPy object array of Arb balls (python-flint) is an array like any other to the definitions. Inputs are
binary numbers, so they are balls of radius zero; every operation rounds outwards. F. Johansson, "Arb:
efficient arbitrary-precision midpoint-radius interval arithmetic", IEEE Trans. Computers 66 (2017).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import flint
import numpy as np

from torch_loss_parity.reference.arithmetic.double_double import DoubleDouble


class Enclosure(NamedTuple):
    """The true value lies in ``midpoint + remainder +- radius``; nan in all three where no number encloses
    it.

    ``midpoint`` is the nearest float64 and ``remainder`` what it leaves: together about 106 bits.
    """

    midpoint: Any
    remainder: Any
    radius: Any


@contextmanager
def precision(bits: int) -> Iterator[None]:
    """Work with balls of ``bits`` bits inside the block."""
    before = flint.ctx.prec
    flint.ctx.prec = bits
    try:
        yield
    finally:
        flint.ctx.prec = before


def ball(number: Any) -> flint.arb:
    """The exact ball of one binary floating-point number (of any real type of NumPy, or a `DoubleDouble`)."""
    if isinstance(number, DoubleDouble):
        with precision(4096):  # of two numbers, however far apart
            return ball(float(number.high)) + ball(float(number.low))
    if np.isnan(number):
        return flint.arb("nan")
    if np.isinf(number):
        return flint.arb("inf" if number > 0 else "-inf")
    if float(number) == number:
        return flint.arb(float(number))
    high = float(number)  # what float64 leaves of a wider number, of 113 bits twice
    with precision(256):
        return flint.arb(high) + ball(number - high)


def balls(array: Any) -> np.ndarray:
    """An object array of exact balls; integer and boolean arrays stay as they are."""
    if isinstance(array, DoubleDouble):
        result = np.empty(array.shape, dtype=object)
        for index in np.ndindex(*array.shape):
            result[index] = ball(array[index])
        return result
    array = np.asarray(array)
    if array.dtype.kind != "f":
        return array
    # A ball per distinct value, where they are worth it: rows in 16 bits hold few.
    distinct, inverse = np.unique(array, return_inverse=True)
    if 2 * distinct.size > array.size:
        return _balls_of_each(array.reshape(-1)).reshape(array.shape)
    return _balls_of_each(distinct)[inverse.reshape(-1)].reshape(array.shape)


def _balls_of_each(line: np.ndarray) -> np.ndarray:
    each = map(ball, line) if line.dtype.itemsize > 8 else map(flint.arb, line.tolist())
    return np.fromiter(each, dtype=object, count=line.size)


def enclosure(array: Any) -> Enclosure:
    """Split an array of balls into float64 arrays (midpoint, remainder, radius)."""
    flat = np.asarray(array, dtype=object)
    parts = np.array([_split(element) for element in flat.reshape(-1)], dtype=np.float64).reshape(-1, 3)
    return Enclosure(*(parts[:, i].reshape(flat.shape) for i in range(3)))


def _split(element: Any) -> tuple[float, float, float]:
    element = flint.arb(element)
    if not element.is_finite():
        return (np.nan, np.nan, np.nan)
    midpoint = float(element.mid())
    if not np.isfinite(midpoint):
        return (np.nan, np.nan, np.nan)
    rest = element - flint.arb(midpoint)
    remainder = float(rest.mid())
    left = abs(rest - flint.arb(remainder)).upper()
    return midpoint, remainder, float(left) * (1 + 2.0**-50) + 2.0**-1074 if left != 0 else 0.0


def evaluate(function: Callable[..., Any], *args: Any, bits: int = 128, **kwargs: Any) -> Any:
    """``function`` of the exact balls of every array among the arguments, at ``bits`` bits.

    Returns what the function returns: an object array of balls (0-d results included), or a named tuple of
    them.
    """
    with precision(bits):
        arguments = [balls(a) if isinstance(a, np.ndarray) else a for a in args]
        named = {k: balls(a) if isinstance(a, np.ndarray) else a for k, a in kwargs.items()}
        return function(*arguments, **named)
