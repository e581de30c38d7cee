"""Floating-point formats, and the arithmetic an implementation is assumed to work in.

Notation follows Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., ch. 2: ``u`` is the unit
roundoff.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from torch_loss_parity.reference.arithmetic import double_double
from torch_loss_parity.reference.arithmetic.double_double import DoubleDouble, nearest
from torch_loss_parity.reference.arithmetic.error_free import two_sum

StoredLike = Literal["result", "gradient", "input"]


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
    def overflow_threshold(self) -> float:
        """Smallest magnitude that rounds to infinity; for float64 infinity, as float64 says of a number so
        large.
        """
        return (2.0 - 2.0**-self.precision) * 2.0**self.max_exponent

    def spacing(self, x: Any) -> Any:
        """The gap to the next number of the format at the magnitude of ``x``: one ulp of it; of a non-finite
        number, something.
        """
        x = nearest(x)
        # Without its significand a number is a power of two.
        if isinstance(x, np.ndarray) and x.dtype == np.float64:
            return np.maximum(_power_below(x) * (2 * self.unit_roundoff), self.smallest_subnormal)
        _, exponent = np.frexp(x)
        lowest = self.min_exponent - self.precision + 1
        return np.ldexp(1.0, np.where(np.equal(x, 0), lowest, np.maximum(exponent - self.precision, lowest)))

    def holds(self, x: Any) -> Any:
        """Whether each number of ``x`` is a number of this format (nan and infinities are)."""
        # NumPy has the format.
        if self.precision == 24 and isinstance(x, np.ndarray) and x.dtype == np.float64:
            with np.errstate(invalid="ignore", over="ignore"):
                return (x.astype(np.float32) == x) | np.isnan(x)
        with np.errstate(invalid="ignore"):
            inside = (self.units(x)[1] == 0) & (np.abs(x) <= self.largest)
        return inside | ~np.isfinite(x)

    def units(self, x: Any) -> tuple[Any, Any]:
        """The nearest number of the format, ties to even, and what it leaves of ``x``: multiples of
        `spacing`.

        Of a double-double in a format finer than float64, the first is a double-double too.
        """
        return self.units_of(x, self.spacing(x))

    def units_of(self, x: Any, spacing: Any) -> tuple[Any, Any]:
        """`units`, where the spacing is known."""
        units = nearest(x) / spacing  # exact: a power of two
        whole = np.rint(units)
        if double_double.holds_float64s(x):
            return whole, units - whole
        rest, missed = two_sum(units - whole, x.low / spacing)
        more = np.rint(rest)
        tie = (np.abs(rest - more) == 0.5) & (missed != 0)  # no tie after all
        more = np.where(tie, rest + np.copysign(0.5, missed), more)
        if self.precision <= 53:
            return whole + more, (rest - more) + missed
        return DoubleDouble(*two_sum(whole, more)), (rest - more) + missed

    def round(self, x: Any) -> Any:
        """``x`` rounded once to the nearest number of the format, ties to even, in the dtype of ``x``."""
        x = x if isinstance(x, DoubleDouble) else np.asarray(x)
        with np.errstate(invalid="ignore", over="ignore"):
            spacing = self.spacing(x)
            rounded = self.units_of(x, spacing)[0] * spacing
            rounded = np.where(np.abs(x) >= self.overflow_threshold, np.copysign(np.inf, nearest(x)), rounded)
        rounded = np.where(np.isfinite(x), rounded, x)
        return rounded if isinstance(x, DoubleDouble) else rounded.astype(x.dtype)


def _power_below(x: np.ndarray) -> Any:
    """The largest power of two that is at most the magnitude of each float64; 0 of 0 and of what is
    subnormal.
    """
    return (x.view(np.int64) & 0x7FF0_0000_0000_0000).view(np.float64)


FLOAT16 = Format("float16", 11, -14, 15)
BFLOAT16 = Format("bfloat16", 8, -126, 127)
FLOAT32 = Format("float32", 24, -126, 127)
FLOAT64 = Format("float64", 53, -1022, 1023)
TF32 = Format("tf32", 11, -126, 127)  # of factors on a GPU; no dtype
FORMATS = {f.name: f for f in (FLOAT16, BFLOAT16, FLOAT32, FLOAT64)}


def promoted(*dtypes: str) -> str:
    """The dtype that holds every number of ``dtypes``, as array libraries promote: float32 for float16 with
    bfloat16.
    """
    formats = [FORMATS[name] for name in dtypes]
    holds = [
        f
        for f in FORMATS.values()
        if all(f.precision >= g.precision and f.max_exponent >= g.max_exponent for g in formats)
    ]
    return holds[0].name


@dataclass(frozen=True)
class Arithmetic:
    """What an implementation may do between its inputs and its outputs, and so what its rounding may cost.

    The accuracies of the elementary functions are those that the OpenCL C specification (section 7.4,
    "Relative Error as ULPs", full profile) demands of every device: a public contract that CPU and GPU
    mathematics libraries meet. What another device or compiler offers instead is a profile, see
    `torch_loss_parity.reference.arithmetic.profiles`.

    Parameters
    ----------
    compute : Format
        The format each operation works in.
    storage : Format
        The format of inputs and outputs.
    result : Format, optional
        The format of the operator's result, where a gradient is computed: what is kept for the backward may
        be rounded to it. ``storage`` unless given.
    input : Format, optional
        The format of the input, where the result has another: what is kept between two operators may be
        rounded to it. ``storage`` unless given.
    intermediate : Format, optional
        The format that each intermediate result is rounded to besides; ``compute`` unless given.
    conversion : Format, optional
        The format that a number of a wider one passes through on its way to a narrower one, rounded to both;
        rounded once unless given.
    converts : bool
        Whether a number of another format is rounded to that of the inputs; if not, it is used as it is,
        rounded to ``compute`` alone.
    total : Format, optional
        The format in which the sum over all losses, for a mean or a sum, is kept while it grows; ``compute``
        unless given.
    total_order : {"any", "cascade"}
        The order of that sum. ``"any"`` allows every order of the n - 1 additions. ``"cascade"`` is the
        multi-level summation that torch's nll_loss uses on the CPU: partial sums of at least 16 terms on at
        most 8 levels.
    product : Format, optional
        The format in which the sums of a matrix product are kept while they grow; ``compute`` unless given.
    factors : Format, optional
        The format that the factors of a matrix product are rounded to first; not at all unless given.
    exp_ulps, log_ulps, log1p_ulps, tanh_ulps : float
        Largest error of the elementary functions, in ulps of ``compute``.
    exp_ulps_per_unit : float
        How much further exp may be off for a large argument: by floor(``exp_ulps_per_unit`` |x|) ulps. An exp
        that is a power of 2 loses so much where x log2(e) is rounded.
    log_error_near_one : float
        Largest absolute error of log from 1/2 to 2, which stands in place of its ulps there; 0 where the ulps
        hold everywhere.
    division_ulps : float
        Largest error of a quotient or of a reciprocal, in ulps of ``compute``. More than 1/2 promises no
        quotient to be exact.
    flushes_subnormals : bool
        Whether results below the smallest normal number may be replaced by zero.
    flushes_inputs : bool
        Whether what is given may be read as zero where it is below the smallest normal number of ``compute``;
        see `torch_loss_parity.reference.arithmetic.flushing`.
    """

    compute: Format
    storage: Format
    result: Format | None = None
    input: Format | None = None
    intermediate: Format | None = None
    conversion: Format | None = None
    converts: bool = True
    total: Format | None = None
    total_order: str = "any"
    product: Format | None = None
    factors: Format | None = None
    exp_ulps: float = 3.0
    log_ulps: float = 3.0
    log1p_ulps: float = 2.0
    tanh_ulps: float = 5.0
    exp_ulps_per_unit: float = 0.0
    log_error_near_one: float = 0.0
    division_ulps: float = 0.5
    flushes_subnormals: bool = True
    flushes_inputs: bool = False

    @classmethod
    def for_dtype(cls, dtype: str, **changes: Any) -> Arithmetic:
        """The arithmetic asked of an implementation on ``dtype``: half precision is computed in float32,
        rounded once.

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

    def format_stored(self, like: StoredLike) -> Format:
        """The format of an array that is stored like the result, the gradient or the input."""
        formats = {"result": self.result, "input": self.input, "gradient": None}
        return formats[like] or self.storage

    @cached_property
    def evaluation_type(self) -> type:
        """What values are evaluated in, finer than ``compute``: float64 or, see its notes, `DoubleDouble`."""
        return DoubleDouble if self.compute.precision >= FLOAT64.precision else np.float64

    @cached_property
    def evaluation_roundoff(self) -> float:
        """Largest relative error of an operation of the evaluation itself: it is part of every allowance."""
        return double_double.ROUNDOFF if self.evaluation_type is DoubleDouble else FLOAT64.unit_roundoff

    @cached_property
    def evaluation_roundoff_of_sums(self) -> float:
        """The same of each addition of a sum."""
        return double_double.SUM_ROUNDOFF if self.evaluation_type is DoubleDouble else FLOAT64.unit_roundoff

    @cached_property
    def evaluation_roundoff_of_functions(self) -> float:
        """The same of elementary functions, to be multiplied with the ulps that are asked of an
        implementation.
        """
        return (
            double_double.FUNCTION_ROUNDOFF if self.evaluation_type is DoubleDouble else FLOAT64.unit_roundoff
        )

    def between(self, wide: Format, narrow: Format) -> Format | None:
        """What a number passes through from one format to another; None where it is rounded at once, or not
        at all.
        """
        through = self.conversion
        return (
            through if through is not None and wide.precision > through.precision > narrow.precision else None
        )

    def total_height(self, terms: Any) -> Any:
        """The largest number of additions that any one of ``terms`` losses passes through on the way into
        their sum.

        Raises
        ------
        ValueError
            If ``total_order`` is unknown.
        """
        one_by_one = np.maximum(terms - 1, 0)
        if self.total_order == "any":
            return one_by_one
        if self.total_order == "cascade":
            # level_power = max(4, ceil(log2(n) / 8)); a level takes 2**level_power partial sums of the one
            # below, and the eight levels are added up at the end.
            bits = np.ceil(np.log2(np.maximum(terms, 2)))
            level_power = np.maximum(4, np.ceil(bits / 8))
            levels = np.ceil(bits / level_power)
            return np.minimum(one_by_one, levels * 2**level_power + 8)
        raise ValueError(f"total_order {self.total_order!r} is not one of 'any', 'cascade'")
