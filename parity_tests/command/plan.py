"""``torch-loss-parity plan``: what a run is going to ask of a subject, as data."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import click

from torch_loss_parity.command import options
from torch_loss_parity.command.base import INTERRUPTED, PASSED, WRONG_CALL, options_of_pytest

ENDED = (INTERRUPTED, 3, WRONG_CALL)  # statuses of pytest with which nothing was planned


@click.command(short_help="Write what a run asks of a subject, for `observe` where nothing is installed.")
@options.subject
@options.operator
@options.dtype
@options.effort
@options.seed
@options.promise
@click.option("--output", default="plan.npz", show_default=True, metavar="FILE", help="Where it is written.")
def plan(subject: str, output: str, **given: Any) -> int:
    """Write what a run asks of a subject to a file: calls as data, in the order of their worth.

    \b
    SUBJECT is only loaded, for what it promises and offers (default: torch, of which
    everything is asked). Where it cannot be loaded, say what it promises by --promise.

    \b
    Examples:
      torch-loss-parity plan --effort quick --output quick.npz
      torch-loss-parity plan --operator cross_entropy --promise target=indices,weight=None
    """
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

    number = len(Plan(Path(output)).records)
    print(f"{output}: {number} calls")
    return PASSED if number else 5
