"""Sums in rounding arithmetic: what adding up a row may cost, in any order that the arithmetic allows; see
Note [Shared errors] of `torch_loss_parity.reference.arithmetic.error` and Note [What cannot round] of
`torch_loss_parity.reference.arithmetic.round_once`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import numpy as np

from torch_loss_parity.reference.arithmetic.double_double import DoubleDouble, nearest
from torch_loss_parity.reference.arithmetic.error import Error, Unknown, sum_of_magnitudes
from torch_loss_parity.reference.arithmetic.kinds_of_value import in_doubt, is_nan, overflows
from torch_loss_parity.reference.arithmetic.round_once import round_result
from torch_loss_parity.reference.arithmetic.rounding import Rounded, evaluated_once
from torch_loss_parity.reference.arithmetic.rounding_operations import absolute_form


@evaluated_once
def sum(x: Rounded, *, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Rounded:
    """A sum in any order that the arithmetic allows.

    Its error is one unknown for each row (one axis, ``keepdims``).
    """
    if x.value.dtype.kind != "f":
        return Rounded(np.sum(x.value, axis=axis, keepdims=keepdims), x.arithmetic)
    axes = tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else axis
    terms = prod(x.shape[a] for a in axes)
    if terms == 1:  # nothing is added
        return x if keepdims else x.restructured(lambda a: np.squeeze(a, axes), keep_shared=False)
    add = partial(np.add.reduce, axis=axes, keepdims=keepdims)
    along: dict[str, Any] = {"axis": axes, "keepdims": keepdims}
    with np.errstate(all="ignore"):
        finite = np.isfinite(x.nearest)
        all_finite = np.count_nonzero(finite) == finite.size

        def where_finite(bound: Any) -> Any:
            full = bound if np.shape(bound) == x.shape else np.broadcast_to(bound, x.shape)
            return full if all_finite else np.where(finite, full, 0.0)

        magnitude = where_finite(x.magnitude)
        own, coefficients = absolute_form(x)
        unknown = Unknown(axes[0] % x.ndim - x.ndim) if keepdims and len(axes) == 1 else None
        kept = {k: a for k, a in coefficients.items() if unknown is not None and k.axis == unknown.axis}
        own = own + sum_of_magnitudes(a for k, a in coefficients.items() if k not in kept)
        errors = where_finite(own + sum_of_magnitudes(kept.values()))
        at_most = magnitude + errors
        carried = add(where_finite(own))
        kept = {k: add(where_finite(a)) for k, a in kept.items()}

        size = add(magnitude)
        roundoff = x.arithmetic.evaluation_roundoff_of_sums
        over_losses = axis is None
        kept_in = (
            x.arithmetic.total if over_losses and x.arithmetic.total is not None else x.arithmetic.compute
        )
        unit = kept_in.unit_roundoff
        clear, value, absorbed = x.value, add(x.value), add(errors)
        noise: Any = False
        if over_losses and np.count_nonzero(negligible := magnitude * terms < size * unit * unit / 4):
            # A loss far below the others is absorbed by them, as errors are: exp(-256) among integers.
            noise, clear = np.any(negligible & (magnitude > 0)), np.where(negligible, 0.0, x.value)
            value = np.sum(clear, **along) + np.sum(np.where(negligible, x.value, 0.0), **along)
            absorbed = absorbed + np.sum(np.where(negligible, magnitude, 0.0), **along) * (1 + terms * unit)
        smallest = kept_in.smallest_normal if x.arithmetic.flushes_subnormals else 0.0
        exact = _adds_exactly(clear, size, absorbed, unit, smallest, along)
        height = x.arithmetic.total_height if over_losses else None
        rounding = _summation_error(at_most, unit, roundoff, along, height)
        if exact is not None:
            # Rounded back to its value, a partial sum moves with no unknown.
            carried = np.where(exact, absorbed, carried)
            rounding = np.where(exact, noise * size * roundoff, rounding)
        if smallest and np.count_nonzero(underflows := size < smallest / unit):
            lost = terms * smallest
            rounding = rounding + np.where(underflows if exact is None else underflows & ~exact, lost, 0.0)
        overflow = np.where(size + carried + rounding >= kept_in.overflow_threshold, np.inf, 0.0)
        error = np.where(np.isfinite(value), carried + rounding + overflow, 0.0)

        shared: dict[Unknown, tuple[Any, Any]] = {
            k: (0.0, a if exact is None else np.where(exact, 0.0, a)) for k, a in kept.items()
        }
        if unknown is not None:
            # Of one sign, the error is relative, and stays so through quotients and logarithms.
            total = np.abs(nearest(value))
            relative = -np.log1p(-error / total)
            one_sign = (total >= size * (1 - unit)) & (error < total)
            shared[unknown] = (np.where(one_sign, relative, 0.0), np.where(one_sign, 0.0, error))
            bound = Error(0.0, 0.0, shared)
        else:
            bound = Error(0.0, error, shared)
        # The total is rounded to the intermediate format, where that is narrower than the one sums are kept
        # in.

        def doubt() -> Any:
            unknown = np.any(np.broadcast_to(in_doubt(x), x.shape), **along) & ~np.any(is_nan(x), **along)
            return unknown | overflows(value, np.where(np.all(finite, **along), 0.0, np.inf))

        return round_result(x, value, bound, 0.0, exact_if_it_fits=True, evaluated_exactly=True, doubt=doubt)


def _summation_error(
    magnitude: Any,
    unit: float,
    roundoff: float,
    along: dict[str, Any],
    height: Callable[[Any], Any] | None = None,
) -> Any:
    """Bound on the roundings of a sum of addends that are at most ``magnitude`` large, ``size`` together; the
    evaluation's own too.

    An addition errs by at most ``unit`` times its result, and by at most either operand. With every addend
    below ``unit * size`` called small, n_large addends take part in at most n_large - 1 additions that cost
    ``unit * size``, and the small ones cost at most what they are (a row stagnates: they are lost). Where the
    order is known, each addend passes through at most ``height(terms)`` additions. The evaluation adds in an
    order of its own, with ``roundoff`` in place of ``unit``.
    """
    add = partial(np.add.reduce, **along)
    axis, positive = along["axis"], magnitude > 0
    size = np.add.reduce(magnitude, axis=axis, keepdims=True)
    sizes = size if along["keepdims"] else np.squeeze(size, axis)
    # Most rows have as many addends as elements: then what depends on their number alone is one number.
    terms: Any = prod(magnitude.shape[a] for a in axis)
    if np.count_nonzero(positive) < magnitude.size:
        terms = add(positive, dtype=np.int64)

    def by_size(unit: float) -> Any:
        growth = 1 / (1 - np.minimum(terms * unit, 1.0))  # second order: the partial sums carry their errors
        small = magnitude < unit * size
        if not np.count_nonzero(small) or not np.count_nonzero(small := small & positive):
            return np.maximum(terms - 1, 0) * (unit * sizes) * growth
        n_small, lost = add(small, dtype=np.int64), add(np.where(small, magnitude, 0.0))
        return (np.maximum(terms - n_small - 1, 0) * (unit * sizes) + lost * (1 + n_small * unit)) * growth

    evaluation = by_size(roundoff)
    if height is None:
        return by_size(unit) + evaluation
    additions = height(terms)
    by_height = additions * unit / (1 - np.minimum(additions * unit, 1.0)) * sizes
    return np.minimum(by_size(unit), by_height) + evaluation


def _adds_exactly(
    value: Any, size: Any, carried: Any, unit: float, smallest: float, along: dict[str, Any]
) -> Any:
    """Where the addends are multiples of a quantum so coarse that every partial sum, in every order, is a
    number.

    The errors that the addends carry must be below the resolution of the smallest partial sum, one quantum.
    None where no row can be.
    """
    if value.size == 0 or np.all(carried > size * unit / 2):  # a quantum is at most the sum: no need to look
        return None
    high = nearest(value)
    mantissa, exponent = np.frexp(np.where(np.isfinite(high), high, 0.0))
    units = np.ldexp(mantissa, 53)
    whole = units == np.rint(units)
    if isinstance(value, DoubleDouble):
        whole = whole & (value.low == 0)
    integers = np.where(whole, units, 1.0).astype(np.int64)
    # Lowest set bit.
    quantum = np.where(high == 0, np.inf, np.ldexp((integers & -integers).astype(np.float64), exponent - 53))
    coarsest = np.min(quantum, **along)
    return (
        np.all(whole, **along)
        & (size * unit <= coarsest)
        & (coarsest >= smallest)
        & (carried <= coarsest * unit / 2)
    )
