"""``observe`` where only torch and NumPy are: its options, and what is done with them, without click."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PASSED, CUT_SHORT, WRONG_CALL = 0, 1, 4  # as Note [Exit statuses] of `torch_loss_parity.command.base` says
DRAWING = ("hypothesis", "covertable", "pytest")  # what draws the cases of a plan
# By name: what a value is called, what makes it one, the default, what it means.
OPTIONS: dict[str, tuple[str, Any, Any, str]] = {
    "plan": ("FILE", str, None, "What to run, from `torch-loss-parity plan` (default: it is drawn here)."),
    "device": ("NAME", str, "cpu", "Where the subject runs: cpu, cuda, cuda:1, ..."),
    "effort": ("NAME", str, None, "Without --plan: quick, standard (default), thorough."),
    "seed": ("N", int, None, "Without --plan: the same seed gives the same cases (default: 0)."),
    "dtype": ("A,B", str, None, "Dtypes to run (default: those of the plan)."),
    "operator": ("A,B", str, None, "Operators to run (default: those of the plan)."),
    "promise": ("NAME=VALUE,...", str, None, "What the subject promises; nothing else is asked."),
    "budget": ("SECONDS", float, None, "When nothing more is begun (default: never)."),
    "time_limit": ("SECONDS", float, 60.0, "How long a call may take before it is given up."),
    "output": ("FILE", str, "observed.npz", "Where it is written."),
}


def main(arguments: Sequence[str]) -> int:
    """``observe`` without click; the exit status."""
    parser = argparse.ArgumentParser(
        prog="torch-loss-parity observe", description="Run a subject, and write what it returns to a file."
    )
    parser.add_argument("subject", nargs="?", default="torch")
    for name, (metavar, kind, default, help) in OPTIONS.items():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, dest=name, metavar=metavar, type=kind, default=default, help=help)
    try:
        return run(**vars(parser.parse_args(list(arguments))))
    except SystemExit as ended:
        return WRONG_CALL if ended.code else PASSED
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_CALL


def run(
    subject: str,
    plan: str | None,
    effort: str | None,
    seed: int | None,
    output: str,
    dtype: str | None,
    operator: str | None,
    **given: Any,
) -> int:
    """Observe; the exit status is 1 where not all of what was planned could be run.

    Raises
    ------
    ValueError
        If the call cannot be met; the message says why.
    """
    from torch_loss_parity.processes.child_environment import ENVIRONMENT, of_simulated_cpu

    # Before torch is loaded, as where a subject is judged in one process.
    os.environ.update({**ENVIRONMENT, **of_simulated_cpu(os.environ), **os.environ})
    # Asking for devices must not use one: a process that has used CUDA cannot be forked.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    if plan and (effort or seed is not None):
        raise ValueError(
            f"--{'effort' if effort else 'seed'} is given, and --plan; the plan says what is run"
        )
    with tempfile.TemporaryDirectory() as directory:
        drawn = Path(plan) if plan else Path(directory, "plan.npz")
        if not plan:
            options = {"effort": effort, "seed": seed, "dtype": dtype, "operator": operator}
            _draw(subject, drawn, {**options, "promise": given["promise"]})
        from torch_loss_parity.subjects.observing.run import observe

        try:
            end = observe(
                drawn,
                Path(output),
                subject=subject,
                dtypes=dtype.split(",") if dtype else (),
                operators=operator.split(",") if operator else (),
                **given,
            )
        except OSError as error:
            raise ValueError(f"--output is {output!r}, which cannot be written: {error.strerror}") from error
    short = "" if end["why"] == "done" else f"; {end['why']}"
    print(f"{output}: {end['observed']} calls in {end['seconds']:.0f} s{short}")
    return CUT_SHORT if short else PASSED


def _draw(subject: str, path: Path, options: dict[str, Any]) -> None:
    """Have a plan drawn by a process of its own: this one is to load torch and NumPy alone.

    Raises
    ------
    ValueError
        If what draws it is not here, or it cannot be drawn.
    """
    if missing := [name for name in DRAWING if find_spec(name) is None]:
        raise ValueError(
            f"--plan is needed where {missing[0]}, which draws cases, is not installed; "
            "`torch-loss-parity plan` writes one elsewhere"
        )
    given = [f"--{name}={value}" for name, value in options.items() if value is not None]
    command = [sys.executable, "-m", "torch_loss_parity", "plan", subject, *given, f"--output={path}"]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        said = (ended.stderr.strip() or ended.stdout.strip()).splitlines()
        raise ValueError(said[-1].removeprefix("error: ") if said else "no plan could be drawn")
