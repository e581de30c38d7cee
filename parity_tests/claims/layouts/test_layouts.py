"""Layouts: results and gradients are right from views with any strides, of every argument and of the upstream
gradient.

Each view lies in a larger buffer full of nan, or of an index that no class has: reading outside it shows, and
writing does too. Besides the numbers, the dtype, the device, the shape and ``requires_grad`` of every result
are checked.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from torch_loss_parity.claims.layouts import checks
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.ledger import verified
from torch_loss_parity.ledger.news import News
from torch_loss_parity.operators import Operator
from torch_loss_parity.subjects.settings import Settings


def test_views_give_the_right_results(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    checks.views_give_the_right_results(operator, dtype, settings, tally)


def test_views_of_large_calls_give_the_right_results(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    checks.views_of_large_calls_give_the_right_results(operator, dtype, settings, tally)


def test_views_whose_elements_share_memory_give_the_right_results(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    checks.views_whose_elements_share_memory_give_the_right_results(operator, dtype, settings, tally)


def test_the_result_lies_in_memory_as_recorded(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    checks.the_result_lies_in_memory_as_recorded(operator, dtype, settings, tally)


@pytest.mark.parametrize(
    ("make", "refusal"),
    [
        (lambda: torch.from_numpy(np.arange(4.0)[::-1]), "negative strides are not currently supported"),
        (lambda: torch.zeros(5).as_strided((3,), (-1,), 4), "Negative strides are not supported"),
        (lambda: torch.zeros(5)[::-1], "step must be greater than zero"),
    ],
    ids=["of a NumPy array", "by as_strided", "by a slice"],
)
def test_torch_refuses_negative_strides(
    make: Callable[[], torch.Tensor], refusal: str, tell: Callable[[News], None]
) -> None:
    """If it no longer does, views with negative strides are a layout to add."""
    try:
        tensor = make()
    except (ValueError, RuntimeError) as error:
        if refusal not in str(error):
            tell(
                News(
                    "layouts",
                    "negative strides",
                    refusal,
                    f"negative strides are refused with {error}, recorded is {refusal}",
                )
            )
    else:
        text = (
            f"torch made a tensor with strides {tensor.stride()}: negative strides are a layout that no "
            f"case "
            f"tries"
        )
        tell(News("layouts", "negative strides", refusal, text, verified.is_recorded("cpu")))
