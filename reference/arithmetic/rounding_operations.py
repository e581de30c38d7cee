"""Sums, products and quotients in rounding arithmetic: what operands' errors make of the result's."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from torch_loss_parity.reference.arithmetic import double_double
from torch_loss_parity.reference.arithmetic.associations import Times
from torch_loss_parity.reference.arithmetic.double_double import DoubleDouble, nearest
from torch_loss_parity.reference.arithmetic.error import Error, Unknown, is_exact, is_zero, merge
from torch_loss_parity.reference.arithmetic.error_free import two_sum
from torch_loss_parity.reference.arithmetic.kinds_of_value import either_in_doubt, may_vanish, overflows
from torch_loss_parity.reference.arithmetic.round_once import round_result

if TYPE_CHECKING:
    from torch_loss_parity.reference.arithmetic.rounding import Rounded


def absolute_form(x: Rounded) -> tuple[Any, dict[Unknown, Any]]:
    """The error of ``x`` without its exponent: each element's own bound, and a coefficient for each unknown.

    ``|exp(rho + r tau) - 1 - r tau| <= expm1(relative + |r|) - |r|`` puts the second-order term into the own
    bound.
    """
    error = x.error
    if is_exact(error):
        return 0.0, {}
    magnitude = x.magnitude
    growth = error.growth - (error.total_relative - error.relative) if error.shared else error.growth
    grown = magnitude * growth
    if np.isnan(np.maximum.reduce(grown, axis=None, initial=0.0)):
        grown = np.where(magnitude == 0, 0.0, grown)  # a zero has no relative error, however large its bound
    return error.absolute + grown, {k: x.nearest * r + a for k, (r, a) in error.shared.items()}


def add(x: Rounded, y: Rounded, addend: Any, sign: float) -> Rounded:
    """x + sign y, where ``addend`` is the value of sign y."""
    with np.errstate(all="ignore"):
        value, missed = _sum_of_two(x.value, addend)
        own_x, shared_x = absolute_form(x)
        own_y, shared_y = absolute_form(y)
        shared = merge([shared_x, {k: sign * a for k, a in shared_y.items()}]) if shared_x or shared_y else {}
        error = Error(0.0, own_x + own_y + missed, {k: (0.0, a) for k, a in shared.items()})
        unit = x.arithmetic.compute.unit_roundoff

        def doubt() -> Any:
            return either_in_doubt(x, y, overflows(value, x.nearest, y.nearest))

        return round_result(x, value, error, unit, exact_if_it_fits=True, evaluated_exactly=True, doubt=doubt)


def largest_of(x: Rounded, value: Any, axis: int, keepdims: bool) -> Rounded:
    """The largest elements of ``x``, which are ``value``: they move no further than the farthest of those
    that the largest may be.
    """
    total = np.broadcast_to(x.total_error(), x.shape)
    with np.errstate(all="ignore"):
        kept = value if keepdims else np.expand_dims(value, axis)
        below = np.where(x.value == kept, 0.0, nearest(x.value - kept))
        above, under = (np.max(below + sign * total, axis=axis, keepdims=keepdims) for sign in (1.0, -1.0))
        error = np.maximum(above, -under)
        whole = np.max(total, axis=axis, keepdims=keepdims)
        error = np.where(np.isnan(error) | ~np.isfinite(nearest(value)), whole, np.minimum(error, whole))
    result = x.carrying(value, Error(0.0, error))
    result.largest_along = (x, axis) if keepdims else None
    return result


def less_its_largest(difference: Rounded, x: Rounded, axis: int) -> Rounded:
    """``x`` less its largest along an axis: exactly 0 where that is one element for sure, whatever the errors
    are.
    """
    total = np.broadcast_to(x.total_error(), x.shape)
    with np.errstate(all="ignore"):
        is_largest = nearest(difference.value) == 0
        below = np.where(is_largest, -np.inf, nearest(difference.value) + total)
        rival = np.max(below, axis=axis, keepdims=True)
        alone = np.sum(is_largest, axis=axis, keepdims=True) == 1
        certain = is_largest & alone & (rival < -total)
    error = difference.error
    shared = {k: (np.where(certain, 0.0, r), np.where(certain, 0.0, a)) for k, (r, a) in error.shared.items()}
    exact = Error(np.where(certain, 0.0, error.relative), np.where(certain, 0.0, error.absolute), shared)
    return difference.within(exact)


def _sum_of_two(x: Any, y: Any) -> tuple[Any, Any]:
    """What the evaluation makes of x + y, and the largest size of what it misses, often nothing."""
    if not (double_double.holds_float64s(x) and double_double.holds_float64s(y)):
        value = DoubleDouble.of(x) + y
        return value, double_double.ROUNDOFF * np.abs(value.high)
    if isinstance(x, DoubleDouble) or isinstance(y, DoubleDouble):
        return x + y, 0.0
    value, missed = two_sum(x, y)
    return np.asarray(value), np.abs(missed)


def multiply(x: Rounded, y: Rounded) -> Rounded:
    """x y: relative errors add up, and each absolute error grows with the other factor."""
    with np.errstate(all="ignore"):
        value = _array(x.value * y.value)
        of_x, of_y = x.nearest, y.nearest
        own: Any = 0.0
        shared: dict[Unknown, tuple[Any, Any]] = {}
        if not (is_exact(x.error) and is_exact(y.error)):
            own = _grown(x.error, y.error) * np.abs(of_y) + _grown(y.error, x.error) * np.abs(of_x)
            own = own + x.error.total_absolute * y.error.total_absolute
            if x.error.shared or y.error.shared:
                shared = _combine(x, y, sign=1.0, scale_x=of_y, scale_y=of_x)
        if isinstance(value, DoubleDouble):
            own = own + _lost_of_powers(value, x.value, y.value, operator.truediv)
        error = Error(x.error.relative + y.error.relative, own, shared)
        unit = x.arithmetic.compute.unit_roundoff
        powers = _if_any(_is_power_of_two(x.value) | _is_power_of_two(y.value))

        def doubt() -> Any:  # infinity times 0 is nan
            lost = (np.isinf(of_x) & may_vanish(y)) | (np.isinf(of_y) & may_vanish(x))
            return either_in_doubt(x, y, lost | overflows(value, of_x, of_y))

        fits: dict[str, Any] = {"exact_if_it_fits": powers, "evaluated_exactly": powers}
        return round_result(x, value, error, unit, **fits, doubt=doubt, product=Times(x, y))


def divide(x: Rounded, y: Rounded) -> Rounded:
    """x / y, which may be a reciprocal and a product, and so round twice, the first time as a quotient."""
    with np.errstate(all="ignore"):
        value = _array(x.value / y.value)
        of_y = y.nearest
        # An absolute error of the divisor becomes a relative one: |log(1 + e)| <= -log(1 - |e|).
        relative_y = y.error.relative
        if not is_zero(y.error.total_absolute):
            least = np.abs(of_y) * np.exp(-y.error.total_relative)
            relative_y = relative_y - np.log1p(-np.minimum(y.error.total_absolute / least, 1.0))
        shared_y = {k: (r, 0.0) for k, (r, _) in y.error.shared.items()}
        divisor = y.within(Error(relative_y, 0.0, shared_y))
        own = _grown(x.error, divisor.error) / np.abs(of_y) + _lost_of_powers(
            value, x.value, y.value, operator.mul
        )
        shared = (
            _combine(x, divisor, sign=-1.0, scale_x=1 / of_y, scale_y=0.0)
            if x.error.shared or shared_y
            else {}
        )
        error = Error(x.error.relative + relative_y, own, shared)
        unit = x.arithmetic.compute.unit_roundoff
        # A reciprocal and a product round twice; dividing by a power of two is exact.
        power_of_two = _is_power_of_two(y.value)
        fits = _if_any(power_of_two | (x.nearest == 0))
        approximate = x.arithmetic.division_ulps > 0.5  # even of a power of two

        # 0 / 0 and infinity / infinity are nan, and a divisor that is not 0 gives a number.
        def doubt() -> Any:
            lost = may_vanish(y) | ((of_y == 0) & may_vanish(x))
            return either_in_doubt(x, y, lost | (overflows(value, x.nearest, of_y) & (of_y != 0)))

        exact = _if_any(np.isinf(of_y))  # a number over infinity is 0
        result = round_result(
            x,
            value,
            error,
            2 * x.arithmetic.division_ulps * unit,
            exact=exact,
            exact_if_it_fits=_if_any(x.nearest == 0) if approximate else fits,
            evaluated_exactly=fits,
            doubt=doubt,
            product=Times(x, y, divided=True),
        )
        second = np.where(power_of_two | (nearest(value) == 0) | ~np.isfinite(value), 0.0, unit)
        absolute = result.error.absolute + np.where(second == 0, 0.0, second * result.error.total_absolute)
        error = Error(result.error.relative + second, absolute, result.error.shared)
        return result.within(error).as_product(result.product)


def _array(value: Any) -> Any:
    return value if isinstance(value, DoubleDouble) else np.asarray(value)


def _lost_of_powers(value: Any, x: Any, y: Any, back: Callable[[Any, Any], Any]) -> Any:
    """What the evaluation misses of a product with a power of two, or a quotient by one: nothing but by
    underflow.
    """
    if not isinstance(value, DoubleDouble):
        return 0.0
    if not np.count_nonzero(small := np.abs(value.high) < double_double.SMALL):
        return 0.0
    is_zero_exactly = (nearest(x) == 0) | (nearest(y) == 0) | np.isinf(nearest(y))
    if not np.count_nonzero(small := small & ~is_zero_exactly):
        return 0.0
    kept = (back(value, y) == x) | (back(value, x) == y)
    return np.where(small & ~kept, double_double.UNDERFLOW, 0.0)


def _grown(error: Error, other: Error) -> Any:
    """The absolute error of a factor, times what the other factor's relative error makes of it."""
    if is_zero(error.total_absolute):
        return 0.0 * other.growth  # nan where nothing bounds the other factor
    own = error.absolute * np.exp(other.total_relative)
    return own + (error.total_absolute - error.absolute) * other.growth if error.shared else own


