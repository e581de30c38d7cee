"""``torch-loss-parity bits``: which changes of a call leave the bits of its results as they are?"""

from __future__ import annotations

from pathlib import Path

import click

from torch_loss_parity.command import options


@click.command(short_help="Which changes of a call leave the bits of its results as they are?")
@options.subject
@click.option("--device", default="cpu", show_default=True, metavar="NAME", help="Where it runs.")
@click.option(
    "--record",
    is_flag=False,
    flag_value="",
    metavar="[FILE]",
    help="Write it into FILE (default, in a checkout: the table of the suite).",
)
def bits(subject: str, device: str, record: str | None) -> int:
    """Measure which changes of a call leave the bits of its results as they are.

    The size of the batch, the place in it, threads, strides. SUBJECT as for `torch-loss-parity verify`
    (default: torch).

    \b
    Examples:
      torch-loss-parity bits
      torch-loss-parity bits my_kernels.py --record=bits.toml
      ATEN_CPU_CAPABILITY=avx2 torch-loss-parity bits
    """
    from torch_loss_parity.claims.bits.bits import PATH, run_bits
    from torch_loss_parity.processes.folders import INSTALLED

    if record == "" and INSTALLED:
        raise click.UsageError("--record needs a FILE: the table of the suite is written in a checkout")
    return run_bits(subject, device, None if record is None else Path(record or PATH))
