"""What processes do in the tests of observing, in a module that each of them can import."""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from torch_loss_parity.expectation import expectation_cache
from torch_loss_parity.judging import run_cases
from torch_loss_parity.operators.sampling import for_each_random_case
from torch_loss_parity.processes import suite
from torch_loss_parity.processes.folders import files_of_claims
from torch_loss_parity.processes.process_slots import Children, Slots
from torch_loss_parity.subjects.observing.run import observe

TESTS = tuple(map(str, files_of_claims(("forward", "gradients", "semantics", "errors"))))
# Of torch alone; the smallest inputs of the ledger are of all operators.
MODES = (*map(str, files_of_claims(("modes",))), "-k", "not smallest")
OPTIONS = ("--operator=softmax", "--effort=quick", "--dtype=float32", "-q", "-p", "no:cacheprovider")
DIES = """
import os, torch
def softmax(input, dim, dtype=None):
    if input.ndim == 3:
        os.kill(os.getpid(), 9)
    return torch.softmax(input, dim, dtype=dtype)
"""
HANGS = """
import torch
def softmax(input, dim, dtype=None):
    while input.ndim == 3:
        pass
    return torch.softmax(input, dim, dtype=dtype)
"""
# By the name of a run: the subject, and whether one process can judge it.
SUBJECTS = {
    "torch": ("torch", True),
    "right": ("right:softmax-is-exp-of-log-softmax", True),
    "zeros": ("fault:zeros", True),
    "infinite": ("fault:an-infinite-logit-takes-all", True),
    "dies": ("dies.py", False),
    "hangs": ("hangs.py", True),
}
LIMIT = 3.0  # seconds for a call, of which none takes long but one that never returns
LONGEST = 300.0  # seconds for a run


def plan(path: Path) -> None:
    """Write what is asked of any of the subjects."""
    pytest.main(suite.arguments([*TESTS, *MODES, *OPTIONS, "--subject=torch", f"--plan={path}"]))


def one_process(folder: Path, subject: str) -> None:
    """Judge a subject where it runs, without the smaller cases of Hypothesis, which no plan has."""
    vars(run_cases)["for_each_random_case"] = partial(_not_shrunk, for_each_random_case)
    _judged(folder / "one.json", [*OPTIONS, f"--subject={subject}", f"--time-limit={LIMIT:g}"])


def _not_shrunk(run: Any, *given: Any, **options: Any) -> None:
    run(*given, **{**options, "shrink": False})


def observed(folder: Path, subject: str, plan: Path) -> None:
    """Observe a subject, and judge what was observed."""
    file = folder / "observed.npz"
    if not file.exists():
        end = observe(plan, file, subject=subject, time_limit=LIMIT)
        (folder / "end.json").write_text(json.dumps(dict(end)))
    _judged(folder / "two.json", ["-q", "-p", "no:cacheprovider", f"--observed={file}"])


def _judged(path: Path, options: list[str]) -> None:
    with path.with_suffix(".log").open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    tests = (*TESTS, *MODES) if path.parent.name == "torch" else TESTS
    status = pytest.main(suite.arguments([*tests, *options, f"--outcome={path}"]))
    os._exit(int(status))  # threads that a subject has left behind end with it


def main() -> None:
    """Judge every subject in one process and in two; the folder has the plan, and torch's file."""
    directory = Path(sys.argv[1]).resolve()
    for name, text in (("dies.py", DIES), ("hangs.py", HANGS)):
        (directory / name).write_text(text)
    os.chdir(directory)
    # What is expected of a call is evaluated once for all of them.
    expectation_cache.keep()
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    # ... and torch loads what some modes need, which takes longer than a call may.
    pytest.main(suite.arguments([*TESTS, *MODES, *OPTIONS, "--subject=torch"]))
    children = Children(Slots(directory, 2), LONGEST)
    for name, (subject, alone) in SUBJECTS.items():
        folder = directory / name
        folder.mkdir(exist_ok=True)
        if alone:
            children.start(f"{name} one", one_process, folder, subject)
        children.start(f"{name} two", observed, folder, subject, directory / "plan.npz")
    children.join()
    (directory / "exitcodes.json").write_text(json.dumps(children.exitcodes))


if __name__ == "__main__":
    if sys.argv[1] == "plan":
        plan(Path(sys.argv[2]).resolve())
    else:
        main()
