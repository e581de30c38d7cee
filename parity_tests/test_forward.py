"""Forward: every operator, dtype, reduction and option, against the truth within the derived bound."""

from __future__ import annotations

from parity_tests.check import check_case, check_cases
from parity_tests.generate import for_each_random_case, grid, random_cases
from parity_tests.judging import verify_forward
from parity_tests.operators import Operator
from parity_tests.settings import Settings
from parity_tests.tally import Tally


def test_random_cases_stay_within_the_bound(operator: Operator, dtype: str, knobs: Settings, findings: Tally) -> None:
    for_each_random_case(
        random_cases(operator, dtype, knobs.effort.longest),
        lambda case: check_case(case, verify_forward, knobs, findings),
        examples=knobs.effort.random_cases,
        base_seed=knobs.seed,
        name=f"forward {operator.name} {dtype}",
    )


def test_every_combination_of_options_stays_within_the_bound(operator: Operator, dtype: str, knobs: Settings, findings: Tally) -> None:
    check_cases(grid(operator, dtype, knobs.effort, knobs.seed, knobs.dtypes), verify_forward, knobs, findings)
