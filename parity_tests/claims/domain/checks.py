"""Checks of the domain: results and gradients of long, thin, empty, extreme and mixed arguments."""

from __future__ import annotations

from functools import partial

import pytest

from torch_loss_parity.claims.checks import Check
from torch_loss_parity.claims.domain import int32_overflow, many_rows, remainders
from torch_loss_parity.claims.domain.regions import cases_of, regions
from torch_loss_parity.claims.domain.without_a_graph import WITHOUT_A_GRAPH, once_for_the_same_bits
from torch_loss_parity.expectation.expectation import FORWARD
from torch_loss_parity.judging.judge_modes import verify_in_modes
from torch_loss_parity.judging.mode import Mode
from torch_loss_parity.judging.reproduction import Steps, with_gradients
from torch_loss_parity.judging.run_cases import check_cases
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import Operator
from torch_loss_parity.operators.facets import Region
from torch_loss_parity.operators.sampling import LARGE, sizes
from torch_loss_parity.subjects import run_subject
from torch_loss_parity.subjects.settings import Settings

# One call gives the result and its gradients, another one the result where nothing is differentiated: there a
# kernel may take another path, with other blocks and in another form.
MODES = (Mode("", run_subject.results, steps=Steps(with_gradients)), WITHOUT_A_GRAPH)
verify_both = once_for_the_same_bits(verify_in_modes(MODES))


def region_stays_within_the_bound(
    operator: Operator, dtype: str, settings: Settings, tally: Tally, *, region: Region
) -> None:
    """Every case of a region, forward and gradients; at quick effort none of a large one."""
    if settings.effort_name == "quick" and region.elements >= LARGE:
        pytest.skip(
            f"quick effort leaves out {region.name} of {operator.name}: {region.elements} elements and more"
        )
    check_cases(cases_of(region, operator, dtype, settings), verify_both, settings, tally)


def sizes_of_the_record(operator: Operator, dtype: str, settings: Settings, tally: Tally) -> None:
    """Widths around powers of two in every dtype; shared by the dtypes, a vocabulary, long reductions along
    every dim, exact sums.
    """
    check_cases(
        sizes(operator, dtype, settings.effort, settings.seed, settings.dtypes), verify_both, settings, tally
    )


def remainders_of_every_block(operator: Operator, dtype: str, settings: Settings, tally: Tally) -> None:
    """Rows a little longer and shorter than blocks of up to 2**18, and in them a number unlike the others."""
    if settings.subject.is_elsewhere:
        pytest.skip("rows of up to 262145 in a dozen places are not observed: a file would hold gigabytes")
    # A promise of no dimensions leaves no rows.
    cases = [case for case in remainders.cases_of(operator, dtype, settings) if case.shape]
    if not cases:
        pytest.skip("an input of no dimensions, of which all that is promised are, has no rows")
    verify = remainders.verify_at(remainders.BESIDE_BLOCKS[settings.effort_name])
    check_cases(cases, verify, settings, tally)


def more_rows_than_17_bits_count(operator: Operator, dtype: str, settings: Settings, tally: Tally) -> None:
    """A few rows repeated, in a batch and within one sample."""
    if settings.subject.is_elsewhere:
        pytest.skip(f"{many_rows.FEW * many_rows.REPETITIONS} rows are not observed: they would fill a file")
    cases = many_rows.cases_of(operator, dtype, settings)
    check_cases(cases, many_rows.verify_repeated, settings, tally)


def more_elements_than_a_32_bit_index_counts(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    if settings.subject.is_elsewhere:
        pytest.skip("more elements than a 32-bit index counts are not observed: a file would hold gigabytes")
    free = int32_overflow.memory_free(settings.device)
    needed = {
        quantity: int32_overflow.memory_needed(operator.name, dtype, quantity)
        for quantity in (FORWARD, "gradients")
    }
    if settings.effort_name != "thorough":
        pytest.skip(
            f"{int32_overflow.ROWS} x {int32_overflow.WIDTH} elements are for thorough effort: minutes, and "
            f"{needed[FORWARD]:.0f} GiB of memory"
        )
    for quantity in (quantity for quantity, size in needed.items() if size <= free):
        for name, row, verdict in int32_overflow.verdicts(
            settings.subject,
            int32_overflow.huge_case(operator, dtype, settings.seed),
            quantity,
            settings.device,
        ):
            tally.count(verdict.passes)
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


def checks_of(operator: Operator) -> tuple[Check, ...]:
    """Sizes, then as many regions as the operator has."""
    return (
        sizes_of_the_record,
        remainders_of_every_block,
        more_rows_than_17_bits_count,
        more_elements_than_a_32_bit_index_counts,
        *(partial(region_stays_within_the_bound, region=region) for region in regions(operator.name)),
    )
