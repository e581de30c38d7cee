"""How often does a correct implementation fail? Run the verification under many seeds and count.

    torch-loss-parity seeds --seeds 1000

runs ``pytest`` under each seed on the claims whose cases are drawn, and prints what failed. The answer that a
sound bound gives is: never.
"""

from __future__ import annotations

import re
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial

import pytest

from torch_loss_parity.campaign import pytest_process
from torch_loss_parity.operators.kinds import KINDS
from torch_loss_parity.processes import system
from torch_loss_parity.processes.folders import files_of_claims
from torch_loss_parity.subjects.settings import WrongOption

WRITTEN = "smallest_input"  # in the names of tests whose inputs are the ledger's: they draw nothing
# Their cases are the same under every seed, or as good as.
NOT_DRAWN = ("semantics", "errors", "hygiene", "bits", "sample inputs")
DRAWN = tuple(kind for kind in KINDS if kind not in NOT_DRAWN)


@dataclass(frozen=True)
class Outcome:
    """What one seed gave: how many cases were judged, and the report of every failure."""

    seed: int
    cases: int
    failures: tuple[str, ...]
    report: str


def run_seed(seed: int, claims: tuple[str, ...], options: tuple[str, ...]) -> Outcome:
    """Run the claims under one seed, with options of pytest, in a process and with a thread of its own.

    Raises
    ------
    RuntimeError
        If pytest could not run, as opposed to finding failures.
    WrongOption
        If it refuses an option.
    """
    files = [str(path) for path in files_of_claims(claims)]
    run = pytest_process.run_pytest([*files, *options, "--seed", str(seed), "-k", f"not {WRITTEN}"])
    if run.exitcode == pytest.ExitCode.USAGE_ERROR and (told := re.search(r"^ERROR: (.*)", run.report, re.M)):
        raise WrongOption(told[1])
    if run.exitcode not in (0, 1) or not run.counts:
        raise RuntimeError(f"seed {seed}: pytest ended with {run.exitcode}\n{run.report}")
    cases = sum(
        max(n, 0) for dtypes in run.counts.values() for cell in dtypes.values() for n in cell.values()
    )
    failures = tuple(re.findall(r"^(?:FAILED|ERROR|FAIL:).*", run.report, re.MULTILINE))
    if run.exitcode and not failures:
        failures = ("pytest failed and named no test",)
    return Outcome(seed, cases, failures, run.report if failures else "")


def run_seeds(
    *,
    seeds: int = 100,
    first: int = 0,
    claims: str | None = None,
    workers: int | None = None,
    **options: str | None,
) -> int:
    """Run as many seeds, from the first on, over all cores unless ``workers`` says otherwise; the exit status
    is 1 if any test failed.

    Parameters
    ----------
    **options : str, optional
        Of pytest, by name: subject, operator, dtype, device, effort. None is the default of a run.

    Raises
    ------
    WrongOption
        If a kind of claim is not one whose cases are drawn, or an option has a value that no run takes.
    """
    kinds = tuple(claims.split(",")) if claims else DRAWN
    if unknown := [kind for kind in kinds if kind not in DRAWN]:
        raise WrongOption(f"--claims has {', '.join(unknown)}; choose from {', '.join(DRAWN)}")
    words = [f"--{name}={value}" for name, value in options.items() if value is not None]
    job = partial(run_seed, claims=kinds, options=tuple(words))
    every = range(first, first + seeds)
    cases, failed = 0, 0
    pytest_process.prepare()
    with ThreadPoolExecutor(workers or system.cores()) as pool:
        for done, future in enumerate(as_completed([pool.submit(job, seed) for seed in every]), 1):
            outcome = future.result()
            cases, failed = cases + outcome.cases, failed + len(outcome.failures)
            if outcome.failures:
                print(f"seed {outcome.seed}: {len(outcome.failures)} failures\n{outcome.report}", flush=True)
            if done % 10 == 0 or done == seeds:
                print(f"{done} seeds: {cases} cases, {failed} failures", flush=True)
    return 1 if failed else 0


def main() -> int:
    """``torch-loss-parity seeds``; the exit status."""
    from torch_loss_parity.command.base import run
    from torch_loss_parity.command.seeds import seeds

    return run(seeds, None, name="torch-loss-parity seeds")


if __name__ == "__main__":
    sys.exit(main())
