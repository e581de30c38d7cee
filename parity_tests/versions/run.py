"""The suite, run by another interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch_loss_parity.versions.environments import Runs, environment

RAN = (0, 1)  # exit statuses of pytest: all passed, some failed


class NotRun(Exception):
    """The suite did not run to its end; the message says why, in one line."""


@dataclass(frozen=True)
class Options:
    """What is asked of each run; an empty one is left to its default."""

    effort: str = "standard"
    seed: int = 0
    subject: str = "torch"
    dtype: str = ""
    operator: str = ""
    processes: int = 1

    @property
    def arguments(self) -> list[str]:
        """The options of ``torch-loss-parity verify``."""
        options = [f"--effort={self.effort}", f"--seed={self.seed}"]
        options += [f"--dtype={self.dtype}"] if self.dtype else []
        options += [f"--operator={self.operator}"] if self.operator else []
        options += ["-n", str(self.processes)] if self.processes > 1 else []
        return options


def outcome(python: str, version: str, options: Options, run: Runs = subprocess.run) -> Mapping[str, Any]:
    """What a run writes with ``--outcome``, run by an interpreter whose torch should be of this release.

    Raises
    ------
    NotRun
        If it does not run to its end, or torch is of another release.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "outcome.json"
        command = [
            python,
            "-m",
            "torch_loss_parity",
            "verify",
            options.subject,
            f"--outcome={path}",
            *options.arguments,
            "--",
            "-q",
            "-p",
            "no:cacheprovider",
        ]
        done = run(command, env=environment(), stdout=sys.stderr)
        if done.returncode not in RAN or not path.exists():
            raise NotRun(f"pytest ended with exit status {done.returncode}")
        outcome: Mapping[str, Any] = json.loads(path.read_text())
    if (there := outcome["environment"]["torch"]) != version:
        raise NotRun(f"{python} has torch {there}")
    return outcome
