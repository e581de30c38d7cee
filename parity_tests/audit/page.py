"""The page of an audit, and of what changed since another."""

from __future__ import annotations

from pathlib import Path

from torch_loss_parity.audit import plots, views, wording
from torch_loss_parity.audit.compare import Comparison
from torch_loss_parity.audit.files import AuditFileError, canonical
from torch_loss_parity.audit.record import Audit
from torch_loss_parity.reports import formatting
from torch_loss_parity.reports import page as pages

PACKAGE = "torch_loss_parity.audit"
CHANGES_SHOWN = 100


def render(audit: Audit, comparison: Comparison | None = None) -> str:
    """The page as HTML; the same from the audit that was saved and loaded again."""
    audit = canonical(audit)
    page = views.page(audit)
    return pages.render(
        PACKAGE,
        "audit.html.jinja",
        script="page.js",
        page=page,
        audit=audit,
        comparison=comparison,
        changes_shown=CHANGES_SHOWN,
        text=formatting,
        words=wording,
        frame=plots,
        points=_points(page),
    )


def write(path: str | Path, audit: Audit, comparison: Comparison | None = None) -> None:
    """Write the page.

    Raises
    ------
    AuditFileError
        If the file cannot be written.
    """
    try:
        Path(path).write_text(render(audit, comparison), encoding="utf-8")
    except OSError as error:
        raise AuditFileError(
            f"{path}: cannot be written: {error.strerror}; name a file in a directory that is there"
        ) from error


def _points(page: views.Page) -> dict[str, list[tuple[float, float, int, str]]]:
    """What the pointer finds in the plots: place, row in the table of figures, and whose it is."""
    drawn = (plot for detail in page.details for plot in detail.plots)
    return {plot.id: [(p.x, p.y, p.row, p.by[0]) for p in plot.points] for plot in drawn if plot.points}
