"""``torch-loss-parity verify``: is it right?"""

from __future__ import annotations

from typing import Any

import click

from torch_loss_parity.command import options
from torch_loss_parity.command.base import OfPytest, options_of_pytest, run_pytest

NAMED = {"processes": "-n"}


@click.command(cls=OfPytest, short_help="Is it right? Values and gradients, over the whole domain.")
@options.of_a_run
@click.option("-n", "processes", metavar="N", help="Processes (default: one; needs pytest-xdist).")
@click.option("--time-limit", type=float, metavar="SECONDS", help="How long a case may take before it fails.")
@click.option("--report", "--outcome", metavar="FILE", help="Write what the run found to FILE, as JSON.")
@options.expectations
@click.option("--known", metavar="FILE", help="What is known to fail, from --record-known; strict both ways.")
@click.option("--record-known", metavar="FILE", help="Write what fails to FILE, as TOML.")
@click.option("--counts", metavar="FILE", help="Write the number of cases to FILE, as JSON.")
@click.option("--all-failures", is_flag=True, help="Show every test that fails, not a few of each cause.")
@click.option("--summary", metavar="FILE", help="Add the verdict to FILE, as Markdown.")
@click.option(
    "--strict-records",
    is_flag=False,
    flag_value="all",
    metavar="[here]",
    help="Fail where something is otherwise than recorded; with =here, only if it was recorded here.",
)
def verify(subject: str, processes: str | None, **given: Any) -> int:
    """Verify values and gradients against the mathematics.

    \b
    SUBJECT is what is put under test: a path to a .py file, a dotted module, or torch
    (the default), torch.nn, torch.compile, reference, fault:NAME. It has functions
    named and called as in torch.nn.functional.

    The exit status is 0 if nothing is wrong, 1 if something is, 4 if the call cannot be met, 5 if nothing,
    or too little, was tested.

    \b
    Examples:
      torch-loss-parity verify my_kernels.py --operator softmax --effort quick
      torch-loss-parity verify my_package.losses --dtype float32,bfloat16 --device cuda
      torch-loss-parity verify torch -n 4 --report report.json
      torch-loss-parity verify my_kernels.py -- -x -k gradients --junitxml=junit.xml
    """
    from torch_loss_parity.processes.folders import CLAIMS

    workers = ["-n", processes, "--dist=worksteal"] if processes else []
    return run_pytest([f"--subject={subject}", *workers, *options_of_pytest(given)], CLAIMS)
