"""The results of an audit: the values, or a gradient, of an operator in a dtype, and the worst
cases of each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch_loss_parity.audit import plots, wording
from torch_loss_parity.audit.diff import STANDINGS
from torch_loss_parity.audit.record import Figure, Measures
from torch_loss_parity.reports import formatting

NOTABLY = 1.5  # times the error of the worst case is worth a second one


def identifier(*parts: str) -> str:
    """Something to link to, whatever the parts are called."""
    return "-".join(re.sub(r"[^0-9A-Za-z_.-]+", "_", part) for part in parts)


@dataclass(frozen=True)
class Numbered:
    """A figure and its row in the table of all figures."""

    row: int
    figure: Figure


@dataclass(frozen=True)
class Result:
    """The values, or a gradient, of an operator in a dtype: all of its figures, or those that were found in
    one way.
    """

    operator: str
    dtype: str
    quantity: str
    members: tuple[Numbered, ...]
    how: str = ""

    @property
    def id(self) -> str:
        return identifier(self.operator, self.dtype, self.quantity)

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
        return formatting.share(self.correctly_rounded, self.elements - self.undecided)

    @property
    def torch_rounded(self) -> str:
        return formatting.share(
            sum(m.correctly_rounded for m in self.torch), sum(m.elements - m.undecided for m in self.torch)
        )

    @property
    def standing(self) -> str:
        return max((measures.standing for measures in self.subject), key=STANDINGS.index)

    @property
    def divergences(self) -> list[str]:
        return sorted({measures.divergence for measures in self.subject if measures.divergence})

    @property
    def ways(self) -> list[str]:
        return sorted({measures.way for measures in self.subject if measures.way})

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
        return hue + (
            "1" if fraction <= 0.25 else "2" if fraction <= 0.5 else "3" if fraction <= 0.75 else "4"
        )


@dataclass(frozen=True)
class Card:
    """A worst case, with all that is known of it."""

    id: str
    member: Numbered

    @property
    def figure(self) -> Figure:
        return self.member.figure

    @property
    def is_exceeded(self) -> bool:
        """Whether another element of its figure, with a smaller error, is notably farther from what is
        allowed there.
        """
        return self.figure.subject.fraction > NOTABLY * self.figure.worst.fraction


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
            Result(
                result.operator,
                result.dtype,
                result.quantity,
                tuple(m for m in result.members if m.figure.how == how),
                how,
            )
            for result in self.results
            for how in wording.HOW
        ]
        return [way for way in ways if way.members]

    @property
    def has_torch(self) -> bool:
        return any(result.torch for result in self.results)

    @property
    def value(self) -> Result | None:
        return next((result for result in self.results if result.quantity == "forward"), None)

    @property
    def gradient(self) -> Result | None:
        """All gradients together, under the first of them."""
        gradients = [result for result in self.results if result.quantity != "forward"]
        if not gradients:
            return None
        return Result(
            self.operator,
            self.dtype,
            gradients[0].quantity,
            tuple(m for result in gradients for m in result.members),
        )

    @property
    def worst_gradient_id(self) -> str:
        gradients = [result for result in self.results if result.quantity != "forward"]
        return max(gradients, key=lambda result: (STANDINGS.index(result.standing), result.fraction)).id


def details_of(operator: str, dtypes: Sequence[str], numbered: Sequence[Numbered]) -> Iterator[Detail | None]:
    of_operator = [member for member in numbered if member.figure.operator == operator]
    measured = [
        m for member in of_operator for m in (member.figure.subject, member.figure.torch) if m is not None
    ]
    errors = [m.max_ulp for m in measured]
    for dtype in dtypes:
        members = [member for member in of_operator if member.figure.dtype == dtype]
        yield _detail(operator, dtype, members, errors) if members else None


def _detail(operator: str, dtype: str, members: Sequence[Numbered], errors: Sequence[float]) -> Detail:
    quantities = in_order(("forward", "input"), (member.figure.quantity for member in members))
    results = [
        Result(operator, dtype, quantity, tuple(m for m in members if m.figure.quantity == quantity))
        for quantity in quantities
    ]
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
    """Of each result the case that is worst against what is allowed, and the one with the largest error where
    that is notably larger.
    """
    for result in results:
        cards = [Card("", member) for member in result.members]
        worst, largest = min(cards, key=badness), max(cards, key=lambda card: card.figure.worst.ulps)
        chosen = [
            worst,
            *([largest] if largest.figure.worst.ulps > NOTABLY * worst.figure.worst.ulps else []),
        ]
        for number, card in enumerate(chosen):
            yield Card(identifier("worst", result.id, str(number)), card.member)


def badness(card: Card) -> tuple[int, float, float]:
    figure = card.figure
    return -STANDINGS.index(figure.subject.standing), -figure.worst.fraction, -figure.worst.ulps


def in_order(first: Iterable[str], others: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*first, *others]))
