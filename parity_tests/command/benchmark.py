"""``torch-loss-parity benchmark``: how fast is it, and what is the limit?"""

from __future__ import annotations

from typing import Any

import click

from torch_loss_parity.command import options
from torch_loss_parity.command.base import OfPytest, is_observed, options_of_pytest, run_pytest

NAMED = {"report": "--benchmark-report", "json": "--benchmark-json"}


@click.command(cls=OfPytest, short_help="How fast is it, and what is the limit?")
@options.of_a_run
@click.option("--path", metavar="A,B", help="Paths to time: torch, compile, composed, numpy, scipy, subject.")
@click.option("--shape", metavar="ROWSxCLASSES,...", help="Shapes to time, in place of those of the effort.")
@click.option("--threads", type=int, metavar="N", help="Threads of torch on the CPU (default: 1).")
@click.option("--cold-cache", is_flag=True, help="Empty the caches before each call.")
@click.option("--report", metavar="FILE.html", help="Write what was measured as one page (extra: report).")
@click.option("--json", metavar="FILE", help="Write what was measured, as JSON.")
def benchmark(subject: str, **given: Any) -> int:
    """Time every path, forward and backward, as multiples of what moving the bytes takes.

    \b
    SUBJECT is what is timed beside torch, as for `torch-loss-parity verify` (default:
    torch alone), or a file of what was timed elsewhere, from `torch-loss-parity observe`
    by a plan from `torch-loss-parity plan --benchmark`. At standard effort it takes at
    most five minutes, at quick one.
    pytest-benchmark's options follow `--`.

    \b
    Examples:
      torch-loss-parity benchmark --effort quick
      torch-loss-parity benchmark my_kernels.py --path torch,subject --shape 2048x1024,8192x32
      torch-loss-parity benchmark gpu.npz
      torch-loss-parity benchmark --report times.html -- --benchmark-save=today
    """
    from torch_loss_parity.processes.folders import BENCHMARKS

    whose = "observed" if is_observed(subject) else "subject"
    return run_pytest([f"--{whose}={subject}", *options_of_pytest(given, NAMED)], BENCHMARKS)
