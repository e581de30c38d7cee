"""The command ``torch-loss-parity`` and its subcommands."""

from __future__ import annotations

from collections.abc import Sequence

import click

from torch_loss_parity.command.audit import audit
from torch_loss_parity.command.base import run
from torch_loss_parity.command.benchmark import benchmark
from torch_loss_parity.command.bits import bits
from torch_loss_parity.command.campaign import campaign
from torch_loss_parity.command.compare import compare
from torch_loss_parity.command.judge import judge
from torch_loss_parity.command.observe import observe
from torch_loss_parity.command.plan import plan
from torch_loss_parity.command.seeds import seeds
from torch_loss_parity.command.upstream import upstream
from torch_loss_parity.command.verify import verify
from torch_loss_parity.command.versions import versions

NAME = "torch-loss-parity"
COMMANDS = (
    verify,
    audit,
    compare,
    benchmark,
    plan,
    observe,
    judge,
    upstream,
    bits,
    seeds,
    versions,
    campaign,
)


class InThisOrder(click.Group):
    """Subcommands are listed as they are given, the most used first."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=InThisOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name=NAME, prog_name=NAME)
def group() -> None:
    """Verifies softmax, cross-entropy and their relatives: values and gradients against the mathematics.

    \b
    Examples:
      torch-loss-parity verify my_kernels.py --operator softmax --effort quick
      torch-loss-parity audit my_kernels.py --output audits/mine
      torch-loss-parity benchmark my_kernels.py

    \b
    Completion, for bash (zsh and fish likewise; put it where your shell starts):
      eval "$(_TORCH_LOSS_PARITY_COMPLETE=bash_source torch-loss-parity)"
    """


for command in COMMANDS:
    group.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status."""
    return run(group, arguments, name=NAME)
