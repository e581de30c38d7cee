"""What a person reads at the end of a run: the table, and the coverage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, product
from operator import itemgetter

from torch_loss_parity.judging.failure_message import under as _under
from torch_loss_parity.judging.tally import Row
from torch_loss_parity.judging.wrapping import wrapped
from torch_loss_parity.reference.arithmetic.profiles import DEFAULT, Profile

NAME = 10  # columns of a dtype
SHORT: Mapping[str, str] = {
    "gradients": "grads",
    "identities": "ident",
    "sample inputs": "sample",
    "semantics": "seman",
    "transforms": "trans",
}


def of_profile(profile: Profile) -> list[str]:
    """What is to be said of a profile; nothing of the default one."""
    if profile == DEFAULT:
        return []
    said = [f"judged under profile {profile.name}: {profile.allows} ({profile.source})"]
    return said + ([f"profile {profile.remark}"] if profile.remark else [])


def table(rows: Iterable[Row], profile: Profile = DEFAULT) -> list[str]:
    """The table at the end of a run: below each operator its dtypes, with the cases run, the worst
    error / allowed and the verdict, under which profile if not the default one.
    """
    header = f"{'operator':<{NAME}}{'cases':>7}{'forward':>9}{'gradient':>9}{'undecided':>10}  verdict"
    lines, under, operator = [header, "-" * len(header)], _under(profile, ","), ""
    for row in rows:
        lines += [] if row.operator == operator else [row.operator]
        operator = row.operator
        fractions = f"{_fraction(row.forward):>9}{_fraction(row.gradient):>9}"
        numbers = f"  {row.dtype:<{NAME - 2}}{row.cases:>7}{fractions}{row.undecided or '':>10}"
        lines += wrapped(f"{numbers}  {row.verdict}{under}", len(numbers) + 2)
    return lines


def coverage_table(
    counted: Mapping[tuple[str, str], Mapping[str, int]], operators: Iterable[str], dtypes: Sequence[str]
) -> list[str]:
    """Cases of each claim (a column) by operator and dtype (a row below its operator); "-" where the subject
    does not offer the operator.
    """
    shown = [key for key in product(operators, dtypes) if key in counted]
    claims = sorted({claim for cell in counted.values() for claim in cell})
    totals = {claim: sum(max(counted[key].get(claim, 0), 0) for key in shown) for claim in claims}
    widths = [1 + max(len(_short(claim)), len(str(totals[claim]))) for claim in claims]
    widths.append(1 + max(len("all"), len(str(sum(totals.values())))))
    names = (f"{name:>{width}}" for name, width in zip([*map(_short, claims), "all"], widths, strict=True))
    header = f"{'operator':<{NAME}}{''.join(names)}"
    lines = [header, "-" * len(header)]
    for operator, keys in groupby(shown, key=itemgetter(0)):
        cells = ((dtype, counted[operator, dtype]) for _, dtype in keys)
        lines += [operator, *(_counts(f"  {dtype}", claims, widths, cell) for dtype, cell in cells)]
    return [*lines, _counts("all", claims, widths, totals)]


def of_claims(claims: Iterable[str], cells: Mapping[str, object] | None = None) -> str:
    """A line of numbers, a column for each claim, as wide as its head; that of the heads without numbers."""
    heads = {claim: f"{_short(claim):>{1 + max(len(_short(claim)), 5)}}" for claim in claims}
    if cells is None:
        return "".join(heads.values())
    return "".join(f"{cells.get(claim, '')!s:>{len(head)}}" for claim, head in heads.items())


def _short(claim: str) -> str:
    """The name of a claim in the head of a narrow column."""
    return SHORT.get(claim, claim)


def _counts(name: str, claims: Sequence[str], widths: Sequence[int], cell: Mapping[str, int]) -> str:
    numbers = [*(_count(cell.get(claim)) for claim in claims), str(sum(max(n, 0) for n in cell.values()))]
    cells = (f"{number:>{width}}" for number, width in zip(numbers, widths, strict=True))
    return f"{name:<{NAME}}{''.join(cells)}"


def _count(number: int | None) -> str:
    return "" if number is None else "-" if number < 0 else str(number)


def _fraction(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}" if value < 1000 else f"{value:.2g}"
