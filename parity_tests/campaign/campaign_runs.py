"""The suite, and what people use today, run against planted faults.

The faults of an operator differ from each other in nothing but the subject: most of them are run from one
process, see `torch_loss_parity.campaign.forked_runs`. Those that need more effort or another dtype have a
process each.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch_loss_parity.campaign import pytest_process
from torch_loss_parity.campaign.forked_runs import BRIEF, TESTS, Repeated, repeat
from torch_loss_parity.faults import FAULTS, Fault
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.processes import child
from torch_loss_parity.processes.folders import files_of_claims
from torch_loss_parity.processes.process_slots import Slots
from torch_loss_parity.subjects import FAULT

TIME_LIMIT = 30  # seconds for a case: no fault of the catalogue is slow
LONGEST = 600.0  # seconds for a run
USUAL = ("quick", "float32")  # effort and dtype
FEW = 3  # runs from one process: fewer are not worth its first run
PRACTICE, ANSWERS = " in practice", "answers.json"  # the end of a task's name, and what it leaves


@dataclass(frozen=True)
class Judged:
    """A fault, and who caught it.

    Attributes
    ----------
    claims : mapping of str to int
        The claims that failed, with the number of their tests that did.
    passed : tuple of str
        The claims that ran, and of which no test failed.
    first_failure : float or None
        Seconds from the start of pytest, imports included.
    assert_close, gradcheck : bool or None
        Whether it is caught by what people use today; None where they were not asked.
    exitcode : int
        Of pytest.
    """

    claims: Mapping[str, int]
    passed: tuple[str, ...]
    first_failure: float | None
    assert_close: bool | None
    gradcheck: bool | None
    exitcode: int


def judge_all(
    names: Sequence[str], *, start: float, practice: bool, workers: int
) -> tuple[dict[str, Judged], pytest_process.Run]:
    """Every fault judged, ``workers`` at a time; and the kernels of these operators without a fault, which
    are to pass.

    Parameters
    ----------
    start : float
        Seconds that starting pytest takes.
    practice : bool
        Whether what people use today is asked too.
    """
    of_operators = {
        operator: [name for name in names if FAULTS[name].operator == operator] for operator in OPERATORS
    }
    together = {operator: _alike(of_operator) for operator, of_operator in of_operators.items()}
    apart = [name for name in names if name not in together[FAULTS[name].operator]]
    runs: dict[str, pytest_process.Run] = {}
    answers: dict[str, dict[str, bool]] = {}
    with (
        tempfile.TemporaryDirectory() as directory,
        ThreadPoolExecutor(1 + len(apart) + len(OPERATORS)) as pool,
    ):
        slots = Slots(Path(directory), workers)  # all begin, and wait for a slot
        concerned = [operator for operator, of_operator in of_operators.items() if of_operator]
        dtypes = sorted({FAULTS[name].dtype for name in names})
        control = pool.submit(passes_without_a_fault, concerned, dtypes, slots)
        alone = {name: pool.submit(_alone, FAULTS[name], slots) for name in apart}
        families = [
            pool.submit(
                _family,
                operator,
                together[operator],
                of_operators[operator] if practice else [],
                slots,
                Path(directory, operator),
            )
            for operator in OPERATORS
        ]
        for family in families:
            of_family, answered = family.result()
            runs, answers = runs | of_family, answers | answered
        runs |= {name: run.result() for name, run in alone.items()}
        return {name: _judged(runs[name], answers.get(name, {}), start) for name in names}, control.result()


def _alike(names: Sequence[str]) -> list[str]:
    """Of an operator's faults those whose runs are alike but for the subject, which promises nothing of its
    own, if they are worth a process to be forked from.
    """
    usual = [name for name in names if (FAULTS[name].effort, FAULTS[name].dtype) == USUAL]
    alike = [name for name in usual if not FAULTS[name].promises]
    return alike if len(alike) >= FEW else []


def _judged(run: pytest_process.Run, answers: Mapping[str, bool], start: float) -> Judged:
    first = None if run.first_failure is None else round(start + run.first_failure, 1)
    passed = tuple(sorted(claim for claim in run.passed if claim not in run.failed))
    return Judged(
        run.failed, passed, first, answers.get("assert_close"), answers.get("gradcheck"), run.exitcode
    )


def passes_without_a_fault(
    operators: Sequence[str], dtypes: Sequence[str], slots: Slots
) -> pytest_process.Run:
    """The kernels of ``operators`` that faults are planted in, under the same suite in the same dtypes."""
    options = ("--operator", ",".join(operators), "--dtype", ",".join(dtypes), "--effort", "quick")
    with slots.one():
        return pytest_process.run_pytest(
            [*map(str, TESTS), "--subject", "torch_loss_parity.faults.right.definition", *options], LONGEST
        )


def _options(operator: str, effort: str, dtype: str) -> tuple[str, ...]:
    return ("--operator", operator, "--effort", effort, "--dtype", dtype, "--time-limit", str(TIME_LIMIT))


def _alone(fault: Fault, slots: Slots) -> pytest_process.Run:
    """A run in a process of its own; beyond quick effort of the claims that are to catch the fault."""
    files = TESTS if fault.effort == "quick" else files_of_claims(fault.catches)
    options = _options(fault.operator, fault.effort, fault.dtype)
    with slots.one():
        return pytest_process.run_pytest(
            [*map(str, files), *options, "--subject", FAULT + fault.name, *BRIEF], LONGEST
        )


def _family(
    operator: str, together: Sequence[str], in_practice: Sequence[str], slots: Slots, directory: Path
) -> tuple[dict[str, pytest_process.Run], dict[str, dict[str, bool]]]:
    """The runs of an operator's faults from one process, and what people use today says of those that it is
    asked about.
    """
    directory.mkdir()
    work = Repeated(
        _options(operator, *USUAL),
        {name: ("--subject", FAULT + name) for name in together},
        partial(_prepare_practice, operator) if in_practice else None,
        {name + PRACTICE: partial(_practice, name) for name in in_practice},
    )
    if work.runs or work.tasks:
        child.call(
            repeat, work, directory, slots, LONGEST, limit=LONGEST * (1 + len(work.runs) + len(work.tasks))
        )
    runs = {name: pytest_process.left_in(directory / name) for name in together}
    return runs, {name: _answers(directory / f"{name}{PRACTICE}") for name in in_practice}


def _answers(folder: Path) -> dict[str, bool]:
    """What a task of practice left.

    Raises
    ------
    RuntimeError
        If it left nothing.
    """
    if not (folder / ANSWERS).exists():
        code = pytest_process.left_in(folder).exitcode
        raise RuntimeError(f"the process of {folder.name!r} ended with {code} and no answer")
    return dict(json.loads((folder / ANSWERS).read_text()))


def _prepare_practice(operator: str) -> None:
    from torch_loss_parity.campaign import baselines

    baselines.prepare(operator)


def _practice(name: str, folder: Path) -> None:
    from torch_loss_parity.campaign import baselines

    fault = FAULTS[name]
    answers = {
        "assert_close": baselines.caught_by_assert_close(fault.function, fault.operator),
        "gradcheck": baselines.caught_by_gradcheck(fault.function, fault.operator),
    }
    (folder / ANSWERS).write_text(json.dumps(answers))
