"""``torch-loss-parity audit``: by how much do the numbers differ, and who is nearer the truth?"""

from __future__ import annotations

from typing import Any

import click

from torch_loss_parity.command import options
from torch_loss_parity.command.base import OfPytest, is_observed, options_of_pytest, run_pytest

NAMED = {
    "output": "--audit",
    "compare": "--audit-compare",
    "fail": "--audit-compare-fail",
    "beside": "--audit-beside",
}


@click.command(cls=OfPytest, short_help="By how much do the numbers differ, and who is nearer the truth?")
@options.of_a_run
@click.option(
    "--output", default="audit", show_default=True, metavar="DIR", help="Where audit.json and index.html go."
)
@click.option("--compare", metavar="FILE", help="Show what changed since the audit.json of an earlier audit.")
@click.option(
    "--fail",
    multiple=True,
    metavar="EXPR",
    help="Fail where a figure grew since then: max_ulp:10%, max_ulp:0.5; may be repeated.",
)
@click.option(
    "--beside", metavar="FILE", help="Of a file: what torch returned there, to be measured beside it."
)
@click.option("--workers", type=int, metavar="N", help="Processes (default: the cores).")
@click.option("--scheduler", metavar="URL", help="A Dask scheduler for the work, tcp://HOST:PORT.")
def audit(subject: str, **given: Any) -> int:
    """Measure by how much numbers differ from the truth, and write a report.

    \b
    SUBJECT is what is measured, as for `torch-loss-parity verify` (default: torch), or
    a file of what it returned elsewhere, from `torch-loss-parity observe` by a plan
    from `torch-loss-parity plan --audit`.
    DIR/index.html is the report, DIR/audit.json has all figures. Stopped or killed,
    the same command continues. Needs the extra `report`.

    \b
    Examples:
      torch-loss-parity audit torch --output audits/today
      torch-loss-parity audit my_kernels.py --operator softmax --dtype float32
      torch-loss-parity audit gpu.npz --output audits/gpu
      torch-loss-parity audit torch --output new --compare old/audit.json --fail max_ulp:10%
    """
    from torch_loss_parity.processes.folders import AUDIT

    whose = "observed" if is_observed(subject) else "subject"
    return run_pytest([f"--{whose}={subject}", *options_of_pytest(given, NAMED)], AUDIT)
