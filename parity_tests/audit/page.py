"""The page: one self-contained HTML file, that opens from disk, needs no network and lets nothing that is
data become code.

Note [What is trusted]
    Names of subjects, arguments, reasons and scripts are data: the template escapes all of it, in HTML and in
    SVG, and the points of the plots go into a JSON block in which no ``<`` is left as it is. The style and
    the script of the page are the project's own files. Should an escape be missing all the same, the page's
    Content-Security-Policy names the hash of its script: no other runs, and no address is fetched.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from torch_loss_parity.audit import plots, views, wording
from torch_loss_parity.audit.compare import Comparison
from torch_loss_parity.audit.files import AuditFileError, canonical
from torch_loss_parity.audit.record import Audit
from torch_loss_parity.reports import formatting

CHANGES_SHOWN = 100


def render(audit: Audit, comparison: Comparison | None = None) -> str:
    """The page of an audit, and of what changed since another; the same from the audit that was saved and
    loaded again.
    """
    audit = canonical(audit)
    script = _own("page.js")
    page = views.page(audit)
    return (
        _environment()
        .get_template("audit.html.jinja")
        .render(
            page=page,
            audit=audit,
            comparison=comparison,
            changes_shown=CHANGES_SHOWN,
            text=formatting,
            words=wording,
            frame=plots,
            points=_points(page),
            style=Markup(_own("page.css")),  # the project's own, as is the script
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
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


@cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FunctionLoader(_own),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return made


@cache
def _own(name: str) -> str:
    return (resources.files("torch_loss_parity.audit") / "templates" / name).read_text(encoding="utf-8")
