"""How often does a correct implementation fail? Run the verification under many seeds and count.

    python -m parity_tests.seeds --seeds 1000 --effort quick

runs for each seed the cases of ``pytest parity_tests --effort quick --seed N`` on the subject and prints every failure. The
answer that a sound bound gives is: never.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial

import torch

from parity_tests.cases import Case
from parity_tests.check import findings_of
from parity_tests.generate import for_each_random_case, grid, random_cases, sizes
from parity_tests.operators import DTYPES, OPERATORS
from parity_tests.report import explain
from parity_tests.settings import Settings, settings
from parity_tests.tally import Tally
from parity_tests.verify import verify_forward, verify_gradients

CLAIMS = {"forward": verify_forward, "gradients": verify_gradients}


def failures_of_seed(seed: int, subject: str, device: str, dtype: str, effort: str) -> tuple[int, int, list[str]]:
    """The findings of one seed: how many, how many of them explained by the ledger, and each failure in words."""
    torch.set_num_threads(1)
    knobs = settings(subject, device, dtype, effort, seed)
    count, diverged, failures = 0, 0, []
    for name, verify in CLAIMS.items():
        for operator in OPERATORS.values():
            for of_dtype in knobs.dtypes:
                tally = Tally(operator.name, of_dtype)
                for case in _cases(knobs, operator.name, of_dtype, name):
                    found = findings_of(case, verify, knobs, tally)
                    failures += [explain(finding, knobs.subject, knobs.device) for finding in found if not finding.verdict.passes]
                count += tally.cases
                diverged += sum(tally.diverged.values())
    return count, diverged, failures


def _cases(knobs: Settings, name: str, dtype: str, claim: str) -> list[Case]:
    """The cases that the tests of ``claim`` run, collected without judging: nothing is shrunk."""
    operator = OPERATORS[name]
    cases: list[Case] = []
    for_each_random_case(
        random_cases(operator, dtype, knobs.effort.longest),
        cases.append,
        examples=knobs.effort.random_cases,
        base_seed=knobs.seed,
        name=f"{claim} {name} {dtype}",
    )
    cases += grid(operator, dtype, knobs.effort, knobs.seed)
    cases += sizes(operator, dtype, knobs.effort, knobs.seed)
    return cases


def main() -> int:
    """Run the seeds over all cores; the exit status is 1 if any case failed."""
    parser = argparse.ArgumentParser(prog="python -m parity_tests.seeds", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds (default: 100)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--subject", default="torch")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default=",".join(DTYPES))
    parser.add_argument("--effort", default="quick")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    job = partial(failures_of_seed, subject=options.subject, device=options.device, dtype=options.dtype, effort=options.effort)
    findings, diverged, failed, done = 0, 0, 0, 0
    with ProcessPoolExecutor(options.workers) as pool:
        futures = {pool.submit(job, seed): seed for seed in range(options.first, options.first + options.seeds)}
        for future in as_completed(futures):
            count, known, failures = future.result()
            findings, diverged, failed, done = findings + count, diverged + known, failed + len(failures), done + 1
            for failure in failures:
                print(f"seed {futures[future]}: {failure}\n", flush=True)
            if done % 10 == 0 or done == options.seeds:
                print(f"{done} seeds: {findings} findings, {diverged} known to diverge, {failed} failures", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
