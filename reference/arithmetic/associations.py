"""Products in any association: what the product of some of the factors may lose, or overflow, on the way.

Note [Products in any association]
    a b c may be (a b) c or a (b c), and a / (b c) may be a (1/b) (1/c): as many roundings, but other products
    on the way, which may be below the smallest normal number or beyond the largest where the result is not.
    A product remembers its factors. The smallest product of some of them is that of all below 1, the largest
    that of all above 1. Where the smallest may underflow, what is lost of it is multiplied by the rest, which
    is at most the largest; but no more than all is lost. Where the largest may overflow, nothing is known.
    Elsewhere nothing is charged.

    Of most products a look at the largest number of each factor says that this is elsewhere. A product of two
    factors has one association.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch_loss_parity.reference.arithmetic.formats import Format
    from torch_loss_parity.reference.arithmetic.rounding import Rounded

Move = Callable[[Any], Any]


@dataclass(frozen=True, eq=False)
class Factor:
    """A factor of each element of a product.

    Attributes
    ----------
    largest : callable
        The largest magnitude that it has anywhere, at least 1.
    sizes : callable
        The least and the largest magnitude of each element.
    """

    largest: Callable[[], float]
    sizes: Callable[[], tuple[Any, Any]]

    def moved(self, move: Move, shape: tuple[int, ...]) -> Factor:
        """The factor of what a product of ``shape`` is moved to."""

        def sizes() -> tuple[Any, Any]:
            low, high = self.sizes()
            return move(np.broadcast_to(low, shape)), move(np.broadcast_to(high, shape))

        return Factor(self.largest, sizes)


Factors = tuple[Factor, ...]
ONE = Factor(lambda: 1.0, lambda: (1.0, 1.0))


def factors_of(x: Rounded) -> Factors:
    """The factors that a product remembers; of anything else, itself."""
    return x.factors or (Factor(lambda: max(1.0, x.largest), partial(_sizes, x)),)


def reciprocals_of(x: Rounded) -> Factors:
    """1 / x as a factor."""

    def sizes() -> tuple[Any, Any]:
        low, high = _sizes(x)
        with np.errstate(divide="ignore"):
            return 1 / high, 1 / low

    return (Factor(lambda: max(1.0, 1 / x.smallest), sizes),)


def _sizes(x: Rounded) -> tuple[Any, Any]:
    with np.errstate(all="ignore"):
        magnitude, total = x.magnitude, x.total_error()
        return np.maximum(magnitude - total, 0.0), magnitude + total


def chosen(where: Any, x: Rounded, y: Rounded) -> Factors:
    """The factors of what is of ``x`` in some places, and of ``y`` in the others."""
    if not (x.factors or y.factors):
        return ()

    def either(one: Factor, other: Factor) -> Factor:
        def sizes() -> tuple[Any, Any]:
            (low, high), (other_low, other_high) = one.sizes(), other.sizes()
            return np.where(where, low, other_low), np.where(where, high, other_high)

        return Factor(lambda: max(one.largest(), other.largest()), sizes)

    pairs = zip_longest(factors_of(x), factors_of(y), fillvalue=ONE)
    return tuple(either(one, other) for one, other in pairs)


def lost(factors: Factors, magnitude: Any, total: Any, format: Format, flushes: bool) -> Any:
    """What any association may lose besides its roundings, of elements of a magnitude that are known to
    ``total``; 0.0 where that is nothing of any.
    """
    if len(factors) < 3:
        return 0.0
    with np.errstate(all="ignore"):
        # Twice each: what is known of a factor is at least half of it.
        largest = prod(2 * factor.largest() for factor in factors)
        tiny, floor = format.smallest_normal, format.smallest_normal * largest
        if largest < format.overflow_threshold and not _any_below(floor, magnitude, total):
            return 0.0
        least, most = 1.0, 1.0
        for low, high in (factor.sizes() for factor in factors):
            least, most = least * np.minimum(low, 1.0), most * np.maximum(high, 1.0)
        once = tiny if flushes else format.smallest_subnormal
        underflow = np.minimum((len(factors) - 2) * once * most, magnitude + total)
        return np.where(most >= format.overflow_threshold, np.inf, np.where(least < tiny, underflow, 0.0))


def _any_below(floor: float, magnitude: Any, total: Any) -> bool:
    """Whether an element may be below ``floor``, but for those that are 0 for sure."""
    low = np.asarray(magnitude - total)
    if np.minimum.reduce(low, axis=None, initial=np.inf) >= floor:
        return False
    nonzero = np.broadcast_to(np.asarray(magnitude + total) > 0, low.shape)
    return not np.minimum.reduce(low, axis=None, initial=np.inf, where=nonzero) >= floor
