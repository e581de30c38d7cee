"""What a person reads at the end of a run: the table, and the coverage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch_loss_parity.judging.failure_message import under as _under
from torch_loss_parity.judging.tally import Row
from torch_loss_parity.reference.arithmetic.profiles import DEFAULT, Profile


def of_profile(profile: Profile) -> list[str]:
    """What is to be said of a profile; nothing of the default one."""
    if profile == DEFAULT:
        return []
    said = [f"judged under profile {profile.name}: {profile.allows} ({profile.source})"]
    return said + ([f"profile {profile.remark}"] if profile.remark else [])


def table(rows: Iterable[Row], profile: Profile = DEFAULT) -> list[str]:
    """The table at the end of a run: operator x dtype, with the cases run, the worst error / allowed and the
    verdict, under which profile if not the default one.
    """
    header = (
        f"{'operator':<34}{'dtype':<10}{'cases':>7}{'forward':>9}{'gradient':>9}{'undecided':>10}  verdict"
    )
    lines, under = [header, "-" * len(header)], _under(profile, ",")
    for row in rows:
        fractions = f"{_fraction(row.forward):>9}{_fraction(row.gradient):>9}"
        lines.append(
            f"{row.operator:<34}{row.dtype:<10}{row.cases:>7}{fractions}{row.undecided or '':>10}  "
            f"{row.verdict}{under}"
        )
    return lines


def coverage_table(
    counted: Mapping[tuple[str, str], Mapping[str, int]], operators: Iterable[str], dtypes: Sequence[str]
) -> list[str]:
    """Cases of each claim (a column) by operator and dtype (a row); "-" where the subject does not offer the
    operator.
    """
    claims = sorted({claim for cell in counted.values() for claim in cell})
    header = (
        f"{'operator':<34}{'dtype':<10}"
        + "".join(f"{claim:>{max(len(claim) + 1, 8)}}" for claim in claims)
        + f"{'all':>8}"
    )
    lines = [header, "-" * len(header)]
    totals = dict.fromkeys(claims, 0)
    for key in ((operator, dtype) for operator in operators for dtype in dtypes):
        if key not in counted:
            continue
        cell = counted[key]
        numbers = "".join(f"{_count(cell.get(claim)):>{max(len(claim) + 1, 8)}}" for claim in claims)
        lines.append(f"{key[0]:<34}{key[1]:<10}{numbers}{sum(max(n, 0) for n in cell.values()):>8}")
        for claim, number in cell.items():
            totals[claim] += max(number, 0)
    summed = "".join(f"{totals[claim]:>{max(len(claim) + 1, 8)}}" for claim in claims)
    return [*lines, f"{'all':<44}{summed}{sum(totals.values()):>8}"]


def _count(number: int | None) -> str:
    return "" if number is None else "-" if number < 0 else str(number)


def _fraction(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}" if value < 1000 else f"{value:.2g}"
