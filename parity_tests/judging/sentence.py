"""A sentence that a claim makes of an operator, and what the ledger records where it does not hold."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch_loss_parity.cases.case_like import CaseLike
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.ledger import ledger, verified
from torch_loss_parity.ledger.ledger import Shortfall
from torch_loss_parity.subjects.settings import Settings


@dataclass(frozen=True)
class Sentence:
    """What a kind of claim says of a subject's operator in a dtype.

    Attributes
    ----------
    subject, device : str
        Of whom it is said, and where.
    claim : str
        The kind of claim.
    text : str
        Most often that of a case.
    """

    subject: str
    device: str
    claim: str
    operator: str
    dtype: str
    text: str

    @classmethod
    def of(cls, case: CaseLike, dtype: str, *, claim: str, operator: str, settings: Settings) -> Sentence:
        """That of a case, of the subject of a run."""
        return cls(settings.subject.judged_as, settings.device, claim, operator, dtype, str(case))

    @cached_property
    def shortfall(self) -> Shortfall | None:
        """The ledger's entry that records that it does not hold."""
        return ledger.shortfall(self.subject, self.device, self.claim, self.operator, self.dtype, self.text)

    def count(self, problem: str, tally: Tally, right: str = "nothing is raised") -> None:
        """Count a problem that is recorded; that there is none where one is recorded is news.

        Parameters
        ----------
        right : str
            What happens where there is no problem.
        """
        known, where = self.shortfall, (self.operator, self.dtype, self.text)
        if known is not None and problem:
            tally.diverge(known.id)
        elif known is not None:
            tally.tell(verified.no_longer_falls_short(known.id, *where, self.device, right))

    def check(self, problem: str, tally: Tally, right: str = "nothing is raised") -> None:
        """As `count`, and fail for a problem that is not recorded."""
        self.count(problem, tally, right)
        assert self.shortfall is not None or not problem, problem
