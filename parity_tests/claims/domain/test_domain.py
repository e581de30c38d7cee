"""The domain: forward results and every gradient where an operator's arguments are long, thin, empty, extreme
or of mixed dtypes.

Random cases seldom meet the width at which a block ends, a vocabulary beyond 65535 or a row that is all -inf.
The regions of `torch_loss_parity.claims.domain.regions` meet each of them, and every result is judged by the
bound that is derived for it: a case whose bound is infinite decides nothing, and is counted as undecided.
Longer rows and more of them than a bound can be evaluated for are made of what is equal or repeated.
"""

from __future__ import annotations

import pytest

from torch_loss_parity.claims.domain import checks
from torch_loss_parity.claims.domain.regions import regions
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import OPERATORS, Operator
from torch_loss_parity.operators.facets import Region
from torch_loss_parity.subjects.settings import Settings

REGIONS = [(operator, region) for name, operator in OPERATORS.items() for region in regions(name)]


@pytest.mark.parametrize(
    ("operator", "region"), [pytest.param(*pair, id=f"{pair[0].name}: {pair[1].name}") for pair in REGIONS]
)
def test_domain(operator: Operator, region: Region, dtype: str, settings: Settings, tally: Tally) -> None:
    checks.region_stays_within_the_bound(operator, dtype, settings, tally, region=region)


def test_sizes_of_the_record(operator: Operator, dtype: str, settings: Settings, tally: Tally) -> None:
    checks.sizes_of_the_record(operator, dtype, settings, tally)


def test_remainders_of_every_block(operator: Operator, dtype: str, settings: Settings, tally: Tally) -> None:
    checks.remainders_of_every_block(operator, dtype, settings, tally)


def test_more_rows_than_17_bits_count(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    checks.more_rows_than_17_bits_count(operator, dtype, settings, tally)


def test_more_elements_than_a_32_bit_index_counts(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    checks.more_elements_than_a_32_bit_index_counts(operator, dtype, settings, tally)
