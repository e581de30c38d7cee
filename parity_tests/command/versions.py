"""``torch-loss-parity versions``: what changes when torch is upgraded?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from torch_loss_parity.command import options


@click.command(short_help="What changes when torch is upgraded? The suite on one release after the other.")
@click.argument("releases", nargs=-1, metavar="VERSION[=PYTHON]...")
@click.option("--subject", default="torch", show_default=True, metavar="NAME", help="What is under test.")
@options.operator
@options.dtype
@click.option(
    "--effort",
    default="standard",
    show_default=True,
    metavar="NAME",
    help="As of `torch-loss-parity verify`.",
)
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="As of `verify`.")
@click.option("-n", "processes", type=int, default=1, show_default=True, metavar="N", help="Processes.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Make environments here (default: a temporary one).",
)
@click.option("--keep", is_flag=True, help="Leave environments in DIR, and use those that are there.")
@click.option(
    "--table", type=click.Path(path_type=Path), metavar="FILE", help="Write the table to FILE, as Markdown."
)
@click.option("--write", is_flag=True, help="Add to what is recorded, and to the README (in a checkout).")
@click.option("--compare", is_flag=True, help="Fail if a release is not recorded, or is otherwise.")
@click.option("--check", is_flag=True, help="Fail if the README says otherwise than recorded; run nothing.")
@click.pass_context
def versions(context: click.Context, /, **given: Any) -> int:
    """Run the suite on one release of torch after the other, and say from each to the next what changes.

    \b
    VERSION is a release, or newest; PYTHON an interpreter that has it. Else each release
    gets an environment of its own, with the newest of everything else, which is gone before
    the next is made: minutes, and some GB. PIP_INDEX_URL and the like say where from.

    The exit status is 1 if a release could not be run, has failures, or is not as recorded (--compare).

    \b
    Examples:
      torch-loss-parity versions 2.8.0 2.13.0 newest --effort quick -n 2
      torch-loss-parity versions 2.13.0=venv/bin/python 2.15.0
    """
    from torch_loss_parity.versions.__main__ import run_versions

    return run_versions(given, **(context.obj or {}))
