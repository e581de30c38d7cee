"""What the tests of the page show: audits, and a page that is read back."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from torch_loss_parity.audit.record import Audit, Figure
from torch_loss_parity.meta import invented_audit

AUDIT = invented_audit.audit(sizes=((64, 1000),), values=("normal", "wide"))


OTHER = invented_audit.audit("mine.kernels", sizes=((64, 1000),), values=("normal",), failing=True)


NOTHING = Audit(settings=AUDIT.settings, environment={}, command="", figures=())


class Read(HTMLParser):
    """What a page is made of: the elements and their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def values(self, attribute: str) -> list[str]:
        return [value for _, attributes in self.elements if (value := attributes.get(attribute)) is not None]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def with_figures(*figures: Figure) -> Audit:
    return AUDIT.model_copy(update={"figures": figures})


def measuring(figure: Figure, **numbers: Any) -> Figure:
    return figure.model_copy(update={"subject": figure.subject.model_copy(update=numbers)})
