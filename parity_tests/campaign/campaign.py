"""What is a pass worth, and what a failure? Run the suite against every planted fault, and against every
right kernel.

    torch-loss-parity campaign --write

puts each fault of `torch_loss_parity.faults` under test, in one dtype that shows it, prints the matrix of
claims and faults, the mutation score, the time to the first failure, the faults that no check caught and the
claims that caught nothing, and records the matrix. The same faults are judged by what people use today,
`torch_loss_parity.campaign.baselines`. The kernels without a fault are put under test too, and each right
kernel of `torch_loss_parity.faults.right` in every dtype: they must pass.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import torch

from torch_loss_parity.campaign import pytest_process, right_record, worth
from torch_loss_parity.campaign.campaign_runs import Judged, judge_all
from torch_loss_parity.campaign.right_runs import RightRun, judge_right_kernels
from torch_loss_parity.campaign.scores import PRACTICE, caught, scores
from torch_loss_parity.faults import FAULTS, KINDS
from torch_loss_parity.faults.right import RIGHT_KERNELS
from torch_loss_parity.judging import report
from torch_loss_parity.judging.wrapping import wrapped
from torch_loss_parity.processes import suite, system
from torch_loss_parity.processes.folders import CLAIMS, INSTALLED
from torch_loss_parity.reports import readme
from torch_loss_parity.subjects import FAULT
from torch_loss_parity.subjects.settings import WrongOption

MATRIX = Path(__file__).with_name("matrix.json")


def start_of_pytest() -> float:
    """Seconds from the start of pytest on a fault to the first test, in a fresh process."""
    fault = next(iter(FAULTS.values()))
    options = ["--collect-only", "-q", "-p", "no:cacheprovider", "--effort", "quick"]
    chosen = ["--operator", fault.operator, "--dtype", fault.dtype, "--subject", FAULT + fault.name]
    given = suite.arguments([str(CLAIMS), *options, *chosen])
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "pytest", *given], capture_output=True, check=True)
    return time.monotonic() - began


# --- what it says -------------------------------------------------------------------------------------------


def table(matrix: Mapping[str, Judged]) -> list[str]:
    """The matrix: the name of each fault and its first failure, and below it the number of failing tests of
    each claim.
    """
    claims = sorted({claim for judged in matrix.values() for claim in (*judged.claims, *judged.passed)})
    lines = [report.of_claims(claims)]
    for name, judged in matrix.items():
        first = "" if judged.first_failure is None else f", first failure after {judged.first_failure:.1f} s"
        counts = {**dict.fromkeys(judged.passed, "."), **judged.claims}
        lines += [f"{name}{first}", report.of_claims(claims, counts)]
    return lines


def summary(matrix: Mapping[str, Judged]) -> list[str]:
    """The score, by kind and in all, of the suite and of what people use today."""
    judges = (
        "this suite",
        *(
            judge
            for judge in PRACTICE
            if all(getattr(judged, judge) is not None for judged in matrix.values())
        ),
    )
    lines = [f"{'kind':<46}{'faults':>8}" + "".join(f"{judge:>14}" for judge in judges)]
    for kind, meaning in KINDS.items():
        of_kind = [judged for name, judged in matrix.items() if FAULTS[name].kind == kind]
        if of_kind:
            lines.append(_row(f"{kind} {meaning}", of_kind, judges))
    lines.append(_row("all", list(matrix.values()), judges))
    times = [judged.first_failure for judged in matrix.values() if judged.first_failure is not None]
    missed = [name for name, judged in matrix.items() if not caught(judged)]
    telling = {claim for judged in matrix.values() for claim in judged.claims}
    silent = sorted({claim for judged in matrix.values() for claim in judged.passed} - telling)
    alone = {
        claim: sum(list(judged.claims) == [claim] for judged in matrix.values()) for claim in sorted(telling)
    }
    return [
        *lines,
        f"median time to the first failure: {median(times):.1f} s" if times else "no failure",
        f"caught by no check: {', '.join(missed) or 'none'}",
        f"claims that caught nothing: {', '.join(silent) or 'none'}",
        f"faults that one claim alone caught: {', '.join(f'{claim} {n}' for claim, n in alone.items() if n)}",
    ]


def _row(name: str, judged: Sequence[Judged], judges: Sequence[str]) -> str:
    faults, *caught_by = scores(judged, judges)
    return f"{name:<46}{faults:>8}" + "".join(f"{score:>14}" for score in caught_by)


# --- the record ---------------------------------------------------------------------------------------------


def section(matrix: Mapping[str, Judged]) -> str:
    """A section of the page of faults: the score by kind, beside that of what people use today."""
    lines = ["| | faults | caught by this suite | `assert_close` | `gradcheck` |", "|---|---|---|---|---|"]
    for kind, meaning in KINDS.items():
        lines.append(
            _markdown(meaning, [judged for name, judged in matrix.items() if FAULTS[name].kind == kind])
        )
    times = [judged.first_failure for judged in matrix.values() if judged.first_failure is not None]
    said = (
        f"The median time from the start of pytest to the first failure was {median(times):.1f} s, "
        f"imports "
        f"included."
    )
    return "\n".join([*lines, _markdown("**all**", list(matrix.values())), "", said])


def _markdown(name: str, judged: Sequence[Judged]) -> str:
    return f"| {name} | {' | '.join(map(str, scores(judged)))} |"


def record(matrix: Mapping[str, Judged], right: Mapping[str, RightRun]) -> None:
    """Record both, and write their sections of the pages."""
    kept = {name: entry for name, entry in recorded().items() if name in FAULTS} | {
        name: asdict(judged) for name, judged in matrix.items()
    }
    MATRIX.write_text(
        json.dumps({"torch": torch.__version__, "faults": kept}, indent=1, sort_keys=True) + "\n"
    )
    readme.write("campaign", section(as_recorded()))
    right_record.write(right, missed())
    readme.write("worth", worth.section(as_recorded(), right_record.as_recorded()))


def recorded() -> dict[str, dict[str, Any]]:
    """The matrix as it was recorded, by fault."""
    return {} if not MATRIX.exists() else dict(json.loads(MATRIX.read_text())["faults"])


def as_recorded() -> dict[str, Judged]:
    """The record, in the order of the catalogue."""
    known = recorded()
    return {
        name: Judged(**known[name] | {"passed": tuple(known[name]["passed"])})
        for name in FAULTS
        if name in known
    }


def missed() -> dict[str, bool]:
    """Of each fault in the record, whether no check caught it."""
    return {name: not caught(judged) for name, judged in as_recorded().items()}


def drift(matrix: Mapping[str, Judged]) -> list[str]:
    """What does not hold of the record: a fault that is new to it, not caught, or no longer there."""
    known = recorded()
    problems = [f"{name} is caught by no check" if not caught(judged) else f"{name} is not in the record"
             for name, judged in matrix.items() if not caught(judged) or name not in known]  # fmt: skip
    return [*problems, *(f"{name} is recorded, and no longer there" for name in known if name not in FAULTS)]


def news(matrix: Mapping[str, Judged]) -> list[str]:
    """Faults that are caught by other claims than is recorded: which ones may depend on the release and the
    machine.
    """
    known = recorded()
    return [
        f"{name} is caught by {', '.join(sorted(judged.claims))}; recorded: "
        f"{', '.join(sorted(known[name]['claims']))}"
        for name, judged in matrix.items()
        if caught(judged) and name in known and set(known[name]["claims"]) != set(judged.claims)
    ]


def unexpected(matrix: Mapping[str, Judged]) -> list[str]:
    """Claims that were expected to catch a fault and did not."""
    return [
        f"{name}: {claim} was expected to catch it, and did not"
        for name, judged in matrix.items()
        for claim in FAULTS[name].catches
        if claim not in judged.claims
    ]


def run_campaign(
    *,
    faults: str | None = None,
    right: str | None = None,
    sample: int | None = None,
    check: bool = False,
    write: bool = False,
    strict_records: bool = False,
    workers: int | None = None,
) -> int:
    """Run the campaign; the exit status is 1 if a fault is not caught, a right kernel is rejected, or the
    record does not hold.

    Parameters
    ----------
    faults, right : str, optional
        Names of faults and of right kernels, separated by commas; all unless given, but none of the one where
        some of the other are named.
    sample : int, optional
        Every how many-th fault and right kernel of all.
    check : bool
        Compare with the record; what people use today is not asked.
    write : bool
        Record what was run; of all else the record stays.
    strict_records : bool
        Fail where other claims catch a fault than is recorded.
    workers : int, optional
        Processes; the cores unless given.

    Raises
    ------
    WrongOption
        If there is no such fault or right kernel, or these do not go together.
    """
    if check and write:
        raise WrongOption("--check and --write do not go together")
    if write and INSTALLED:
        raise WrongOption("--write is for a checkout: the record and the README are in it")
    some = bool(faults or right)
    names = _chosen("faults", faults, FAULTS, some=some, sample=sample)
    kernels = _chosen("right", right, RIGHT_KERNELS, some=some, sample=sample)
    began, start = time.monotonic(), start_of_pytest()
    pytest_process.prepare(
        "torch_loss_parity.campaign.campaign_runs", "torch_loss_parity.campaign.forked_runs"
    )
    matrix, without = (
        judge_all(names, start=start, practice=not check, workers=workers or system.cores())
        if names
        else ({}, None)
    )
    of_right = judge_right_kernels(kernels, workers or system.cores())
    problems = [
        *unexpected(matrix),
        *(f"{name} is caught by no check" for name, judged in matrix.items() if not caught(judged)),
        *right_record.rejections(of_right),
    ]
    if without is not None and without.exitcode:
        problems.append(
            f"the kernels without a fault fail, or do not run ({without.exitcode}):\n{without.report[-4000:]}"
        )
    if write:
        record(matrix, of_right)
    elif check:
        problems += [*drift(matrix), *right_record.drift(of_right)]
        problems += news(matrix) if strict_records else []
    told = [f"news: {each}" for each in news(matrix)] if check and not strict_records else []
    took = f"{len(names)} faults, {len(kernels)} right kernels in {time.monotonic() - began:.0f} s"
    of_faults = [*table(matrix), "", *summary(matrix), ""] if names else []
    said = [*of_faults, *right_record.table(of_right), took, *told, *problems]
    print("\n".join(part for each in said for line in each.split("\n") for part in wrapped(line)))
    return 1 if problems else 0


def _chosen(
    kind: str, named: str | None, known: Mapping[str, Any], *, some: bool, sample: int | None
) -> list[str]:
    """The faults or the right kernels that are to be run; all of a kind unless some of either are named."""
    if named is None:
        return [] if some else list(known)[:: sample or 1]
    names = named.split(",")
    if unknown := [name for name in names if name not in known]:
        raise WrongOption(f"--{kind} has {', '.join(unknown)}; choose from {', '.join(known)}")
    return names
