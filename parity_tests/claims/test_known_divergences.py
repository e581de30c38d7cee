"""Every entry of the ledger breaks the derived bound at its smallest input, and what it says holds there
does.

That an entry does not diverge is news; that what it says does not hold is a failure.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from torch_loss_parity.claims.smallest_inputs import check_smallest_input
from torch_loss_parity.expectation.quantity import Quantity
from torch_loss_parity.ledger import ledger
from torch_loss_parity.ledger.news import News
from torch_loss_parity.subjects.settings import Settings


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each smallest input of the entries that speak of the subject; those with modes are driven
    where the modes are.
    """
    plain = [entry for entry in ledger.entries_of(metafunc.config.getoption("subject")) if not entry.modes]
    smallest = [
        (entry, quantity, dtype)
        for entry in plain
        for quantity in entry.quantities
        if not Quantity.parse(quantity).along
        for dtype in entry.dtypes
    ]
    ids = [f"{entry.id}, {quantity}, {dtype}" for entry, quantity, dtype in smallest]
    metafunc.definition.add_marker(
        pytest.mark.parametrize(("entry", "quantity", "of_dtype"), smallest, ids=ids)
    )


def test_the_smallest_input_diverges_as_the_ledger_says(
    entry: ledger.Divergence,
    quantity: str,
    of_dtype: str,
    settings: Settings,
    tell: Callable[[News], None],
    diverged: Callable[[str], None],
) -> None:
    check_smallest_input(entry, quantity, of_dtype, settings, tell, diverged)
