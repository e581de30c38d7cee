"""``torch-loss-parity judge``: the verdict on what was observed."""

from __future__ import annotations

from typing import Any

import click

from torch_loss_parity.command import options
from torch_loss_parity.command.base import OfPytest, options_of_pytest, run_pytest


@click.command(cls=OfPytest, short_help="The verdict on what `observe` has written.")
@click.argument("file")
@options.operator
@options.profile
@options.like
@click.option("-n", "processes", metavar="N", help="Processes (default: one; needs pytest-xdist).")
@click.option("--report", "--outcome", metavar="FILE", help="Write what was found to FILE, as JSON.")
@options.expectations
@click.option("--known", metavar="FILE", help="What is known to fail, from --record-known; strict both ways.")
@click.option("--record-known", metavar="FILE", help="Write what fails to FILE, as TOML.")
@click.option("--counts", metavar="FILE", help="Write the number of cases to FILE, as JSON.")
@click.option("--all-failures", is_flag=True, help="Show every test that fails, not a few of each cause.")
@click.option("--summary", metavar="FILE", help="Add the verdict to FILE, as Markdown.")
def judge(file: str, processes: str | None, **given: Any) -> int:
    """Judge what a subject returned elsewhere, as `verify` would have judged it there.

    \b
    FILE is from `torch-loss-parity observe`. No subject is run. What FILE should hold
    and does not is named, counted and no pass; of kinds of claim that no file holds
    the verdict says so.

    \b
    Examples:
      torch-loss-parity judge observed.npz
      torch-loss-parity judge observed.npz -n 4 --outcome outcome.json
      torch-loss-parity judge observed.npz -- -k gradients
    """
    from torch_loss_parity.processes.folders import CLAIMS

    workers = ["-n", processes, "--dist=worksteal"] if processes else []
    return run_pytest([f"--observed={file}", *workers, *options_of_pytest(given)], CLAIMS)
