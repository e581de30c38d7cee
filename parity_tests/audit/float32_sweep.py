"""All float32 inputs of an operator, at a rate that makes 2**32 of them a matter of minutes.

Note [What blocks decide]
    A block is evaluated by closed forms (`torch_loss_parity.audit.closed_forms`), in float64 arrays that stay
    in the cache. Elements whose enclosure lies inside a cell are counted. The others, those with the largest
    errors of each block, and whatever is not finite, are put together and measured as any other result is
    (`errors.Errors.of`), by double-double and balls: so the maxima are certified, and if the largest error of
    the blocks would print other digits than theirs, the run ends.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cache
from typing import Any
from zlib import crc32

import numpy as np
import torch

from torch_loss_parity.audit import doubts
from torch_loss_parity.audit.closed_forms import RELATIVE, form, forms_of
from torch_loss_parity.audit.error_cells import HALF, cells_of
from torch_loss_parity.audit.errors import Errors
from torch_loss_parity.audit.exhaustive import Sweep
from torch_loss_parity.audit.exhaustive_parts import Part, sha256, subjects_of
from torch_loss_parity.audit.float32_fraction import worst_fraction
from torch_loss_parity.audit.float32_result import SweepResult, closed_forms
from torch_loss_parity.audit.float32_tally import BLOCK, KNOWN, Tally
from torch_loss_parity.audit.standing import standing_of
from torch_loss_parity.expectation.expectation import FORWARD
from torch_loss_parity.judging.judge import of_the_subject
from torch_loss_parity.reference.arithmetic.profiles import DEFAULT
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.run_subject import WrongResult


@cache
def _passed(sweep: Sweep) -> dict[str, Any]:
    """The options that are arguments of the call, and no arrays."""
    arguments, options = sweep.call(0, 1).arguments, sweep.facet.targets[sweep.target].options
    arrays = [name for name, value in arguments.items() if isinstance(value, np.ndarray)]
    return {name: value for name, value in options.items() if name in arguments and name not in arrays}


def observed_block(
    sweep: Sweep, subject: Subject, device: str, x: np.ndarray
) -> tuple[dict[str, np.ndarray], float]:
    """What the subject returns on a block of float32 numbers, a row for each, and the gradient if it promises
    it; and the seconds that it took.
    """
    target = sweep.facet.targets[sweep.target]
    placed = sweep.facet.place(x, np.asarray(target.values, dtype=x.dtype))
    input = torch.from_numpy(placed.pop("input")).to(device)
    differentiated = "input" in subject.promise.differentiated(sweep.operator, ("input",))
    input.requires_grad_(differentiated)
    others = [torch.from_numpy(array).to(device) for array in placed.values()]
    options = _passed(sweep)
    function = subject.function(sweep.operator)
    began = time.perf_counter()
    with of_the_subject(subject):
        output = function(input, *others, **options)
        results = {FORWARD: output.detach().cpu().numpy()}
        if differentiated:
            if output.ndim == 1:
                upstream = torch.ones_like(output)
            else:
                upstream = torch.zeros_like(output)
                upstream[:, 0] = 1
            (gradient,) = torch.autograd.grad(output, input, upstream)
            results["input"] = gradient.cpu().numpy()
    seconds = time.perf_counter() - began
    for quantity, result in results.items():
        if result.dtype != np.float32:
            raise WrongResult(f"{quantity} has dtype {result.dtype}, expected float32")
    return {
        quantity: result.reshape(-1, sweep.of_each(quantity)) for quantity, result in results.items()
    }, seconds


def measure(
    sweep: Sweep, first: int, count: int, subject_name: str, device: str, profile: str = DEFAULT.name
) -> dict[str, Any]:
    """What a chunk does: `measured` for a subject by its name, and torch where that is another."""
    return measured(sweep, first, count, subjects_of(sweep, subject_name, profile), device)


def measured(
    sweep: Sweep, first: int, count: int, subjects: Mapping[str, Subject], device: str
) -> dict[str, Any]:
    """As `exhaustive_parts.measured`, for a sweep that has closed forms: the result and the gradient for an
    upstream gradient of 1.
    """
    subject_name = next(iter(subjects))
    began, seconds = time.perf_counter(), dict.fromkeys(subjects, 0.0)
    values = closed_forms(sweep)
    tallies = {
        (name, quantity): Tally(count, sweep.of_each(quantity), f"{name} {quantity}", block=BLOCK)
        for name, subject in subjects.items()
        for quantity in (FORWARD, *subject.promise.differentiated(sweep.operator, ("input",)))
    }
    for at in range(0, count, BLOCK):
        x = np.arange(first + at, first + min(at + BLOCK, count), dtype=np.uint32).view(np.float32)
        with np.errstate(all="ignore"):
            closed = values(x.astype(np.float64))
        for name in seconds:
            observed, taken = observed_block(sweep, subjects[name], device, x)
            seconds[name] += taken
            for quantity, results in observed.items():
                forms = [form(closed, f) for f in forms_of(sweep.operator, sweep.target, quantity)]
                tallies[name, quantity].add(at, x, results, forms)
    parts = {}
    for (name, quantity), tally in tallies.items():
        source = SweepResult(sweep, first, quantity, subjects[name], device)
        parts[f"{name} {quantity} {'' if quantity == FORWARD else '1'}"] = _part(source, tally).model_dump(
            mode="json"
        )
    return {
        "parts": parts,
        "inputs": sha256(f"{sweep.name}: patterns {first} to {first + count}".encode()),  # they say all
        "seconds": {"subject": seconds[subject_name], "all": time.perf_counter() - began},
    }


def _part(result: SweepResult, tally: Tally) -> Part:
    """What the blocks counted and what was measured apart, with the verdict."""
    numbers = np.concatenate(tally.apart)
    observed = tally.observed.reshape(-1)
    apart = result.errors(numbers, observed[numbers])
    checked = (
        (tally.largest - 4 * KNOWN, apart.max_ulp),
        (tally.largest_relative - 2 * RELATIVE, apart.max_relative),
    )
    for of_blocks, certified in checked:
        if of_blocks > certified and f"{of_blocks:.3g}" != f"{certified:.3g}":
            raise AssertionError(
                f"the largest error of the blocks is {of_blocks!r}, the largest certified {certified!r}"
            )
    key = crc32(f"{result.sweep.name} {result.quantity} {result.first}".encode())
    sample = doubts.sampled_elements(key, observed.size)
    seen = result.try_closed_forms(sample, observed[sample])
    tally.counts[:1] += tally.right
    counted = {int(cell): int(tally.counts[cell]) for cell in np.flatnonzero(tally.counts)}
    half = int(cells_of(np.asarray([HALF]))[0])
    counted_elements = sum(counted.values())
    blocks = Errors(
        elements=counted_elements,
        correctly_rounded=sum(count for cell, count in counted.items() if cell < half),
        cells=counted,
        in_balls=len(np.setdiff1d(sample, numbers)),
        sampled=seen,
        signed=tally.signed,
        slack=2 * KNOWN * counted_elements,
        worst=-1,
    )
    finding = worst_fraction(result, tally)
    return Part(
        errors=apart + blocks,
        fraction=finding.strict.fraction,
        **standing_of(finding)._asdict(),
        outputs=sha256(tally.observed.data),
    )
