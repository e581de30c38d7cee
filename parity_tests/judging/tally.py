"""What was run, counted by operator and dtype: no gap is silent, and a claim without a case fails.

A tally is filled by one test, travels as plain data in the test's report (from a worker of pytest-xdist too)
and is added up at the end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch_loss_parity.expectation.quantity import FORWARD
from torch_loss_parity.judging.explanations import Explanation
from torch_loss_parity.judging.finding import Finding
from torch_loss_parity.ledger.news import News
from torch_loss_parity.processes import watchdog
from torch_loss_parity.subjects.declined import OUTSIDE

SUMMARY = "parity-summary"  # the plugin that collects the tallies of a run
PROPERTY = "parity"  # the name under which a tally travels in a report's user properties


@dataclass
class Tally:
    """Findings of one operator and dtype, added up.

    ``claim`` is the kind of claim that the test checks, after its file: "forward", "layouts", ...
    ``declined`` counts what the subject says it does not offer, by what it says; ``ways`` what another way
    than the definition explains, by quantity, way and where that loses.
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
    causes: dict[str, dict[str, Any]] = field(default_factory=dict)
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
            self.blame(cause_of(finding), example, size=verdict.elements, worst=worst)
        if finding.way and finding.verdict.passes:
            sentence = sentence_of(finding.quantity, finding.way)
            self.ways[sentence] = self.ways.get(sentence, 0) + 1
        if finding.news:
            self.tell(finding.news)

    def count(self, passes: bool = True) -> None:
        """Count a case that is right or wrong, with nothing in between: a refusal, a bit, a kind."""
        self.cases += 1
        self.failed += not passes
        watchdog.feed()

    def blame(self, cause: str, example: str, *, size: int = 0, worst: float = 0.0) -> None:
        """Say why a case fails, in a few words that are the same for all that fail so.

        Parameters
        ----------
        example : str
            The case.
        size : int
            Its elements: of all examples the smallest is shown.
        worst : float
            Its error / allowed; 0 where that is not what is wrong.
        """
        _merge_cause(self.causes, cause, {"cases": 1, "example": example, "size": size, "worst": worst})

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
            _merge_cause(self.causes, cause, one)
        self.news += other["news"]


def _merge_cause(causes: dict[str, dict[str, Any]], cause: str, one: Mapping[str, Any]) -> None:
    known = causes.setdefault(cause, {**one, "cases": 0})
    known["cases"] += one["cases"]
    known["worst"] = max(known["worst"], one["worst"])
    if one["example"] and (not known["example"] or one["size"] < known["size"]):
        known["example"], known["size"] = one["example"], one["size"]


def cause_of(finding: Finding) -> str:
    """Why a finding fails: the same words for all that fail for the same reason, without their numbers."""
    what = "the result" if finding.quantity == FORWARD else f"the gradient of {finding.quantity}"
    what += f" {finding.mode}" if finding.mode else ""
    if finding.resembles:
        return f"{what} loses as {finding.resembles.name} does, in {finding.resembles.loses}"
    if finding.verdict.reason:
        return alike(finding.verdict.reason)
    return f"{what} is off"


def alike(message: str) -> str:
    """The first line of a message, numbers and shapes left out: two of the same cause read the same."""
    line = next(iter(message.strip().splitlines()), "")
    return re.sub(r"[-+]?\b\d[\w.]*(e[-+]?\d+)?|\bnan\b|\binf\b", "N", line)


def causes(properties: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], dict[str, dict[str, Any]]]:
    """Why cases fail, by kind of claim and operator."""
    summed: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for reported in properties:
        of_kind = summed.setdefault((reported["claim"], reported["operator"]), {})
        for cause, one in reported["causes"].items():
            _merge_cause(of_kind, cause, one)
    return {key: value for key, value in summed.items() if value}


@dataclass(frozen=True)
class Shortage:
    """A kind of claim of which too few cases were answered to mean anything: fewer than half of those that
    were asked inside the promise."""

    kind: str
    operator: str
    dtype: str
    cases: int
    declined: int

    def __str__(self) -> str:
        number = f"{self.cases} of {self.cases + self.declined} cases"
        return f"{self.kind} of {self.operator}, {self.dtype}: {number}"


def shortages(
    properties: Iterable[Mapping[str, Any]], excludes: Callable[[str], bool]
) -> tuple[list[Shortage], list[tuple[str, str]]]:
    """The kinds of claim of which too few cases were answered, by operator and dtype; and those that lie
    outside the promise as a whole, by operator.

    Parameters
    ----------
    excludes : callable
        Whether a reason for which a case was declined is that it lies outside the promise.
    """
    counted: dict[tuple[str, str, str], list[int]] = {}
    for reported in properties:
        cell = counted.setdefault((reported["claim"], reported["operator"], reported["dtype"]), [0, 0])
        cell[0] += reported["cases"]
        cell[1] += sum(n for reason, n in reported["declined"].items() if not excludes(reason))
    short = [
        Shortage(*key, cases, declined) for key, (cases, declined) in counted.items() if declined > cases
    ]
    of_operator: dict[tuple[str, str], int] = {}
    for (kind, operator, _), (cases, declined) in counted.items():
        of_operator[kind, operator] = of_operator.get((kind, operator), 0) + cases + declined
    return short, [key for key, number in of_operator.items() if not number]


def sentence_of(quantity: str, way: Explanation) -> str:
    """The quantity, the way that explains it, its grade, and where it loses."""
    loses = f"; loses in {way.loses}" if way.loses else ""
    return f"{quantity}: {way.name} ({way.grade}){loses}"


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
    known += f"; {sum(tally.ways.values())} by a textbook way" if tally.ways else ""
    return f"pass{known}; {declined} not offered" if declined else f"pass{known}"
