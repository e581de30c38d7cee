"""What was run, counted by operator and dtype: no gap is silent, and a claim without a case fails.

A tally is filled by one test, travels as plain data in the test's report (from a worker of pytest-xdist too)
and is added up at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch_loss_parity.expectation.quantity import FORWARD
from torch_loss_parity.judging.causes import Cause, cause_of, merge_cause
from torch_loss_parity.judging.finding import Finding
from torch_loss_parity.judging.shortage import shortages
from torch_loss_parity.ledger.news import News
from torch_loss_parity.processes import watchdog
from torch_loss_parity.reference.ways import GRADES
from torch_loss_parity.subjects.declined import OUTSIDE

SUMMARY = "parity-summary"  # the plugin that collects the tallies of a run
PROPERTY = "parity"  # the name under which a tally travels in a report's user properties
LEFT_OPEN = "left open"
BY = {grade: f"by a {grade} way" for grade in GRADES} | {LEFT_OPEN: "by another meaning"}


@dataclass
class Tally:
    """Findings of one operator and dtype, added up.

    ``claim`` is the kind of claim that the test checks, after its file: "forward", "layouts", ...
    ``declined`` counts what the subject says it does not offer, by what it says; ``ways`` what another way
    than the definition explains, by quantity, way and where that loses. ``grades`` counts these by grade.
    """

    operator: str
    dtype: str
    claim: str = ""
    cases: int = 0
    worst: dict[str, float] = field(default_factory=dict)
    undecided: int = 0
    failed: int = 0
    diverged: dict[str, int] = field(default_factory=dict)
    declined: dict[str, int] = field(default_factory=dict)
    ways: dict[str, int] = field(default_factory=dict)
    causes: dict[str, Cause] = field(default_factory=dict)
    grades: dict[str, int] = field(default_factory=dict)
    news: list[dict[str, Any]] = field(default_factory=list)

    def add(self, finding: Finding) -> None:
        """Count one finding; its fraction is that of the bound that decides, the ledger's where the strict
        one is broken.
        """
        if finding.declined:
            self.decline(finding.declined)
            return
        verdict = finding.verdict
        self.count(verdict.passes)
        self.undecided += verdict.undecided
        kind = FORWARD if finding.quantity == FORWARD else "gradient"
        self.worst[kind] = max(self.worst.get(kind, 0.0), verdict.fraction)
        if finding.divergence:
            self.diverge(finding.divergence)
        if not verdict.passes:
            example = str(finding.case) if finding.case else ""
            worst = 0.0 if verdict.reason or finding.resembles else verdict.fraction
            cause, mode = cause_of(finding), finding.mode
            mode = "" if mode in cause else mode
            self.blame(cause, example, size=verdict.elements, worst=worst, mode=mode)
        if finding.verdict.passes and (kind := kind_of(finding)):
            sentence = sentence_of(finding)
            self.ways[sentence] = self.ways.get(sentence, 0) + 1
            self.grades[kind] = self.grades.get(kind, 0) + 1
        if finding.news:
            self.tell(finding.news)

    def count(self, passes: bool = True) -> None:
        """Count a case that is right or wrong, with nothing in between: a refusal, a bit, a kind."""
        self.cases += 1
        self.failed += not passes
        watchdog.feed()

    def blame(self, cause: str, example: str, *, size: int = 0, worst: float = 0.0, mode: str = "") -> None:
        """Say why a case fails, in a few words that are the same for all that fail so.

        Parameters
        ----------
        example : str
            The case.
        size : int
            Its elements: of all examples the smallest is shown.
        worst : float
            Its error / allowed; 0 where that is not what is wrong.
        mode : str
            The mode it was called in, where the cause does not name it.
        """
        one = {"cases": 1, "example": example, "size": size, "worst": worst, "mode": mode}
        merge_cause(self.causes, cause, one)

    def diverge(self, entry: str) -> None:
        """Count a case that the ledger's ``entry`` explains."""
        self.diverged[entry] = self.diverged.get(entry, 0) + 1

    def decline(self, reason: str) -> None:
        """Count a case that the subject does not offer."""
        self.declined[reason] = self.declined.get(reason, 0) + 1
        watchdog.feed()

    def tell(self, news: News) -> None:
        """Keep what is otherwise than recorded, to be told at the end of the run."""
        self.news.append(news.as_dict())

    def empty(self) -> Tally:
        """A tally of the same claim, operator and dtype that has counted nothing."""
        return Tally(self.operator, self.dtype, self.claim)

    def copy(self) -> Tally:
        """What is counted so far."""
        counted = self.empty()
        counted.merge(self.as_property())
        return counted

    def as_property(self) -> dict[str, Any]:
        return dict(vars(self))

    def merge(self, other: Mapping[str, Any]) -> None:
        self.cases += other["cases"]
        self.undecided += other["undecided"]
        self.failed += other["failed"]
        for kind, fraction in other["worst"].items():
            self.worst[kind] = max(self.worst.get(kind, 0.0), fraction)
        for entry, count in other["diverged"].items():
            self.diverged[entry] = self.diverged.get(entry, 0) + count
        for reason, count in other["declined"].items():
            self.declined[reason] = self.declined.get(reason, 0) + count
        for way, count in other["ways"].items():
            self.ways[way] = self.ways.get(way, 0) + count
        for cause, one in other["causes"].items():
            merge_cause(self.causes, cause, one)
        for grade, count in other["grades"].items():
            self.grades[grade] = self.grades.get(grade, 0) + count
        self.news += other["news"]


