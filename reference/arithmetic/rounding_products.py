"""Matrix products in rounding arithmetic.

Note [Products of matrices]
    An element is a sum of n products. Whatever the order of the additions, and whether a product is rounded
    by itself or fused with an addition, each product passes through at most n roundings: the element errs by
    at most ((1 + u)^n - 1) sum |x| |y| (Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed.,
    sec. 3.1 and 3.5; gamma_n, without its condition n u < 1). Products with an exact zero are none; and where
    the format that sums are kept in holds every product, as float32 does those of half precision, it is one
    rounding less. The bound is that of the element, with its own sum of magnitudes: products that cancel have
    a large one.

    A sum of multiples of a quantum so coarse that the format holds every partial sum is exact in every order,
    as in Note [What cannot round].
"""

from __future__ import annotations

from typing import Any

import numpy as np

from torch_loss_parity.reference.arithmetic import double_double
from torch_loss_parity.reference.arithmetic.double_double import DoubleDouble, nearest
from torch_loss_parity.reference.arithmetic.error import Error, is_exact
from torch_loss_parity.reference.arithmetic.formats import Format
from torch_loss_parity.reference.arithmetic.kinds_of_value import in_doubt, is_nan
from torch_loss_parity.reference.arithmetic.round_once import round_result
from torch_loss_parity.reference.arithmetic.rounding import Rounded, coerce, evaluated_once

EVALUATION = 2.0**-52  # of sums of magnitudes, which are evaluated in float64: twice its unit roundoff


@evaluated_once
def matmul(x: Rounded, y: Any) -> Rounded:
    """The product of two matrices, see Note [Products of matrices]."""
    arithmetic = x.arithmetic
    kept_in = arithmetic.product or arithmetic.compute
    unit, tiny = kept_in.unit_roundoff, arithmetic.compute.smallest_normal
    with np.errstate(all="ignore"):
        x, y = _as_factor(x), _as_factor(coerce(y, arithmetic))
        terms = _nonzero(x) @ _nonzero(y)
        of_x, of_y = _finite_magnitude(x), _finite_magnitude(y)
        slack = 1 + (x.shape[1] + 2) * EVALUATION
        size, carried = (of_x @ of_y) * slack, 0.0 * terms
        exact_factors = is_exact(x.error) and is_exact(y.error)
        if not exact_factors:
            error_x, error_y = _total(x), _total(y)
            carried = (error_x @ of_y + of_x @ error_y + error_x @ error_y) * slack
            carried = np.where(np.isnan(carried), np.inf, carried)
        value = _value(x.value, y.value)
        exact = np.zeros(value.shape, dtype=bool)
        roundings = terms
        if exact_factors:
            quantum_x, quantum_y = _quantum(x), _quantum(y)
            quantum = np.min(quantum_x, axis=1, initial=np.inf)[:, None] * np.min(
                quantum_y, axis=0, initial=np.inf
            )
            exact = (size * unit <= quantum) & (quantum >= tiny)
            if _longest(of_x, quantum_x) * _longest(of_y, quantum_y) <= 1 / unit:
                roundings = np.maximum(terms - 1, 0)
                exact = exact | ((terms == 1) & (size >= 2 * tiny))
        at_most = size + carried
        own = terms * arithmetic.evaluation_roundoff_of_sums * 2 * at_most
        if isinstance(value, DoubleDouble):
            own = own + terms * double_double.UNDERFLOW
        lost = terms * (tiny if arithmetic.flushes_subnormals else kept_in.smallest_subnormal)
        rounding = np.expm1(roundings * np.log1p(unit)) * at_most + own + lost
        bound = np.where(exact, 0.0, carried + np.where(terms > 0, rounding, 0.0))
        overflow = np.where(at_most + bound >= kept_in.overflow_threshold, np.inf, 0.0)
        finite = _all_finite(x, 1)[:, None] & _all_finite(y, 0)[None, :]

        def doubt() -> Any:
            unknown = np.any(in_doubt(x), axis=1)[:, None] | np.any(in_doubt(y), axis=0)[None, :]
            nan = np.any(is_nan(x), axis=1)[:, None] | np.any(is_nan(y), axis=0)[None, :]
            return (unknown & ~nan) | (finite & ~np.isfinite(nearest(value)))

        return round_result(
            x,
            value,
            Error(0.0, bound + overflow),
            0.0,
            exact_if_it_fits=True,
            evaluated_exactly=True,
            doubt=doubt,
        )


