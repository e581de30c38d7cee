"""How many elements a second the certified figures take: log_softmax of float32 rows.

    python -m torch_loss_parity.audit.throughput

It prints the time of the truth, and of the errors with all that is certified, each on one core, in a process
as an audit's are.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

import numpy as np
import torch

from torch_loss_parity.audit.certify import truths
from torch_loss_parity.audit.errors import Errors
from torch_loss_parity.audit.operator_facets import audited
from torch_loss_parity.audit.standing import Standing
from torch_loss_parity.expectation.expectation import FORWARD, expected
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.processes.local_pool import LocalPool
from torch_loss_parity.subjects import run_subject
from torch_loss_parity.subjects.settings import Settings, WrongOption


def measured(
    operator: str, dtype: str, shape: tuple[int, int], values: str, seed: int
) -> tuple[float, float, Errors]:
    """Seconds of this process for the truth and for the errors of one forward result, and the errors."""
    torch.set_num_threads(1)
    settings = Settings.of("torch", "cpu", dtype, "standard", seed, operator=operator)
    record = OPERATORS[operator]
    call = record.call(record.case(dtype, shape, values, audited(operator).base, seed))
    observed = run_subject.forward(settings.subject, call, "cpu")
    allowed = expected(call, (FORWARD,))[FORWARD]  # the verdict has it anyway
    began = time.process_time()
    truth = truths(call, (FORWARD,))[FORWARD]
    evaluated = time.process_time()
    errors = Errors.of(observed, truth, allowed)
    return evaluated - began, time.process_time() - evaluated, errors


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m torch_loss_parity.audit.throughput", description=__doc__)
    parser.add_argument("--operator", default="log_softmax")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--values", default="normal")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args(arguments)
    shape, pool = (given.rows, given.classes), LocalPool(1)
    try:
        runs = [
            pool.submit(measured, given.operator, given.dtype, shape, given.values, given.seed).result()
            for _ in range(given.repeat + 1)
        ][1:]
    except (WrongOption, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        pool.close()
    truth, certified, errors = min(runs, key=lambda run: run[0] + run[1])
    elements, total = errors.elements, truth + certified
    figures = errors.measures(fraction=0.0, standing=Standing(), outputs="")
    print(
        f"{given.operator}, {given.dtype}, {shape[0]} x {shape[1]}: {elements / total:.3g} elements a "
        f"second of one core"
    )
    print(
        f"truth {truth / elements * 1e9:.0f} ns an element, errors with all that is certified "
        f"{certified / elements * 1e9:.0f} ns"
    )
    print(
        f"at most {figures.max_ulp:.3g} ulp, 99.9 % {figures.p999_ulp:.3g}, median {figures.median_ulp:.3g}, "
        f"{np.round(100 * figures.correctly_rounded / elements, 1)} % correctly rounded"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
