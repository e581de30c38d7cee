"""The audit, an item for each operator and dtype: in place of the tests where ``--audit DIR`` asks for it,
and otherwise not there.
"""

from __future__ import annotations

import pytest

from torch_loss_parity.audit.observed import lacking
from torch_loss_parity.audit.run import Run
from torch_loss_parity.operators import Gap, Operator

SHOWN = 5


def test_audit(operator: Operator, dtype: str, audit: Run) -> None:
    """Every figure is within the derived bound, or known to diverge, and the subject returned what it was
    asked for; a file that stands for it is whole.
    """
    if isinstance(operator.audit, Gap):
        pytest.skip(f"not audited: {operator.audit.why}")
    part = audit.of((operator.name, dtype))
    if not audit.settings.subject.offers(operator.name):
        pytest.skip(f"not offered: {audit.settings.subject.name} has no {operator.name}")
    wrong = [f"{missing.what}: {missing.why}" for missing in part.missing if missing.failed]
    wrong += [
        f"{figure.key}: the error is {figure.subject.fraction:.3g} times what rounding allows"
        for figure in part.figures
        if figure.subject.standing == "fail"
    ]
    wrong += lacking(audit.settings.subject, part.missing)
    if wrong:
        more = f"\n  and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        pytest.fail(f"{operator.name}, {dtype}:\n  " + "\n  ".join(wrong[:SHOWN]) + more, pytrace=False)
