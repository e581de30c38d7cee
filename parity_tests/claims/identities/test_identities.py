"""Identities that need no reference: what must agree agrees, as far as the rounding of both sides allows.

Both sides are computed by the subject. The records are in `torch_loss_parity.claims.identities`, the bound in
its ``judgement``.
"""

from __future__ import annotations

import pytest

from torch_loss_parity.claims.identities import Identity, checks, identities
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import OPERATORS, Gap, Operator
from torch_loss_parity.subjects.settings import SETTINGS, Settings


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each identity, operator and dtype, called "operator, dtype: identity"; at quick effort the
    dtypes in turn.
    """
    if metafunc.function is not test_identity:
        return
    dtypes = list(metafunc.config.stash[SETTINGS].dtypes)
    quick = metafunc.config.getoption("effort") == "quick"
    cells = []
    for operator in OPERATORS.values():
        if isinstance(operator.identities, Gap):
            none = pytest.mark.skip(f"{operator.name} has no identities: {operator.identities.why}")
            cells += [pytest.param(operator, dtypes[0], None, marks=none, id=f"{operator.name}: none")]
        of_operator = [identity for identity in identities() if identity.speaks_of(operator)]
        for number, identity in enumerate(of_operator):
            for dtype in [dtypes[number % len(dtypes)]] if quick else dtypes:
                name = f"{operator.name}, {dtype}: {identity.name}"
                cells.append(pytest.param(operator, dtype, identity, id=name))
    metafunc.definition.add_marker(pytest.mark.parametrize(("operator", "dtype", "identity"), cells))


def test_identity(
    operator: Operator, dtype: str, identity: Identity, settings: Settings, tally: Tally
) -> None:
    checks.identity_holds(operator, dtype, settings, tally, identity=identity)
