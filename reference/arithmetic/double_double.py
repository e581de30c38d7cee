"""Double-double: arrays of numbers that are each the unevaluated sum of two float64s, about 106 bits.

Note [One evaluation everywhere]
    What is asked of float64 has to be evaluated in something finer. NumPy's long double is no such thing: it
    has 64 bits of precision on x86, 113 on most other machines, and 53 on Windows and on Apple's, where it is
    float64 itself. Bounds of float64 would be twice as wide there, and what is allowed of small differences
    be another thing on every machine. These arrays need IEEE 754 float64 and nothing else: no wider type, no
    fused multiply-add and no mathematics library. So values and bounds are the same to the last bit
    everywhere.

Note [How accurate]
    Additions, products and quotients are those of Joldes, Muller & Popescu, "Tight and rigorous error bounds
    for basic building blocks of double-word arithmetic", ACM TOMS 44 (2017): their relative errors are less
    than 2^-102, and there are none in a sum or product of two float64s. exp, log and log1p are those of
    `torch_loss_parity.reference.arithmetic.elementary`. Two things are not relative: a result below 2^-900
    may be off by 2^-1072, as its second half underflows, and what overflows is infinite.

The second half may be the number 0 in place of an array of zeros: then every number is known to be a float64.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from torch_loss_parity.reference.arithmetic.error_free import fast_two_sum, two_product, two_sum

ROUNDOFF = 2.0**-102  # of an addition, a product, a quotient
FUNCTION_ROUNDOFF = 2.0**-67  # of exp, log, log1p
SUM_ROUNDOFF = 2.0**-100  # of a sum of n numbers, n times this of the sum of their magnitudes
UNDERFLOW = 2.0**-1072  # absolute, of results below `SMALL`
SMALL = 2.0**-900
quietly = np.errstate(all="ignore")


class DoubleDouble:
    """An array of numbers ``high + low``; ``high`` is the nearest float64.

    NumPy's functions take it where `double_double_functions` says how; others raise TypeError, so that
    nothing is rounded in silence. `numpy.asarray` gives the nearest float64s.
    """

    __slots__ = ("high", "low")
    __array_priority__ = 100.0
    dtype = np.dtype(np.float64)  # of each half

    def __init__(self, high: Any, low: Any = 0.0) -> None:
        # NumPy makes a numpy.float64 of an array without dimensions, which is a float too, and would be taken
        # for no second half.
        self.high, self.low = high, np.asarray(low) if isinstance(low, np.generic) else low

    @classmethod
    def of(cls, x: Any) -> DoubleDouble:
        """The same numbers, from an array of any real type; of a type wider than two float64s,
        the nearest.
        """
        if isinstance(x, DoubleDouble):
            return x
        x = np.asarray(x)
        high = x.astype(np.float64, copy=False)
        if x.dtype.kind != "f" or x.dtype.itemsize <= high.dtype.itemsize:
            return cls(high)
        with quietly:
            return normal(high, (x - high).astype(np.float64))

    shape = property(lambda self: self.high.shape)
    ndim = property(lambda self: self.high.ndim)
    size = property(lambda self: self.high.size)

    def __repr__(self) -> str:
        return f"DoubleDouble({self.high!r}, {self.low!r})"

    def __len__(self) -> int:
        return len(self.high)

    def __float__(self) -> float:
        return float(self.high)

    def __bool__(self) -> bool:
        return bool(self.high)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.high, dtype=dtype, copy=copy)

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        """The nearest float64s, converted."""
        return np.asarray(self.high).astype(dtype, copy=copy)

    def reshape(self, *shape: Any) -> DoubleDouble:
        return moved(lambda half: half.reshape(*shape), self)

    def __getitem__(self, key: Any) -> DoubleDouble:
        return moved(lambda half: np.asarray(half[key]), self)

    def __neg__(self) -> DoubleDouble:
        return DoubleDouble(-self.high, -self.low)

    def __abs__(self) -> DoubleDouble:
        if holds_float64s(self):
            return DoubleDouble(np.abs(self.high))
        return DoubleDouble(np.abs(self.high), np.where(np.signbit(self.high), -self.low, self.low))

    def __add__(self, other: Any) -> DoubleDouble:
        return _add(self, DoubleDouble.of(other))

    def __sub__(self, other: Any) -> DoubleDouble:
        return _add(self, -DoubleDouble.of(other))

    def __rsub__(self, other: Any) -> DoubleDouble:
        return _add(DoubleDouble.of(other), -self)

    def __mul__(self, other: Any) -> DoubleDouble:
        return _multiply(self, DoubleDouble.of(other))

    def __truediv__(self, other: Any) -> DoubleDouble:
        return _divide(self, DoubleDouble.of(other))

    def __rtruediv__(self, other: Any) -> DoubleDouble:
        return _divide(DoubleDouble.of(other), self)

    def __matmul__(self, other: Any) -> DoubleDouble:
        product: DoubleDouble = _functions().matmul(self, other)
        return product

    __radd__ = __add__
    __rmul__ = __mul__

    def __lt__(self, other: Any) -> Any:
        other = DoubleDouble.of(other)
        return (self.high < other.high) | ((self.high == other.high) & (self.low < other.low))

    def __le__(self, other: Any) -> Any:
        other = DoubleDouble.of(other)
        return (self.high < other.high) | ((self.high == other.high) & (self.low <= other.low))

    def __gt__(self, other: Any) -> Any:
        return DoubleDouble.of(other) < self

    def __ge__(self, other: Any) -> Any:
        return DoubleDouble.of(other) <= self

    def __eq__(self, other: Any) -> Any:
        other = DoubleDouble.of(other)
        return (self.high == other.high) & (self.low == other.low)

    def __ne__(self, other: Any) -> Any:
        return np.logical_not(self == other)

    __hash__ = None  # type: ignore[assignment]

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        known = _functions().METHODS.get(method, {}).get(ufunc)
        return NotImplemented if known is None else known(*inputs, **options)

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        known = _functions().FUNCTIONS.get(function)
        return NotImplemented if known is None else known(*arguments, **options)


def nearest(x: Any) -> Any:
    """The float64 that is nearest to each number; an array of NumPy's own as it is."""
    return x.high if isinstance(x, DoubleDouble) else x


