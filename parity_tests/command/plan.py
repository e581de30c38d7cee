"""``torch-loss-parity plan``: what a run is going to ask of a subject, as data."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import click

from torch_loss_parity.command import options
from torch_loss_parity.command.base import INTERRUPTED, PASSED, WRONG_CALL, options_of_pytest

NOTHING = 5  # as pytest says that nothing was run
ENDED = (INTERRUPTED, 3, WRONG_CALL)  # statuses of pytest with which nothing was planned


@click.command(short_help="Write what a run asks of a subject, for `observe` where nothing is installed.")
@options.subject
@options.operator
@options.dtype
@options.effort
@options.seed
@options.promise
@click.option("--audit", is_flag=True, help="What `audit` measures, in place of what `judge` judges.")
@click.option("--benchmark", is_flag=True, help="What `benchmark` times, in place of what `judge` judges.")
@click.option("--output", default="plan.npz", show_default=True, metavar="FILE", help="Where it is written.")
def plan(subject: str, output: str, audit: bool, benchmark: bool, **given: Any) -> int:
    """Write what a run asks of a subject to a file: calls as data, in the order of their worth.
    What is observed by it is for `judge`, with --audit for `audit`, with --benchmark for
    `benchmark`.

    \b
    SUBJECT is only loaded, for what it promises and offers (default: torch, of which
    everything is asked). Where it cannot be loaded, say what it promises by --promise.

    \b
    Examples:
      torch-loss-parity plan --effort quick --output quick.npz
      torch-loss-parity plan --audit --effort quick --output audit.npz
      torch-loss-parity plan --benchmark --effort quick --output times.npz
      torch-loss-parity plan --operator cross_entropy --promise target=indices,weight=None
    """
    if audit and benchmark:
        raise click.UsageError("--audit and --benchmark are given; a plan is for one of them")
    if audit or benchmark:
        return _measured(subject, Path(output), given, audit=audit)
    from torch_loss_parity.processes import suite
    from torch_loss_parity.processes.folders import CLAIMS

    said, problems = io.StringIO(), io.StringIO()
    arguments = [f"--subject={subject}", *options_of_pytest(given), f"--plan={output}", "-q"]
    with redirect_stdout(said), redirect_stderr(problems):
        status = suite.run_here([*arguments, "-p", "no:cacheprovider", str(CLAIMS)])
    if status in ENDED:
        told = problems.getvalue() or said.getvalue()
        print(told.strip().removeprefix("ERROR: "), file=sys.stderr)
        return status
    from torch_loss_parity.subjects.observing.planning import Plan

    return _told(output, len(Plan(Path(output)).records))


def _measured(subject: str, output: Path, given: Mapping[str, Any], *, audit: bool) -> int:
    """A plan for what measures; no test of a claim asks what it needs."""
    from torch_loss_parity.audit.plugin import LACKING

    if audit and LACKING:
        raise click.UsageError(
            f"--audit needs {', '.join(LACKING)}; install the extra: pip install 'torch-loss-parity[report]'"
        )
    from torch_loss_parity.operators import DTYPES
    from torch_loss_parity.plugin.observing import planned
    from torch_loss_parity.subjects.observing.planning import AUDIT, BENCHMARK, Planning
    from torch_loss_parity.subjects.settings import NothingToTest, Settings

    chosen: dict[str, Any] = {"dtype": ",".join(DTYPES), "effort": "standard", "seed": 0}
    chosen |= {name: value for name, value in given.items() if value is not None}
    try:
        settings = planned(Settings.of(subject, "cpu", **chosen), output, AUDIT if audit else BENCHMARK)
    except NothingToTest as error:
        print(f"error: nothing is planned: {error}", file=sys.stderr)
        return NOTHING
    if audit:
        from torch_loss_parity.audit.observed import ask
    else:
        from torch_loss_parity.benchmarks.observed import ask
    ask(settings)
    planning = settings.subject.namespace
    assert isinstance(planning, Planning)
    return _told(str(output), planning.close())


def _told(output: str, number: int) -> int:
    print(f"{output}: {number} calls")
    return PASSED if number else NOTHING
