"""Checks: what a kind of claim asks of an operator.

The tests of a kind and `torch_loss_parity.verify` run the same ones. Each kind has a module ``checks``, whose
``checks_of`` lists those of an operator in the order in which they run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import Operator
from torch_loss_parity.subjects.settings import Settings

Check = Callable[[Operator, str, Settings, Tally], None]  # in one dtype
TallyOf = Callable[[str], Tally]  # of a dtype
RowCheck = Callable[[Operator, Sequence[str], Settings, TallyOf], None]  # of one row, in some dtypes
