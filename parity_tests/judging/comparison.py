"""Observed against expected: does the derived bound explain what an implementation returned?

Note [The verdict]
    The rounding arithmetic says that a correct implementation returns, for some own error of each element and
    *one* shared error of each row,

        value * exp(rho + r tau) + alpha + a tau,      |rho| <= relative,  |alpha| <= absolute,  |tau| <= 1

    The fraction of a row is the smallest t such that the bounds scaled by t explain every element with the
    same tau: at most 1 for a correct implementation. It is at least the plain quotient error / allowed of any
    element, and much larger for an element that is off by an amount its neighbours do not share.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from torch_loss_parity.reference.arithmetic.double_double import DoubleDouble
from torch_loss_parity.reference.arithmetic.error import sum_of_magnitudes
from torch_loss_parity.reference.arithmetic.formats import Format
from torch_loss_parity.reference.arithmetic.rounding import Rounded

_HALVINGS = 14  # of an interval on a logarithmic scale
_HALVINGS_OF_ONE_ROW = 60  # which is named in a message, to the last digit
RESOLUTION = 1.05  # a fraction is known to five per cent; that it is at most 1 is known exactly
_CLEARLY = 1 - 2.0**-9  # at most this is within the bound by more than the evaluation's own error
_WORST = 2.0**40  # a fraction beyond it is not told from infinity


@dataclass(frozen=True)
class Verdict:
    """How one result stands against its expectation.

    Attributes
    ----------
    fraction : float
        Worst error / allowed; infinite where a shape or a non-finite value is wrong; at most 1 passes.
    index : tuple of int
        The worst element.
    observed, expected, allowed, ulps : float
        Of the worst element: what was returned, the true value, the allowed error with the shared error
        folded in, and the error in ulps of the output's format.
    reason : str
        Empty, or what is wrong besides the size of an error.
    common, alone : float
        Where an element that is within ``allowed`` breaks the bound all the same, since its row does not
        share its error: the part that the row does share, None elsewhere; and what is allowed besides.
    elements, undecided : int
        Elements compared; elements that could not be decided, because an intermediate result may overflow.
    """

    fraction: float
    index: tuple[int, ...] = ()
    observed: float = float("nan")
    expected: float = float("nan")
    allowed: float = 0.0
    ulps: float = 0.0
    reason: str = ""
    elements: int = 0
    undecided: int = 0
    common: float | None = None
    alone: float = 0.0

    @property
    def passes(self) -> bool:
        return self.fraction <= 1.0


def judge(
    observed: np.ndarray | DoubleDouble, expected: Rounded, format: Format, *, refine: bool = True
) -> Verdict:
    """Compare a result, widened exactly to a NumPy float, with the expectation in the rounding arithmetic.

    Parameters
    ----------
    observed : ndarray
        What the subject returned, not rounded on the way here.
    expected : Rounded
        The definition on the same inputs, stored in the output's format.
    format : Format
        The output's format: the unit of ``ulps``, and where results overflow.
    refine : bool
        Whether a row that fails by the plain quotient of an element is worth finding its exact fraction.
    """
    observed, value = observed if isinstance(observed, DoubleDouble) else np.asarray(observed), expected.value
    if observed.shape != value.shape:
        return Verdict(
            np.inf, reason=f"shape is {observed.shape}, expected {value.shape}", elements=value.size
        )
    if value.size == 0:
        return Verdict(0.0)
    with np.errstate(all="ignore"):
        total, undecided, wrong_kind = kinds(observed, expected, format)
        finite = np.isfinite(observed) & np.isfinite(value)
        judged, row = _fractions(observed, expected, finite, total, refine)
        fractions = np.where(finite & ~undecided, judged, 0.0)
        if wrong_kind.any():
            fractions = np.where(wrong_kind, np.inf, fractions)
        worst = np.unravel_index(np.argmax(fractions), fractions.shape)
        fraction, common, alone = float(fractions[worst]), None, 0.0
        if (
            row is not None
            and fraction > 1.0
            and not wrong_kind[worst]
            and np.abs(observed - value)[worst] <= total[worst]
        ):
            worst, common, alone = row.offender(worst)
        error = np.abs(observed - value)[worst]
        reason = _wrong_kind(observed[worst], expected.nearest[worst], format) if wrong_kind[worst] else ""
        return Verdict(
            fraction=fraction,
            index=tuple(int(i) for i in worst),
            observed=float(observed[worst]),
            expected=float(value[worst]),
            allowed=float(total[worst]),
            ulps=float(error) / float(format.spacing(value[worst])) if np.isfinite(error) else np.inf,
            reason=reason,
            elements=value.size,
            undecided=int(undecided.sum()),
            common=common,
            alone=alone,
        )


def kinds(observed: np.ndarray | DoubleDouble, expected: Rounded, format: Format) -> tuple[Any, Any, Any]:
    """The allowed error of each element; which are undecided, as they may overflow on the way; which are of
    the wrong kind.
    """
    value = expected.nearest
    with np.errstate(all="ignore"):
        total = _spread(np.asarray(expected.total_error(), dtype=np.float64), value.shape)
        undecided = np.isinf(total) & ~_rounds_to_infinity(observed, value, format)
        return total, undecided, ~undecided & ~_same_kind(observed, value, total, format)


def _wrong_kind(observed: Any, value: Any, format: Format) -> str:
    """What of finite, infinite and nan a value is, and what it should be."""
    stored = format.round(np.float64(value))
    return f"{_kind(observed)} where {_kind(stored)} is expected"


def _kind(value: Any) -> str:
    return "a finite number" if np.isfinite(value) else str(float(value))


def _spread(bound: Any, shape: tuple[int, ...]) -> Any:
    return bound if np.shape(bound) == shape else np.broadcast_to(bound, shape)


def _rounds_to_infinity(observed: Any, value: Any, format: Format) -> Any:
    """An infinity of the right sign where the true value itself overflows the output's format."""
    return (
        np.isinf(observed)
        & (np.abs(value) >= format.overflow_threshold)
        & (np.signbit(observed) == np.signbit(value))
    )


