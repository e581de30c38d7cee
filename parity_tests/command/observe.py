"""``torch-loss-parity observe``: run a subject here, to judge it elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from torch_loss_parity.command import options
from torch_loss_parity.command.observing import OPTIONS, run

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def _options(function: Decorated) -> Decorated:
    for name, (metavar, kind, default, help) in reversed(OPTIONS.items()):
        option = f"--{name.replace('_', '-')}"
        shown = default is not None
        function = click.option(
            option, metavar=metavar, type=kind, default=default, show_default=shown, help=help
        )(function)
    return function


@click.command(short_help="Run a subject here and write what it returns, to judge it elsewhere.")
@options.subject
@_options
def observe(subject: str, **given: Any) -> int:
    """Run a subject, and write what it returns to a file, which `judge` judges anywhere; by
    a plan from `plan --audit` or `plan --benchmark`, one for `audit` or `benchmark`.

    \b
    SUBJECT as for `torch-loss-parity verify` (default: torch). With --plan, torch and
    NumPy are all that is needed here (and `python -m torch_loss_parity observe`, where
    click is not installed). What was run is written as it goes: a process that is
    killed leaves it. The exit status is 1 if not all that was planned could be run.

    \b
    Examples:
      torch-loss-parity plan --effort quick --output plan.npz
      torch-loss-parity observe my_kernels.py --device cuda --plan plan.npz --budget 300
      torch-loss-parity judge observed.npz
      torch-loss-parity observe my_kernels.py --plan audit.npz --output for-audit.npz
    """
    try:
        return run(subject, **given)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
