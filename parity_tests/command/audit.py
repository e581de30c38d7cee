"""``torch-loss-parity audit`` and ``compare``: by how much do the numbers differ, and since when?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from torch_loss_parity.command import options
from torch_loss_parity.command.base import FAILED, PASSED, WRONG_CALL, OfPytest, options_of_pytest, run_pytest

NAMED = {"output": "--audit", "compare": "--audit-compare", "fail": "--audit-compare-fail"}


@click.command(cls=OfPytest, short_help="By how much do the numbers differ, and who is nearer the truth?")
@options.of_a_run
@click.option(
    "--output", default="audit", show_default=True, metavar="DIR", help="Where audit.json and index.html go."
)
@click.option("--compare", metavar="FILE", help="Show what changed since the audit.json of an earlier audit.")
@click.option(
    "--fail",
    multiple=True,
    metavar="EXPR",
    help="Fail where a figure grew since then: max_ulp:10%, max_ulp:0.5; may be repeated.",
)
@click.option("--workers", type=int, metavar="N", help="Processes (default: the cores).")
@click.option("--scheduler", metavar="URL", help="A Dask scheduler for the work, tcp://HOST:PORT.")
def audit(subject: str, **given: Any) -> int:
    """Measure by how much numbers differ from the truth, and write a report.

    \b
    SUBJECT is what is measured, as for `torch-loss-parity verify` (default: torch).
    DIR/index.html is the report, DIR/audit.json has all figures. Stopped or killed,
    the same command continues. Needs the extra `report`.

    \b
    Examples:
      torch-loss-parity audit torch --output audits/today
      torch-loss-parity audit my_kernels.py --operator softmax --dtype float32
      torch-loss-parity audit torch --output new --compare old/audit.json --fail max_ulp:10%
    """
    from torch_loss_parity.processes.folders import PACKAGE

    return run_pytest([f"--subject={subject}", *options_of_pytest(given, NAMED)], PACKAGE / "audit")


@click.command(short_help="What changed from one audit to another?")
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option(
    "--fail",
    multiple=True,
    metavar="EXPR",
    help="Fail where a figure grew: max_ulp:10%, max_ulp:0.5, differing; may be repeated.",
)
@click.option(
    "--shown",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    metavar="N",
    help="Figures in the table.",
)
def compare(old: Path, new: Path, fail: tuple[str, ...], shown: int) -> int:
    """Show what changed from one audit to another: from OLD to NEW, two files audit.json.

    The exit status is 1 if a figure grew that must not.

    \b
    Examples:
      torch-loss-parity compare old/audit.json new/audit.json
      torch-loss-parity compare old/audit.json new/audit.json --fail max_ulp:10% --fail differing
    """
    try:
        from torch_loss_parity.audit.__main__ import main
    except SystemExit:  # its libraries are an extra, which it has said
        return WRONG_CALL
    status = main(["compare", str(old), str(new), f"--shown={shown}", *(f"--fail={each}" for each in fail)])
    return PASSED if status == 0 else FAILED if status == 1 else WRONG_CALL
