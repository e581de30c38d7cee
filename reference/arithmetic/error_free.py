"""Sums and products of float64s together with exactly what rounding them misses.

Each result is a pair ``(rounded, missed)``. Knuth, *The Art of Computer Programming*, vol. 2, sec. 4.2.2;
Dekker, "A floating-point technique for extending the available precision", Numer. Math. 18 (1971). A product
is exact unless a part of it underflows, or the splitting of a factor above 2^996 overflows: then nan is what
it misses.
"""

from __future__ import annotations

from typing import Any


def two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    """a + b (Knuth)."""
    total = a + b
    back = total - a
    return total, (a - (total - back)) + (b - back)


def fast_two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    """a + b where b is no larger than a (Dekker)."""
    total = a + b
    return total, b - (total - a)


def two_product(a: Any, b: Any) -> tuple[Any, Any]:
    """a * b (Dekker)."""
    product = a * b
    (a1, a2), (b1, b2) = _split(a), _split(b)
    return product, ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2


def _split(a: Any) -> tuple[Any, Any]:
    """Two numbers of 26 bits whose sum is a (Veltkamp)."""
    scaled = 134217729.0 * a
    high = scaled - (scaled - a)
    return high, a - high
