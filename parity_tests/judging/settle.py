"""How a result stands: by the definition's bound, by what may explain that it breaks it, and by balls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from torch_loss_parity.judging.comparison import Verdict, judge
from torch_loss_parity.judging.explanations import Explanation
from torch_loss_parity.reference.arithmetic.formats import Format
from torch_loss_parity.reference.arithmetic.rounding import Rounded

# Of the limit: more than the evaluation's error can be of the bound, at most 2**-14 (float64 in
# double-double)
CLOSE = 2.0**-10
CERTIFIABLE = 2**18  # elements: at 1 to 3 microseconds an element, balls take less than a second
SAMPLED = 2**12  # elements: of cases that are only sampled or close to the limit, the small ones


@dataclass(frozen=True)
class Settled:
    """How a result stands.

    Attributes
    ----------
    verdict, strict : Verdict
        The one that decides, and that of the definition.
    explanation : Explanation, optional
        What explains a broken strict bound.
    certified : bool
        Whether balls confirmed the expected value.
    resembles : Explanation, optional
        Of a result that is wrong: what would explain it, and does not excuse it.
    """

    verdict: Verdict
    strict: Verdict
    explanation: Explanation | None
    certified: bool
    resembles: Explanation | None = None

    @property
    def divergence(self) -> str:
        """The id of the ledger's entry that explains it, or empty."""
        return self.explanation.name if self.explanation and not self.explanation.is_way else ""

    @property
    def way(self) -> Explanation | None:
        """The way that explains it."""
        return self.explanation if self.explanation and self.explanation.is_way else None


def settle(
    observed: np.ndarray,
    bound: Rounded,
    format: Format,
    known: Callable[[], Sequence[Explanation]],
    weaker: Callable[[Explanation], Rounded],
    truth: Callable[[], Rounded | None],
    *,
    resembling: Callable[[], Sequence[Explanation]] = tuple,
    certify: bool = False,
) -> Settled:
    """Judge a result by the definition's bound and, where that is broken, by what may explain it.

    Parameters
    ----------
    known : callable
        What may explain a broken bound, in the order in which it is tried; most bounds hold, and it is not
        asked.
    weaker : callable
        The bound that follows from an explanation. It is around the value of its own formula: it covers what
        evaluating that costs, not the definition's.
    truth : callable
        The bound around the true value, from balls.
    resembling : callable
        Explanations that excuse nothing, for a result that is wrong.
    """

    def explained(by: Callable[[], Sequence[Explanation]] = known) -> tuple[Verdict, Explanation | None]:
        for explanation in by():
            against = judge(observed, weaker(explanation), format)
            if against.passes:
                return against, explanation
        return strict, None

    strict = verdict = judge(observed, bound, format, refine=False)
    explanation, confirmed, size = None, False, bound.value.size
    if not strict.passes or strict.undecided:
        verdict, explanation = explained()
    # The evaluation's own error is part of the bound, so it decides but for a verdict within that error of
    # the limit. Every failure, and of the small cases those and a sample, are confirmed by balls: no failure
    # is false, and no small one is missed.
    close = abs(verdict.fraction - 1.0) <= CLOSE
    if 0 < size <= CERTIFIABLE and (not verdict.passes or ((close or certify) and size <= SAMPLED)):
        true = truth()
        if true is not None:
            strict, confirmed = judge(observed, true, format), True
            # Only the truth shows it, where the evaluation had lost the same as the subject.
            if not explanation:
                verdict, explanation = (strict, None) if strict.passes else explained()
    resembles = None if verdict.passes else explained(resembling)[1]
    return Settled(verdict, strict, explanation, confirmed, resembles)
