"""Rows of every length, and more of them than 17 bits count, see what ordinary rows miss: each fault planted
here needs a row that is longer than those of the other regions, a target in one place of it, or a row far
down. All are seen at quick effort.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional

from torch_loss_parity.claims.checks import Check
from torch_loss_parity.claims.domain import checks, many_rows, remainders
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.settings import Settings
from torch_loss_parity.subjects.written_promise import of_mapping

SETTINGS = Settings.of("torch", "cpu", "float32", "quick", 0)
BLOCK = 2**12


@pytest.fixture
def _shorter_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in an eighth of the time; rows are still longer than those of every other region."""
    monkeypatch.setattr(remainders, "QUICK_LENGTHS", (2 * BLOCK + 1, BLOCK - 1))


def checked(
    operator: str,
    function: Callable[..., Any],
    seed: int = 0,
    check: Check = checks.remainders_of_every_block,
) -> None:
    """The claim, of a subject in the name of torch: what the ledger knows of torch is not what fails."""
    planted = Subject("torch", SimpleNamespace(**{operator: function}), "")
    settings = replace(SETTINGS, subject=planted, seed=seed)
    check(OPERATORS[operator], "float32", settings, Tally(operator, "float32"))


def a_last_term_that_is_alone_in_its_block(x: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
    """softmax leaves the last term out of the sum."""
    if x.shape[dim] > BLOCK and x.shape[dim] % BLOCK == 1:
        lse = torch.logsumexp(x.narrow(dim, 0, x.shape[dim] - 1), dim, keepdim=True)
        return torch.exp(x - lse)
    return functional.softmax(x, dim, dtype=dtype)


def a_lane_beside_the_row(x: torch.Tensor, dim: int, **options: Any) -> torch.Tensor:
    """logsumexp pads the last block with -30."""
    padded = functional.pad(x, (0, -x.shape[dim] % BLOCK), value=-30.0) if x.shape[dim] > BLOCK else x
    return torch.logsumexp(padded, dim, **options)


def a_lane_of_zero_in_the_backward(x: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
    """The gradient of log_softmax misses the upstream gradient of the first of a last block."""
    first = x.shape[dim] // BLOCK * BLOCK
    result = functional.log_softmax(x, dim, dtype=dtype)
    if first in (0, x.shape[dim]):
        return result
    keep = torch.ones_like(result).index_fill(dim, torch.tensor([first]), 0.0)
    return result * keep + (result * (1 - keep)).detach()


def a_target_that_ends_a_block(x: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
    """cross_entropy looks for the last class of a block in the next one."""
    ends = (target % BLOCK == BLOCK - 1) & (target + 1 < x.shape[1])
    return functional.cross_entropy(x, target + ends.long(), **options)


def a_target_in_the_second_half(x: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
    """nll_loss has classes in two halves, and begins the second one too late where they are odd."""
    half, classes = x.shape[1] // 2, x.shape[1]
    wrong = classes > BLOCK and bool((target == half).any())
    return functional.nll_loss(x.roll(1, 1) if wrong else x, target, **options)


def a_sum_without_its_remainder(
    x: torch.Tensor, target: torch.Tensor, reduction: str = "mean", **options: Any
) -> torch.Tensor:
    """binary_cross_entropy_with_logits adds up whole blocks only."""
    losses = functional.binary_cross_entropy_with_logits(x, target, reduction="none", **options)
    whole = losses.numel() // BLOCK * BLOCK or losses.numel()
    if reduction == "none":
        return losses
    return losses.flatten()[:whole].sum() / (losses.numel() if reduction == "mean" else 1)


FAULTS: tuple[tuple[str, Callable[..., Any], int], ...] = (
    ("softmax", a_last_term_that_is_alone_in_its_block, 0),
    ("logsumexp", a_lane_beside_the_row, 0),
    ("log_softmax", a_lane_of_zero_in_the_backward, 0),
    ("cross_entropy", a_target_that_ends_a_block, 0),
    ("nll_loss", a_target_in_the_second_half, 0),
    ("binary_cross_entropy_with_logits", a_sum_without_its_remainder, 1),
)


@pytest.mark.usefixtures("_shorter_rows")
@pytest.mark.parametrize(
    ("operator", "fault", "seed"), FAULTS, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_fault_fails(operator: str, fault: Callable[..., Any], seed: int) -> None:
    with pytest.raises(AssertionError, match="is wrong"):
        checked(operator, fault, seed)


@pytest.mark.parametrize("seed", [0, 2])
@pytest.mark.parametrize("operator", ["softmax", "log_softmax"])
def test_a_term_of_the_longest_row_shows_in_every_form(operator: str, seed: int) -> None:
    """No other form of the operator loses as much as one term of 65537 on these numbers."""

    def without_its_last(x: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
        shifted = x - x.amax(dim, keepdim=True)
        total = shifted.narrow(dim, 0, x.shape[dim] - (x.shape[dim] > 2**16)).exp().sum(dim, keepdim=True)
        return shifted.exp() / total if operator == "softmax" else shifted - total.log()

    with pytest.raises(AssertionError, match="is wrong"):
        checked(operator, without_its_last, seed)


@pytest.mark.usefixtures("_shorter_rows")
def test_a_row_far_below_0_that_is_padded_with_minus_infinity_is_right() -> None:
    """The padding alone is no fault."""

    def padded(x: torch.Tensor, dim: int, **options: Any) -> torch.Tensor:
        return torch.logsumexp(functional.pad(x, (0, -x.shape[dim] % BLOCK), value=-inf), dim, **options)

    checked("logsumexp", padded)


# --- many rows ----------------------------------------------------------------------------------------------


def positions_counted_with_16_bits(x: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
    """nll_loss takes the target of position 65536 of a sample from its position 0."""
    beyond = target.shape[-1] - 2**16
    if target.ndim == 2 and beyond > 0:
        target = torch.cat([target[:, : 2**16], target[:, :beyond]], dim=1)
    return functional.nll_loss(x, target, **options)


def a_last_position_that_is_alone_in_its_block(x: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
    """softmax within a sample leaves the rest of the positions, less than a block, as it found them."""
    result = functional.softmax(x, dim, dtype=dtype)
    if x.ndim > 2 and x.shape[-1] > BLOCK:
        rest = torch.arange(x.shape[-1]) >= x.shape[-1] // BLOCK * BLOCK
        result = torch.where(rest, torch.zeros_like(result), result)
    return result


def no_gradient_beyond_row_131072(x: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
    """binary_cross_entropy counts the rows of its backward pass with 17 bits."""
    if x.ndim and len(x) > 2**17:
        x = torch.cat([x[: 2**17], x[2**17 :].detach()])
    return functional.binary_cross_entropy(x, target, **options)


MANY: tuple[tuple[str, Callable[..., Any], int], ...] = (
    ("nll_loss", positions_counted_with_16_bits, 2),
    ("softmax", a_last_position_that_is_alone_in_its_block, 2),
    ("binary_cross_entropy", no_gradient_beyond_row_131072, 1),
)


@pytest.mark.parametrize(
    ("operator", "fault", "seed"), MANY, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_fault_of_many_rows_fails(operator: str, fault: Callable[..., Any], seed: int) -> None:
    with pytest.raises(AssertionError, match="is wrong"):
        checked(operator, fault, seed, checks.more_rows_than_17_bits_count)


def test_every_dtype_meets_every_shape() -> None:
    for operator in OPERATORS.values():
        for dtype in ("float16", "float32"):
            quick = [replace(SETTINGS, seed=seed) for seed in range(3)]
            met = [case.shape for each in quick for case in many_rows.cases_of(operator, dtype, each)]
            standard = many_rows.cases_of(operator, dtype, replace(SETTINGS, effort_name="standard"))
            assert {*met} == {case.shape for case in standard}


@pytest.mark.parametrize("dim", [-1, 0, 1])
@pytest.mark.parametrize("operator", ["softmax", "log_softmax", "logsumexp"])
def test_many_rows_lie_across_the_one_dim_that_is_promised(operator: str, dim: int) -> None:
    promised = of_mapping({"dim": dim}).operator(OPERATORS[operator])
    for effort in ("quick", "standard"):
        for case in many_rows.cases_of(promised, "float32", replace(SETTINGS, effort_name=effort)):
            assert case.option["dim"] == dim
            assert case.shape[dim] != many_rows.FEW
            assert many_rows.FEW in case.shape


def test_places_lie_on_both_sides_of_multiples_of_every_power_of_two() -> None:
    for length in remainders.LENGTHS:
        chosen = remainders.places(length, None, seed=length)
        assert {length - 1, length // 2 - 1, length // 2} <= {*chosen}
        assert all(0 < place < length for place in chosen)
        for size in (2**k for k in range(3, 19) if 2**k < length):
            assert any(place % size == 0 and place - 1 in chosen for place in chosen), (length, size)


def test_every_length_is_met_by_some_dtype_and_seed() -> None:
    dtypes = ("float16", "bfloat16", "float32", "float64")
    for operator in (OPERATORS["softmax"], OPERATORS["binary_cross_entropy"]):
        settings = [replace(SETTINGS, dtypes=dtypes, effort_name="standard", seed=seed) for seed in range(48)]
        met = {n for each in settings for d in dtypes for n in remainders.lengths_of(operator, d, each)}
        assert met == {*remainders.LENGTHS, *remainders.MULTIPLES}
        for each in settings:  # a remainder of every block in each run
            assert 2**18 + 1 in [remainders.lengths_of(operator, d, each)[0] for d in dtypes]
            quick = replace(each, effort_name="quick")
            assert 2**16 + 1 in [remainders.lengths_of(operator, d, quick)[0] for d in dtypes]
