"""The page of a run; it has no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch_loss_parity.benchmarks import charts, headline, summary
from torch_loss_parity.benchmarks.noise import noise
from torch_loss_parity.benchmarks.result import Result, Wrong
from torch_loss_parity.benchmarks.session import Benchmarks
from torch_loss_parity.reports import page as pages

PACKAGE = "torch_loss_parity.benchmarks"


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
    apart = noise(report.results)
    return pages.render(
        PACKAGE,
        "benchmarks.html.jinja",
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
