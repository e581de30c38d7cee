"""The verdict of a run on one screen: four lines, the grade, what was tested, and one line a cause.

It is of at most 80 columns. A kernel is right in its numbers, its meaning, its refusals and its conduct, each
by itself: who ships one that refuses with another exception than torch knows that its numbers are right.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch_loss_parity.judging import causes, shortage, tally
from torch_loss_parity.judging.causes import Cause
from torch_loss_parity.operators.kinds import AREAS, area_of
from torch_loss_parity.reference.ways import GRADES
from torch_loss_parity.reports import formatting
from torch_loss_parity.subjects.declined import LIMITS, UNSEEN, missing_in

COLUMNS = 80
SHOWN = 12  # kinds of claim that lack cases
CAUSES = 10
KeyOfCause = tuple[str, str]  # the part of the verdict, and the cause
Line = tuple[str, Mapping[str, bool]]
PASSED, FAILED, TOO_LITTLE = "pass", "FAIL", "TOO LITTLE TESTED"


@dataclass(frozen=True)
class Failure:
    """A test that failed, and what its message begins with."""

    kind: str
    operator: str
    message: str
    explained: bool  # by the causes that it counted
    counted: bool = False  # in a tally; otherwise it is one case that fails
    case: str = ""  # that a line of its message names

    @property
    def cause(self) -> tuple[str, Cause]:
        """Why it fails where it counted no cause: what its message says, of the case that it names first."""
        said, case = causes.apart_from_its_case(self.message)
        example = case or self.case or self.message
        return causes.alike(said), {"cases": 1, "example": example, "size": 0, "worst": 0.0, "mode": ""}


@dataclass(frozen=True)
class PartOfVerdict:
    """One of the four parts: its word, its cases, how many of them fail, and the worst error / allowed."""

    word: str
    cases: int
    failed: int
    worst: float | None


@dataclass(frozen=True)
class Screen:
    """What the verdict is made of.

    Attributes
    ----------
    title : str
        What was tested: subject, device, effort, seed.
    tallies : sequence of mapping
        What tests counted.
    failures : sequence of Failure
    promised : str
        What the subject promises; empty where that is everything.
    excludes : callable
        Whether a reason for which a case was declined is that it lies outside the promise.
    missing : sequence of str
        Kinds of claim of which an operator had no case, though nothing says why.
    unseen : str
        The kinds of claim that a file of observations says nothing of; empty where the subject ran.
    """

    title: str
    tallies: Sequence[Mapping[str, Any]]
    failures: Sequence[Failure]
    promised: str
    excludes: Callable[[str], bool]
    missing: Sequence[str] = ()
    unseen: str = ""

    @cached_property
    def _tested_too_little(self) -> tuple[list[shortage.Shortage], list[tuple[str, str]]]:
        return shortage.shortages(self.tallies, self.excludes)

    @property
    def shortages(self) -> list[shortage.Shortage]:
        """The kinds of claim of which too few cases were answered."""
        return self._tested_too_little[0]

    @property
    def word(self) -> str:
        """The verdict in a word or three."""
        if self.failures or self.missing or any(each["failed"] for each in self.tallies):
            return FAILED
        short = self.shortages or self.unobserved or not any(each["cases"] for each in self.tallies)
        return TOO_LITTLE if short else PASSED

    @property
    def unobserved(self) -> int:
        """The cases that should have been observed and were not."""
        return sum(
            number
            for each in self.tallies
            for reason, number in each["declined"].items()
            if reason.startswith(UNSEEN)
        )

    def as_dict(self) -> dict[str, Any]:
        """The verdict for a machine: its word, that of each part, what was too little tested, and causes."""
        keys = ("cases", "part", "operators", "cause", "example")
        return {
            "word": self.word,
            "parts": {area: vars(self.part(area)) for area in AREAS},
            "promised": self.promised,
            "missing": list(self.missing),
            "not_observed": self.unseen,
            "too_little_tested": [str(each) for each in self.shortages],
            "causes": [dict(zip(keys, row, strict=True)) for row in self.causes()],
        }

    def lines(self) -> Iterator[Line]:
        """The screen, with the colours of each line."""
        yield from self.first_lines()
        yield from _wrapped("grade", self._grade())
        yield from _wrapped("tested", self._tested())
        if self.promised:
            yield from _wrapped("promised", self.promised)
        for lacking in self.missing[:SHOWN]:
            yield from _wrapped("missing", f"no case was run for {lacking}", red=True)
        if self.unseen or self.unobserved:
            cases = f"{self.unobserved:,} cases" if self.unobserved else ""
            yield from _wrapped("unseen", "; ".join(filter(None, [cases, self.unseen])), yellow=True)
        short = self.shortages
        for each in short[:SHOWN]:
            yield from _wrapped("too few", str(each), yellow=True)
        if short:
            more = f"{len(short) - SHOWN} more. " if len(short) > SHOWN else ""
            hint = "Say what it promises (PROMISES in its file, or --promise), and these are filled."
            if self.missing:
                hint = "What is not observed is for another `observe`, with more time."
            yield from _wrapped("", more + hint, yellow=True)
        yield from self._causes()

    def first_lines(self) -> Iterator[Line]:
        """The title and the four parts."""
        title = textwrap.wrap(f"{self.word}  {self.title}", COLUMNS, subsequent_indent=" " * 6)
        yield from ((line, _colour(self.word)) for line in title)
        for area in AREAS:
            yield self._area(area)

    def part(self, area: str) -> PartOfVerdict:
        """One of the four parts of the verdict."""
        own = [each for each in self.tallies if area_of(each["claim"]) == area]
        beside = sum(area_of(each.kind) == area and not each.counted for each in self.failures)
        cases = sum(each["cases"] for each in own) + beside
        failed = sum(each["failed"] for each in own) + beside
        word = FAILED if failed else PASSED if cases else "not run"
        if word == PASSED and any(area_of(each.kind) == area for each in self.shortages):
            word = "too few"
        worst = max((fraction for each in own for fraction in each["worst"].values()), default=None)
        return PartOfVerdict(word, cases, failed, worst)

    def _area(self, area: str) -> Line:
        part = self.part(area)
        said = f"{part.cases:>7,} cases" + (f", {part.failed:,} fail" if part.failed else "")
        if part.worst and area == next(iter(AREAS)):
            said += f", worst error / allowed {formatting.plain(part.worst)}"
        return f"  {area:<9} {part.word:<7} {said}"[:COLUMNS], _colour(part.word)

    def _grade(self) -> str:
        ways = [each for counts in tally.by_ways(self.tallies).values() for each in counts]
        grades = [grade for grade in GRADES if any(f"({grade})" in each for each in ways)]
        if not grades:
            return "sharp: the bound of the definition holds" if self._judged() else ""
        grade = grades[-1]
        named: dict[str, None] = {}
        for operator, counts in sorted(tally.by_ways(self.tallies).items()):
            for sentence in counts:
                if f"({grade})" in sentence:
                    named.setdefault(f"{operator}, {sentence.partition(f' ({grade})')[0]}")
        several = f", and {len(named) - 2} more" if len(named) > 2 else ""
        return f"{grade}: {'; '.join(list(named)[:2])}{several}; see below where it loses"

    def _judged(self) -> bool:
        """Whether there is a result with a number: infinite is the error of what is none."""
        return any(math.isfinite(worst) for each in self.tallies for worst in each["worst"].values())

    def _tested(self) -> str:
        cells: dict[str, dict[str, None]] = {}
        for each in self.tallies:
            if each["cases"]:
                cells.setdefault(each["operator"], {})[each["dtype"]] = None
        dtypes = list(dict.fromkeys(dtype for each in cells.values() for dtype in each))
        nothing = self._tested_too_little[1]
        left = dict.fromkeys(kind for kind, _ in nothing)
        outside = f"; outside the promise: {', '.join(left)}" if left else ""
        lacked = ", ".join(self._lacks())
        lacks = f"; not offered, as torch says: {lacked}" if lacked else ""
        return f"{', '.join(cells) or 'nothing'} in {', '.join(dtypes)}{outside}{lacks}"

    def _lacks(self) -> list[str]:
        """What torch says that functions do not do, where it was asked for."""
        reasons = dict.fromkeys(reason for each in self.tallies for reason in each["declined"])
        said = {missing_in(reason) for reason in reasons}
        return [name.replace("_", " ") for name in LIMITS if name in said]

    def _causes(self) -> Iterator[Line]:
        rows = self.causes()
        if not rows:
            return
        yield "causes, each with the number of cases and the smallest of them", {"bold": True}
        for cases, area, operators, cause, example in rows[:CAUSES]:
            yield from _wrapped(f"{cases:>6}", f"{area}, {', '.join(operators)}: {cause}", red=True)
            if example:
                yield from _wrapped("", f"such as {example}")
        if len(rows) > CAUSES:
            yield f"  and {len(rows) - CAUSES} more causes", {}
        if any(DECLINES.search(cause) and area != REFUSALS for _, area, _, cause, _ in rows):
            yield from _wrapped("", NOT_OFFERED, yellow=True)

    def causes(self) -> list[tuple[int, str, list[str], str, str]]:
        """Why cases fail, the most frequent first: how many, the part of the verdict, the operators, the
        cause, the smallest case.
        """
        return [
            (row["cases"], area, names, cause + _in_mode(row["mode"]) + _by(row["worst"]), row["example"])
            for (area, cause), (row, names) in self._summed.items()
        ]

    @property
    def smallest(self) -> dict[KeyOfCause, str]:
        """The smallest case of each cause, in the order of `causes`."""
        return {key: row["example"] for key, (row, _) in self._summed.items()}

    @cached_property
    def _summed(self) -> dict[KeyOfCause, tuple[Cause, list[str]]]:
        areas: dict[str, dict[str, Cause]] = {}
        operators: dict[KeyOfCause, dict[str, None]] = {}

        def add(kind: str, operator: str, cause: str, one: Mapping[str, Any]) -> None:
            area = area_of(kind)
            causes.merge_cause(areas.setdefault(area, {}), cause, one)
            operators.setdefault((area, cause), {})[operator or "all"] = None

        for (kind, operator), of_kind in causes.causes(self.tallies).items():
            for cause, one in of_kind.items():
                add(kind, operator, cause, one)
        for failure in self.failures:
            if not failure.explained:
                add(failure.kind, failure.operator, *failure.cause)
        summed = {key: (areas[key[0]][key[1]], list(names)) for key, names in operators.items()}
        return dict(sorted(summed.items(), key=lambda each: -each[1][0]["cases"]))


DECLINES = re.compile(r"\b(raises|has no tangent|there is no gradient)\b")  # what may be not offered
REFUSALS = "refusals"  # where it is to raise
NOT_OFFERED = (
    "What a kernel does not offer it may say: by PROMISES in its file, --promise or a NotImplementedError."
)
NOTHING = Screen("nothing", (), (), "", lambda reason: False)


def _in_mode(mode: str) -> str:
    return f", {mode}" if mode else ""


def _by(worst: float) -> str:
    return f", by up to {formatting.plain(worst)} times what rounding allows" if worst else ""


def _colour(word: str) -> Mapping[str, bool]:
    return {"green": True} if word == PASSED else {"red": True} if word == FAILED else {"yellow": True}


def _wrapped(name: str, text: str, **markup: bool) -> Iterable[Line]:
    """A name and a text of as many lines as it takes, at most three."""
    if not text:
        return
    first, rest = f"  {name:<9} ", " " * 12
    lines = textwrap.wrap(
        text, COLUMNS, initial_indent=first, subsequent_indent=rest, max_lines=3, placeholder=" ..."
    )
    yield from ((line, markup) for line in lines)
