"""Gradients: every differentiable argument, with a random upstream gradient, against the closed form within
its bound.
"""

from __future__ import annotations

from torch_loss_parity.judging.judge import verify_gradients
from torch_loss_parity.judging.run_cases import check_case, check_cases
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import Operator
from torch_loss_parity.operators.sampling import for_each_random_case, grid, random_cases
from torch_loss_parity.settings import Settings


def test_random_cases_stay_within_the_bound(
    operator: Operator, dtype: str, knobs: Settings, findings: Tally
) -> None:
    for_each_random_case(
        random_cases(operator, dtype, knobs.effort.longest),
        lambda case: check_case(case, verify_gradients, knobs, findings),
        examples=knobs.effort.random_cases,
        base_seed=knobs.seed,
        name=f"gradients {operator.name} {dtype}",
    )


def test_every_combination_of_options_stays_within_the_bound(
    operator: Operator, dtype: str, knobs: Settings, findings: Tally
) -> None:
    check_cases(
        grid(operator, dtype, knobs.effort, knobs.seed, knobs.dtypes), verify_gradients, knobs, findings
    )