def kind_of(finding: Finding) -> str:
    """The grade of the way that explains it, `LEFT_OPEN`, or empty where it is right by the definition."""
    return LEFT_OPEN if finding.meaning else finding.way.grade if finding.way else ""


def sentence_of(finding: Finding) -> str:
    """The quantity, the way that explains it, its grade, and where it loses; or the meaning that is right
    besides the definition's.
    """
    if finding.meaning or finding.way is None:
        return f"{finding.quantity}: {finding.meaning}; the documentation leaves it open"
    return f"{finding.quantity}: {finding.way.described}"


def by_ways(properties: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """How many cases of each operator another way than the definition explains, by `sentence_of`."""
    counted: dict[str, dict[str, int]] = {}
    for reported in properties:
        for sentence, count in reported["ways"].items():
            of_operator = counted.setdefault(reported["operator"], {})
            of_operator[sentence] = of_operator.get(sentence, 0) + count
    return counted


@dataclass(frozen=True)
class Row:
    """A line of the table at the end of a run."""

    operator: str
    dtype: str
    cases: int
    forward: float | None
    gradient: float | None
    undecided: int
    verdict: str


def claim_of(nodeid: str) -> str:
    """The kind of claim that a test file checks, after its name."""
    return Path(nodeid.partition("::")[0]).stem.removeprefix("test_").replace("_", " ")


def by_operator(
    counted: Mapping[tuple[str, str], Mapping[str, int]], operators: Iterable[str], dtypes: Sequence[str]
) -> dict[str, Any]:
    """What `coverage` counted, as ``--counts`` and ``--outcome`` write it."""
    return {
        name: {dtype: dict(counted[name, dtype]) for dtype in dtypes if (name, dtype) in counted}
        for name in operators
    }


def coverage(properties: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], dict[str, int]]:
    """The number of cases of each (operator, dtype) and claim; 0 where a test ran none, -1 where the subject
    offers nothing of it.
    """
    counted: dict[tuple[str, str], dict[str, int]] = {}
    for reported in properties:
        cell = counted.setdefault((reported["operator"], reported["dtype"]), {})
        before, cases = cell.get(reported["claim"]), reported["cases"]
        nothing = not cases and reported["declined"]
        cell[reported["claim"]] = (
            (-1 if before is None else before) if nothing else max(before or 0, 0) + cases
        )
    return counted


def not_offered(properties: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many cases were not offered, by what the subject says."""
    counted: dict[str, int] = {}
    for reported in properties:
        for reason, count in reported["declined"].items():
            counted[reason] = counted.get(reason, 0) + count
    return counted


def rows(
    properties: Iterable[Mapping[str, Any]],
    order: Iterable[str],
    dtypes: Iterable[str],
    excludes: Callable[[str], bool] = lambda reason: False,
) -> list[Row]:
    """Add up what tests reported, in the order of operators and dtypes.

    Parameters
    ----------
    excludes : callable
        Whether a reason for which a case was declined is that it lies outside the promise.
    """
    properties = list(properties)
    short: dict[tuple[str, str], list[str]] = {}
    for shortage in shortages(properties, excludes)[0]:
        short.setdefault((shortage.operator, shortage.dtype), []).append(shortage.kind)
    tallies: dict[tuple[str, str], Tally] = {}
    for reported in properties:
        key = (reported["operator"], reported["dtype"])
        tallies.setdefault(key, Tally(*key)).merge(reported)
    table = []
    for operator in order:
        for dtype in dtypes:
            tally = tallies.get((operator, dtype))
            if tally is not None:
                table.append(
                    Row(
                        operator,
                        dtype,
                        tally.cases,
                        tally.worst.get(FORWARD),
                        tally.worst.get("gradient"),
                        tally.undecided,
                        _verdict(tally, short.get((operator, dtype), []), excludes),
                    )
                )
    return table


def _verdict(tally: Tally, short: Sequence[str], excludes: Callable[[str], bool]) -> str:
    if tally.failed:
        return f"FAIL ({tally.failed} of {tally.cases})"
    if tally.declined and not tally.cases:
        return "outside the promise" if all(OUTSIDE in each for each in tally.declined) else "not offered"
    if short:
        return f"too little tested: {', '.join(short)}"
    if not tally.cases:
        return "FAIL (nothing was run)"
    diverged = sum(tally.diverged.values())
    declined = sum(number for reason, number in tally.declined.items() if not excludes(reason))
    known = f"; {diverged} known to diverge" if diverged else ""
    known += "".join(f"; {tally.grades[kind]} {by}" for kind, by in BY.items() if kind in tally.grades)
    return f"pass{known}; {declined} not offered" if declined else f"pass{known}"
