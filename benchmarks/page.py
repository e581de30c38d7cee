"""One self-contained page of a run: no script, nothing from the network, light and dark as the reader
prefers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch_loss_parity.benchmarks import charts, headline, summary
from torch_loss_parity.benchmarks.noise import noise
from torch_loss_parity.benchmarks.result import Result, Wrong
from torch_loss_parity.benchmarks.session import Benchmarks

TEMPLATE = Path(__file__).with_name("page.html.j2")


@dataclass(frozen=True)
class Report:
    """What a page shows."""

    results: Sequence[Result]
    wrong: Sequence[Wrong]
    omissions: Sequence[str]
    machine: Mapping[str, Any]
    paths: Mapping[str, str]


def report_of(run: Benchmarks, machine: Mapping[str, Any]) -> Report:
    """What a run found."""
    return Report(
        run.results,
        run.wrong,
        list(summary.omissions(run)),
        machine,
        {name: path.what for name, path in run.paths.items()},
    )


def page(report: Report) -> str:
    """The page as HTML. Whatever comes from a subject is escaped.

    Raises
    ------
    ImportError
        If Jinja2 is not installed.
    """
    from jinja2 import Environment, StrictUndefined

    apart = noise(report.results)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        report=report,
        sentences=headline.sentences(report.results),
        noise=apart.verdict,
        panels=list(charts.panels(report.results, report.wrong, apart)),
        scatters=list(charts.scatters(report.results)),
        plots=list(charts.plots(report.results)),
        marks=charts.marks(report.results),
        header=summary.HEADER,
        rows=[(result.group_name, summary.cells(result, apart)) for result in report.results],
        legend=summary.LEGEND,
    )
