"""What the page says of an audit, before it is laid out: the verdict, the heat map, and what was met, proven
and missed.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from functools import cached_property

from torch_loss_parity.audit import wording
from torch_loss_parity.audit.diff import STANDINGS
from torch_loss_parity.audit.doubts import FEW, noticed_share
from torch_loss_parity.audit.record import Audit, Axis, Divergence
from torch_loss_parity.audit.results import (
    Card,
    Detail,
    Numbered,
    Result,
    badness,
    details_of,
    identifier,
    in_order,
)
from torch_loss_parity.reference.arithmetic.profiles import DEFAULT
from torch_loss_parity.reports import formatting
from torch_loss_parity.reports.formatting import plural

WORST_SHOWN = 12  # in the table of all operators
TIERS = (
    ("exact", "exact to half an ulp: every element is the number nearest to the truth"),
    ("faithful", "within 1 ulp: one of the two numbers that enclose the truth"),
    ("bound", "beyond 1 ulp, within what rounding allows"),
    ("known", "beyond what rounding allows, for a reason in the ledger"),
    ("fail", "beyond what rounding allows: wrong"),
)


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
    meaning: str
    results: tuple[Result, ...]
    dtypes: int

    @property
    def result_names(self) -> list[str]:
        """The results by operator: "softmax (float16, bfloat16)"."""
        grouped: dict[tuple[str, str], list[str]] = {}
        for result in self.results:
            grouped.setdefault((result.operator, result.quantity), []).append(result.dtype)
        return [
            f"{operator} {wording.result(quantity)} "
            f"({'every dtype' if len(dtypes) == self.dtypes > 1 else ', '.join(dtypes)})"
            for (operator, quantity), dtypes in grouped.items()
        ]


@dataclass(frozen=True)
class Met:
    """An entry of the ledger, and where it was met: by the subject, and by torch where it is measured beside
    it.
    """

    divergence: Divergence
    results: tuple[Result, ...]
    figures: int
    fraction: float
    by_torch: int
    torch_fraction: float

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
        return in_order(self.audit.settings.dtypes, (figure.dtype for figure in self.audit.figures))

    @property
    def has_torch(self) -> bool:
        return any(figure.torch is not None for figure in self.audit.figures)

    @property
    def name(self) -> str:
        """The subject, with its version where it is torch, and its profile if that is not the default one."""
        subject, version = self.audit.settings.subject, self.audit.environment.get("torch", "")
        profile = self.audit.settings.profile
        of_torch = subject.partition(".")[0] == "torch" and version
        named = f"{subject} {version.partition('+')[0]}" if of_torch else subject
        return named if profile == DEFAULT.name else f"{named}, under profile {profile}"

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
        wrong = [
            f"{formatting.count(self.failed)} of {plural(measured, 'measurement')} {exceed} what "
            f"rounding allows"
        ] * bool(self.failed)
        wrong += [f"{plural(self.not_returned, 'call')} raised or did not return"] * bool(self.not_returned)
        if wrong:
            return f"{self.name} is wrong: {formatting.list_of(wrong)}."
        if not self.known:
            return (
                f"{self.name} keeps within what rounding allows in every one of "
                f"{plural(measured, 'measurement')}."
            )
        subjects = [figure.subject for figure in self.audit.figures]
        entries = {each.divergence for each in subjects} - {""}
        ways = {(figure.operator, figure.subject.way) for figure in self.audit.figures if figure.subject.way}
        reasons = [f"{plural(len(ways), 'other form')} of the same function"] * bool(ways)
        reasons += [f"{plural(len(entries), 'entry', 'entries')} of the ledger"] * bool(entries)
        within, beyond = formatting.count(measured - self.known), formatting.count(self.known)
        return (
            f"{self.name} keeps within what rounding allows in {within} of "
            f"{plural(measured, 'measurement')}; in {beyond} it exceeds that, explained by "
            f"{formatting.list_of(reasons)}."
        )

    @property
    def second_sentence(self) -> str:
        """How much is exact to half an ulp, and what is farthest from it in the unit that counts, what is
        allowed.
        """
        if not self.results:
            return ""
        exact = sum(result.tier == "exact" for result in self.results)
        decided = sum(result.elements - result.undecided for result in self.results)
        rounded = formatting.share(sum(result.correctly_rounded for result in self.results), decided)
        worst = max(self.results, key=lambda result: (STANDINGS.index(result.standing), result.fraction))
        where = f"the {wording.result(worst.quantity)} of {worst.operator} in {worst.dtype}"
        if math.isinf(worst.fraction):
            kind = "nan or infinite where it should be a number, or the reverse"
            farthest = (
                f"The worst is {where}: "
                f"{kind if math.isinf(worst.max_ulp) else 'an error where none is allowed'}."
            )
        elif worst.fraction > 1:
            farthest = (
                f"Farthest beyond what is allowed, {formatting.times(worst.fraction)} times, is {where}."
            )
        else:
            farthest = f"Nearest to what is allowed, {formatting.times(worst.fraction)} times, is {where}."
        return (
            f"{exact} of its {plural(len(self.results), 'result')} {'is' if exact == 1 else 'are'} exact to "
            f"half an ulp in every element; "
            f"over all, {rounded} of {formatting.count(decided)} elements are. {farthest}"
        )

    @cached_property
    def tiers(self) -> list[Tier]:
        every = [
            Tier(*tier, tuple(result for result in self.results if result.tier == tier[0]), len(self.dtypes))
            for tier in TIERS
        ]
        return [tier for tier in every if tier.results or tier.name in ("exact", "faithful", "bound")]

    @cached_property
    def worst(self) -> list[Card]:
        """The worst case of each operator and dtype, worst first."""
        firsts = [min(detail.cards, key=badness) for detail in self.details if detail.cards]
        return sorted(firsts, key=badness)[:WORST_SHOWN]

    @cached_property
    def met(self) -> list[Met]:
        rows = []
        for divergence in self.audit.divergences:
            of = [
                figure.subject.fraction
                for figure in self.audit.figures
                if figure.subject.divergence == divergence.id
            ]
            beside = [
                m.fraction
                for figure in self.audit.figures
                if (m := figure.torch) is not None and m.divergence == divergence.id
            ]
            results = tuple(
                result
                for result in self.results
                if any(m.divergence == divergence.id for m in (*result.subject, *result.torch))
            )
            rows.append(
                Met(divergence, results, len(of), max(of, default=0.0), len(beside), max(beside, default=0.0))
            )
        return sorted(rows, key=lambda met: (-met.fraction, -met.torch_fraction))

    @cached_property
    def ways(self) -> dict[str, list[Result]]:
        """The results that are right by another way than the definition, by the way and where it loses."""
        every = sorted({way for result in self.results for way in result.ways})
        return {way: [result for result in self.results if way in result.ways] for way in every}

    @cached_property
    def proven(self) -> list[Result]:
        """What was measured on every input there is."""
        return [way for detail in self.details for way in detail.by_how if way.how == "exhaustive"]

    @property
    def grounds(self) -> str:
        """What enclosures rest on, and how strongly that was tried; see Note [Two witnesses]."""
        figures = self.audit.figures
        results = [m for figure in figures for m in (figure.subject, figure.torch) if m is not None]
        in_balls, sampled = (sum(getattr(m, name) for m in results) for name in ("in_balls", "sampled"))
        if not in_balls:
            return "This audit does not say how many elements ball arithmetic has seen."
        elements, few = formatting.count(sum(m.elements for m in results)), formatting.count(FEW)
        said = [
            f"Of {elements} elements, balls have enclosed the true values of {formatting.count(in_balls)}:",
            "those with the largest errors, those next to an edge that decides a digit,",
            f"nearly all of float64, and all of results with at most {few} elements.",
            "None was outside the enclosure that it had before.",
            "That no other element has a larger error, and how many have which,",
            "rests on two evaluations of each, in two formats, with a running bound on their errors:",
            "the two enclosures have a number in common in every element.",
        ]
        if any(figure.how == "exhaustive" and figure.dtype == "float32" for figure in figures):
            said += ["All float32 inputs have one enclosure: a closed form, its bound derived by hand."]
        if sampled:
            one_in = formatting.count(int(1 / noticed_share(sampled)))
            said += [
                f"What both may have wrong was tried on {formatting.count(sampled)} elements,",
                f"drawn at random from the larger results: had one in {one_in} of each of them been outside,",
                "or one in five of a single one, this would have been missed once in a million times.",
            ]
        return " ".join(said)

    @cached_property
    def axes(self) -> tuple[list[Axis], list[Axis]]:
        """Those that change bits, most first, and those that change none."""
        changing = sorted(
            (axis for axis in self.audit.axes if axis.differing),
            key=lambda axis: (-axis.max_apart_ulp, -axis.differing),
        )
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
    operators = in_order(audit.settings.operators, (figure.operator for figure in audit.figures))
    return Page(
        audit, tuple(Operator(name, tuple(details_of(name, bare.dtypes, bare.members))) for name in operators)
    )
