"""Inputs of more than 2**31 elements: where a 32-bit index overflows.

A few rows are repeated over and over, so the expectation is that of the few: it needs no memory to speak of.
A row that the subject computes exactly as it did the row's first copy shares its verdict; any other row is
judged itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch

from torch_loss_parity.cases.case import Case
from torch_loss_parity.expectation.expectation import FORWARD, expected, upstream_gradient
from torch_loss_parity.judging.comparison import Verdict
from torch_loss_parity.judging.judge import Finding, judge_quantity
from torch_loss_parity.operators import OPERATORS, Operator
from torch_loss_parity.processes import system
from torch_loss_parity.subjects import Subject, run_subject
from torch_loss_parity.tensors.arrays import to_tensor, widen

# Rows that differ, rows in all, elements of a row: 15 million beyond 2**31.
PATTERN, ROWS, WIDTH = 7, 66003, 2**15 + 1
OF_ROWS = ("input", "target")
CHUNK = 512  # rows that are compared at once
SIZES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}


def memory_needed(operator: str, dtype: str, quantity: str) -> float:
    """In GiB, with a quarter more than the arrays themselves take."""
    return 1.25 * ROWS * WIDTH * SIZES[dtype] * OPERATORS[operator].domain.copies[quantity] / 2**30


def memory_free(device: str) -> float:
    """In GiB; none where the system does not tell."""
    free = torch.cuda.mem_get_info(device)[0] if device.startswith("cuda") else system.free_memory()
    return float(free or 0) / 2**30


def huge_case(operator: Operator, dtype: str, seed: int) -> Case:
    """The rows that are repeated."""
    options = {"dim": 1} if operator.family.along_dim else {"reduction": "none"}
    return operator.case(dtype, (PATTERN, WIDTH), next(iter(operator.values)), options, seed)


def verdicts(subject: Subject, case: Case, quantity: str, device: str) -> Iterator[tuple[str, int, Verdict]]:
    """The quantity ("forward" or an argument's name), the row, and the verdict: of the first copies of the
    rows together, and of every row that has one of its own.
    """
    call = OPERATORS[case.operator].call(case)
    repeated = torch.arange(ROWS, device=device) % PATTERN
    arguments = {
        name: value[repeated] if name in OF_ROWS and isinstance(value, torch.Tensor) else value
        for name, value in run_subject.tensors(call, device).items()
    }
    if quantity == FORWARD:
        bounds = expected(call, (FORWARD,), profile=subject.profile)
        output = run_subject.output_of(subject, call, arguments, device)
        judged = partial(
            judge_quantity, subject, device, case, call, FORWARD, bound=bounds[FORWARD], grad_output=None
        )
        yield from _of_rows(FORWARD, output, repeated, judged)
        return
    call = replace(call, differentiable=call.differentiable[:1])
    grad_output = upstream_gradient(call, case)
    (name,) = call.differentiable
    arguments[name].requires_grad_()
    upstream = to_tensor(grad_output, call.output_dtype, device)[repeated]
    (gradient,) = torch.autograd.grad(
        run_subject.output_of(subject, call, arguments, device), arguments[name], upstream
    )
    bounds = expected(call, (name,), grad_output, profile=subject.profile)
    judged = partial(
        judge_quantity, subject, device, case, call, name, bound=bounds[name], grad_output=grad_output
    )
    yield from _of_rows(name, gradient, repeated, judged)


def _of_rows(
    quantity: str, observed: torch.Tensor, repeated: torch.Tensor, judged: Callable[..., Finding]
) -> Iterator[tuple[str, int, Verdict]]:
    observed = observed.detach()
    first = observed[:PATTERN].clone()
    rows = widen(first)
    yield quantity, 0, judged(observed=rows).verdict
    for start in range(PATTERN, ROWS, CHUNK):
        chunk = observed[start : start + CHUNK]
        others = (chunk != first[repeated[start : start + CHUNK]]).reshape(len(chunk), -1).any(dim=1)
        for row in (others.nonzero().reshape(-1) + start).tolist():
            in_its_place = rows.copy()
            in_its_place[row % PATTERN] = widen(observed[row])
            yield quantity, row, judged(observed=in_its_place).verdict
