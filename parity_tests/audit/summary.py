"""What the terminal says of an audit at its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch_loss_parity.audit.record import Audit, Figure
from torch_loss_parity.expectation.expectation import FORWARD
from torch_loss_parity.reference.ways import GRADES

SHOWN = 12  # of what is missing


def table(audit: Audit) -> list[str]:
    """A line for each operator and dtype: the worst of its results and of its gradients, and torch's beside
    them.
    """
    beside = any(figure.torch is not None for figure in audit.figures)
    columns = (
        f"{'worst ulp':>11}{'torch':>10}{'p99.9':>10}{'/ allowed':>10}"
        if beside
        else f"{'worst ulp':>11}{'p99.9':>10}{'/ allowed':>10}"
    )
    header = (
        f"{'operator':<34}{'dtype':<9}{'forward:':>9}{columns}  gradient:{columns}{'rounded':>9}  verdict"
    )
    lines = [header, "-" * len(header)]
    for operator in audit.settings.operators:
        for dtype in audit.settings.dtypes:
            of = [figure for figure in audit.figures if (figure.operator, figure.dtype) == (operator, dtype)]
            if not of:
                continue
            forward, gradient = (
                _columns([f for f in of if (f.quantity == FORWARD) == is_forward], beside)
                for is_forward in (True, False)
            )
            lines.append(
                f"{operator:<34}{dtype:<9}{'':>9}{forward}{'':>11}{gradient}{_rounded(of):>9}  {_verdict(of)}"
            )
    return lines


def _columns(figures: Sequence[Figure], beside: bool) -> str:
    of = [figure.subject for figure in figures]
    worst = f"{_number(max((m.max_ulp for m in of), default=None)):>11}"
    torch = (
        f"{_number(max((f.torch.max_ulp for f in figures if f.torch is not None), default=None)):>10}"
        if beside
        else ""
    )
    rest = (max((m.p999_ulp for m in of), default=None), max((m.fraction for m in of), default=None))
    return worst + torch + "".join(f"{_number(value):>10}" for value in rest)


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
    return "-" if value is None else f"{value:.3g}"


def shortcomings(audit: Audit) -> Iterator[str]:
    """What was not measured, failures first."""
    ordered = sorted(audit.missing, key=lambda missing: not missing.failed)
    for missing in ordered[:SHOWN]:
        yield f"{'FAIL: ' if missing.failed else ''}{missing.what}: {missing.why}"
    if len(ordered) > SHOWN:
        yield f"... and {len(ordered) - SHOWN} more, in audit.json"
