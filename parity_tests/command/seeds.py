"""``torch-loss-parity seeds``: how often does a correct implementation fail?"""

from __future__ import annotations

from typing import Any

import click

from torch_loss_parity.command import options


@click.command(short_help="How often does a correct implementation fail? The same run under many seeds.")
@options.subject
@click.option("--seeds", type=int, default=100, show_default=True, metavar="N", help="How many seeds.")
@click.option("--first", type=int, default=0, show_default=True, metavar="N", help="The first seed.")
@click.option("--claims", metavar="A,B", help="Kinds of claim (default: those whose cases are drawn).")
@options.operator
@options.dtype
@options.device
@click.option(
    "--effort",
    type=click.Choice(options.EFFORTS),
    default="quick",
    show_default=True,
    help="How many cases and how large.",
)
@click.option("--workers", type=int, metavar="N", help="Processes (default: the cores).")
def seeds(**given: Any) -> int:
    """Run the verification under many seeds, and count what fails.

    The answer that a sound bound gives for a correct SUBJECT (default: torch) is: nothing.

    \b
    Examples:
      torch-loss-parity seeds --seeds 1000
      torch-loss-parity seeds --operator linear_cross_entropy --workers 4
      torch-loss-parity seeds my_kernels.py --claims forward,gradients --dtype float32
    """
    from torch_loss_parity.campaign.seeds import run_seeds

    return run_seeds(**given)
