"""Forward: every operator, dtype, reduction and option, against the truth within the derived bound."""

from __future__ import annotations

from torch_loss_parity.claims import accuracy
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import Operator
from torch_loss_parity.subjects.settings import Settings


def test_random_cases_stay_within_the_bound(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    accuracy.random_cases("forward", operator, dtype, settings, tally)


def test_every_combination_of_options_stays_within_the_bound(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    accuracy.combinations_of_options("forward", operator, dtype, settings, tally)