def holds_float64s(x: Any) -> bool:
    """Whether it is known without a look at any element that each is a float64."""
    return not isinstance(x, DoubleDouble) or isinstance(x.low, float)


def moved(move: Callable[[Any], Any], x: DoubleDouble) -> DoubleDouble:
    """What ``move`` does to an array, done to both halves."""
    return DoubleDouble(
        move(x.high), x.low if holds_float64s(x) else move(np.broadcast_to(x.low, x.high.shape))
    )


@cache
def _functions() -> ModuleType:
    from torch_loss_parity.reference.arithmetic import double_double_functions

    return double_double_functions


# --- the four operations ------------------------------------------------------------------------------------


def normal(high: Any, low: Any) -> DoubleDouble:
    """The sum of a number and a smaller one."""
    total, rest = fast_two_sum(high, low)
    return _settled(total, rest, high)


def _settled(high: Any, low: Any, rounded: Any) -> DoubleDouble:
    """``high + low``; where that is no number, it is ``rounded``, what float64 makes of the operation."""
    high, low = np.asarray(high), np.asarray(low)
    if not np.count_nonzero(low):
        return DoubleDouble(high)
    if np.isnan(np.add.reduce(low, axis=None)):
        high = np.where(np.isnan(high) | ~np.isfinite(rounded), rounded, high)
        low = np.where(np.isfinite(high) & np.isfinite(low), low, 0.0)
    return DoubleDouble(high, low)


@quietly
def _add(x: DoubleDouble, y: DoubleDouble) -> DoubleDouble:
    high, low = two_sum(x.high, y.high)
    if holds_float64s(x) and holds_float64s(y):
        return _settled(high, low, high)
    if holds_float64s(x) or holds_float64s(y):
        return normal(high, low + (x.low + y.low))
    lower, lowest = two_sum(x.low, y.low)
    above, rest = fast_two_sum(high, low + lower)
    return _settled(*fast_two_sum(above, lowest + rest), high)


@quietly
def _multiply(x: DoubleDouble, y: DoubleDouble) -> DoubleDouble:
    product, missed = two_product(x.high, y.high)
    if np.isnan(np.add.reduce(missed, axis=None)):  # it may be the splitting that overflows
        scale_x, scale_y = (np.where(np.abs(factor.high) > 2.0**512, 2.0**-64, 1.0) for factor in (x, y))
        missed = two_product(x.high * scale_x, y.high * scale_y)[1] / scale_x / scale_y
    return normal(product, missed + (x.high * y.low + x.low * y.high))


@quietly
def _divide(x: DoubleDouble, y: DoubleDouble) -> DoubleDouble:
    if np.count_nonzero((np.abs(x.high) < SMALL) & (x.high != 0)):
        return _divide_scaled(x, y)
    quotient = x.high / y.high
    product, missed = two_product(quotient, y.high)
    if np.isnan(np.add.reduce(product + missed, axis=None)) and np.isfinite(y.high).all():
        return _divide_scaled(x, y)
    return _quotient(quotient, product, missed, x, y)


def _quotient(quotient: Any, product: Any, missed: Any, x: DoubleDouble, y: DoubleDouble) -> DoubleDouble:
    rest = ((x.high - product) - missed) + (x.low - quotient * y.low)
    return normal(quotient, rest / y.high)


def _divide_scaled(x: DoubleDouble, y: DoubleDouble) -> DoubleDouble:
    """A quotient of numbers so small or large that what the product with it misses could not be told."""
    (a, of_x), (b, of_y) = _scaled(x), _scaled(y)
    quotient = a.high / b.high
    result = _quotient(quotient, *two_product(quotient, b.high), a, b)
    high, low = np.ldexp(result.high, of_x - of_y), np.ldexp(result.low, of_x - of_y)
    return _settled(high, np.where(np.isfinite(high), low, 0.0), x.high / y.high)


def _scaled(x: DoubleDouble) -> tuple[DoubleDouble, Any]:
    """Numbers of the size of 1, and the exponents of the powers of two that they are to be
    multiplied with.
    """
    mantissa, exponent = np.frexp(x.high)
    return DoubleDouble(mantissa, np.ldexp(x.low, -exponent)), exponent
