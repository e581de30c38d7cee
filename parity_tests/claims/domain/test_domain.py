"""The domain: forward results and every gradient where an operator's arguments are long, thin, empty, extreme
or of mixed dtypes.

Random cases seldom meet the width at which a block ends, a vocabulary beyond 65535 or a row that is all -inf.
The regions of `torch_loss_parity.claims.domain.regions` meet each of them, and every result is judged by the
bound that is derived for it: a case whose bound is infinite decides nothing, and is counted as undecided.
"""

from __future__ import annotations

import pytest

from torch_loss_parity.claims.domain import int32_overflow
from torch_loss_parity.claims.domain.regions import cases_of, regions
from torch_loss_parity.expectation.expectation import FORWARD
from torch_loss_parity.judging.judge_modes import verify_in_modes
from torch_loss_parity.judging.mode import Mode
from torch_loss_parity.judging.run_cases import check_cases
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import OPERATORS, Operator
from torch_loss_parity.operators.facets import Region
from torch_loss_parity.operators.sampling import LARGE, sizes
from torch_loss_parity.settings import Settings
from torch_loss_parity.subjects import run_subject

verify_both = verify_in_modes([Mode("", run_subject.results)])  # one call gives the result and its gradients
REGIONS = [(operator, region) for name, operator in OPERATORS.items() for region in regions(name)]


@pytest.mark.parametrize(
    ("operator", "region"), [pytest.param(*pair, id=f"{pair[0].name}: {pair[1].name}") for pair in REGIONS]
)
def test_domain(operator: Operator, region: Region, dtype: str, knobs: Settings, findings: Tally) -> None:
    if knobs.effort_name == "quick" and region.elements >= LARGE:
        pytest.skip(
            f"quick effort leaves out {region.name} of {operator.name}: {region.elements} elements and more"
        )
    check_cases(cases_of(region, operator, dtype, knobs), verify_both, knobs, findings)


def test_sizes_of_the_record(operator: Operator, dtype: str, knobs: Settings, findings: Tally) -> None:
    """Widths around powers of two in every dtype; shared by the dtypes, a vocabulary, long reductions along
    every dim, exact sums.
    """
    check_cases(sizes(operator, dtype, knobs.effort, knobs.seed, knobs.dtypes), verify_both, knobs, findings)


def test_more_elements_than_a_32_bit_index_counts(
    operator: Operator, dtype: str, knobs: Settings, findings: Tally
) -> None:
    free = int32_overflow.memory_free(knobs.device)
    needed = {
        quantity: int32_overflow.memory_needed(operator.name, dtype, quantity)
        for quantity in (FORWARD, "gradients")
    }
    if knobs.effort_name != "thorough":
        pytest.skip(
            f"{int32_overflow.ROWS} x {int32_overflow.WIDTH} elements are for thorough effort: minutes, and "
            f"{needed[FORWARD]:.0f} GiB of memory"
        )
    for quantity in (quantity for quantity, size in needed.items() if size <= free):
        for name, row, verdict in int32_overflow.verdicts(
            knobs.subject, int32_overflow.huge_case(operator, dtype, knobs.seed), quantity, knobs.device
        ):
            findings.count(verdict.passes)
            assert verdict.passes, (
                f"{name}, row {row} of {int32_overflow.ROWS} x {int32_overflow.WIDTH}: {verdict}"
            )
    left_out = ", ".join(
        f"{quantity} needs {size:.0f} GiB" for quantity, size in needed.items() if size > free
    )
    if left_out:
        pytest.skip(
            f"of {int32_overflow.ROWS} x {int32_overflow.WIDTH} elements, {left_out} of memory; "
            f"{free:.0f} GiB are free"
        )
