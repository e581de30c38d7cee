"""Products in any association: what the product of some of the factors may lose, or overflow, on the way.

Note [Products in any association]
    a b c may be (a b) c or a (b c), and a b / c may be a (b (1/c)): as many roundings, but other products on
    the way, which may be below the smallest normal number or beyond the largest where the result is not. A
    product remembers its factors. The smallest product of some of them is that of all below 1, the largest
    that of all above 1. Where the smallest may underflow, what is lost of it is multiplied by the rest, which
    is at most the largest; but no more than all is lost. Where the largest may overflow, nothing is known.
    Elsewhere nothing is charged.

    Of most products a look at the largest number of each factor says that this is elsewhere. A product of two
    factors has one association.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch_loss_parity.reference.arithmetic.formats import Format
    from torch_loss_parity.reference.arithmetic.rounding import Rounded

Size = tuple[Any, Any]  # the least and the largest magnitude of each element


class Product:
    """What an array is the product of; lazily, as hardly anybody asks.

    Attributes
    ----------
    count : int
        The number of factors.
    """

    count = 2

    @cached_property
    def largest(self) -> float:
        """At least the largest product of some of the factors, anywhere; at least 1."""
        raise NotImplementedError

    def sizes(self) -> list[Size]:
        """Those of each factor."""
        raise NotImplementedError


class Times(Product):
    """x y, or x / y."""

    def __init__(self, x: Rounded, y: Rounded, divided: bool = False) -> None:
        self.x, self.y, self.divided = x, y, divided
        self.count = _count(x) + (1 if divided else _count(y))

    @cached_property
    def largest(self) -> float:
        # Twice each: what is known of a factor is at least half of it.
        return _largest(self.x) * (max(2.0, 2 / self.y.smallest) if self.divided else _largest(self.y))

    def sizes(self) -> list[Size]:
        if not self.divided:
            return _sizes(self.x) + _sizes(self.y)
        low, high = _size(self.y)
        return [*_sizes(self.x), (1 / high, 1 / low)]


class Moved(Product):
    """A product whose elements went elsewhere, as in `Rounded.restructured`."""

    def __init__(self, product: Product, move: Callable[[Any], Any], shape: tuple[int, ...]) -> None:
        self.product, self.move, self.shape, self.count = product, move, shape, product.count

    @cached_property
    def largest(self) -> float:
        return self.product.largest

    def sizes(self) -> list[Size]:
        def moved(array: Any) -> Any:
            return self.move(np.broadcast_to(array, self.shape))

        return [(moved(low), moved(high)) for low, high in self.product.sizes()]


class Chosen(Product):
    """x in some places, and y in the others."""

    def __init__(self, where: Any, x: Rounded, y: Rounded) -> None:
        self.where, self.x, self.y = where, x, y
        self.count = max(_count(x), _count(y))

    @cached_property
    def largest(self) -> float:
        return max(_largest(self.x), _largest(self.y))

    def sizes(self) -> list[Size]:
        return [
            (np.where(self.where, low, other_low), np.where(self.where, high, other_high))
            for (low, high), (other_low, other_high) in zip_longest(
                _sizes(self.x), _sizes(self.y), fillvalue=(1.0, 1.0)
            )
        ]


def _count(x: Rounded) -> int:
    return x.product.count if x.product else 1


def _largest(x: Rounded) -> float:
    return x.product.largest if x.product else max(2.0, 2 * x.largest)


def _sizes(x: Rounded) -> list[Size]:
    return x.product.sizes() if x.product else [_size(x)]


def _size(x: Rounded) -> Size:
    magnitude, total = x.magnitude, x.total_error()
    return np.maximum(magnitude - total, 0.0), magnitude + total


def may_lose(product: Product, lowest: float, format: Format) -> bool:
    """Whether any association may lose anything of elements that are at least ``lowest``."""
    largest = product.largest
    return not (largest < format.overflow_threshold and lowest >= format.smallest_normal * largest)


def lost(product: Product, magnitude: Any, total: Any, format: Format, flushes: bool) -> Any:
    """What any association may lose besides its roundings, of elements of a magnitude that are known to
    ``total``; 0.0 where that is nothing of any.
    """
    if product.largest < format.overflow_threshold and not _any_below(
        format.smallest_normal * product.largest, magnitude, total
    ):
        return 0.0
    least, most = 1.0, 1.0
    for low, high in product.sizes():
        least, most = least * np.minimum(low, 1.0), most * np.maximum(high, 1.0)
    once = format.smallest_normal if flushes else format.smallest_subnormal
    underflow = np.minimum((product.count - 2) * once * most, magnitude + total)
    underflow = np.where(least < format.smallest_normal, underflow, 0.0)
    return np.where(most >= format.overflow_threshold, np.inf, underflow)


def _any_below(floor: float, magnitude: Any, total: Any) -> bool:
    """Whether an element may be below ``floor``, but for those that are 0 for sure."""
    low = np.asarray(magnitude - total)
    nonzero = np.broadcast_to(np.asarray(magnitude + total) > 0, low.shape)
    return not np.minimum.reduce(low, axis=None, initial=np.inf, where=nonzero) >= floor