def _same_kind(observed: Any, value: Any, total: Any, format: Format) -> Any:
    both_finite = (
        np.isfinite(observed) & np.isfinite(value) & (np.abs(value) - total < format.overflow_threshold)
    )
    if both_finite.all():
        return both_finite
    both_nan = np.isnan(observed) & np.isnan(value)
    same_infinity = np.isinf(observed) & (observed == value)
    # What infinity stands for: the half ulp of storing is in the total.
    beyond = format.largest + format.spacing(format.largest)
    may_overflow = (
        np.isinf(observed) & (np.abs(value) + total >= beyond) & (np.sign(observed) == np.sign(value))
    )
    return both_finite | both_nan | same_infinity | may_overflow


def _fractions(
    observed: Any, expected: Rounded, finite: Any, total: Any, refine: bool
) -> tuple[Any, _Row | None]:
    """Error / allowed for each element, its row's shared error chosen to suit the row best; and what the rows
    share, where that was looked at.
    """
    error = expected.error
    # The difference is taken in what was evaluated in; from there on float64 is plenty.
    difference = np.where(finite, observed - expected.value, 0.0).astype(np.float64)
    value = np.where(finite, expected.nearest, 0.0)
    plain = _ratio(np.abs(difference), total)
    if not error.shared or (not refine and np.max(plain) > 1.0):
        return plain, None
    # One unknown is kept, the one that matters most; the others are folded into each element's own error.
    sizes = {k: np.max(np.abs(value * r) + np.abs(a)) for k, (r, a) in error.shared.items()}
    kept = max(sizes, key=lambda k: float(sizes[k]))
    relative = error.relative + sum_of_magnitudes(r for k, (r, _) in error.shared.items() if k is not kept)
    absolute = error.absolute + sum_of_magnitudes(a for k, (_, a) in error.shared.items() if k is not kept)
    parts = (*error.shared[kept], relative, absolute)
    r, a, relative, absolute = (_spread(np.asarray(part, dtype=np.float64), value.shape) for part in parts)
    # Where relative and absolute errors mix, both are made absolute, with the second-order term in the own
    # part.
    linear = (a != 0) | (r == 0) | (value == 0)
    own = np.where(linear, absolute + np.abs(value) * (np.expm1(relative + np.abs(r)) - np.abs(r)), absolute)
    row = _Row(difference, value, own, relative, np.where(linear, value * r + a, r), linear, kept.axis)
    return np.where(row.involved, np.maximum(plain, row.fractions(plain)), plain), row


