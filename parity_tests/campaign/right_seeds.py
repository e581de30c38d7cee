"""How often is a right kernel rejected? Judge all of them under many seeds, and count.

    python -m torch_loss_parity.campaign.right_seeds --seeds 50

runs the claims of numbers (forward, gradients, domain) on every right kernel, in every dtype that it
promises, see `torch_loss_parity.campaign.right_checks`. The other claims are for
``python -m torch_loss_parity.campaign``.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed

from torch_loss_parity.campaign import pytest_process
from torch_loss_parity.campaign.right_checks import CHECKS, run_seed
from torch_loss_parity.faults.right import RIGHT_KERNELS
from torch_loss_parity.operators.sampling import EFFORTS
from torch_loss_parity.processes import system


def main() -> int:
    """Run the seeds over all cores; the exit status is 1 if any right kernel was rejected."""
    parser = argparse.ArgumentParser(
        prog="python -m torch_loss_parity.campaign.right_seeds", description=__doc__
    )
    parser.add_argument("--seeds", type=int, default=50, help="how many seeds (default: 50)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--right", help="names of right kernels, separated by commas (default: all)")
    parser.add_argument("--claims", default=",".join(CHECKS), help=f"default: {','.join(CHECKS)}")
    parser.add_argument("--effort", default="quick", choices=tuple(EFFORTS))
    parser.add_argument("--workers", type=int, default=system.cores())
    options = parser.parse_args()
    kernels = options.right.split(",") if options.right else list(RIGHT_KERNELS)
    claims = options.claims.split(",")
    for name, given, known in (("right", kernels, RIGHT_KERNELS), ("claims", claims, CHECKS)):
        if unknown := [each for each in given if each not in known]:
            parser.error(f"--{name} has {', '.join(unknown)}; choose from {', '.join(known)}")
    seeds = range(options.first, options.first + options.seeds)
    cases, rejected = 0, dict.fromkeys(kernels, 0)
    pytest_process.prepare("torch_loss_parity.campaign.right_checks")
    with ThreadPoolExecutor(options.workers) as pool:
        jobs = [pool.submit(run_seed, kernels, claims, options.effort, seed) for seed in seeds]
        for done, job in enumerate(as_completed(jobs), 1):
            more, rejections = job.result()
            cases += more
            for rejection in rejections:
                rejected[rejection.kernel] += 1
                print(rejection, flush=True)
            print(f"{done} seeds: {cases} cases, {sum(rejected.values())} rejections", flush=True)
    wrongly = {name: count for name, count in rejected.items() if count}
    print(f"{len(kernels)} right kernels, {len(wrongly)} rejected")
    print("\n".join(f"{count:>6} {name}" for name, count in wrongly.items()))
    return 1 if wrongly else 0


if __name__ == "__main__":
    sys.exit(main())
