"""Many cases of one claim, run and judged: they fail with all that was found, the smallest first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from zlib import crc32

from torch_loss_parity.cases.case import Case
from torch_loss_parity.judging.causes import cause_of
from torch_loss_parity.judging.failure_message import explain
from torch_loss_parity.judging.finding import Finding, recorded, reproduction_of
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import OPERATORS, Operator
from torch_loss_parity.operators.sampling import for_each_random_case, random_cases, share
from torch_loss_parity.processes import watchdog
from torch_loss_parity.subjects.declined import NotOffered
from torch_loss_parity.subjects.run_subject import WrongResult
from torch_loss_parity.subjects.settings import Settings

Verify = Callable[..., Iterable[Finding]]
CERTIFY_ONE_IN = 32  # of the passing cases, so that the float64 evaluation is itself watched
SHOWN = 6  # causes, each with its smallest case


def check_cases(cases: Iterable[Case], verify: Verify, settings: Settings, tally: Tally) -> None:
    """Judge every case, count it, and fail if any fails; zero cases fail too."""
    failures: list[Finding] = []
    for case in cases:
        failures += [
            finding for finding in judge_case(case, verify, settings, tally) if not finding.verdict.passes
        ]
    assert tally.cases or tally.declined, "no case was run"
    if failures:
        failures.sort(key=lambda finding: finding.verdict.elements)
        smallest: dict[str, Finding] = {}
        for finding in failures:
            smallest.setdefault(cause_of(finding), finding)
        shown = "\n\n".join(
            explain(finding, settings.subject, settings.device) for finding in list(smallest.values())[:SHOWN]
        )
        raise AssertionError(
            f"{len(failures)} of {tally.cases} cases fail; the smallest of each cause:\n\n{shown}"
        )


def judge_case(case: Case, verify: Verify, settings: Settings, tally: Tally) -> list[Finding]:
    """The findings of a case, counted; that the subject raises, or does not offer it, is one too."""
    try:
        return findings_of(case, verify, settings, tally)
    except NotOffered as error:
        finding = Finding.of_declined(case, OPERATORS[case.operator].call(case), str(error))
    except WrongResult as error:
        call, reason = OPERATORS[case.operator].call(case), str(error)
        known = recorded(settings.subject, case, call, settings.device, reason)
        how = reproduction_of(error)
        finding = known or Finding.of_failure(case, how.pop("call", call), reason, **how)
    tally.add(finding)
    return [finding]


def findings_of(case: Case, verify: Verify, settings: Settings, tally: Tally) -> list[Finding]:
    watchdog.doing(str(case))
    certify = crc32(str(case).encode()) % CERTIFY_ONE_IN == 0
    findings = list(verify(settings.subject, case, settings.device, certify=certify))
    for finding in findings:
        tally.add(finding)
    return findings


def check_case(case: Case, verify: Verify, settings: Settings, tally: Tally) -> None:
    """Judge one case and fail if it fails."""
    for finding in judge_case(case, verify, settings, tally):
        if not finding.verdict.passes:
            raise AssertionError(explain(finding, settings.subject, settings.device))


def check_random_cases(
    operator: Operator,
    dtype: str,
    verify: Verify,
    settings: Settings,
    tally: Tally,
    *,
    name: str,
    one_in: int = 1,
    longest: int | None = None,
) -> None:
    """Judge random cases that follow from the seed and ``name``, and fail with the smallest that fails.

    There is one for ``one_in`` of those that the effort asks for, with rows of at most ``longest``.
    """

    failing: list[Tally] = []  # of the case that fails, and of the smaller ones that it shrinks to

    def check(case: Case) -> None:
        own = tally.empty()
        try:
            check_case(case, verify, settings, own)
        except BaseException:
            failing.append(own)
            raise
        if not failing:
            tally.merge(own.as_property())

    numbers = range(-(-settings.effort.random_cases // one_in))
    try:
        for_each_random_case(
            random_cases(operator, dtype, min(settings.effort.longest, longest or settings.effort.longest)),
            check,
            examples=len(share(operator, numbers, dtype, settings.dtypes, settings.seed, settings.effort)),
            base_seed=settings.seed,
            name=f"{name} {operator.name} {dtype}",
            shrink=not settings.subject.is_elsewhere,
        )
    finally:
        if failing:  # however many smaller ones were tried, it is one case, told by the last that failed
            tally.merge(failing[-1].as_property())
