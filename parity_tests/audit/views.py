"""What the page says of an audit, before it is laid out: the verdict, the heat map, and the detail of each operator and dtype."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from parity_tests.audit import plots, text
from parity_tests.audit.record import Audit, Axis, Divergence, Figure, Measures
from parity_tests.audit.text import plural

STANDINGS = ("pass", "known", "fail")
NOTABLY = 1.5  # times the error of the worst case is worth a second one
WORST_SHOWN = 12  # in the table of all operators
TIERS = (
    ("exact", "½", "exact to half an ulp: every element is the number nearest to the truth"),
    ("faithful", "1", "within 1 ulp: one of the two numbers that enclose the truth"),
    ("bound", "", "beyond 1 ulp, within what rounding allows"),
    ("known", "", "beyond what rounding allows, for a reason in the ledger"),
    ("fail", "", "beyond what rounding allows: wrong"),
)


def identifier(*parts: str) -> str:
    """Something to link to, whatever the parts are called."""
    return "-".join(re.sub(r"[^0-9A-Za-z_.]+", "_", part) for part in parts)


@dataclass(frozen=True)
class Numbered:
    """A figure and its row in the table of all figures."""

    row: int
    figure: Figure


@dataclass(frozen=True)
class Result:
    """The values, or a gradient, of an operator in a dtype: all of its figures, or those that were found in one way."""

    operator: str
    dtype: str
    claim: str
    members: tuple[Numbered, ...]
    how: str = ""

    @property
    def id(self) -> str:
        return identifier(self.operator, self.dtype, self.claim)

    @property
    def figures(self) -> list[Figure]:
        return [member.figure for member in self.members]

    @property
    def subject(self) -> list[Measures]:
        return [figure.subject for figure in self.figures]

    @property
    def torch(self) -> list[Measures]:
        return [figure.torch for figure in self.figures if figure.torch is not None]

    @property
    def max_ulp(self) -> float:
        return max(measures.max_ulp for measures in self.subject)

    @property
    def torch_max_ulp(self) -> float | None:
        return max((measures.max_ulp for measures in self.torch), default=None)

    @property
    def fraction(self) -> float:
        return max(measures.fraction for measures in self.subject)

    @property
    def elements(self) -> int:
        return sum(measures.elements for measures in self.subject)

    @property
    def undecided(self) -> int:
        return sum(measures.undecided for measures in self.subject)

    @property
    def correctly_rounded(self) -> int:
        return sum(measures.correctly_rounded for measures in self.subject)

    @property
    def rounded(self) -> str:
        """The share of elements that are correctly rounded."""
        return text.share(self.correctly_rounded, self.elements - self.undecided)

    @property
    def torch_rounded(self) -> str:
        return text.share(sum(m.correctly_rounded for m in self.torch), sum(m.elements - m.undecided for m in self.torch))

    @property
    def standing(self) -> str:
        return max((measures.standing for measures in self.subject), key=STANDINGS.index)

    @property
    def divergences(self) -> list[str]:
        return sorted({measures.divergence for measures in self.subject if measures.divergence})

    @property
    def is_proven(self) -> bool:
        """Whether the largest error is the largest there is among inputs of one kind."""
        return max(self.figures, key=lambda figure: figure.subject.max_ulp).how == "exhaustive"

    @property
    def tier(self) -> str:
        """How good it is; see `TIERS`."""
        if self.standing != "pass":
            return self.standing
        return "exact" if self.max_ulp <= 0.5 else "faithful" if self.max_ulp <= 1 else "bound"

    @property
    def shade(self) -> str:
        """The colour: which hue says how good it is, how deep it is says the worst error / allowed."""
        fraction = self.fraction
        if self.standing == "fail":
            return "fail"
        if self.standing == "known":
            return "k1" if fraction <= 10 else "k2" if fraction <= 1000 else "k3"
        hue = "e" if self.tier == "exact" else "p"
        return hue + ("1" if fraction <= 0.25 else "2" if fraction <= 0.5 else "3" if fraction <= 0.75 else "4")


@dataclass(frozen=True)
class Card:
    """A worst case, with all that is known of it."""

    id: str
    member: Numbered

    @property
    def figure(self) -> Figure:
        return self.member.figure


@dataclass(frozen=True)
class Detail:
    """An operator in a dtype."""

    operator: str
    dtype: str
    results: tuple[Result, ...]
    plots: tuple[plots.Plot, ...]
    cards: tuple[Card, ...]

    @property
    def id(self) -> str:
        return identifier(self.operator, self.dtype)

    @property
    def members(self) -> list[Numbered]:
        return [member for result in self.results for member in result.members]

    @cached_property
    def by_how(self) -> list[Result]:
        """Each result, apart by how its inputs were found."""
        ways = [
            Result(result.operator, result.dtype, result.claim, tuple(m for m in result.members if m.figure.how == how), how)
            for result in self.results
            for how in text.HOW
        ]
        return [way for way in ways if way.members]

    @property
    def proven(self) -> list[Figure]:
        return [member.figure for member in self.members if member.figure.how == "exhaustive"]

    @property
    def has_torch(self) -> bool:
        return any(result.torch for result in self.results)

    @property
    def value(self) -> Result | None:
        return next((result for result in self.results if result.claim == "forward"), None)

    @property
    def gradient(self) -> Result | None:
        """All gradients together, under the first of them."""
        gradients = [result for result in self.results if result.claim != "forward"]
        if not gradients:
            return None
        return Result(self.operator, self.dtype, gradients[0].claim, tuple(m for result in gradients for m in result.members))

    @property
    def worst_gradient_id(self) -> str:
        gradients = [result for result in self.results if result.claim != "forward"]
        return max(gradients, key=lambda result: (STANDINGS.index(result.standing), result.fraction)).id


@dataclass(frozen=True)
class Operator:
    """A row of the heat map, and a chapter: a detail for each dtype, None where nothing was measured."""

    name: str
    details: tuple[Detail | None, ...]

    @property
    def id(self) -> str:
        return identifier("operator", self.name)


@dataclass(frozen=True)
class Tier:
    """How good results are, and which are that good."""

    name: str
    mark: str
    meaning: str
    results: tuple[Result, ...]
    dtypes: int

    @property
    def said(self) -> list[str]:
        """The results by operator: "softmax (float16, bfloat16)"."""
        grouped: dict[tuple[str, str], list[str]] = {}
        for result in self.results:
            grouped.setdefault((result.operator, result.claim), []).append(result.dtype)
        return [
            f"{operator} {text.result(claim)} ({'every dtype' if len(dtypes) == self.dtypes > 1 else ', '.join(dtypes)})"
            for (operator, claim), dtypes in grouped.items()
        ]


@dataclass(frozen=True)
class Met:
    """An entry of the ledger, and where it was met."""

    divergence: Divergence
    results: tuple[Result, ...]
    figures: int
    fraction: float

    @property
    def href(self) -> str:
        """Its link, if that is one to the web."""
        return self.divergence.link if re.match(r"https?://", self.divergence.link) else ""


@dataclass(frozen=True)
class Page:
    """An audit as it is told."""

    audit: Audit
    operators: tuple[Operator, ...] = field(default=())

    @cached_property
    def members(self) -> list[Numbered]:
        return [Numbered(row, figure) for row, figure in enumerate(self.audit.figures)]

    @property
    def details(self) -> list[Detail]:
        return [detail for operator in self.operators for detail in operator.details if detail]

    @property
    def results(self) -> list[Result]:
        return [result for detail in self.details for result in detail.results]

    @cached_property
    def dtypes(self) -> list[str]:
        return _in_order(self.audit.settings.dtypes, (figure.dtype for figure in self.audit.figures))

    @property
    def has_torch(self) -> bool:
        return any(figure.torch is not None for figure in self.audit.figures)

    @property
    def name(self) -> str:
        """The subject, with its version where it is torch."""
        subject, version = self.audit.settings.subject, self.audit.environment.get("torch", "")
        return f"{subject} {version.partition('+')[0]}" if subject.partition(".")[0] == "torch" and version else subject

    @property
    def failed(self) -> int:
        return sum(figure.subject.standing == "fail" for figure in self.audit.figures)

    @property
    def not_returned(self) -> int:
        return sum(missing.failed for missing in self.audit.missing)

    @property
    def known(self) -> int:
        return sum(figure.subject.standing == "known" for figure in self.audit.figures)

    @property
    def standing(self) -> str:
        if self.failed or self.not_returned:
            return "fail"
        return "nothing" if not self.audit.figures else "known" if self.known else "pass"

    @property
    def verdict(self) -> str:
        """One sentence."""
        measured = len(self.audit.figures)
        if not measured and not self.not_returned:
            return f"Nothing of {self.name} was measured."
        exceed = "exceeds" if self.failed == 1 else "exceed"
        wrong = [f"{text.count(self.failed)} of {plural(measured, 'measurement')} {exceed} what rounding allows"] * bool(self.failed)
        wrong += [f"{plural(self.not_returned, 'call')} raised or did not return"] * bool(self.not_returned)
        if wrong:
            return f"{self.name} is wrong: {text.list_of(wrong)}."
        if not self.known:
            return f"{self.name} keeps within what rounding allows in every one of {plural(measured, 'measurement')}."
        reasons = plural(len(self.audit.divergences), "known reason")
        return (
            f"{self.name} keeps within what rounding allows in {text.count(measured - self.known)} of {plural(measured, 'measurement')}, "
            f"and exceeds it in {text.count(self.known)} for {reasons}."
        )

    @property
    def second_sentence(self) -> str:
        """How much is exact to half an ulp, and what is farthest from it in the unit that counts, what is allowed."""
        if not self.results:
            return ""
        exact = sum(result.tier == "exact" for result in self.results)
        decided = sum(result.elements - result.undecided for result in self.results)
        rounded = text.share(sum(result.correctly_rounded for result in self.results), decided)
        worst = max(self.results, key=lambda result: (STANDINGS.index(result.standing), result.fraction))
        where = f"the {text.result(worst.claim)} of {worst.operator} in {worst.dtype}"
        if math.isinf(worst.fraction):
            farthest = f"The worst is {where}: nan or infinite where it should be a number, or the reverse."
        elif worst.fraction > 1:
            farthest = f"Farthest beyond what is allowed, {text.times(worst.fraction)} times, is {where}."
        else:
            farthest = f"Nearest to what is allowed, {text.times(worst.fraction)} times, is {where}."
        return (
            f"{exact} of its {plural(len(self.results), 'result')} {'is' if exact == 1 else 'are'} exact to half an ulp in every element; "
            f"over all, {rounded} of {text.count(decided)} elements are. {farthest}"
        )

    @cached_property
    def tiers(self) -> list[Tier]:
        made = [Tier(*tier, tuple(result for result in self.results if result.tier == tier[0]), len(self.dtypes)) for tier in TIERS]
        return [tier for tier in made if tier.results or tier.name in ("exact", "faithful", "bound")]

    @cached_property
    def worst(self) -> list[Card]:
        """The worst case of each operator and dtype, worst first."""
        firsts = [min(detail.cards, key=_badness) for detail in self.details if detail.cards]
        return sorted(firsts, key=_badness)[:WORST_SHOWN]

    @cached_property
    def met(self) -> list[Met]:
        made = []
        for divergence in self.audit.divergences:
            of = [figure for figure in self.audit.figures if figure.subject.divergence == divergence.id]
            results = tuple(result for result in self.results if divergence.id in result.divergences)
            made.append(Met(divergence, results, len(of), max((figure.subject.fraction for figure in of), default=0.0)))
        return sorted(made, key=lambda met: -met.fraction)

    @cached_property
    def proven(self) -> list[Result]:
        """What was measured on every input there is."""
        return [way for detail in self.details for way in detail.by_how if way.how == "exhaustive"]

    @cached_property
    def axes(self) -> tuple[list[Axis], list[Axis]]:
        """Those that change bits, most first, and those that change none."""
        changing = sorted((axis for axis in self.audit.axes if axis.differing), key=lambda axis: (-axis.max_apart_ulp, -axis.differing))
        return changing, [axis for axis in self.audit.axes if not axis.differing]

    @property
    def missing(self) -> list[tuple[str, bool, list[str]]]:
        """By reason: what is missing for it; what the subject is to blame for comes first."""
        grouped: dict[tuple[bool, str], list[str]] = {}
        for missing in self.audit.missing:
            grouped.setdefault((not missing.failed, missing.why), []).append(missing.what)
        return [(why, not blameless, whats) for (blameless, why), whats in sorted(grouped.items())]


def page(audit: Audit) -> Page:
    """Put figures in their places."""
    bare = Page(audit)
    operators = _in_order(audit.settings.operators, (figure.operator for figure in audit.figures))
    return Page(audit, tuple(Operator(name, tuple(_details(name, bare.dtypes, bare.members))) for name in operators))


def _details(operator: str, dtypes: Sequence[str], numbered: Sequence[Numbered]) -> Iterator[Detail | None]:
    of_operator = [member for member in numbered if member.figure.operator == operator]
    measured = [m for member in of_operator for m in (member.figure.subject, member.figure.torch) if m is not None]
    errors = [m.max_ulp for m in measured]
    for dtype in dtypes:
        members = [member for member in of_operator if member.figure.dtype == dtype]
        yield _detail(operator, dtype, members, errors) if members else None


def _detail(operator: str, dtype: str, members: Sequence[Numbered], errors: Sequence[float]) -> Detail:
    claims = _in_order(("forward", "input"), (member.figure.claim for member in members))
    results = [Result(operator, dtype, claim, tuple(m for m in members if m.figure.claim == claim)) for claim in claims]
    results = [result for result in results if result.members]
    kinds = plots.by_kind((member.row, member.figure) for member in members)
    id = identifier(operator, dtype)
    drawn = (
        plots.distribution(f"{id}-distribution", kinds),
        plots.against_size(f"{id}-size", kinds, errors),
        plots.against_range(f"{id}-range", kinds, errors),
    )
    return Detail(operator, dtype, tuple(results), drawn, tuple(_cards(results)))


def _cards(results: Iterable[Result]) -> Iterator[Card]:
    """Of each result the case that is worst against what is allowed, and the one with the largest error where that is notably larger."""
    for result in results:
        cards = [Card("", member) for member in result.members]
        worst, largest = min(cards, key=_badness), max(cards, key=lambda card: card.figure.worst.ulps)
        chosen = [worst, *([largest] if largest.figure.worst.ulps > NOTABLY * worst.figure.worst.ulps else [])]
        for number, card in enumerate(chosen):
            yield Card(identifier("worst", result.id, str(number)), card.member)


def _badness(card: Card) -> tuple[int, float, float]:
    figure = card.figure
    return -STANDINGS.index(figure.subject.standing), -figure.worst.fraction, -figure.worst.ulps


def _in_order(first: Iterable[str], others: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*first, *others]))
