"""A quantity that breaks every bound, judged where the documentation leaves its meaning open.

nan is right there wherever the definition, or one way, is infinite; see Note [What the documentation decides]
of `torch_loss_parity.operators.meaning`. One of them has to explain all the rest of the quantity.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from torch_loss_parity.expectation.expectation import expected
from torch_loss_parity.expectation.quantity import format_of
from torch_loss_parity.judging import explanations
from torch_loss_parity.judging.comparison import judge
from torch_loss_parity.judging.finding import Finding
from torch_loss_parity.reference.arithmetic.profiles import Profile
from torch_loss_parity.reference.arithmetic.rounding import Rounded


def without_another_meaning(finding: Finding, observed: np.ndarray, bound: Rounded) -> Finding:
    """The finding as the definition alone has it, where autograd of a way explains nan in place of an
    infinity: infinity less infinity, line by line, is a meaning and no form. ``bound`` is the definition's.
    """
    if finding.explanation is None or not finding.explanation.by_autograd or observed.shape != bound.shape:
        return finding
    if not (np.isnan(observed) & np.isinf(bound.nearest)).any():
        return finding
    return replace(finding, verdict=finding.strict, explanation=None)


def judged_as_left_open(finding: Finding, observed: np.ndarray, profile: Profile) -> Finding:
    """The finding, passed where nan stands for an infinity and all else is right; or as it is.

    Parameters
    ----------
    finding : Finding
        Of a result that is wrong.
    observed : ndarray
        The result.
    profile : Profile
        Under which it is judged.
    """
    call, quantity = finding.call, finding.quantity
    for explanation in (None, *explanations.ways(call, quantity)):
        bound = expected(
            call,
            (quantity,),
            finding.grad_output,
            finding.direction,
            profile=profile,
            changes=explanation.arithmetic if explanation else None,
            function=explanation.function if explanation else None,
        )[quantity]
        if observed.shape != bound.shape:
            break
        nan_for_infinity = np.isnan(observed) & np.isinf(bound.nearest)
        verdict = judge(np.where(nan_for_infinity, bound.nearest, observed), bound, format_of(call, quantity))
        if verdict.passes:
            meaning = f"nan where {explanation.name if explanation else 'the definition'} is infinite"
            return replace(finding, verdict=verdict, explanation=explanation, meaning=meaning)
    return finding
