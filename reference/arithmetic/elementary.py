"""exp, log and log1p of double-double numbers, with float64's additions and products alone.

Arguments and results are pairs ``(high, low)``. Those of results are not normalized: ``high`` may be off by
an ulp from the nearest float64.

Note [Tables]
    The argument is reduced with a table whose entries are double-double, by Python's `decimal`, until a
    series converges in a few terms. Of that, what is large is summed exactly; the rest is at most 2^-17 of
    the result, and is evaluated in float64 with a handful of roundings. So the relative error of log and
    log1p is below 2^-68, and that of exp far below. Tang, "Table-driven implementation of the exponential
    function", ACM TOMS 15 (1989), and "... of the logarithm function", ACM TOMS 16 (1990).
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, localcontext
from functools import cache
from math import factorial
from typing import Any

import numpy as np

from torch_loss_parity.reference.arithmetic.error_free import fast_two_sum, two_product, two_sum

Pair = tuple[Any, Any]
STEPS = 256  # of powers of two from 1 to 2, and of numbers
_FIRST, _LAST = 181, 363  # the cells of the numbers from sqrt(1/2) to sqrt(2)
_LITTLE = 2.0**-9  # log1p needs no table
_DIGITS = 60


def exp(high: Any, low: Any) -> Pair:
    """2^(k / 256) exp(r), where r = x - k log(2) / 256 is at most 2^-9.5."""
    powers, rests, (first, second, third) = _powers()
    clipped = np.clip(high, -800.0, 800.0)
    if np.count_nonzero(far := clipped != high):
        low = np.where(far, 0.0, low)  # of a huge number it is huge too
    k = np.rint(clipped / (first + second))
    a, b = two_sum(clipped, -k * first)
    c, d = two_sum(a, -k * second)
    r, rest = fast_two_sum(c, d + (b + (low - k * third)))
    square, missed = two_product(r, r)
    tail = 1 / factorial(7)
    for n in (6, 5, 4, 3):
        tail = tail * r + 1 / factorial(n)
    high, low = fast_two_sum(r, square / 2)
    low = low + (missed / 2 + tail * square * r + rest * (1 + r))  # and so exp(r) - 1
    whole = np.where(np.isfinite(k), k, 0.0).astype(np.int64)
    place, exponent = whole % STEPS, whole // STEPS
    power = powers[place]
    product, missed = two_product(power, high)
    total, left = fast_two_sum(power, product)
    left = left + (missed + rests[place] + power * low + rests[place] * high)
    return np.ldexp(total, exponent), np.ldexp(left, exponent)


def log(high: Any, low: Any) -> Pair:
    """e log(2) - log(c) + log1p(c m - 1), where x = m 2^e and c, of 10 bits, is nearly 1 / m.

    Of finite positive numbers.
    """
    factors, logs, rests, (first, second) = _logarithms()
    mantissa, exponent = np.frexp(high)
    below = mantissa < 0.7071067811865476
    mantissa, exponent = np.where(below, 2 * mantissa, mantissa), exponent - below
    cell = np.clip(np.rint(np.nan_to_num(mantissa) * STEPS), _FIRST, _LAST).astype(np.int64) - _FIRST
    factor = factors[cell]
    product, missed = two_product(mantissa, factor)
    little = fast_two_sum(product - 1, missed + np.ldexp(low, -exponent) * factor)
    high, low = _log1p_of_little(*little)
    a, b = two_sum(exponent * first, logs[cell])
    c, d = two_sum(a, high)
    return c, d + (b + (low + rests[cell] + exponent * second))


def log1p(high: Any, low: Any) -> Pair:
    """Of finite numbers above -1. log(1 + x), but that what is near 0 is not added to 1."""
    little = np.abs(high) < _LITTLE
    of_little = _log1p_of_little(np.where(little, high, 0.0), np.where(little, low, 0.0))
    if little.all():
        return of_little
    total, missed = two_sum(1.0, high)
    of_others = log(*fast_two_sum(total, missed + low))
    chosen = zip(of_little, of_others, strict=True)
    a, b = (np.where(little, mine, other) for mine, other in chosen)
    return a, b


def _log1p_of_little(t: Any, rest: Any) -> Pair:
    """log(1 + t + rest), |t| < 2^-8: t - t^2 / 2 in two parts, and a few terms."""
    square, missed = two_product(t, t)
    tail = 1 / 9 - t / 10
    for n in (8, 7, 6, 5, 4, 3):
        tail = 1 / n - tail * t
    high, low = fast_two_sum(t, -square / 2)
    return high, low + (rest - missed / 2 - t * rest + tail * square * t)


@cache
def _powers() -> tuple[np.ndarray, np.ndarray, tuple[float, float, float]]:
    """2^(i / 256) in two parts; log(2) / 256 in three, 18-bit multiples of the first two of which are
    float64s.
    """
    with localcontext() as context:
        context.prec = _DIGITS
        step = Decimal(2).ln() / STEPS
        first = float(int(step * 2**43)) / 2**43
        second = float(int((step - Decimal(first)) * 2**78)) / 2**78
        third = float(step - Decimal(first) - Decimal(second))
        return *_halves((step * i).exp() for i in range(STEPS)), (first, second, third)


@cache
def _logarithms() -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[float, float]]:
    """For each cell c, and -log(c) in two parts; log(2) in two, of the first of which 11-bit multiples are
    float64s.
    """
    with localcontext() as context:
        context.prec = _DIGITS
        factors = [round(2**9 * STEPS / i) / 2**9 for i in range(_FIRST, _LAST + 1)]
        log2 = Decimal(2).ln()
        first = float(int(log2 * 2**42)) / 2**42
        logs = _halves(-Decimal(c).ln() for c in factors)
        return np.asarray(factors), *logs, (first, float(log2 - Decimal(first)))


def _halves(numbers: Iterable[Decimal]) -> tuple[np.ndarray, np.ndarray]:
    exact = list(numbers)
    high = [float(number) for number in exact]
    low = [float(number - Decimal(h)) for number, h in zip(exact, high, strict=True)]
    return np.asarray(high), np.asarray(low)
