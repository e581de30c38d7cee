"""One quantity of one call, judged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.expectation.quantity import FORWARD
from torch_loss_parity.judging.comparison import Verdict
from torch_loss_parity.judging.explanations import Explanation
from torch_loss_parity.judging.reproduction import Steps
from torch_loss_parity.ledger import ledger
from torch_loss_parity.ledger.news import News
from torch_loss_parity.subjects import Subject

HOW = "reproduced_by"  # the attribute of an exception
NO_RESULT = "no result"  # the claim of a shortfall that leaves nothing to compare


@dataclass(frozen=True)
class Finding:
    """One quantity of one call, judged.

    Attributes
    ----------
    quantity : str
        The name of the quantity, see `torch_loss_parity.expectation.quantity`.
    verdict : Verdict
        Against the derived bound; where that is broken and the ledger knows why, against the bound of the
        entry.
    strict : Verdict
        Against the derived bound.
    divergence : str
        The ledger's entry that explains a broken strict bound, or empty.
    certified : bool
        Whether the expected value was confirmed by balls.
    grad_output, direction : ndarray, optional
        Where derivatives were taken: the upstream gradient, and the direction of the argument along which.
    mode : str
        The name of the mode in which the subject was made to compute it; empty for a plain call.
    where : str
        Of what the mode computed at once, which part this is: "in slice 2 of 3".
    declined : str
        Why the subject does not offer it; empty where it does. Then nothing was judged.
    news : News, optional
        What is otherwise than recorded.
    explanation : Explanation, optional
        What explains a broken strict bound: an entry of the ledger or a way.
    resembles : Explanation, optional
        Of a wrong result: what would explain it, and does not excuse it, a lossy way or an entry about torch.
    meaning : str
        Where the documentation leaves open what is right: what the subject does in place of the definition.
    steps : Steps, optional
        How a script computes it, where that is no plain call.
    """

    case: Case | None
    call: Call
    quantity: str
    verdict: Verdict
    strict: Verdict
    divergence: str
    certified: bool
    grad_output: np.ndarray | None = None
    mode: str = ""
    declined: str = ""
    news: News | None = None
    direction: np.ndarray | None = None
    where: str = ""
    explanation: Explanation | None = None
    resembles: Explanation | None = None
    meaning: str = ""
    steps: Steps | None = None

    @property
    def way(self) -> Explanation | None:
        """The way that explains a broken strict bound."""
        return self.explanation if self.explanation and self.explanation.is_way else None

    @property
    def driven(self) -> str:
        """The mode, and which part of what it computed this is."""
        return " ".join(part for part in (self.mode, self.where) if part)

    @classmethod
    def of_failure(
        cls, case: Case | None, call: Call, reason: str, steps: Steps | None = None, **taken: Any
    ) -> Finding:
        """What is wrong with a call where there is nothing to compare; ``taken`` says where derivatives were
        taken, and in which mode.
        """
        verdict = Verdict(np.inf, reason=reason)
        return cls(case, call, FORWARD, verdict, verdict, "", False, steps=steps, **taken)

    @classmethod
    def of_recorded(cls, case: Case | None, call: Call, reason: str, entry: str) -> Finding:
        """What is wrong with a call where there is nothing to compare, and a shortfall of the ledger knows
        why.
        """
        strict = Verdict(np.inf, reason=reason)
        return cls(case, call, FORWARD, Verdict(0.0), strict, entry, False)

    @classmethod
    def of_declined(cls, case: Case | None, call: Call, reason: str) -> Finding:
        """A call that the subject does not offer."""
        return cls(case, call, FORWARD, Verdict(0.0), Verdict(0.0), "", False, declined=reason)


@contextmanager
def reproduced_by(**how: Any) -> Iterator[None]:
    """Whatever is raised within knows how a script reproduces it: by what `Finding.of_failure` takes, and the
    ``call`` where that is not the one of the case.
    """
    try:
        yield
    except Exception as error:
        error.__dict__.setdefault(HOW, how)
        raise


def reproduction_of(error: BaseException) -> dict[str, Any]:
    """What `reproduced_by` has said of an exception."""
    return dict(error.__dict__.get(HOW, {}))


def recorded(subject: Subject, case: Case | None, call: Call, device: str, reason: str) -> Finding | None:
    """What the ledger knows of a call in which there is nothing to compare, by the words of its failure; None
    where it knows nothing.
    """
    entry = ledger.shortfall(subject.judged_as, device, NO_RESULT, call.operator, call.dtype, reason)
    return Finding.of_recorded(case, call, reason, entry.id) if entry else None
