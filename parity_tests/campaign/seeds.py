"""How often does a correct implementation fail? Run the verification under many seeds and count.

    python -m torch_loss_parity.campaign.seeds --seeds 1000 --effort quick

runs ``pytest`` under each seed on the claims whose cases are drawn, and prints what failed. The answer that a
sound bound gives is: never.
"""

from __future__ import annotations

import argparse
import re
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial

from torch_loss_parity.campaign import pytest_process
from torch_loss_parity.operators import DTYPES
from torch_loss_parity.operators.kinds import KINDS
from torch_loss_parity.operators.sampling import EFFORTS
from torch_loss_parity.processes import system
from torch_loss_parity.processes.folders import files_of_claims

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


def run_seed(
    seed: int, claims: tuple[str, ...], subject: str, device: str, dtype: str, effort: str
) -> Outcome:
    """Run the claims under one seed, in a process and with a thread of its own.

    Raises
    ------
    RuntimeError
        If pytest could not run, as opposed to finding failures.
    """
    files = [str(path) for path in files_of_claims(claims)]
    options = [
        "--subject",
        subject,
        "--device",
        device,
        "--dtype",
        dtype,
        "--effort",
        effort,
        "--seed",
        str(seed),
    ]
    run = pytest_process.run_pytest([*files, *options, "-k", f"not {WRITTEN}"])
    if run.exitcode not in (0, 1) or not run.counts:
        raise RuntimeError(f"seed {seed}: pytest ended with {run.exitcode}\n{run.report}")
    cases = sum(
        max(n, 0) for dtypes in run.counts.values() for cell in dtypes.values() for n in cell.values()
    )
    failures = tuple(re.findall(r"^(?:FAILED|ERROR|FAIL:).*", run.report, re.MULTILINE))
    if run.exitcode and not failures:
        failures = ("pytest failed and named no test",)
    return Outcome(seed, cases, failures, run.report if failures else "")


def main() -> int:
    """Run the seeds over all cores; the exit status is 1 if any test failed."""
    parser = argparse.ArgumentParser(prog="python -m torch_loss_parity.campaign.seeds", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds (default: 100)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--claims", default=",".join(DRAWN), help=f"default: {','.join(DRAWN)}")
    parser.add_argument("--subject", default="torch")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default=",".join(DTYPES))
    parser.add_argument("--effort", default="quick", choices=tuple(EFFORTS))
    parser.add_argument("--workers", type=int, default=system.cores())
    options = parser.parse_args()
    claims = tuple(options.claims.split(","))
    if unknown := [claim for claim in claims if claim not in DRAWN]:
        parser.error(f"--claims has {', '.join(unknown)}; choose from {', '.join(DRAWN)}")
    job = partial(
        run_seed,
        claims=claims,
        subject=options.subject,
        device=options.device,
        dtype=options.dtype,
        effort=options.effort,
    )
    seeds = range(options.first, options.first + options.seeds)
    cases, failed = 0, 0
    pytest_process.prepare()
    with ThreadPoolExecutor(options.workers) as pool:
        for done, future in enumerate(as_completed([pool.submit(job, seed) for seed in seeds]), 1):
            outcome = future.result()
            cases, failed = cases + outcome.cases, failed + len(outcome.failures)
            if outcome.failures:
                print(f"seed {outcome.seed}: {len(outcome.failures)} failures\n{outcome.report}", flush=True)
            if done % 10 == 0 or done == len(seeds):
                print(f"{done} seeds: {cases} cases, {failed} failures", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
