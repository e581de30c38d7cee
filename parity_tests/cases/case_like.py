"""What everything that is asked of an operator has in common: a drawn case, a row of semantics, a refusal, a
call behind a rewrite, a case under a transform.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from torch_loss_parity.cases.case import Call

if TYPE_CHECKING:
    from torch_loss_parity.operators.record import Operator


class CaseLike(Protocol):
    """A sentence, a call in a dtype, and what is expected of it.

    Drivers and judging take it where they need no more: a test is named by the sentence, the ledger records a
    shortfall by it, and a failure begins with it.
    """

    def __str__(self) -> str:
        """The sentence."""

    def call(self, operator: Operator, dtype: str) -> Call:
        """The call that a subject is to answer; its real arguments are of ``dtype``."""

    def expects(self, operator: Operator, dtype: str) -> Call | type[Exception]:
        """The call whose true value is right, most often the same one; or what is raised instead."""
