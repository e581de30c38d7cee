"""How a result stands in an audit: within the definition's bound, beyond it for a reason that is known, or
beyond it.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

from torch_loss_parity.judging.comparison import Verdict
from torch_loss_parity.judging.explanations import Explanation


class Standing(NamedTuple):
    """Fields of `torch_loss_parity.audit.record.Measures`, which says what they mean."""

    standing: Literal["pass", "known", "fail"] = "pass"
    divergence: str = ""
    way: str = ""


class Judged(Protocol):
    """A finding, or what a part of one was settled to."""

    @property
    def strict(self) -> Verdict: ...
    @property
    def verdict(self) -> Verdict: ...
    @property
    def divergence(self) -> str: ...
    @property
    def way(self) -> Explanation | None: ...


def standing_of(judged: Judged) -> Standing:
    """How a judged result stands, and by which entry of the ledger or by which way."""
    standing: Literal["pass", "known", "fail"]
    standing = "pass" if judged.strict.passes else "known" if judged.verdict.passes else "fail"
    return Standing(standing, judged.divergence, judged.way.described if judged.way else "")
