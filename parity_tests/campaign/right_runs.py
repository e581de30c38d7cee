"""The suite run against right kernels: none of them may be rejected.

The right kernels of an operator are run as its faults are, from one process, see
`torch_loss_parity.campaign.forked_runs`, or, where they are few, each by itself: at quick effort, in every
dtype that it promises.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from torch_loss_parity.campaign import pytest_process
from torch_loss_parity.campaign.campaign_runs import FEW, LONGEST, TIME_LIMIT
from torch_loss_parity.campaign.forked_runs import BRIEF, TESTS, Repeated, repeat
from torch_loss_parity.faults.right import RIGHT_KERNELS
from torch_loss_parity.operators import DTYPES, OPERATORS
from torch_loss_parity.processes import child
from torch_loss_parity.processes.process_slots import Slots
from torch_loss_parity.subjects import RIGHT


@dataclass(frozen=True)
class RightRun:
    """What the suite says of a right kernel.

    Attributes
    ----------
    claims : mapping of str to int
        The claims that failed, with the number of their tests that did: false alarms.
    passed : tuple of str
        The claims that ran, and of which no test failed.
    exitcode : int
        Of pytest.
    """

    claims: Mapping[str, int]
    passed: tuple[str, ...]
    exitcode: int

    @property
    def rejected(self) -> bool:
        """Whether the kernel is not found right; one that ends the process, or of which nothing runs, is
        not.
        """
        return self.exitcode != 0


def judge_right_kernels(names: Sequence[str], workers: int) -> dict[str, RightRun]:
    """Every right kernel judged, ``workers`` at a time."""
    of_operators = {
        operator: [name for name in names if RIGHT_KERNELS[name].operator == operator]
        for operator in OPERATORS
    }
    runs: dict[str, pytest_process.Run] = {}
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(len(OPERATORS)) as pool:
        slots = Slots(Path(directory), workers)
        for of_operator in [
            pool.submit(_of_operator, operator, kernels, slots, Path(directory, operator))
            for operator, kernels in of_operators.items()
            if kernels
        ]:
            runs |= of_operator.result()
    return {name: _judged(runs[name]) for name in names}


def _of_operator(
    operator: str, names: Sequence[str], slots: Slots, directory: Path
) -> dict[str, pytest_process.Run]:
    """The runs of an operator's right kernels, from one process unless that is not worth its first run."""
    options = ("--operator", operator, "--effort", "quick", "--time-limit", str(TIME_LIMIT))
    own = {
        name: ("--subject", RIGHT + name, "--dtype", ",".join(RIGHT_KERNELS[name].dtypes)) for name in names
    }
    if len(own) < FEW:
        return {name: _alone([*map(str, TESTS), *options, *own[name], *BRIEF], slots) for name in own}
    directory.mkdir()
    # Of an option that is given twice, pytest takes the last.
    work = Repeated((*options, "--dtype", ",".join(DTYPES)), own)
    child.call(repeat, work, directory, slots, LONGEST, limit=LONGEST * (1 + len(names)))
    return {name: pytest_process.left_in(directory / name) for name in names}


def _alone(arguments: Sequence[str], slots: Slots) -> pytest_process.Run:
    with slots.one():
        return pytest_process.run_pytest(arguments, LONGEST)


def _judged(run: pytest_process.Run) -> RightRun:
    passed = tuple(sorted(claim for claim in run.passed if claim not in run.failed))
    return RightRun(run.failed, passed, run.exitcode)
