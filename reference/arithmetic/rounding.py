"""Rounding arithmetic: an array that carries a bound on what evaluating the same lines in finite precision
may cost.

What is carried, and why, is in the notes of `torch_loss_parity.reference.arithmetic.error`.

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

Note [What is remembered]
    The same operation on the same arrays gives the same array, not an equal one: a derivative begins with
    what its definition computed, and each is evaluated once. Arrays are never changed.

Note [Kinds of value]
    Non-finite values carry no error: they are compared by kind (finite, infinite, nan). An intermediate
    result that may overflow carries an infinite error: such an element is not decided, and whoever judges
    must say so. What is made of it is not decided either, nor is a non-finite value that an implementation
    may miss: infinity over a sum that may overflow may be nan, and so may a number that may underflow over 0.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import cache, wraps
from types import ModuleType
from typing import Any

import numpy as np

from torch_loss_parity.reference.arithmetic import double_double
from torch_loss_parity.reference.arithmetic.double_double import DoubleDouble, nearest
from torch_loss_parity.reference.arithmetic.error import EXACT, Error, Unknown, merge
from torch_loss_parity.reference.arithmetic.error_free import two_sum
from torch_loss_parity.reference.arithmetic.formats import Arithmetic, Format

NEXT_TO = 2.0**-16  # of the spacing: as little of a rounding as the errors of the evaluation itself are


def remembered(operation: Callable[..., Any]) -> Callable[..., Any]:
    """An operation whose result is kept beside its first operand, see Note [What is remembered]."""

    @wraps(operation)
    def look_up(x: Any, *others: Any, **options: Any) -> Any:
        if not isinstance(x, Rounded) or any(
            isinstance(other, np.ndarray | DoubleDouble) for other in others
        ):
            return operation(x, *others, **options)
        key = (
            operation,
            *(id(other) if isinstance(other, Rounded) else other for other in others),
            *options.items(),
        )
        found = x.results.get(key)
        if found is None:
            # Held, an operand keeps its id.
            found = x.results[key] = (operation(x, *others, **options), others)
        return found[0]

    return look_up


class Rounded:
    """An array of values with a running bound on their rounding errors.

    Parameters
    ----------
    value : array_like
        Exact inputs. Real values are held in ``arithmetic.evaluation_type``; integers and booleans as they
        are.
    arithmetic : Arithmetic
        What is modelled.
    error : Error, optional
        The bound so far; none for exact inputs.
    """

    __array_priority__ = 1000.0
    __array_ufunc__ = None

    def __init__(self, value: Any, arithmetic: Arithmetic, error: Error | None = None) -> None:
        if not isinstance(value, DoubleDouble):
            value = np.asarray(value)
            if value.dtype.kind == "f" and arithmetic.evaluation_type is DoubleDouble:
                value = DoubleDouble.of(value)
            elif value.dtype.kind == "f" and value.dtype != np.float64:
                value = DoubleDouble.of(value) if value.dtype.itemsize > 8 else value.astype(np.float64)
        self.value: Any = value
        self.arithmetic = arithmetic
        self.error = EXACT if error is None else error
        self.results: dict[Any, Any] = {}

    def __array_namespace__(self, api_version: str | None = None) -> ModuleType:
        from torch_loss_parity.reference.arithmetic import rounding_functions

        return rounding_functions

    dtype = property(lambda self: self.value.dtype)
    shape = property(lambda self: self.value.shape)
    ndim = property(lambda self: self.value.ndim)
    size = property(lambda self: self.value.size)
    device = "cpu"

    @property
    def nearest(self) -> Any:
        """The value in float64, which is plenty for a bound."""
        return nearest(self.value)

    @property
    def magnitude(self) -> Any:
        return np.abs(nearest(self.value))

    def __repr__(self) -> str:
        return f"Rounded({self.value!r}, +-{self.total_error()!r})"

    def total_error(self) -> Any:
        """Largest distance of a computed element from its value, shared errors folded in; where that is not
        finite, 0, or infinite if its kind is not known, see Note [Kinds of value]."""
        with np.errstate(all="ignore"):
            magnitude = self.magnitude
            total = self.error.growth * magnitude + self.error.total_absolute
            if np.isfinite(np.maximum.reduce(total, axis=None, initial=0.0)):
                return total
            return np.where(np.isfinite(magnitude) | ~np.isinf(self.error.absolute), _settled(self), np.inf)

    @remembered
    def __add__(self, other: Any) -> Rounded:
        other = coerce(other, self.arithmetic)
        return _add(self, other, other.value, 1.0)

    @remembered
    def __sub__(self, other: Any) -> Rounded:
        other = coerce(other, self.arithmetic)
        return _add(self, other, -other.value, -1.0)

    def __rsub__(self, other: Any) -> Rounded:
        return coerce(other, self.arithmetic) - self

    @remembered
    def __neg__(self) -> Rounded:
        shared = {k: (r, -a) for k, (r, a) in self.error.shared.items()}
        return Rounded(-self.value, self.arithmetic, Error(self.error.relative, self.error.absolute, shared))

    @remembered
    def __abs__(self) -> Rounded:
        total = self.total_error()
        # Where the sign may be the other one.
        x = fold_where(self, np.asarray(total >= self.magnitude), total)
        sign = np.where(np.signbit(x.nearest), -1.0, 1.0)
        shared = {k: (r, a * sign) for k, (r, a) in x.error.shared.items()}
        return Rounded(np.abs(x.value), x.arithmetic, Error(x.error.relative, x.error.absolute, shared))

    @remembered
    def __mul__(self, other: Any) -> Rounded:
        return _multiply(self, coerce(other, self.arithmetic))

    @remembered
    def __truediv__(self, other: Any) -> Rounded:
        return _divide(self, coerce(other, self.arithmetic))

    def __rtruediv__(self, other: Any) -> Rounded:
        return _divide(coerce(other, self.arithmetic), self)

    __radd__ = __add__
    __rmul__ = __mul__

    def __getitem__(self, key: Any) -> Rounded:
        """Elements or new dimensions; shared errors are folded into own ones, as their rows may
        have moved.
        """
        from torch_loss_parity.reference.arithmetic.rounding_functions import restructure

        return restructure(self, lambda a: a[key], keep_shared=False)

    # Decisions are taken on the values: the definitions only ask about exact inputs.
    def __lt__(self, other: Any) -> Rounded:
        return self._compare(np.less, other)

    def __le__(self, other: Any) -> Rounded:
        return self._compare(np.less_equal, other)

    def __gt__(self, other: Any) -> Rounded:
        return self._compare(np.greater, other)

    def __ge__(self, other: Any) -> Rounded:
        return self._compare(np.greater_equal, other)

    def __eq__(self, other: Any) -> Rounded:  # type: ignore[override]
        return self._compare(np.equal, other)

    def __ne__(self, other: Any) -> Rounded:  # type: ignore[override]
        return self._compare(np.not_equal, other)

    __hash__ = None  # type: ignore[assignment]

    def __and__(self, other: Any) -> Rounded:
        return self._compare(np.logical_and, other)

    def __or__(self, other: Any) -> Rounded:
        return self._compare(np.logical_or, other)

    def __invert__(self) -> Rounded:
        return Rounded(~self.value, self.arithmetic)

    def __bool__(self) -> bool:
        return bool(self.value)

    def _compare(self, ufunc: Any, other: Any) -> Rounded:
        with np.errstate(invalid="ignore"):
            return Rounded(ufunc(self.value, coerce(other, self.arithmetic).value), self.arithmetic)


def _settled(x: Rounded) -> Any:
    """The total error where a value or a bound is not finite: 0 of every value that is not."""
    magnitude = x.magnitude
    relative = np.where(magnitude == 0, 0.0, x.error.growth * magnitude)
    return np.where(np.isfinite(magnitude), relative + x.error.total_absolute, 0.0)


def coerce(x: Any, arithmetic: Arithmetic) -> Rounded:
    """``x`` as a `Rounded` array; a number that the compute format does not hold is rounded to it first."""
    if isinstance(x, Rounded):
        return x
    value = x if isinstance(x, DoubleDouble) else np.asarray(x)
    if value.dtype.kind != "f" or arithmetic.compute.holds(value).all():
        return Rounded(value, arithmetic)
    exact = arithmetic.compute.holds(value)
    return Rounded(value, arithmetic, Error(np.where(exact, 0.0, arithmetic.compute.unit_roundoff)))


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


def is_exact(error: Error) -> bool:
    """Whether nothing at all is charged, known without a look at any element."""
    return is_zero(error.relative) and is_zero(error.absolute) and not error.shared


def round_result(
    value: Any,
    error: Error,
    arithmetic: Arithmetic,
    charge: float,
    *,
    exact: Any = False,
    exact_if_it_fits: Any = False,
    evaluated_exactly: Any = False,
    doubt: Callable[[], Any],
) -> Rounded:
    """Finish an operation: what it carries from its operands, plus its own roundings.

    Parameters
    ----------
    value : ndarray
        The result, evaluated in ``arithmetic.evaluation_type``.
    error : Error
        What the operands pass on.
    charge : float
        Relative error of the operation in the compute format; 0 where it cannot round there.
    exact : array of bool
        Where the operation is known to be exact on what it was given.
    exact_if_it_fits : array of bool
        Where it is exact if the result is a number of the format, see Note [What cannot round].
    evaluated_exactly : array of bool
        Where `value` itself is free of error, or what it misses is in `error`.
    doubt : callable
        Says where the kind of the result is not known, see Note [Kinds of value]; asked only where something
        is not finite.
    """
    free = evaluated_exactly is True or exact is True
    if not free:
        known, roundoff = evaluated_exactly | exact, arithmetic.evaluation_roundoff
        relative = error.relative + (roundoff if known is False else np.where(known, 0.0, roundoff))
        error = Error(relative, error.absolute + _underflow(value, ~np.asarray(known)), error.shared)
    result = Rounded(value, arithmetic, error)
    result, tame = _round_to(result, arithmetic.compute, charge, exact, exact_if_it_fits)
    if arithmetic.intermediate is not None and arithmetic.intermediate != arithmetic.compute:
        unit = arithmetic.intermediate.unit_roundoff
        # What is rounded a second time fits, where it does, whatever the operation: exp(0) is 1 in every
        # format.
        result, tame = _round_to(result, arithmetic.intermediate, unit, False, exact | exact_if_it_fits)
    return result if tame else _clean(result, doubt())


def _underflow(value: Any, inexact: Any) -> Any:
    """What the evaluation of a small result may miss besides its relative error."""
    if not isinstance(value, DoubleDouble):
        return 0.0
    small = np.abs(value.high) < double_double.SMALL
    return np.where(small & inexact, double_double.UNDERFLOW, 0.0) if small.any() else 0.0


def overflows(value: Any, *operands: Any) -> Any:
    """Where numbers give none: what the evaluation does not hold is not known."""
    finite = True
    for operand in operands:
        finite = finite & np.isfinite(operand)
    return finite & ~np.isfinite(value)


def in_doubt(x: Rounded) -> Any:
    """Where it is not known whether an element is finite, infinite or nan."""
    return np.isinf(x.total_error())


def is_nan(x: Rounded) -> Any:
    """Where an element is nan, whatever else is not known."""
    return np.isnan(x.nearest) & ~in_doubt(x)


def _either_in_doubt(x: Rounded, y: Rounded, because: Any = False) -> Any:
    """Where the kind of a result is not known, as that of an operand is not, or ``because``; what is made of
    a nan is nan.
    """
    return (in_doubt(x) | in_doubt(y) | because) & ~(is_nan(x) | is_nan(y))


def _may_vanish(x: Rounded) -> Any:
    """Where an element that is not 0 for sure may be, and may have either sign."""
    total = x.total_error()
    return (total > 0) & (total >= x.magnitude)


def _round_to(
    x: Rounded, format: Format, charge: float, exact: Any, exact_if_it_fits: Any
) -> tuple[Rounded, bool]:
    """One rounding to ``format``, see Note [What cannot round]; and whether every value and bound is finite
    without a look.
    """
    magnitude = x.magnitude
    total = x.error.growth * magnitude + x.error.total_absolute
    # Nan is not.
    tame = bool(np.maximum.reduce(magnitude + total, axis=None, initial=0.0) < format.overflow_threshold)
    if not tame:
        total = _settled(x)
    tiny = format.smallest_normal
    flushes = x.arithmetic.flushes_subnormals and format == x.arithmetic.compute
    if exact_if_it_fits is not False:
        chosen = exact_if_it_fits
        if flushes:
            chosen = chosen & ((magnitude >= tiny) | (magnitude == 0))
        x, total, fits = _absorbed(format, x, total, chosen)
        exact = exact if fits is None else exact | fits
    # Arrays of zeros are not made: what is charged to no element stays a number.
    absolute = x.error.absolute + x.error.total_absolute * charge if charge else x.error.absolute
    below = magnitude - total < tiny
    if exact is not False:
        below = below & ~np.asarray(exact)
    if below.any():
        ulps = max(1.0, charge / (2 * format.unit_roundoff))
        absolute = absolute + np.where(below, tiny if flushes else ulps * format.smallest_subnormal, 0.0)
    if not tame:
        absolute = np.where(magnitude + total >= format.overflow_threshold, np.inf, absolute)
    relative = x.error.relative
    if charge:
        relative = relative + (
            _exponent(charge) if exact is False else np.where(exact, 0.0, _exponent(charge))
        )
    return Rounded(x.value, x.arithmetic, Error(relative, absolute, x.error.shared)), tame


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
    arithmetic = x.arithmetic
    with np.errstate(all="ignore"):
        total, magnitude, free = x.total_error(), x.magnitude, ~np.isfinite(x.nearest)
        doubt = np.isinf(total)
        x, total, exact = _absorbed(format, x, total, True)
        free = free if exact is None else exact | free
        half_ulp = format.spacing(magnitude + total) / 2
        absolute = x.error.absolute + np.where(free, 0.0, half_ulp)
        return _clean(Rounded(x.value, arithmetic, Error(x.error.relative, absolute, x.error.shared)), doubt)


def _absorbed(format: Format, x: Rounded, total: Any, chosen: Any) -> tuple[Rounded, Any, Any]:
    """``x`` as rounding to ``format`` leaves it, where that is a known number whatever the error on the way
    in; its total error; and which of the ``chosen`` elements these are, None where it is none. See Note [What
    cannot round]."""
    # A quarter of a spacing is at most unit_roundoff / 2 of the value: few elements come into question, often
    # none.
    candidates = total <= np.maximum(x.magnitude * format.unit_roundoff, format.smallest_subnormal)
    if not candidates.any():
        return x, total, None
    spacing = format.spacing(x.value)
    units, rest = format.units(x.value)
    away = np.abs(rest)
    fits = candidates & (away <= NEXT_TO) & (total + away * spacing <= spacing / 4) & chosen
    x = fold_where(x, fits, total)
    next_to = fits & (away > 0)
    if next_to.any():
        away = np.where(next_to, away * spacing, 0.0)
        value = np.where(next_to, units * spacing, x.value)
        x = Rounded(value, x.arithmetic, Error(x.error.relative, x.error.absolute + away, x.error.shared))
        total = total + away
    return x, total, fits


def fold_where(x: Rounded, chosen: Any, total: Any) -> Rounded:
    """Turn shared errors into own ones where ``chosen``: what is rounded back to its value moves with no
    unknown.
    """
    if not x.error.shared or not chosen.any():
        return x
    shared = {k: (np.where(chosen, 0.0, r), np.where(chosen, 0.0, a)) for k, (r, a) in x.error.shared.items()}
    error = Error(np.where(chosen, 0.0, x.error.relative), np.where(chosen, total, x.error.absolute), shared)
    return Rounded(x.value, x.arithmetic, error)


def _clean(x: Rounded, doubt: Any) -> Rounded:
    """No error where the value is not finite; an infinite one where it cannot be said (inf * 0), and where
    the kind is in ``doubt``.
    """
    finite = np.isfinite(x.nearest)

    def settle(bound: Any) -> Any:
        return np.where(finite, np.where(np.isnan(bound), np.inf, bound), 0.0)

    if (
        not x.error.shared
        and finite.all()
        and not _has_nan(x.error.relative)
        and not _has_nan(x.error.absolute)
    ):
        return x
    shared = {k: (settle(r), settle(a)) for k, (r, a) in x.error.shared.items()}
    absolute = np.where(doubt & ~finite, np.inf, settle(x.error.absolute))
    return Rounded(x.value, x.arithmetic, Error(settle(x.error.relative), absolute, shared))


def _has_nan(bound: Any) -> bool:
    return bool(np.isnan(bound).any())


def _add(x: Rounded, y: Rounded, addend: Any, sign: float) -> Rounded:
    with np.errstate(all="ignore"):
        value, missed = _sum_of_two(x.value, addend)
        own_x, shared_x = absolute_form(x)
        own_y, shared_y = absolute_form(y)
        shared = merge([shared_x, {k: sign * a for k, a in shared_y.items()}]) if shared_x or shared_y else {}
        error = Error(0.0, own_x + own_y + missed, {k: (0.0, a) for k, a in shared.items()})
        unit = x.arithmetic.compute.unit_roundoff

        def doubt() -> Any:
            return _either_in_doubt(x, y, overflows(value, x.nearest, y.nearest))

        return round_result(
            value, error, x.arithmetic, unit, exact_if_it_fits=True, evaluated_exactly=True, doubt=doubt
        )


def _sum_of_two(x: Any, y: Any) -> tuple[Any, Any]:
    """What the evaluation makes of x + y, and the largest size of what it misses, often nothing."""
    if not (double_double.holds_float64s(x) and double_double.holds_float64s(y)):
        value = DoubleDouble.of(x) + y
        return value, double_double.ROUNDOFF * np.abs(value.high)
    if isinstance(x, DoubleDouble) or isinstance(y, DoubleDouble):
        return x + y, 0.0
    value, missed = two_sum(x, y)
    return np.asarray(value), np.abs(missed)


def _multiply(x: Rounded, y: Rounded) -> Rounded:
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
        own = own + _lost_of_powers(value, x.value, y.value, operator.truediv)
        error = Error(x.error.relative + y.error.relative, own, shared)
        unit = x.arithmetic.compute.unit_roundoff
        powers = _if_any(_is_power_of_two(x.value) | _is_power_of_two(y.value))

        def doubt() -> Any:  # infinity times 0 is nan
            lost = (np.isinf(of_x) & _may_vanish(y)) | (np.isinf(of_y) & _may_vanish(x))
            return _either_in_doubt(x, y, lost | overflows(value, of_x, of_y))

        return round_result(
            value, error, x.arithmetic, unit, exact_if_it_fits=powers, evaluated_exactly=powers, doubt=doubt
        )


def _array(value: Any) -> Any:
    return value if isinstance(value, DoubleDouble) else np.asarray(value)


def _lost_of_powers(value: Any, x: Any, y: Any, back: Callable[[Any, Any], Any]) -> Any:
    """What the evaluation misses of a product with a power of two, or a quotient by one: nothing but by
    underflow.
    """
    if not isinstance(value, DoubleDouble) or not (small := np.abs(value.high) < double_double.SMALL).any():
        return 0.0
    is_zero_exactly = (nearest(x) == 0) | (nearest(y) == 0) | np.isinf(nearest(y))
    kept = is_zero_exactly | (back(value, y) == x) | (back(value, x) == y)
    return np.where(small & ~kept, double_double.UNDERFLOW, 0.0)


def _divide(x: Rounded, y: Rounded) -> Rounded:
    with np.errstate(all="ignore"):
        value = _array(x.value / y.value)
        of_y = y.nearest
        # An absolute error of the divisor becomes a relative one: |log(1 + e)| <= -log(1 - |e|).
        relative_y = y.error.relative
        if not is_zero(y.error.total_absolute):
            least = np.abs(of_y) * np.exp(-y.error.total_relative)
            relative_y = relative_y - np.log1p(-np.minimum(y.error.total_absolute / least, 1.0))
        shared_y = {k: (r, 0.0) for k, (r, _) in y.error.shared.items()}
        divisor = Rounded(y.value, y.arithmetic, Error(relative_y, 0.0, shared_y))
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

        # 0 / 0 and infinity / infinity are nan, and a divisor that is not 0 gives a number.
        def doubt() -> Any:
            lost = _may_vanish(y) | ((of_y == 0) & _may_vanish(x))
            return _either_in_doubt(x, y, lost | (overflows(value, x.nearest, of_y) & (of_y != 0)))

        exact = _if_any(np.isinf(of_y))  # a number over infinity is 0
        result = round_result(
            value,
            error,
            x.arithmetic,
            unit,
            exact=exact,
            exact_if_it_fits=fits,
            evaluated_exactly=fits,
            doubt=doubt,
        )
        second = np.where(power_of_two | (nearest(value) == 0) | ~np.isfinite(value), 0.0, unit)
        absolute = result.error.absolute + np.where(second == 0, 0.0, second * result.error.total_absolute)
        error = Error(result.error.relative + second, absolute, result.error.shared)
        return Rounded(result.value, x.arithmetic, error)


def _grown(error: Error, other: Error) -> Any:
    """The absolute error of a factor, times what the other factor's relative error makes of it."""
    if is_zero(error.total_absolute):
        return 0.0 * other.growth  # nan where nothing bounds the other factor
    own = error.absolute * np.exp(other.total_relative)
    return own + (error.total_absolute - error.absolute) * other.growth if error.shared else own


def is_zero(bound: Any) -> bool:
    """Whether a bound is the number 0: known without a look at any element."""
    return isinstance(bound, float) and bound == 0.0


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
    return chosen if chosen.any() else False


def _is_power_of_two(x: Any) -> Any:
    """Where the magnitude is a power of two, or 0."""
    if isinstance(x, DoubleDouble):
        return (
            _is_power_of_two(x.high) if isinstance(x.low, float) else _is_power_of_two(x.high) & (x.low == 0)
        )
    if isinstance(x, np.ndarray) and x.dtype == np.float64:  # no bits but those of the exponent
        return (x.view(np.int64) & 0x000F_FFFF_FFFF_FFFF) == 0
    return (np.abs(np.frexp(x)[0]) == 0.5) | (np.asarray(x) == 0)
