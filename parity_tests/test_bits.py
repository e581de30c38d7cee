"""Bits: what leaves the bits of a result as they are, and what changes them, is as ``bit_invariances.toml`` records it.

What holds is tried on every size; of what does not, the recorded counterexample is tried again. So a change in either direction
shows. Subjects and environments without a part in the table only have to give the same bits for the same call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from parity_tests import bits
from parity_tests.bits import Row, size_of
from parity_tests.bits_families import CLAIMS, FAMILIES, INVARIANCES, PROBE, SIZES, Family, Size
from parity_tests.bits_measured import Measurement
from parity_tests.operators import Operator
from parity_tests.settings import Settings
from parity_tests.tally import Tally


def test_the_same_call_gives_the_same_bits(operator: Operator, dtype: str, knobs: Settings, findings: Tally) -> None:
    """Required of everyone, unless the table records that it does not hold."""
    recorded = bits.table().get(bits.environment(knobs.subject, knobs.device), {})
    sizes = _sizes("threads", knobs)
    for family in _families(operator):
        for size in sizes[:1] if recorded else sizes:  # where the table knows, the other test tries the rest
            broken = Measurement(knobs.subject, family, dtype, knobs.device).differences("threads", size)
            for claim in CLAIMS:
                known = dtype in recorded.get(family.name, {}).get(claim, {}).get("twice", {})
                how = "" if known else broken.get(("twice", claim), "")
                findings.count(not how)
                assert not how, (
                    f"the same call of {family.name} ({claim}, {dtype}) gives other bits: {how}. If that is how it is, record it: "
                    f"{bits.command(knobs.subject, knobs.device)}"
                )


def test_bits_change_where_the_table_says_so_and_nowhere_else(operator: Operator, dtype: str, knobs: Settings, findings: Tally) -> None:
    name = bits.environment(knobs.subject, knobs.device)
    recorded = bits.table().get(name)
    if recorded is None:
        pytest.skip(f"no part of {bits.PATH.name} is about {name}; record one: {bits.command(knobs.subject, knobs.device)}")
    changed: list[str] = []
    for family in _families(operator):
        if family.name not in recorded:
            changed.append(f'["{name}"."{family.name}"] is missing: {bits.command(knobs.subject, knobs.device)}')
            continue
        measurement = Measurement(knobs.subject, family, dtype, knobs.device)
        news = changes(measurement, recorded[family.name], {probe: _sizes(probe, knobs) for probe in SIZES})
        for _ in range(len(CLAIMS) * len(family.invariances) - len(news)):
            findings.count()
        for new in news:
            findings.count(False)
            changed.append(f'["{name}"."{family.name}"] {new}')
    assert not changed, f"bits are not as recorded; edit these rows of {bits.PATH.name}:\n" + "\n".join(changed)


def changes(measurement: Measurement, rows: Mapping[str, Row], sizes: Mapping[str, Sequence[Size]]) -> list[str]:
    """The rows that are to be edited, with what is so now.

    Parameters
    ----------
    rows : mapping
        Of each claim, from the table.
    sizes : mapping
        On which each probe tries what is recorded to hold.
    """
    found: dict[tuple[str, str, Size], str] = {}
    tried: dict[str, set[Size]] = {probe: set(sizes[probe]) for probe in sizes}
    known = {(claim, name): rows[claim].get(name, {}).get(measurement.dtype, "") for claim in CLAIMS for name in INVARIANCES}
    for (_, invariance), how in known.items():
        if how:
            tried[PROBE[invariance]].add(size_of(how))
    for probe in dict.fromkeys(PROBE[invariance] for invariance in measurement.family.invariances):
        for size in sorted(tried[probe]):
            for (invariance, claim), how in measurement.differences(probe, size).items():
                found[invariance, claim, size] = how
    news = []
    for (claim, invariance), how in known.items():
        row = f"{claim}.{invariance}.{measurement.dtype}"
        broken = [new for (name, of_claim, _), new in sorted(found.items()) if (name, of_claim) == (invariance, claim)]
        if how and (invariance, claim, size_of(how)) not in found:
            news.append(f"{row}: recorded is {how!r}, and that holds now")
        if not how and broken:
            news.append(f"{row}: recorded is that it holds, and it does not: {broken[0]!r}")
    return news


def _families(operator: Operator) -> list[Family]:
    return [family for family in FAMILIES if family.operator == operator.name]


def _sizes(probe: str, knobs: Settings) -> tuple[Size, ...]:
    """All of them; at quick effort few."""
    return SIZES[probe][:: len(SIZES[probe])] if knobs.effort_name == "quick" else SIZES[probe]
