"""Checks of forward results and of gradients, against the truth within the derived bound: random cases, and
every combination of options.
"""

from __future__ import annotations

from functools import partial

from torch_loss_parity.claims.checks import Check
from torch_loss_parity.judging.judge import verify_forward, verify_gradients
from torch_loss_parity.judging.run_cases import check_cases, check_random_cases
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import Operator
from torch_loss_parity.operators.sampling import grid
from torch_loss_parity.subjects.settings import Settings

VERIFY = {"forward": verify_forward, "gradients": verify_gradients}


def random_cases(kind: str, operator: Operator, dtype: str, settings: Settings, tally: Tally) -> None:
    """As many as the effort says, from the seed and the name of the check alone."""
    check_random_cases(operator, dtype, VERIFY[kind], settings, tally, name=kind)


def combinations_of_options(
    kind: str, operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    """Cases in which every two options meet, and every three beyond quick effort."""
    cases = grid(operator, dtype, settings.effort, settings.seed, settings.dtypes)
    check_cases(cases, VERIFY[kind], settings, tally)


def checks_of(kind: str, operator: Operator) -> tuple[Check, ...]:
    """The checks of "forward" or of "gradients"; the same for every operator."""
    return partial(random_cases, kind), partial(combinations_of_options, kind)
