"""The suite's own checks of numbers, called without pytest on many right kernels.

What is expected of a case does not depend on who computes it: it is evaluated once for all kernels of an
operator.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import pytest

from torch_loss_parity.claims import accuracy
from torch_loss_parity.claims.checks import Check
from torch_loss_parity.claims.domain import checks as domain
from torch_loss_parity.expectation import expectation_cache
from torch_loss_parity.faults.right import RIGHT_KERNELS, RightKernel
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import OPERATORS, Operator
from torch_loss_parity.processes import child
from torch_loss_parity.subjects import RIGHT
from torch_loss_parity.subjects.settings import Settings

LIMIT = 3600.0  # seconds for a seed
CHECKS: dict[str, Callable[[Operator], Sequence[Check]]] = {
    "forward": partial(accuracy.checks_of, "forward"),
    "gradients": partial(accuracy.checks_of, "gradients"),
    "domain": domain.checks_of,
}


@dataclass(frozen=True)
class Rejection:
    """A check that a right kernel failed.

    Attributes
    ----------
    kernel, dtype, claim : str
    seed : int
    message : str
        What the check said.
    """

    kernel: str
    dtype: str
    claim: str
    seed: int
    message: str

    def __str__(self) -> str:
        command = f"--subject {RIGHT}{self.kernel} --dtype {self.dtype} --seed {self.seed}"
        return f"{self.claim}: {command}\n{self.message}"


def judge_seed(kernels: Sequence[str], claims: Sequence[str], effort: str, seed: int, file: Path) -> None:
    """Judge the kernels under one seed, and leave how many cases that were, and the rejections, in a file."""
    rejections: list[Rejection] = []
    cases = 0
    for _, tally, rejection in judged(kernels, claims, effort, seed):
        cases += tally.cases
        rejections += [rejection] if rejection else []
    file.write_text(json.dumps({"cases": cases, "rejections": [asdict(each) for each in rejections]}))


def judged(
    kernels: Sequence[str], claims: Sequence[str], effort: str, seed: int
) -> Iterator[tuple[RightKernel, Tally, Rejection | None]]:
    """Every check of every kernel under one seed: what was counted, and the rejection if there is one."""
    for operator in OPERATORS.values():
        right = [RIGHT_KERNELS[name] for name in kernels if RIGHT_KERNELS[name].operator == operator.name]
        for claim in claims if right else ():
            for check in CHECKS[claim](operator):
                # What is expected of the cases of a check is there for all kernels, and then no longer.
                expectation_cache.keep()
                try:
                    yield from _check(check, claim, operator, right, effort, seed)
                finally:
                    expectation_cache.forget()


def _check(
    check: Check, claim: str, operator: Operator, kernels: Sequence[RightKernel], effort: str, seed: int
) -> Iterator[tuple[RightKernel, Tally, Rejection | None]]:
    """One check of every kernel in every dtype."""
    for dtype in dict.fromkeys(dtype for kernel in kernels for dtype in kernel.dtypes):
        for kernel in kernels:
            if dtype not in kernel.dtypes:
                continue
            settings = Settings.of(RIGHT + kernel.name, "cpu", ",".join(kernel.dtypes), effort, seed)
            tally = Tally(operator.name, dtype, claim)
            rejection = None
            try:
                check(settings.subject.promise.operator(operator), dtype, settings, tally)
            except pytest.skip.Exception:  # what an effort leaves out
                continue
            except AssertionError as error:
                rejection = Rejection(kernel.name, dtype, claim, seed, str(error))
            yield kernel, tally, rejection


def run_seed(
    kernels: Sequence[str], claims: Sequence[str], effort: str, seed: int
) -> tuple[int, list[Rejection]]:
    """The number of cases of one seed and its rejections, from a process of its own."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "rejections.json")
        child.call(judge_seed, kernels, claims, effort, seed, file, limit=LIMIT)
        left = json.loads(file.read_text())
    return left["cases"], [Rejection(**each) for each in left["rejections"]]