@dataclass(frozen=True)
class _Row:
    """Elements along ``axis`` that depend on one unknown tau: linearly, or with a relative error
    through exp.
    """

    difference: Any
    value: Any
    own: Any
    relative: Any
    slope: Any
    linear: Any
    axis: int

    @cached_property
    def involved(self) -> Any:
        return self.slope != 0

    @cached_property
    def _all(self) -> tuple[bool, bool]:
        """Whether every element is linear, and whether every element is involved."""
        return bool(self.linear.all()), bool(self.involved.all())

    def fractions(self, plain: Any) -> Any:
        """The smallest scale of the bounds that explains each row, attributed to the element that
        limits it.
        """
        # No scale below it will do.
        smallest = np.max(np.where(self.involved, plain, 0.0), axis=self.axis, keepdims=True)
        smallest = np.clip(smallest, 2.0**-10, _WORST)
        one = np.ones_like(smallest)
        largest = np.where(
            self.explained(one * _CLEARLY), _CLEARLY, np.where(self.explained(one), 1.0, _WORST)
        )
        smallest = np.minimum(smallest, largest)
        for _ in range(_HALVINGS):
            if np.all(largest <= smallest * RESOLUTION):
                break
            middle = np.sqrt(smallest * largest)
            explained = self.explained(middle)
            smallest, largest = np.where(explained, smallest, middle), np.where(explained, middle, largest)
        low, high = self.interval(largest)
        limits = (low == np.max(low, axis=self.axis, keepdims=True)) | (
            high == np.min(high, axis=self.axis, keepdims=True)
        )
        # Of the elements whose intervals meet, the one farther from its value is the one to look at.
        apart = np.where(limits & self.involved, plain, -1.0)
        chosen = apart == np.max(apart, axis=self.axis, keepdims=True)
        return np.where(chosen, np.where(largest >= _WORST, np.inf, largest), 0.0)

    def offender(self, index: tuple[Any, ...]) -> tuple[tuple[Any, ...], float, float]:
        """The element that breaks the bound of a row, though none does by its whole error; the part of its
        error that the row shares, and what is allowed besides.

        At the scale of the bounds that just explains the row two elements pull its shared error apart. Of
        these the one that the middle of the row knows less of is meant.
        """
        line = tuple(
            slice(None) if i == self.axis % len(index) else slice(n, n + 1) for i, n in enumerate(index)
        )
        names = ("difference", "value", "own", "relative", "slope", "linear")
        row = replace(self, **{name: getattr(self, name)[line] for name in names})
        one = np.ones_like(np.max(row.difference, axis=self.axis, keepdims=True))
        low, high = row.interval(one)
        centres = ((low + high) / 2)[row.involved & np.isfinite(low + high)]
        middle = float(np.median(centres)) if centres.size else 0.0
        smallest, largest = 1.0, _WORST
        for _ in range(_HALVINGS_OF_ONE_ROW):
            scale = float(np.sqrt(smallest * largest))
            smallest, largest = (smallest, scale) if row.explained(one * scale).all() else (scale, largest)
        first, last = row.interval(one * largest)
        tau = np.clip((np.max(first) + np.min(last)) / 2, -largest, largest)
        with np.errstate(all="ignore"):
            relative = row.value * np.expm1(row.slope * tau)
            common = np.where(row.linear, row.slope * tau, relative)
            alone = np.abs(row.value + relative) * np.expm1(row.relative) + row.own
            alone = np.where(row.linear, row.own, alone)
            breaks = row.involved & (np.abs(row.difference - common) > alone)
            apart = np.where(breaks, np.nan_to_num(np.abs((low + high) / 2 - middle) / (high - low)), -1.0)
        place = np.unravel_index(np.argmax(apart), apart.shape)
        offender_index = tuple(place[i] if i == self.axis % len(index) else n for i, n in enumerate(index))
        return offender_index, float(common[place]), float(alone[place])

    def explained(self, scale: Any) -> Any:
        """Whether some |tau| <= scale suits every element of the row."""
        low, high = self.interval(scale)
        left = np.maximum(np.maximum.reduce(low, axis=self.axis, keepdims=True), -scale)
        return left <= np.minimum(np.minimum.reduce(high, axis=self.axis, keepdims=True), scale)

    def interval(self, scale: Any) -> tuple[Any, Any]:
        """The values of tau that suit each element."""
        room = scale * self.own
        low, high = self.difference - room, self.difference + room
        all_linear, all_involved = self._all
        if not all_linear:
            # log of (observed -+ own) / value, through log1p to keep what a small difference is
            nearer, farther = (
                np.log1p(np.maximum(low / self.value, -1.0)),
                np.log1p(np.maximum(high / self.value, -1.0)),
            )
            room = scale * self.relative
            low = np.where(self.linear, low, np.minimum(nearer, farther) - room)
            high = np.where(self.linear, high, np.maximum(nearer, farther) + room)
        low, high = low / self.slope, high / self.slope
        low, high = np.minimum(low, high), np.maximum(low, high)
        if all_involved:
            return low, high
        return np.where(self.involved, low, -np.inf), np.where(self.involved, high, np.inf)


def _ratio(error: Any, allowed: Any) -> Any:
    return np.where(error == 0, 0.0, np.where(allowed > 0, error / allowed, np.inf))
