"""Checks of bits: what the table of bit invariances records of an operator, in one dtype."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from torch_loss_parity.cases.case import Call
from torch_loss_parity.claims.bits import bits
from torch_loss_parity.claims.bits.bits import Row, size_of
from torch_loss_parity.claims.bits.calls import (
    INVARIANCES,
    PROBE,
    QUANTITIES,
    SIZES,
    Family,
    Size,
    families_of,
)
from torch_loss_parity.claims.bits.measure import Measurement
from torch_loss_parity.judging import reproduction
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.ledger.environment import here
from torch_loss_parity.ledger.news import News
from torch_loss_parity.operators import Gap, Operator
from torch_loss_parity.subjects.settings import Settings


def the_same_call_gives_the_same_bits(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    """Required of everyone, unless the table records that it does not hold."""
    part = bits.nearest(settings.subject, settings.device)
    recorded = part.families if part else {}
    sizes = _sizes("threads", settings)
    for family in _families(operator):
        for size in sizes[:1] if recorded else sizes:  # where the table knows, the other test tries the rest
            broken = Measurement(settings.subject, family, dtype, settings.device).differences(
                "threads", size
            )
            for quantity in QUANTITIES:
                known = dtype in recorded.get(family.name, {}).get(quantity, {}).get("twice", {})
                how = "" if known else broken.get(("twice", quantity), "")
                tally.count(not how)
                assert not how, (
                    f"the same call of {family.name} ({quantity}, {dtype}) gives other bits: {how}. If that "
                    f"is how it is, record it: "
                    f"{bits.command(settings.subject, settings.device)}\n"
                    f"{script_of(family, size_of(how), dtype, settings)}"
                )


def bits_change_where_the_table_says_so_and_nowhere_else(
    operator: Operator, dtype: str, settings: Settings, tally: Tally
) -> None:
    """What is otherwise is news, whether the table has a part for this environment or is compared with the
    nearest.
    """
    part, subject = bits.nearest(settings.subject, settings.device), settings.subject
    if part is None:
        nothing = f"{bits.PATH.name} records no bits of {subject.name} on {settings.device.split(':')[0]}"
        text = f"{nothing}; to record them: {bits.command(subject, settings.device)}"
        if subject.name in ("torch", "torch.nn"):
            tally.tell(News("bits", subject.name, "", text))
        pytest.skip(text)
    unlike = here(settings.device).unlike(part.environment)
    where = f"recorded with {unlike}" if unlike else "recorded in this very environment"
    for family in _families(operator):
        tally.count()
        if family.name not in part.families:
            text = f"{family.name} is not recorded ({where}): {bits.command(subject, settings.device)}"
            tally.tell(News("bits", family.name, dtype, text))  # nothing was recorded that could be otherwise
            continue
        measurement = Measurement(subject, family, dtype, settings.device)
        changed = changes(
            measurement, part.families[family.name], {probe: _sizes(probe, settings) for probe in SIZES}
        )
        for _ in range(len(QUANTITIES) * len(family.invariances) - 1):
            tally.count()
        for row, text in changed.items():
            quantity, invariance, _ = row.split(".")
            if invariance == "twice" and dtype not in part.families[family.name][quantity].get("twice", {}):
                tally.count(False)
                size = size_of(text.split("'")[1]) if "'" in text else _sizes("threads", settings)[0]
                script = script_of(family, size, dtype, settings)
                message = f"the same call of {family.name} ({row}) gives other bits: {text}\n{script}"
                pytest.fail(message, pytrace=False)
            tally.tell(News("bits", family.name, row, f"{family.name}, {row}: {text} ({where})", not unlike))


def changes(
    measurement: Measurement, rows: Mapping[str, Row], sizes: Mapping[str, Sequence[Size]]
) -> dict[str, str]:
    """What is otherwise than recorded: of each row of the table, what is so now.

    Parameters
    ----------
    rows : mapping
        Of each quantity, from the table.
    sizes : mapping
        On which each probe tries what is recorded to hold.
    """
    differences: dict[tuple[str, str, Size], str] = {}
    tried: dict[str, set[Size]] = {probe: set(sizes[probe]) for probe in sizes}
    known = {
        (quantity, name): rows[quantity].get(name, {}).get(measurement.dtype, "")
        for quantity in QUANTITIES
        for name in INVARIANCES
    }
    for (_, invariance), how in known.items():
        if how:
            tried[PROBE[invariance]].add(size_of(how))
    for probe in dict.fromkeys(PROBE[invariance] for invariance in measurement.family.invariances):
        for size in sorted(tried[probe]):
            for (invariance, quantity), how in measurement.differences(probe, size).items():
                differences[invariance, quantity, size] = how
    changed = {}
    for (quantity, invariance), how in known.items():
        row = f"{quantity}.{invariance}.{measurement.dtype}"
        broken = [
            new
            for (name, of_quantity, _), new in sorted(differences.items())
            if (name, of_quantity) == (invariance, quantity)
        ]
        if how and (invariance, quantity, size_of(how)) not in differences:
            changed[row] = f"the bits are the same here; recorded is that they change: {how!r}"
        if not how and broken:
            changed[row] = f"the bits change here: {broken[0]!r}; recorded is that they are the same"
    return changed


def script_of(family: Family, size: Size, dtype: str, settings: Settings) -> str:
    """A script that makes the same call again and again, with one thread and with two, and compares bits."""
    drawn, operator = family.draw(size), family.operator.name
    call = Call(operator, {k: v for k, v in drawn.items() if k != "grad_output"}, dtype, dtype)
    call = settings.subject.given(call)
    arrays = {
        name: (value, dtype if value.dtype.kind == "f" else str(value.dtype)) for name, value in drawn.items()
    }
    promised = settings.subject.promise.differentiated(operator, family.differentiable)
    gradients = f", *torch.autograd.grad(output, [{', '.join(promised)}], grad_output)" if promised else ""
    options = "".join(f", {name}={value!r}" for name, value in family.calls.options.items())
    body = [
        *reproduction.requiring(promised),
        "def run():",
        f"    output = subject.{operator}({reproduction.passed(call)}{options})",
        f"    results = [output{gradients}]",
        "    return [result.detach().contiguous().view(-1).view(torch.uint8) for result in results]",
        "for threads in (1, 2):",
        "    torch.set_num_threads(threads)",
        "    first, again = run(), [run() for _ in range(40)]",
        "    same = all(torch.equal(a, b) for each in again for a, b in zip(first, each))",
        "    print(threads, 'threads: the same bits' if same else 'threads: OTHER BITS')",
    ]
    text = reproduction.written(settings.subject.import_of(operator), arrays, settings.device, body)
    return "\n".join(reproduction.shown(text, operator))


def _families(operator: Operator) -> tuple[Family, ...]:
    if isinstance(operator.bits, Gap):
        pytest.skip(f"no bits of {operator.name} are compared: {operator.bits.why}")
    return families_of(operator)


def _sizes(probe: str, settings: Settings) -> tuple[Size, ...]:
    """All of them; at quick effort few."""
    return SIZES[probe][:: len(SIZES[probe])] if settings.effort_name == "quick" else SIZES[probe]
