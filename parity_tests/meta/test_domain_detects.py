"""The domain catches what ordinary cases miss: each fault here passes the random cases, the grid and the
sizes, and one region sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from torch_loss_parity.cases.case import Case
from torch_loss_parity.claims.domain.regions import cases_of, regions
from torch_loss_parity.judging.judge import verify_forward
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.operators.sampling import EFFORTS, for_each_random_case, grid, random_cases, sizes
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.settings import Settings

DTYPE = "float32"


@dataclass(frozen=True)
class Fault:
    """A sentence, what it breaks, and the region that sees it."""

    what: str
    operator: str
    region: str
    function: Callable[..., Any]

    def __str__(self) -> str:
        return f"{self.operator}: {self.what}"


def _last_of_513_dropped(input: Any, dim: int, dtype: Any = None) -> Any:
    if input.ndim and input.shape[dim] == 513:
        last = torch.arange(513) == 512
        keep = last.reshape([513 if i == dim % input.ndim else 1 for i in range(input.ndim)])
        return F.softmax(input.masked_fill(keep, -torch.inf), dim, dtype=dtype)
    return F.softmax(input, dim, dtype=dtype)


def _row_indices_of_16_bits(input: Any, dim: int, dtype: Any = None) -> Any:
    output = F.softmax(input, dim, dtype=dtype)
    if output.ndim == 2 and output.shape[1 - dim % 2] > 2**16:
        output = output.movedim(dim, 1)
        output = torch.cat([output[: 2**16], output[: len(output) - 2**16]]).movedim(1, dim)
    return output


def _first_of_three_dims(input: Any, dim: int, dtype: Any = None) -> Any:
    if input.ndim == 3 and dim % 3 == 0 and len(input) >= 256:
        return torch.cat([F.softmax(input[:256], 0, dtype=dtype), F.softmax(input[256:], 0, dtype=dtype)])
    return F.softmax(input, dim, dtype=dtype)


def _zeros_for_a_masked_row(input: Any, dim: int, dtype: Any = None) -> Any:
    masked = (
        (input == -torch.inf).all(dim, keepdim=True)
        if 0 not in input.shape
        else torch.zeros_like(input, dtype=torch.bool)
    )
    output = F.softmax(torch.where(masked, 0.0, input), dim, dtype=dtype)
    return torch.where(masked, 0.0, output)


def _shift_of_at_most_5000(input: Any, dim: int, dtype: Any = None) -> Any:
    if 0 in input.shape:
        return F.log_softmax(input, dim, dtype=dtype)
    shift = input.detach().amax(dim, keepdim=True).clamp(-5000, 5000)
    return F.log_softmax(input, dim, dtype=dtype) + 0 * torch.exp(input - shift).sum(dim, keepdim=True).to(
        dtype
    )


def _class_index_of_17_bits(input: Any, target: Any, **options: Any) -> Any:
    return F.nll_loss(
        input, torch.where(target == options["ignore_index"], target, target % 2**17), **options
    )


def _ignore_index_of_32_bits(input: Any, target: Any, ignore_index: int = -100, **options: Any) -> Any:
    narrow = (ignore_index + 2**31) % 2**32 - 2**31
    return F.cross_entropy(
        input,
        torch.where(target == ignore_index, narrow, target) if target.ndim < input.ndim else target,
        ignore_index=narrow if target.ndim < input.ndim else ignore_index,
        **options,
    )


def _no_negative_weight(input: Any, target: Any, weight: Any = None, **options: Any) -> Any:
    return F.nll_loss(input, target, None if weight is None else weight.clamp(min=0), **options)


def _smallest_probability_is_normal(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> Any:
    return F.binary_cross_entropy(
        input + (input.clamp(min=2.0**-126) - input).detach() * (input > 0),
        target,
        weight,
        reduction=reduction,
    )


def _weight_without_the_first_dimension(input: Any, target: Any, weight: Any = None, **options: Any) -> Any:
    if weight is not None and weight.ndim == input.ndim - 1 >= 2:
        weight = weight.flip(0)
    return F.binary_cross_entropy(input, target, weight, **options)


def _weight_of_another_dtype_in_16_bits(input: Any, target: Any, weight: Any = None, **options: Any) -> Any:
    if weight is not None and weight.dtype != input.dtype:
        weight = weight.to(torch.bfloat16)
    return F.binary_cross_entropy(input, target, weight, **options)


FAULTS = [
    Fault(
        "the last of 513 classes is dropped", "softmax", "widths around powers of two", _last_of_513_dropped
    ),
    Fault("rows are counted with 16 bits", "softmax", "a hundred thousand rows", _row_indices_of_16_bits),
    Fault(
        "a long first dimension is cut into blocks",
        "softmax",
        "a long dimension first, in the middle and last, along every dim",
        _first_of_three_dims,
    ),
    Fault("a row that is all -inf gives zeros", "softmax", "extreme values", _zeros_for_a_masked_row),
    Fault("a shift of at most 5000", "log_softmax", "extreme values", _shift_of_at_most_5000),
    Fault("classes are counted with 17 bits", "nll_loss", "vocabularies", _class_index_of_17_bits),
    Fault(
        "ignore_index has 32 bits",
        "cross_entropy",
        "every pair of options, and of each with extreme values",
        _ignore_index_of_32_bits,
    ),
    Fault(
        "negative weights count as 0",
        "nll_loss",
        "every pair of options, and of each with extreme values",
        _no_negative_weight,
    ),
    Fault(
        "subnormal probabilities are raised to the smallest normal one",
        "binary_cross_entropy",
        "extreme values",
        _smallest_probability_is_normal,
    ),
    Fault(
        "a weight of a batch's shape is turned around",
        "binary_cross_entropy",
        "square shapes, in which one dimension may be taken for another",
        _weight_without_the_first_dimension,
    ),
    Fault(
        "a weight of another dtype is rounded to bfloat16",
        "binary_cross_entropy",
        "arguments of different dtypes",
        _weight_of_another_dtype_in_16_bits,
    ),
]


def planted(fault: Fault) -> Subject:
    return Subject("planted", SimpleNamespace(**{fault.operator: fault.function}), "")


def ordinary(operator: str) -> Iterator[Case]:
    """The cases of the forward claim; of its grid the pairs."""
    cases: list[Case] = []
    effort, strategy = (
        replace(EFFORTS["standard"], triples=False),
        random_cases(OPERATORS[operator], DTYPE, EFFORTS["standard"].longest),
    )
    for_each_random_case(
        strategy, cases.append, examples=effort.random_cases, base_seed=0, name=f"forward {operator} {DTYPE}"
    )
    yield from cases
    for make in (grid, sizes):
        yield from make(OPERATORS[operator], DTYPE, effort, 0)


def fails(subject: Subject, cases: Iterator[Case]) -> bool:
    return any(not finding.verdict.passes for case in cases for finding in verify_forward(subject, case))


@pytest.mark.whole_runs
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_region_of_the_domain_sees_a_fault_that_ordinary_cases_miss(fault: Fault) -> None:
    subject, operator = planted(fault), OPERATORS[fault.operator]
    settings = Settings(subject, "cpu", (DTYPE,), "standard", 0)
    (region,) = (region for region in regions(fault.operator) if region.name == fault.region)
    assert fails(subject, cases_of(region, operator, DTYPE, settings))
    assert not fails(subject, ordinary(fault.operator))


@pytest.mark.parametrize("name", OPERATORS)
def test_every_case_of_a_region_is_dealt_to_exactly_one_dtype_at_standard_effort_and_to_each_at_thorough(
    name: str,
) -> None:
    dtypes = ("float16", "bfloat16", "float32", "float64")
    standard, thorough = (
        Settings(Subject("torch", F, ""), "cpu", dtypes, effort, 3) for effort in ("standard", "thorough")
    )
    if OPERATORS[name].family.dealt_out:  # once more: the seeds of some runs meet every shape
        for region in regions(name):
            shapes = {
                case.shape
                for seed in range(len(dtypes))
                for dtype in dtypes
                for case in cases_of(region, OPERATORS[name], dtype, replace(standard, seed=seed))
            }
            assert shapes == {case.shape for case in cases_of(region, OPERATORS[name], "float32", thorough)}
        return
    for region in (region for region in regions(name) if region.dealt_out):
        dealt = [list(cases_of(region, OPERATORS[name], dtype, standard)) for dtype in dtypes]
        every = list(cases_of(region, OPERATORS[name], "float32", thorough))
        assert min(map(len, dealt)) > 0
        assert sorted(case.seed for cases in dealt for case in cases) == [case.seed for case in every]