def matrix_transpose(x: Rounded) -> Rounded:
    """Rows for columns."""
    return x.restructured(np.transpose, keep_shared=False)


def _as_factor(x: Rounded) -> Rounded:
    """A factor as the arithmetic takes it: rounded to a format of its own, if it has one for factors."""
    format: Format | None = x.arithmetic.factors
    if format is None:
        return x
    held = format.holds(x.value)
    relative = np.where(held, 0.0, -np.log1p(-format.unit_roundoff))
    return x.carrying(x.value, Error(x.error.relative + relative, x.error.absolute, x.error.shared))


def _nonzero(x: Rounded) -> Any:
    """1.0 where a factor is not 0 for sure, else 0.0."""
    some = x.nearest != 0
    if not is_exact(x.error):
        some = some | (x.total_error() != 0)
    return some.astype(np.float64)


def _finite_magnitude(x: Rounded) -> Any:
    return np.where(np.isfinite(x.nearest), x.magnitude, 0.0)


def _total(x: Rounded) -> Any:
    return np.broadcast_to(np.asarray(x.total_error(), dtype=np.float64), x.shape)


def _all_finite(x: Rounded, axis: int) -> Any:
    return np.all(np.isfinite(x.nearest), axis=axis)


def _quantum(x: Rounded) -> Any:
    """The lowest set bit of each number, as a power of two; infinite of 0, and 0 where it is not known."""
    mantissa, exponent = np.frexp(np.where(np.isfinite(x.nearest), x.nearest, 0.0))
    units = np.ldexp(mantissa, 53).astype(np.int64)
    lowest = np.ldexp((units & -units).astype(np.float64), exponent - 53)
    quantum = np.where(units == 0, np.inf, lowest)
    return quantum if double_double.holds_float64s(x.value) else np.where(x.value.low == 0, quantum, 0.0)


def _longest(magnitude: Any, quantum: Any) -> float:
    """The largest number of quanta that a number is."""
    return float(np.max(magnitude / quantum, initial=0.0))


def _value(x: Any, y: Any) -> Any:
    """The product as the evaluation has it; of what is not finite, what every order of summation gives."""
    kinds = [~np.isfinite(nearest(factor)) for factor in (x, y)]
    if not (kinds[0].any() or kinds[1].any()):
        return x @ y
    finite = [np.where(kind, 0.0, factor) for kind, factor in zip(kinds, (x, y), strict=True)]
    signs = [np.sign(nearest(factor)) for factor in (x, y)]
    above, below = (
        sum(
            (np.where(kinds[0], signs[0], 0.0) == a).astype(float) @ (signs[1] == sign * a).astype(float)
            + (signs[0] == a).astype(float) @ (np.where(kinds[1], signs[1], 0.0) == sign * a).astype(float)
            for a in (1.0, -1.0)
        )
        for sign in (1.0, -1.0)
    )
    nan = sum(
        infinite.astype(float) @ other.astype(float)
        for infinite, other in (
            (kinds[0], signs[1] == 0),
            (signs[0] == 0, kinds[1]),
            (np.isnan(signs[0]), np.ones_like(signs[1])),
            (np.ones_like(signs[0]), np.isnan(signs[1])),
        )
    )
    special = np.where(above > 0, np.inf, np.where(below > 0, -np.inf, 0.0))
    special = np.where((nan > 0) | ((above > 0) & (below > 0)), np.nan, special)
    product = finite[0] @ finite[1]
    return np.where(special == 0, product, special)
