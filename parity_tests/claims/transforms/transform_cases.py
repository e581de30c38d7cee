"""Cases under a transform, where an exception is a finding too: the ledger may know it as a shortfall, or the
subject not offer it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.judging.failure_message import explain
from torch_loss_parity.judging.finding import Finding, reproduction_of
from torch_loss_parity.judging.run_cases import SHOWN, Verify, findings_of
from torch_loss_parity.judging.sentence import Sentence
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import OPERATORS, Operator
from torch_loss_parity.subjects.declined import reason_of
from torch_loss_parity.subjects.run_subject import WrongResult
from torch_loss_parity.subjects.settings import Settings

CLAIM = "transforms"


@dataclass(frozen=True)
class Attempt:
    """A case under a transform; ``sentence`` is what the ledger knows it by where it raises."""

    sentence: str
    case: Case
    verify: Verify

    def __str__(self) -> str:
        return self.sentence

    def call(self, operator: Operator, dtype: str) -> Call:
        """The call of the case, which the transform is applied to."""
        return self.case.call(operator, dtype)

    def expects(self, operator: Operator, dtype: str) -> Call:
        """The same call: each part of what is computed at once is as right as a plain one."""
        return self.case.expects(operator, dtype)


def check_attempts(attempts: Iterable[Attempt], settings: Settings, tally: Tally) -> None:
    """Judge every attempt and fail with all that is wrong.

    An exception is a failure that the ledger may explain as a shortfall; one that it explains and that does
    not occur is news. What the subject says it does not offer is counted.
    """
    failures = []
    for attempt in attempts:
        case, operator = attempt.case, OPERATORS[attempt.case.operator]
        sentence = Sentence.of(attempt, case.dtype, claim=CLAIM, operator=case.operator, settings=settings)
        try:
            findings = findings_of(case, attempt.verify, settings, tally)
        except Exception as error:
            if settings.subject.declines(error):
                tally.decline(reason_of(error))
                continue
            raised = f"{type(error).__name__}: {error}"
            sentence.count(raised, tally)
            if sentence.shortfall is not None:
                tally.count()
                continue
            how = reproduction_of(error)
            call = how.pop("call", attempt.call(operator, case.dtype))
            finding = Finding.of_failure(case, call, _reason(attempt, error, how.get("mode", "")), **how)
            tally.add(finding)
            failures.append(explain(finding, settings.subject, settings.device))
            continue
        sentence.count("", tally)
        failures += [
            explain(finding, settings.subject, settings.device)
            for finding in findings
            if not finding.verdict.passes
        ]
    assert tally.cases or tally.declined, "no case was run"
    if failures:
        raise AssertionError(
            f"{len(failures)} of {tally.cases} cases fail:\n\n" + "\n\n".join(failures[:SHOWN])
        )


def _reason(attempt: Attempt, error: Exception, mode: str) -> str:
    """Why an attempt gives nothing to compare: the transform, unless the mode names it, without the case, of
    which a message says more.
    """
    transform = "" if mode else attempt.sentence.removesuffix(str(attempt.case)).rstrip(": ")
    said = str(error) if isinstance(error, WrongResult) else f"it raises {type(error).__name__}: {error}"
    return f"{transform}: {said}" if transform else said
