"""What processes do in the tests of those that start many, in a module that each of them can import."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from torch_loss_parity.campaign import forked_runs, pytest_process
from torch_loss_parity.processes.process_slots import Children, Slots

# Caught by every run alike: a fault that follows from how often it was called, and one that shows in a second
# derivative alone; and one that the claims do not catch.
FAULTS = (
    "every-twentieth-call-is-off",
    "probabilities-are-constants-in-the-backward",
    "the-dim-is-taken-modulo-the-dimensions",
)
CLAIMS = ("test_forward", "test_layouts", "test_modes")
OPTIONS = ("--operator", "softmax", "--effort", "quick", "--dtype", "float32")
RUNS = {name: ("--subject", f"fault:{name}") for name in FAULTS}
TESTS = tuple(path for path in forked_runs.TESTS if path.stem in CLAIMS)
LIMIT = 300.0  # seconds


def alone(name: str, folder: Path) -> None:
    """The run of a fault from its start to its end."""
    arguments = [*map(str, TESTS), *OPTIONS, *RUNS[name]]
    sys.exit(
        pytest_process.run_here(arguments, folder, pytest_process.Recorder(folder / pytest_process.RECORD))
    )


def task(folder: Path) -> None:
    """Something else than a run."""
    (folder / "done").touch()


def by_themselves(directory: Path) -> dict[str, pytest_process.Run]:
    """What runs of their own find."""
    children = Children(Slots(directory, 2), LIMIT)
    for name in FAULTS:
        folder = directory / name
        folder.mkdir()
        children.start(name, alone, name, folder)
    children.join()
    return {name: pytest_process.left_in(directory / name, children.exitcodes[name]) for name in FAULTS}


def sharing(directory: Path) -> dict[str, pytest_process.Run]:
    """What runs find that share what does not depend on the subject."""
    together = directory / "shared"
    together.mkdir()
    work = forked_runs.Repeated(OPTIONS, RUNS, tasks={"task": task}, files=TESTS)
    forked_runs.repeat(work, together, Slots(directory, 2), LIMIT)
    assert (together / "task" / "done").exists()
    return {name: pytest_process.left_in(together / name) for name in FAULTS}


def main() -> None:
    """Call the functions that are named, and print what they return; standard output may be a file by
    then.
    """
    out = os.dup(1)
    directory = Path(sys.argv[1])
    found = {
        name: {"by_themselves": by_themselves, "sharing": sharing}[name](directory) for name in sys.argv[2:]
    }
    runs = {name: {fault: asdict(run) for fault, run in each.items()} for name, each in found.items()}
    os.write(out, f"{json.dumps(runs)}\n".encode())


if __name__ == "__main__":
    main()
