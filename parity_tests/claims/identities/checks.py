"""Checks of identities: one identity of an operator, in one dtype."""

from __future__ import annotations

import pytest

from torch_loss_parity.claims.identities import Identity
from torch_loss_parity.claims.identities.judgement import Comparison, explain, verify_identity
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import Gap, Operator
from torch_loss_parity.subjects.declined import NotOffered, OutsideThePromise
from torch_loss_parity.subjects.settings import Settings

SHOWN = 2


def identity_holds(
    operator: Operator, dtype: str, settings: Settings, tally: Tally, *, identity: Identity
) -> None:
    """Both sides agree, as far as the rounding of both allows, for every variant of the inputs."""
    missing = [name for name in identity.needs if not settings.subject.offers(name)]
    if missing:
        pytest.skip(
            f"not offered: {settings.subject.name} has no {', '.join(missing)}, which the identity is "
            f"composed of"
        )
    failures = []
    inputs = None if isinstance(operator.identities, Gap) else operator.identities
    for variant in identity.variants(
        operator.name, dtype, settings.effort_name, settings.seed, settings.dtypes, inputs
    ):
        compared: list[Comparison] = []
        try:
            compared += verify_identity(
                identity, operator.name, dtype, variant, settings.subject, settings.device
            )
        except NotOffered as error:  # other variants have other options
            tally.decline(str(error))
        for comparison in compared:
            tally.add(comparison.finding)
            for entry in comparison.entries[1:]:
                tally.diverge(entry)
            if not comparison.finding.verdict.passes:
                failures.append(comparison)
    if not (tally.cases or tally.declined):
        raise OutsideThePromise("every variant of the identity")
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
        again = f"or with\n  python -m pytest '{node}' {options} --dtype {dtype}"
        raise AssertionError(
            f"{len(failures)} of {tally.cases} comparisons fail; the smallest:\n\n{shown}\n\n{again}"
        )
