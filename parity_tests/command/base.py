"""What the subcommands share: how they are run, how a wrong call ends, and those that run pytest.

Note [Exit statuses]
    Those of pytest, for every subcommand: 0 where nothing is wrong, 1 where something is, 2 interrupted,
    3 an error of the suite's own, 4 a call that cannot be met, 5 nothing was run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

PASSED, FAILED, INTERRUPTED, WRONG_CALL = 0, 1, 2, 4
REST = "--"  # what follows it goes to pytest as it is


def run(command: click.Command, arguments: Sequence[str] | None, *, name: str, context: Any = None) -> int:
    """Run a command; the exit status, see Note [Exit statuses]. A wrong call is told in one line.

    Parameters
    ----------
    arguments : sequence of str or None
        None for those of the process.
    context : Any
        What the command finds as the ``obj`` of its context.
    """
    given = None if arguments is None else list(arguments)
    try:
        status = command.main(given, prog_name=name, standalone_mode=False, obj=context)
    except click.ClickException as error:
        print(f"error: {error.format_message()}", file=sys.stderr)
        return WRONG_CALL
    except ValueError as error:
        from torch_loss_parity.subjects import SubjectError
        from torch_loss_parity.subjects.settings import WrongOption

        if not isinstance(error, WrongOption | SubjectError):
            raise
        print(f"error: {error}", file=sys.stderr)
        return WRONG_CALL
    except click.Abort:
        return INTERRUPTED
    return status if isinstance(status, int) else PASSED


class OfPytest(click.Command):
    """A subcommand that runs pytest: what follows ``--`` are options of pytest."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index(REST) if REST in args else len(args)
        ctx.meta[REST] = args[end + 1 :]
        return super().parse_args(ctx, args[:end])

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), f"[{REST} OPTIONS OF PYTEST]"]


def options_of_pytest(given: Mapping[str, Any], named: Mapping[str, str] | None = None) -> list[str]:
    """The options of a subcommand as those of pytest; what was not given is left to pytest.

    Parameters
    ----------
    given : mapping
        By the names that click gives.
    named : mapping, optional
        What pytest calls those that it calls otherwise.
    """
    arguments = []
    for name, value in given.items():
        option = (named or {}).get(name, f"--{name.replace('_', '-')}")
        if value is True:
            arguments.append(option)
        elif isinstance(value, tuple):
            arguments += [f"{option}={each}" for each in value]
        elif value is not None and value is not False:
            arguments.append(f"{option}={value}")
    return arguments


def run_pytest(options: Sequence[str], place: Any) -> int:
    """Run pytest on a part of the suite, with what follows ``--`` on the command line."""
    from torch_loss_parity.processes import suite

    return suite.run_here([*options, *click.get_current_context().meta[REST], str(place)])


def names(load: Callable[[], Sequence[str]]) -> Callable[..., list[str]]:
    """A completion of names that are separated by commas; they are loaded when a shell asks."""

    def complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{name}" for name in load() if name.startswith(last)]

    return complete


def operators() -> Sequence[str]:
    """The names of operators."""
    from torch_loss_parity.operators import OPERATORS

    return tuple(OPERATORS)


def dtypes() -> Sequence[str]:
    """The names of dtypes."""
    from torch_loss_parity.operators import DTYPES

    return DTYPES


def is_observed(subject: str) -> bool:
    """Whether what stands in the place of a subject is a file of observations: no module is in a file that is
    not Python's.
    """
    path = Path(subject)
    return path.suffix == ".npz" or (path.is_file() and path.suffix != ".py")
