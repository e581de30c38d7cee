"""A figure of an audit in words, as the page shows them: its size, its options, what it is about."""

from __future__ import annotations

from torch_loss_parity.audit.record import Figure
from torch_loss_parity.reports.formatting import TIMES, count

HOW = {"exhaustive": "every input", "random": "drawn", "searched": "climbed to"}


def size(figure: Figure) -> str:
    return f"{count(figure.rows)} {TIMES} {count(figure.classes)}" if figure.classes else count(figure.rows)


def options(figure: Figure) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(figure.options.items()))


def result(quantity: str) -> str:
    """What a quantity is about, in words."""
    return "value" if quantity == "forward" else f"gradient of {quantity}"
