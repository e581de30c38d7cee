"""``torch-loss-parity compare``: two audits, or two results of one call."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import click

from torch_loss_parity.command.base import FAILED, PASSED, WRONG_CALL, names, operators

SAVED = (".npy", ".pt")


@click.command(short_help="What changed from one audit to another? Or: two results, who is nearer the truth?")
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option(
    "--fail",
    multiple=True,
    metavar="EXPR",
    help="Of audits: fail where a figure grew, max_ulp:10%, max_ulp:0.5, differing; may be repeated.",
)
@click.option(
    "--shown",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    metavar="N",
    help="Of audits: figures in the table.",
)
@click.option(
    "--operator",
    metavar="NAME",
    shell_complete=names(operators),
    help="OLD and NEW are results of this operator, tensors saved as .pt or arrays as .npy.",
)
@click.option(
    "--argument",
    "arguments",
    multiple=True,
    metavar="NAME=VALUE",
    help="Of results: an argument of the call, a saved tensor or a value; may be repeated.",
)
@click.option(
    "--clip",
    metavar="LOW,HIGH",
    default="0.8,1.2",
    show_default=True,
    help="Of log-probabilities: the range of ratios exp(OLD - NEW) that is asked about.",
)
def compare(
    old: Path,
    new: Path,
    fail: tuple[str, ...],
    shown: int,
    operator: str | None,
    arguments: tuple[str, ...],
    clip: str,
) -> int:
    """Show what changed from one audit to another, or which of two results is nearer to the truth.

    \b
    OLD and NEW are two files audit.json; the exit status is 1 if a figure grew that
    must not. With --operator they are two results of one call: each is held against
    the truth, in ulps and, where they are log-probabilities, in the units of who
    matches a trainer with a sampler: the largest and the mean difference, the KL
    divergence, the share of ratios within a range. The exit status is 1 if one of the
    two is off by more than rounding allows.

    \b
    Examples:
      torch-loss-parity compare old/audit.json new/audit.json
      torch-loss-parity compare old/audit.json new/audit.json --fail max_ulp:10% --fail differing
      torch-loss-parity compare trainer.pt sampler.pt --operator log_softmax \\
          --argument input=logits.pt --argument dim=-1 --clip 0.8,1.2
    """
    if operator is not None:
        return _of_results(old, new, operator, arguments, clip)
    if arguments:
        raise click.UsageError("--argument is of results; they need --operator")
    try:
        from torch_loss_parity.audit.__main__ import main
    except SystemExit:  # its libraries are an extra, which it has said
        return WRONG_CALL
    status = main(["compare", str(old), str(new), f"--shown={shown}", *(f"--fail={each}" for each in fail)])
    return PASSED if status == 0 else FAILED if status == 1 else WRONG_CALL


def _of_results(a: Path, b: Path, operator: str, arguments: tuple[str, ...], clip: str) -> int:
    from torch_loss_parity.judging.two_results import compare

    given: dict[str, Any] = {}
    for argument in arguments:
        name, equals, text = argument.partition("=")
        if not equals or not name:
            raise click.UsageError(f"--argument is {argument!r}; it must be NAME=VALUE")
        given[name] = _value(text)
    try:
        numbers = [float(each) for each in clip.split(",")]
    except ValueError as error:
        raise click.UsageError(f"--clip is {clip!r}; it must be LOW,HIGH") from error
    try:
        comparison = compare(_loaded(a), _loaded(b), operator, clip=numbers, **given)
    except (TypeError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    print(comparison)
    return PASSED if comparison else FAILED


def _value(text: str) -> Any:
    """A saved tensor, a literal of Python, or a word."""
    if text.endswith(SAVED):
        return _loaded(Path(text))
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _loaded(path: Path) -> Any:
    """A tensor or an array from its file."""
    import numpy as np
    import torch

    if path.suffix not in SAVED:
        raise click.UsageError(f"{path} must be a tensor saved as .pt or an array as .npy")
    try:
        return np.load(path) if path.suffix == ".npy" else torch.load(path, weights_only=True)
    except Exception as error:  # of whatever kind the file makes a library raise
        raise click.UsageError(f"{path} cannot be read: {error}") from error