def _combine(
    x: Rounded, y: Rounded, *, sign: float, scale_x: Any, scale_y: Any
) -> dict[Unknown, tuple[Any, Any]]:
    relative = merge(
        [
            {k: r for k, (r, _) in x.error.shared.items()},
            {k: sign * r for k, (r, _) in y.error.shared.items()},
        ]
    )
    absolute = merge(
        [
            {k: a * scale_x for k, (_, a) in x.error.shared.items()},
            {k: a * scale_y for k, (_, a) in y.error.shared.items()},
        ]
    )
    return {k: (relative[k], absolute[k]) for k in relative}


def _if_any(chosen: Any) -> Any:
    """False in place of an array of False: what holds of no element is not looked up for each."""
    return chosen if np.count_nonzero(chosen) else False


def _is_power_of_two(x: Any) -> Any:
    """Where the magnitude is a power of two, or 0."""
    if isinstance(x, DoubleDouble):
        return (
            _is_power_of_two(x.high) if isinstance(x.low, float) else _is_power_of_two(x.high) & (x.low == 0)
        )
    if isinstance(x, np.ndarray) and x.dtype == np.float64:  # no bits but those of the exponent
        return (x.view(np.int64) & 0x000F_FFFF_FFFF_FFFF) == 0
    return (np.abs(np.frexp(x)[0]) == 0.5) | (np.asarray(x) == 0)
