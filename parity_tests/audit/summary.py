"""What the terminal says of an audit at its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch_loss_parity.audit.record import Audit, Figure
from torch_loss_parity.expectation.expectation import FORWARD
from torch_loss_parity.judging.wrapping import wrapped
from torch_loss_parity.reference.ways import GRADES
from torch_loss_parity.reports import formatting

SHOWN = 12  # of what is missing
WIDTH = 9  # of a column


def table(audit: Audit) -> list[str]:
    """Below each operator a line for each dtype: the worst of its results and of its gradients, and torch's
    beside them.
    """
    beside = any(figure.torch is not None for figure in audit.figures)
    columns = "".join(f"{name:>{WIDTH}}" for name in _columns_of(beside))
    of_each = len(columns)
    header = f"{'operator':<10}{columns}{columns}{'rounded':>8}  verdict"
    above = f"{'':<10}{'of results, in ulps':>{of_each}}{'of gradients, in ulps':>{of_each}}"
    lines = [above, header, "-" * len(header)]
    for operator in audit.settings.operators:
        lines += [operator] if any(figure.operator == operator for figure in audit.figures) else []
        for dtype in audit.settings.dtypes:
            of = [figure for figure in audit.figures if (figure.operator, figure.dtype) == (operator, dtype)]
            if not of:
                continue
            forward, gradient = (
                _columns([f for f in of if (f.quantity == FORWARD) == is_forward], beside)
                for is_forward in (True, False)
            )
            line = f"  {dtype:<8}{forward}{gradient}{_rounded(of):>8}  {_verdict(of)}"
            lines += wrapped(line, 12)
    return lines


def _columns_of(beside: bool) -> tuple[str, ...]:
    return ("worst", *(("torch",) if beside else ()), "p99.9", "/allowed")


def _columns(figures: Sequence[Figure], beside: bool) -> str:
    of, torch = [figure.subject for figure in figures], [f.torch for f in figures if f.torch is not None]
    worst = [max((m.max_ulp for m in of), default=None)]
    worst += [max((m.max_ulp for m in torch), default=None)] if beside else []
    rest = (max((m.p999_ulp for m in of), default=None), max((m.fraction for m in of), default=None))
    return "".join(f"{_number(value):>{WIDTH}}" for value in (*worst, *rest))


def _rounded(figures: Sequence[Figure]) -> str:
    """The share of elements that are correctly rounded, of all that could be decided."""
    of = [figure.subject for figure in figures]
    decided = sum(m.elements - m.undecided for m in of)
    return f"{sum(m.correctly_rounded for m in of) / decided:.1%}" if decided else "-"


def _verdict(figures: Sequence[Figure]) -> str:
    standings = [figure.subject.standing for figure in figures]
    failed, known = standings.count("fail"), standings.count("known")
    if failed:
        return f"FAIL ({failed} of {len(figures)})"
    by_ways = sum(bool(figure.subject.way) for figure in figures)
    said = [f"{known - by_ways} of {len(figures)} known to diverge"] if known > by_ways else []
    for grade in GRADES:
        number = sum(f"({grade})" in figure.subject.way for figure in figures)
        said += [f"{number} of {len(figures)} by a {grade} way"] if number else []
    return "; ".join(["pass", *said])


def _number(value: float | None) -> str:
    return "-" if value is None else formatting.plain(value)


def shortcomings(audit: Audit) -> Iterator[str]:
    """What was not measured, failures first."""
    ordered = sorted(audit.missing, key=lambda missing: not missing.failed)
    for missing in ordered[:SHOWN]:
        yield f"{'FAIL: ' if missing.failed else ''}{missing.what}: {missing.why}"
    if len(ordered) > SHOWN:
        yield f"... and {len(ordered) - SHOWN} more, in audit.json"
