"""Modes: however torch is asked for a derivative, it is the derivative, within its bound.

*First order.* ``backward`` into ``.grad``, a scalar that folds the upstream gradient in, a graph that is gone
through twice, one argument at a time, micro-batches: each against the closed form.

*Second order.* Double backward, forward mode, forward over reverse and reverse over reverse: each against the
tangents of the definition and of the closed form, see `torch_loss_parity.expectation.second_order`.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from torch_loss_parity.claims.modes import checks
from torch_loss_parity.claims.modes.second_order import SECOND_ORDER
from torch_loss_parity.claims.smallest_inputs import check_divergence, skip_unless_in_force, smallest_input
from torch_loss_parity.expectation.quantity import Quantity
from torch_loss_parity.judging.judge_modes import judge_modes
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.ledger import ledger
from torch_loss_parity.ledger.ledger import Divergence
from torch_loss_parity.ledger.news import News
from torch_loss_parity.operators import OPERATORS, Operator
from torch_loss_parity.subjects.declined import NotOffered
from torch_loss_parity.subjects.settings import Settings


def test_gradients_in_random_cases(operator: Operator, dtype: str, settings: Settings, tally: Tally) -> None:
    checks.gradients_in_random_cases(operator, dtype, settings, tally)


def test_gradients_in_every_pair_of_options(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    checks.gradients_in_every_pair_of_options(operator, dtype, settings, tally)


def test_second_order_in_random_cases(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    checks.second_order_in_random_cases(operator, dtype, settings, tally)


def test_second_order_in_every_pair_of_options(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    checks.second_order_in_every_pair_of_options(operator, dtype, settings, tally)


def test_forward_mode_along_every_argument(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    if len(operator.differentiable_arguments) < 2:
        pytest.skip("one argument is differentiated, along which every case is")
    checks.forward_mode_along_every_argument(operator, dtype, settings, tally)


def in_turn(entry: Divergence, turn: int | None) -> tuple[str, ...]:
    """The dtypes of an entry; one of them where the cases of its operators are dealt out, and a turn is
    given.
    """
    dtypes = tuple(entry.dtypes)
    if turn is None or not all(OPERATORS[name].family.dealt_out for name in entry.operators):
        return dtypes
    return (dtypes[turn % len(dtypes)],)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each smallest input of second order, of the entries that speak of the subject."""
    if "entry" in metafunc.fixturenames:
        standard = metafunc.config.getoption("effort") == "standard"
        smallest = [
            pytest.param(entry, quantity, dtype, id=f"{entry.id}, {quantity}, {dtype}")
            for entry in ledger.entries_of(metafunc.config.getoption("subject"))
            for turn, quantity in enumerate(entry.quantities)
            if Quantity.parse(quantity).along
            for dtype in in_turn(entry, turn if standard else None)
        ]
        metafunc.definition.add_marker(pytest.mark.parametrize(("entry", "quantity", "of_dtype"), smallest))


def test_the_smallest_input_diverges_as_the_ledger_says(
    entry: Divergence,
    quantity: str,
    of_dtype: str,
    settings: Settings,
    tell: Callable[[News], None],
    diverged: Callable[[str], None],
) -> None:
    """Of the modes that the entry names, one breaks the bound, or there is news; where it is broken, what the
    entry says holds.
    """
    skip_unless_in_force(entry, settings)
    call, grad_output, direction = smallest_input(entry, quantity, of_dtype)
    assert grad_output is not None, "a derivative's smallest input needs a grad_output"
    assert direction is not None, "a derivative in a direction needs one"
    modes = [mode for mode in SECOND_ORDER if not entry.modes or mode.name in entry.modes]
    judged = [
        finding
        for along in call.differentiable
        if call.arguments[along].shape == direction.shape
        for finding in judge_modes(
            settings.subject,
            settings.device,
            None,
            call,
            [mode.along(along, direction) for mode in modes],
            grad_output,
            direction,
            certify=True,
            entries=(entry,),
            only=quantity,
        )
    ]
    findings = [finding for finding in judged if finding.quantity == quantity]
    if not findings and (declined := [finding.declined for finding in judged if finding.declined]):
        raise NotOffered(declined[0])
    check_divergence(entry, findings, f"{quantity}, {of_dtype}", settings, tell, diverged)
