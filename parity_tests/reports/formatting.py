"""Numbers as a report shows them: three digits, never across a limit that a reader looks for."""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from unicodedata import lookup

LIMITS = (0.5, 1.0)  # ulps: correctly rounded, one of the two neighbours
TIMES = lookup("MULTIPLICATION SIGN")
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(x: float) -> str:
    """Three significant digits: 0.502, 2.05e3 as 2.05×10³."""
    return _typeset(f"{x:.3g}") if math.isfinite(x) else _infinite(x)


def plain(x: float) -> str:
    """The same for a table that is sorted and searched: 1.19e7."""
    return (
        f"{x:.3g}".replace("e+0", "e").replace("e+", "e").replace("e-0", "e-")
        if math.isfinite(x)
        else _infinite(x)
    )


def ulps(x: float, *, typeset: bool = True) -> str:
    """An error: three digits, and more where three would say that it is at most ½ or 1 ulp when it is not;
    0.50004 is not 0.5.
    """
    if 1000 <= x < 100000:
        return f"{x:.0f}"
    if passed := [limit for limit in LIMITS if float(f"{x:.3g}") <= limit < x]:
        return next(
            (f"{x:.{digits}g}" for digits in (4, 5) if float(f"{x:.{digits}g}") > passed[0]),
            f">{passed[0]:g}",
        )
    return number(x) if typeset else plain(x)


def figure(x: float | None) -> str:
    """Three digits for a column of a terminal, fewer where it would be wider than five characters; all of a
    whole number below 100000; "-" for what was not measured.
    """
    if x is None:
        return "-"
    if not math.isfinite(x):
        return str(x)
    if abs(x) >= 1e5:
        return f"{x:.1e}"
    if 0 < abs(x) < 0.1:
        return f"{x:.3f}" if abs(x) >= 0.001 else f"{x:.0e}"
    return f"{x:.0f}" if abs(x) >= 100 else f"{x:.3g}"


def seconds(x: float) -> str:
    """A time in the unit that suits it, three digits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if x >= size:
            return f"{figure(x / size)} {unit}"
    return f"{figure(x * 1e9)} ns"


def times(fraction: float) -> str:
    """Error / allowed: three digits, two of what is large."""
    return number(fraction) if fraction < 1000 or math.isinf(fraction) else _typeset(f"{fraction:.1e}")


def decimal(number: str, digits: int = 10) -> str:
    """A number, in hexadecimal or with all of its digits, so that it can be compared by eye; what is no
    number stays as it is.
    """
    try:
        value = float.fromhex(number) if "0x" in number else float(number)
        exact = Decimal(number) if "0x" not in number else Decimal(value)
    except (ValueError, OverflowError, InvalidOperation):
        return number
    # A truth that float64 does not have.
    is_beyond = exact.is_finite() and exact and (value == 0 or math.isinf(value))
    return f"{exact:.{digits}g}" if is_beyond else f"{value:.{digits}g}"


def share(part: int, whole: int) -> str:
    """A percentage that says 100 only of all and 0 only of none."""
    if not whole:
        return "n/a"
    percent = 100 * part / whole
    if part == 0 or part >= whole:
        return "0 %" if part == 0 else "100 %"
    if percent < 0.01 or percent > 99.99:
        return "<0.01 %" if percent < 50 else ">99.99 %"
    return f"{percent:.2f} %" if percent > 99 else f"{percent:.3g} %"


def count(n: int) -> str:
    """65,536 with narrow spaces."""
    return f"{n:,}".replace(",", "\u202f")


def list_of(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else "none"


def plural(n: int, one: str, many: str = "") -> str:
    return f"{count(n)} {one if n == 1 else many or one + 's'}"


def power_of_ten(exponent: int) -> str:
    """As the label of a tick."""
    return f"{10.0**exponent:g}" if -3 <= exponent <= 3 else f"10{str(exponent).translate(_RAISED)}"


def _typeset(digits: str) -> str:
    mantissa, e, exponent = digits.partition("e")
    return f"{mantissa}{TIMES}10{str(int(exponent)).translate(_RAISED)}" if e else mantissa


def _infinite(x: float) -> str:
    return "nan" if math.isnan(x) else "∞" if x > 0 else "-∞"
