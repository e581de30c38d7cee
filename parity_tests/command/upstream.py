"""``torch-loss-parity upstream``: a known divergence, as a report for an issue tracker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from torch_loss_parity.command.base import names


def ids() -> Sequence[str]:
    """The ids of known divergences."""
    from torch_loss_parity.ledger import ledger

    return [entry.id for entry in (*ledger.entries_of("torch"), *ledger.shortfalls())]


@click.command(short_help="A known divergence, as a report for an issue tracker.")
@click.argument("id", required=False, shell_complete=names(ids))
@click.option(
    "--quantity",
    metavar="NAME",
    help="forward, or the argument whose gradient is meant (default: what it breaks most).",
)
@click.option("--dtype", metavar="NAME", help="Default: the one that it breaks most.")
def upstream(**given: Any) -> int:
    """Print a known divergence of torch as a report for its issue tracker.

    A script that needs only torch, what it prints, the certified true value, and why. ID is an entry of the
    ledger; without it the ids are listed. The exit status is 1 if it does not diverge here.

    \b
    Examples:
      torch-loss-parity upstream
      torch-loss-parity upstream bce-with-logits-cancels
    """
    from torch_loss_parity.issue_report.issue_report import print_report

    return print_report(**given)
