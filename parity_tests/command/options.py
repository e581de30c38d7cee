"""Options that several subcommands have; they mean what those of pytest mean that have their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from torch_loss_parity.command.base import dtypes, names, operators

EFFORTS = ("quick", "standard", "thorough")
Decorated = TypeVar("Decorated", bound=Callable[..., Any])

subject = click.argument("subject", default="torch")
device = click.option("--device", metavar="NAME", help="Where it runs: cpu (default), cuda, cuda:1, ...")
dtype = click.option(
    "--dtype",
    metavar="A,B",
    shell_complete=names(dtypes),
    help="float16, bfloat16, float32, float64 (default: all).",
)
operator = click.option(
    "--operator", metavar="A,B", shell_complete=names(operators), help="Operators to run (default: all)."
)
effort = click.option(
    "--effort",
    metavar="NAME",
    shell_complete=lambda *_: list(EFFORTS),
    help="How many cases and how large: quick, standard (default), thorough.",
)
seed = click.option("--seed", type=int, metavar="N", help="The same seed gives the same cases (default: 0).")
profile = click.option(
    "--profile", metavar="NAME|FILE", help="What its arithmetic may do: a name, or a .toml file."
)
promise = click.option(
    "--promise",
    metavar="NAME=VALUE,...",
    help="What it promises, in place of what PROMISES in its file says of the same name; nothing else is "
    "asked.",
)
like = click.option(
    "--like", metavar="torch", help="Judge it as torch is, where it is made of torch's functions."
)
expectations = click.option(
    "--expectations", metavar="DIR|off", help="Where expected values are kept between runs."
)


def of_a_run(function: Decorated) -> Decorated:
    """What every run of the suite takes."""
    for option in (like, promise, profile, seed, effort, device, dtype, operator, subject):
        function = option(function)
    return function
