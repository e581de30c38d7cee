"""News: what was recorded somewhere and is otherwise here. It is told at the end of a run, and fails nothing
unless it is asked to.

Note [Records and verdicts]
    A verdict follows from the mathematics: a result breaks its bound, a call is not refused. It is the same
    on every machine. A record is what was measured: which bits change, which entry of the ledger diverges,
    what exception torch raises, where a result lies in memory. On another release or machine it may be
    otherwise, though nothing is wrong. Then the run says so, in a sentence that somebody can act on, and
    passes. ``--strict-records`` makes it fail: all of it, or, with ``--strict-records=here``, what
    contradicts a record that was made in this very environment.

    News only ever says that something recorded did not occur, or occurred otherwise. What breaks a bound is a
    failure on every release.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

PROPERTY = "parity-news"  # the name under which news travels in a report's user properties
SHOWN = 12  # of one kind
KINDS = {  # what each kind is about, and what a reader can do
    "ledger": "Known divergences that do not occur here. Nothing is wrong with the subject: it is better "
    "than "
    "is recorded.",
    "bits": "Bits that change elsewhere than recorded. torch promises none of this: it matters to those who "
    "compare or cache bits. "
    "To see all that holds here: torch-loss-parity bits; to record it: --record",
    "refusals": "Malformed arguments that are refused with another exception than recorded. Code that "
    "catches "
    "the old one no longer does.",
    "layouts": "Results that lie in memory otherwise than recorded. Nothing promises it.",
}


@dataclass(frozen=True)
class News:
    """One thing that is otherwise than recorded.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    id : str
        The entry of the ledger, or the row of a table.
    place : str
        Where: a quantity and dtype, a sentence.
    text : str
        What is so here, what is recorded, and where that was.
    contradicts : bool
        The record was made in this very environment.
    known : bool
        It is recorded that it is so here; such news is counted and not told.
    """

    kind: str
    id: str
    place: str
    text: str
    contradicts: bool = False
    known: bool = False

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def sections(news: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    """What is told of each kind: its heading and lines."""
    told = [each for each in news if not each["known"]]
    for kind, about in KINDS.items():
        lines = list(dict.fromkeys(each["text"] for each in told if each["kind"] == kind))
        if lines:
            more = [f"... and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
            yield f"news: {kind}", [about, *(f"  {line}" for line in lines[:SHOWN]), *more]


def failing(news: Iterable[Mapping[str, Any]], strict: str) -> list[Mapping[str, Any]]:
    """The news that fails a run: none, unless ``strict`` is "all" or "here"."""
    return [
        each
        for each in news
        if not each["known"] and (strict == "all" or (strict == "here" and each["contradicts"]))
    ]
