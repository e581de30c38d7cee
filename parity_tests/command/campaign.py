"""``torch-loss-parity campaign``: what is a pass worth, and what a failure?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from torch_loss_parity.command.base import names


def faults() -> Sequence[str]:
    """The names of planted faults."""
    from torch_loss_parity.faults import FAULTS

    return tuple(FAULTS)


def right_kernels() -> Sequence[str]:
    """The names of right kernels."""
    from torch_loss_parity.faults.right import RIGHT_KERNELS

    return tuple(RIGHT_KERNELS)


@click.command(short_help="What is a pass worth? The suite on planted faults and on right kernels.")
@click.option("--faults", metavar="A,B", shell_complete=names(faults), help="Faults to judge (default: all).")
@click.option(
    "--right", metavar="A,B", shell_complete=names(right_kernels), help="Right kernels (default: all)."
)
@click.option("--sample", type=click.IntRange(1), metavar="N", help="Every N-th fault and right kernel.")
@click.option("--check", is_flag=True, help="Compare with the record; what people use today is not asked.")
@click.option("--write", is_flag=True, help="Record what was run; of all else the record stays.")
@click.option(
    "--strict-records", is_flag=True, help="Fail where other claims catch a fault than is recorded."
)
@click.option("--workers", type=int, metavar="N", help="Processes (default: the cores).")
def campaign(**given: Any) -> int:
    """Put every planted fault and every right kernel under test, and say who caught what.

    The exit status is 1 if a fault is not caught, a right kernel is rejected, or the record does not hold.

    \b
    Examples:
      torch-loss-parity campaign --sample 16 --check
      torch-loss-parity campaign --faults every-probability-is-the-same
    """
    from torch_loss_parity.campaign.campaign import run_campaign

    return run_campaign(**given)
