"""Bits: what leaves the bits of a result as they are, and what changes them, compared with what
``bit_invariances.toml`` records.

What holds is tried on every size; of what does not, the recorded counterexample is tried again. So a change
in either direction shows: it is news, as torch promises none of this. An environment without a part in the
table is compared with the nearest one. That the same call gives the same bits is required of everyone.
"""

from __future__ import annotations

from torch_loss_parity.claims.bits import checks
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import Operator
from torch_loss_parity.subjects.settings import Settings


def test_the_same_call_gives_the_same_bits(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    checks.the_same_call_gives_the_same_bits(operator, dtype, settings, tally)


def test_bits_change_where_the_table_says_so_and_nowhere_else(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    checks.bits_change_where_the_table_says_so_and_nowhere_else(operator, dtype, settings, tally)
