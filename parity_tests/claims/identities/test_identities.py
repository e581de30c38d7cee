"""Identities that need no reference: what must agree agrees, as far as the rounding of both sides allows.

Both sides are computed by the subject. The records are in `torch_loss_parity.claims.identities`, the bound in
its ``judgement``.
"""

from __future__ import annotations

import pytest

from torch_loss_parity.claims.identities import Identity, identities
from torch_loss_parity.claims.identities.judgement import explain, verify_identity
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import OPERATORS, Gap, Operator
from torch_loss_parity.settings import Settings

SHOWN = 2


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each identity, operator and dtype, called "operator, dtype: identity"; at quick effort the
    dtypes in turn.
    """
    if metafunc.function is not test_identity:
        return
    dtypes = [dtype.strip() for dtype in metafunc.config.getoption("dtype").split(",")]
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
    missing = [name for name in identity.needs if not settings.subject.offers(name)]
    if missing:
        pytest.skip(
            f"not offered: {settings.subject.name} has no {', '.join(missing)}, which the identity is "
            f"composed of"
        )
    failures = []
    for variant in identity.variants(
        operator.name, dtype, settings.effort_name, settings.seed, settings.dtypes
    ):
        for comparison in verify_identity(
            identity, operator.name, dtype, variant, settings.subject, settings.device
        ):
            tally.add(comparison.finding)
            for entry in comparison.entries[1:]:
                tally.diverge(entry)
            if not comparison.finding.verdict.passes:
                failures.append(comparison)
    if failures:
        failures.sort(key=lambda comparison: comparison.finding.verdict.elements)
        shown = "\n\n".join(
            explain(comparison, identity, settings.subject, settings.device)
            for comparison in failures[:SHOWN]
        )
        node = (
            f"parity_tests/claims/identities/test_identities.py::test_identity[{operator.name}, {dtype}: "
            f"{identity.name}]"
        )
        options = (
            f"--subject {settings.subject.name} --device {settings.device} --effort {settings.effort_name} "
            f"--seed {settings.seed}"
        )
        again = f"reproduce with\n  python -m pytest '{node}' {options} --dtype {dtype}"
        raise AssertionError(
            f"{len(failures)} of {tally.cases} comparisons fail; the smallest:\n\n{shown}\n\n{again}"
        )
