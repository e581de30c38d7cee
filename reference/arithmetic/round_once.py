"""One rounding of a value that carries errors: to the format that is computed in, or that is stored in.

Note [What cannot round]
    A sum or difference that the format holds, while the errors of its operands are below a quarter of its
    spacing, is not charged with a rounding: were it rounded, it would be rounded to exactly this value. One
    that is next to such a number (`NEXT_TO`: 1 + 2^-72 in float64) is rounded to that here too, and charged
    with what it is away from it: so whether a result fits does not depend on how many bits it is evaluated
    to. The same goes for products with a power of two and quotients by one; but not for other products that
    happen to fit, since whoever multiplies in another order has another product. Sums of multiples of a
    common quantum that stay small enough for the format are exact in every order. Rows of equal values, few
    survivors among -inf and losses that are integers are therefore known to a few units of roundoff at any
    length.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from torch_loss_parity.reference.arithmetic import double_double
from torch_loss_parity.reference.arithmetic.associations import Product, lost, may_lose
from torch_loss_parity.reference.arithmetic.double_double import DoubleDouble
from torch_loss_parity.reference.arithmetic.error import Error
from torch_loss_parity.reference.arithmetic.formats import Format
from torch_loss_parity.reference.arithmetic.kinds_of_value import settled

if TYPE_CHECKING:
    from torch_loss_parity.reference.arithmetic.rounding import Rounded

NEXT_TO = 2.0**-16  # of the spacing: as little of a rounding as the errors of the evaluation itself are


def round_result(
    operand: Rounded,
    value: Any,
    error: Error,
    charge: Any,
    *,
    exact: Any = False,
    exact_if_it_fits: Any = False,
    evaluated_exactly: Any = False,
    doubt: Callable[[], Any],
    product: Product | None = None,
) -> Rounded:
    """Finish an operation: what it carries from its operands, plus its own roundings.

    Parameters
    ----------
    operand : Rounded
        One of the operation's operands, for its arithmetic.
    value : ndarray
        The result, evaluated in ``arithmetic.evaluation_type``.
    error : Error
        What the operands pass on.
    charge : float or ndarray
        Relative error of the operation in the compute format, of each element where it differs; 0 where it
        cannot round there.
    exact : array of bool
        Where the operation is known to be exact on what it was given.
    exact_if_it_fits : array of bool
        Where it is exact if the result is a number of the format, see Note [What cannot round].
    evaluated_exactly : array of bool
        Where `value` itself is free of error, or what it misses is in `error`.
    doubt : callable
        Says where the kind of the result is not known, see Note [Kinds of value]; asked only where something
        is not finite.
    product : Product, optional
        What it is the product of, see Note [Products in any association].
    """
    arithmetic = operand.arithmetic
    free = evaluated_exactly is True or exact is True
    if not free:
        known, roundoff = evaluated_exactly | exact, arithmetic.evaluation_roundoff
        relative = error.relative + (roundoff if known is False else np.where(known, 0.0, roundoff))
        absolute = error.absolute
        if isinstance(value, DoubleDouble):
            absolute = absolute + _underflow(value, ~np.asarray(known))
        error = Error(relative, absolute, error.shared)
    result = operand.carrying(value, error)
    result, tame = _round_to(result, arithmetic.compute, charge, exact, exact_if_it_fits, product)
    if arithmetic.intermediate is not None and arithmetic.intermediate != arithmetic.compute:
        unit = arithmetic.intermediate.unit_roundoff
        # What is rounded a second time fits, where it does, whatever the operation: exp(0) is 1 in every
        # format.
        result, tame = _round_to(result, arithmetic.intermediate, unit, False, exact | exact_if_it_fits)
    result = result if tame else _clean(result, doubt)
    result.product = product
    return result


def _underflow(value: DoubleDouble, inexact: Any) -> Any:
    """What the evaluation of a small result may miss besides its relative error."""
    small = np.abs(value.high) < double_double.SMALL
    return np.where(small & inexact, double_double.UNDERFLOW, 0.0) if np.count_nonzero(small) else 0.0


def _round_to(
    x: Rounded,
    format: Format,
    charge: Any,
    exact: Any,
    exact_if_it_fits: Any,
    product: Product | None = None,
) -> tuple[Rounded, bool]:
    """One rounding to ``format``, see Note [What cannot round]; and whether every value and bound is finite
    without a look.
    """
    magnitude = x.magnitude
    total = x.error.growth * magnitude + x.error.total_absolute
    # Nan is not.
    at_most = float(np.maximum.reduce(magnitude + total, axis=None, initial=0.0))
    tame = at_most < format.overflow_threshold
    if not tame:
        total = settled(x)
    tiny = format.smallest_normal
    flushes = x.arithmetic.flushes_subnormals and format == x.arithmetic.compute
    if exact_if_it_fits is not False:
        chosen = exact_if_it_fits
        if flushes:
            chosen = chosen & ((magnitude >= tiny) | (magnitude == 0))
        x, total, fits = _absorbed(format, x, total, chosen)
        exact = exact if fits is None else exact | fits
    # Arrays of zeros are not made: what is charged to no element stays a number.
    charged = isinstance(charge, np.ndarray) or bool(charge)
    absolute = x.error.absolute + x.error.total_absolute * charge if charged else x.error.absolute
    low = magnitude - total
    lowest = np.minimum.reduce(low, axis=None, initial=np.inf)
    if not lowest >= tiny:
        below = low < tiny if exact is False else (low < tiny) & ~np.asarray(exact)
        if np.count_nonzero(below):
            ulps = np.maximum(1.0, charge / (2 * format.unit_roundoff))
            smallest = tiny if flushes else ulps * format.smallest_subnormal
            absolute = absolute + np.where(below, smallest, 0.0)
    if product is not None and product.count > 2 and may_lose(product, lowest, format):
        absolute = absolute + lost(product, magnitude, total, format, flushes)
    if not tame:
        absolute = np.where(magnitude + total >= format.overflow_threshold, np.inf, absolute)
    relative = x.error.relative
    if charged:
        exponent = -np.log1p(-charge) if isinstance(charge, np.ndarray) else _exponent(charge)
        relative = relative + (exponent if exact is False else np.where(exact, 0.0, exponent))
    rounded = x.within(Error(relative, absolute, x.error.shared))
    rounded.at_most = at_most if tame else None
    return rounded, tame


@cache
def _exponent(charge: float) -> Any:
    """What a relative error of ``charge`` is in the exponent."""
    return -np.log1p(-charge)


def store(x: Rounded) -> Rounded:
    """Round to the storage format, as when a result is written to memory: once, unless the conversion passes
    through another format.
    """
    arithmetic = x.arithmetic
    if arithmetic.storage in (arithmetic.compute, arithmetic.intermediate):
        return x
    if through := arithmetic.between(arithmetic.compute, arithmetic.storage):
        x = _stored_in(x, through)
    return _stored_in(x, arithmetic.storage)


def _stored_in(x: Rounded, format: Format) -> Rounded:
    with np.errstate(all="ignore"):
        total, magnitude, free = x.total_error(), x.magnitude, ~np.isfinite(x.nearest)
        doubt = np.isinf(total)
        x, total, exact = _absorbed(format, x, total, True)
        free = free if exact is None else exact | free
        half_ulp = format.spacing(magnitude + total) / 2
        absolute = x.error.absolute + np.where(free, 0.0, half_ulp)
        return _clean(x.within(Error(x.error.relative, absolute, x.error.shared)), lambda: doubt)


def _absorbed(format: Format, x: Rounded, total: Any, chosen: Any) -> tuple[Rounded, Any, Any]:
    """``x`` as rounding to ``format`` leaves it, where that is a known number whatever the error on the way
    in; its total error; and which of the ``chosen`` elements these are, None where it is none. See Note [What
    cannot round]."""
    # A quarter of a spacing is at most unit_roundoff / 2 of the value: few elements come into question, often
    # none.
    candidates = total <= np.maximum(x.magnitude * format.unit_roundoff, format.smallest_subnormal)
    if not np.count_nonzero(candidates):
        return x, total, None
    spacing = format.spacing(x.value)
    units, rest = format.units_of(x.value, spacing)
    away = np.abs(rest)
    fits = candidates & (away <= NEXT_TO) & (total + away * spacing <= spacing / 4) & chosen
    x = fold_where(x, fits, total)
    next_to = fits & (away > 0)
    if np.count_nonzero(next_to):
        away = np.where(next_to, away * spacing, 0.0)
        value = np.where(next_to, units * spacing, x.value)
        x = x.carrying(value, Error(x.error.relative, x.error.absolute + away, x.error.shared))
        total = total + away
    return x, total, fits


def fold_where(x: Rounded, chosen: Any, total: Any) -> Rounded:
    """Turn shared errors into own ones where ``chosen``: what is rounded back to its value moves with no
    unknown.
    """
    if not x.error.shared or not np.count_nonzero(chosen):
        return x
    shared = {k: (np.where(chosen, 0.0, r), np.where(chosen, 0.0, a)) for k, (r, a) in x.error.shared.items()}
    error = Error(np.where(chosen, 0.0, x.error.relative), np.where(chosen, total, x.error.absolute), shared)
    return x.within(error)


def _clean(x: Rounded, doubt: Callable[[], Any]) -> Rounded:
    """No error where the value is not finite; an infinite one where it cannot be said (inf * 0), and where
    the kind is in ``doubt``.
    """
    finite = np.isfinite(x.nearest)
    bounds = (x.error.relative, x.error.absolute, *chain.from_iterable(x.error.shared.values()))
    if np.count_nonzero(finite) == finite.size and not any(map(_has_nan, bounds)):
        return x

    def settle(bound: Any) -> Any:
        return np.where(finite, np.where(np.isnan(bound), np.inf, bound), 0.0)

    shared = {k: (settle(r), settle(a)) for k, (r, a) in x.error.shared.items()}
    absolute = np.where(doubt() & ~finite, np.inf, settle(x.error.absolute))
    return x.within(Error(settle(x.error.relative), absolute, shared))


def _has_nan(bound: Any) -> bool:
    return bool(np.count_nonzero(np.isnan(bound)))
