"""What processes do in the tests of those that start many, in a module that each of them can import."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch_loss_parity.campaign import forked_runs, pytest_process
from torch_loss_parity.processes.process_slots import Children, Slots

# Caught by every run alike: a fault that follows from how often it was called; and one that the two claims do
# not catch.
FAULTS = ("every-twentieth-call-is-off", "the-dim-is-taken-modulo-the-dimensions")
CLAIMS = ("test_forward", "test_hygiene")
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


def shared_and_alone(directory: Path) -> list[dict[str, Any]]:
    """What runs of their own find, and runs that share what does not depend on the subject."""
    children = Children(Slots(directory, 2), LIMIT)
    for name in FAULTS:
        folder = directory / name
        folder.mkdir()
        children.start(name, alone, name, folder)
    children.join()
    own = {name: pytest_process.left_in(directory / name, children.exitcodes[name]) for name in FAULTS}
    together = directory / "shared"
    together.mkdir()
    work = forked_runs.Repeated(OPTIONS, RUNS, tasks={"task": task}, files=TESTS)
    forked_runs.repeat(work, together, children.slots, LIMIT)
    assert (together / "task" / "done").exists()
    shared = {name: pytest_process.left_in(together / name) for name in FAULTS}
    return [{name: asdict(run) for name, run in runs.items()} for runs in (own, shared)]


def dies_and_hangs(directory: Path) -> dict[str, int]:
    """How processes ended of which one dies, one does not end, and one ends, one at a time."""
    # Which is time to load what they import, on a machine that is busy too.
    children = Children(Slots(directory, 1), 15.0)
    children.start("dies", os.abort)
    children.start("hangs", time.sleep, 600)
    children.start("ends", time.sleep, 0)
    children.join()
    slot = children.slots.free()
    assert slot is not None
    assert children.slots.free() is None
    slot.release()
    return children.exitcodes


def main() -> None:
    """Call the function that is named, and print what it returns; standard output may be a file by then."""
    out = os.dup(1)
    name, directory = sys.argv[1], Path(sys.argv[2])
    runs = shared_and_alone(directory) if name == "shared_and_alone" else dies_and_hangs(directory)
    os.write(out, f"{json.dumps(runs)}\n".encode())


if __name__ == "__main__":
    main()
