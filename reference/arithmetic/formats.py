"""Floating-point formats, and the arithmetic an implementation is assumed to work in.

Notation follows Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., ch. 2: ``u`` is the unit roundoff.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Format:
    """A binary floating-point format with round-to-nearest, gradual underflow and infinities.

    Parameters
    ----------
    name : str
        The name that array libraries use for the dtype.
    precision : int
        Bits of the significand, the implicit one included.
    min_exponent, max_exponent : int
        Exponents of the smallest and of the largest normal number, as in ``2**exponent``.
    """

    name: str
    precision: int
    min_exponent: int
    max_exponent: int

    @cached_property
    def unit_roundoff(self) -> float:
        """Largest relative error of one rounding, ``2**-precision``."""
        return 2.0**-self.precision

    @cached_property
    def smallest_normal(self) -> float:
        return 2.0**self.min_exponent

    @cached_property
    def smallest_subnormal(self) -> float:
        return 2.0 ** (self.min_exponent - self.precision + 1)

    @cached_property
    def largest(self) -> float:
        return (2.0 - 2.0 ** (1 - self.precision)) * 2.0**self.max_exponent

    @cached_property
    def overflow_threshold(self) -> Any:
        """Smallest magnitude that rounds to infinity; for float64 itself only a wider type holds it."""
        threshold = np.ldexp(np.longdouble(2.0 - 2.0**-self.precision), self.max_exponent)
        return float(threshold) if self.max_exponent < 1023 else threshold

    def spacing(self, x: Any) -> Any:
        """The gap to the next number of the format at the magnitude of ``x``: one ulp of it; of a non-finite number, something."""
        if isinstance(x, np.ndarray) and x.dtype == np.float64:  # without its significand a number is a power of two
            return np.maximum(_power_below(x) * (2 * self.unit_roundoff), self.smallest_subnormal)
        _, exponent = np.frexp(x)
        lowest = self.min_exponent - self.precision + 1
        return np.ldexp(1.0, np.where(np.equal(x, 0), lowest, np.maximum(exponent - self.precision, lowest)))

    def holds(self, x: Any) -> Any:
        """Whether each number of ``x`` is a number of this format (nan and infinities are)."""
        if self.precision == 24 and isinstance(x, np.ndarray) and x.dtype == np.float64:  # NumPy has the format
            with np.errstate(invalid="ignore", over="ignore"):
                return (x.astype(np.float32) == x) | np.isnan(x)
        with np.errstate(invalid="ignore"):
            units = x / self.spacing(x)  # exact: a power of two
            inside = (np.rint(units) == units) & (np.abs(x) <= self.largest)
        return inside | ~np.isfinite(x)

    def round(self, x: Any) -> Any:
        """``x`` rounded once to the nearest number of the format, ties to even, in the dtype of ``x``."""
        x = np.asarray(x)
        with np.errstate(invalid="ignore", over="ignore"):
            spacing = self.spacing(x)
            rounded = np.rint(x / spacing) * spacing
            rounded = np.where(np.abs(x) >= self.overflow_threshold, np.copysign(np.inf, x), rounded)
        return np.where(np.isfinite(x), rounded, x).astype(x.dtype)


def _power_below(x: np.ndarray) -> Any:
    """The largest power of two that is at most the magnitude of each float64; 0 of 0 and of what is subnormal."""
    return (x.view(np.int64) & 0x7FF0_0000_0000_0000).view(np.float64)


FLOAT16 = Format("float16", 11, -14, 15)
BFLOAT16 = Format("bfloat16", 8, -126, 127)
FLOAT32 = Format("float32", 24, -126, 127)
FLOAT64 = Format("float64", 53, -1022, 1023)
FORMATS = {f.name: f for f in (FLOAT16, BFLOAT16, FLOAT32, FLOAT64)}


def promoted(*dtypes: str) -> str:
    """The dtype that holds every number of ``dtypes``, as array libraries promote: float32 for float16 with bfloat16."""
    formats = [FORMATS[name] for name in dtypes]
    holds = [f for f in FORMATS.values() if all(f.precision >= g.precision and f.max_exponent >= g.max_exponent for g in formats)]
    return holds[0].name


@dataclass(frozen=True)
class Arithmetic:
    """What an implementation may do between its inputs and its outputs, and so what its rounding may cost.

    The accuracies of the elementary functions are those that the OpenCL C specification (section 7.4, "Relative Error
    as ULPs", full profile) demands of every device: a public contract that CPU and GPU mathematics libraries meet.

    Parameters
    ----------
    compute : Format
        The format each operation works in.
    storage : Format
        The format of inputs and outputs.
    intermediate : Format, optional
        The format that each intermediate result is rounded to besides; ``compute`` unless given.
    conversion : Format, optional
        The format that a number of a wider one passes through on its way to a narrower one, rounded to both; rounded once unless given.
    converts : bool
        Whether a number of another format is rounded to that of the inputs; if not, it is used as it is, rounded to ``compute`` alone.
    total : Format, optional
        The format in which the sum over all losses, for a mean or a sum, is kept while it grows; ``compute`` unless given.
    total_order : {"any", "cascade"}
        The order of that sum. ``"any"`` allows every order of the n - 1 additions. ``"cascade"`` is the multi-level summation
        that torch's nll_loss uses on the CPU: partial sums of at least 16 terms on at most 8 levels.
    exp_ulps, log_ulps, log1p_ulps : float
        Largest error of the elementary functions, in ulps of ``compute``.
    flushes_subnormals : bool
        Whether results below the smallest normal number may be replaced by zero.
    """

    compute: Format
    storage: Format
    intermediate: Format | None = None
    conversion: Format | None = None
    converts: bool = True
    total: Format | None = None
    total_order: str = "any"
    exp_ulps: float = 3.0
    log_ulps: float = 3.0
    log1p_ulps: float = 2.0
    flushes_subnormals: bool = True

    @classmethod
    def for_dtype(cls, dtype: str, **changes: Any) -> Arithmetic:
        """The arithmetic asked of an implementation on ``dtype``: half precision is computed in float32, rounded once.

        Raises
        ------
        ValueError
            If ``dtype`` is not one of float16, bfloat16, float32 and float64.
        """
        if dtype not in FORMATS:
            raise ValueError(f"dtype {dtype!r} is not one of {', '.join(FORMATS)}")
        storage = FORMATS[dtype]
        compute = FLOAT32 if storage.precision < FLOAT32.precision else storage
        return replace(cls(compute=compute, storage=storage), **changes)

    @cached_property
    def evaluation_dtype(self) -> type:
        """The NumPy type that values are evaluated in: wider than ``compute`` wherever the machine has a wider one."""
        return np.longdouble if self.compute.precision >= FLOAT64.precision else np.float64

    @cached_property
    def evaluation_roundoff(self) -> float:
        """Unit roundoff of the evaluation itself: its error is part of every allowance."""
        return float(np.finfo(self.evaluation_dtype).eps) / 2

    def between(self, wide: Format, narrow: Format) -> Format | None:
        """What a number passes through from one format to another; None where it is rounded at once, or not at all."""
        through = self.conversion
        return through if through is not None and wide.precision > through.precision > narrow.precision else None

    def total_height(self, terms: Any) -> Any:
        """The largest number of additions that any one of ``terms`` losses passes through on the way into their sum.

        Raises
        ------
        ValueError
            If ``total_order`` is unknown.
        """
        one_by_one = np.maximum(terms - 1, 0)
        if self.total_order == "any":
            return one_by_one
        if self.total_order == "cascade":
            # level_power = max(4, ceil(log2(n) / 8)); a level takes 2**level_power partial sums of the one below, and the
            # eight levels are added up at the end.
            bits = np.ceil(np.log2(np.maximum(terms, 2)))
            level_power = np.maximum(4, np.ceil(bits / 8))
            levels = np.ceil(bits / level_power)
            return np.minimum(one_by_one, levels * 2**level_power + 8)
        raise ValueError(f"total_order {self.total_order!r} is not one of 'any', 'cascade'")
