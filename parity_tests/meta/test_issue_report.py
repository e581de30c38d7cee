"""Every entry of the ledger can be reported upstream: its script is short, needs only torch, and still shows
what the entry says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from torch_loss_parity.issue_report.issue_report import NotShown, printed_by, report, shown_by
from torch_loss_parity.ledger import ledger, verified
from torch_loss_parity.ledger.ledger import LONGEST_SCRIPT, Divergence, Shortfall
from torch_loss_parity.ledger.news import News
from torch_loss_parity.subjects.settings import Settings

SCRIPTS = [
    (entry, quantity, dtype)
    for entry in ledger.entries_of("torch")
    for quantity in entry.quantities
    for dtype in entry.dtypes
]
OF_PLAIN_CALLS = ledger.shortfalls_of("torch") + ledger.shortfalls_of("torch.chunked")
OF_COMPILED_CALLS = [entry for entry in ledger.shortfalls() if entry not in OF_PLAIN_CALLS]
IMPORTS = re.compile(r"^\s*(?:import|from)\s+(\w+)", re.MULTILINE)


def needs_only_torch(script: str) -> bool:
    return set(IMPORTS.findall(script)) <= {"torch", "warnings"}


def skip_unless_in_force(entry: Divergence | Shortfall, settings: Settings) -> None:
    if settings.subject.name != "torch" or not entry.in_force(entry.subjects[0], settings.device):
        pytest.skip(f"the script speaks of torch {entry.torch} on {', '.join(entry.devices)}")


Records = tuple[Callable[[News], None], Callable[[str], None]]


@pytest.fixture
def records(tell: Callable[[News], None], diverged: Callable[[str], None]) -> Records:
    return tell, diverged


@contextmanager
def that_it_is_not_shown_is_news(
    entry: Divergence | Shortfall, place: str, settings: Settings, records: Records
) -> Iterator[None]:
    tell, diverged = records
    try:
        yield
    except NotShown as error:
        tell(verified.no_longer(entry.id, f"script: {place}", str(error), settings.device))
    else:
        diverged(entry.id)


def prints_as_recorded(entry: Shortfall, printed: str) -> None:
    if printed != entry.prints.strip():
        raise NotShown(f"its script prints {printed!r}, recorded is {entry.prints.strip()!r}")


@pytest.mark.parametrize(
    ("entry", "quantity", "of_dtype"),
    SCRIPTS,
    ids=[f"{entry.id}, {quantity}, {dtype}" for entry, quantity, dtype in SCRIPTS],
)
def test_the_script_shows_a_result_that_breaks_the_bound(
    entry: Divergence, quantity: str, of_dtype: str, settings: Settings, records: Records
) -> None:
    skip_unless_in_force(entry, settings)
    with that_it_is_not_shown_is_news(entry, f"{quantity}, {of_dtype}", settings, records):
        shown = shown_by(entry, quantity, of_dtype)
        assert len(shown.script.splitlines()) <= LONGEST_SCRIPT
        assert needs_only_torch(shown.script)


@pytest.mark.parametrize("entry", OF_PLAIN_CALLS, ids=lambda entry: entry.id)
def test_the_script_of_a_shortfall_prints_what_is_recorded(
    entry: Shortfall, settings: Settings, records: Records
) -> None:
    skip_unless_in_force(entry, settings)
    assert needs_only_torch(entry.script)
    with that_it_is_not_shown_is_news(entry, "", settings, records):
        prints_as_recorded(entry, printed_by(entry.script))


@pytest.mark.whole_runs
@pytest.mark.parametrize("entry", OF_COMPILED_CALLS, ids=lambda entry: entry.id)
def test_the_script_of_a_compiled_call_prints_what_is_recorded(
    entry: Shortfall, settings: Settings, records: Records
) -> None:
    """Seconds of the compiler each, so once: in the report."""
    skip_unless_in_force(entry, settings)
    assert needs_only_torch(entry.script)
    with that_it_is_not_shown_is_news(entry, "", settings, records):
        prints_as_recorded(entry, re.findall(r"^prints `(.*?)`$", report(entry), re.MULTILINE | re.DOTALL)[0])


@pytest.mark.parametrize("entry", [*ledger.entries_of("torch"), *OF_PLAIN_CALLS], ids=lambda entry: entry.id)
def test_the_report_says_all_that_an_issue_needs(
    entry: Divergence | Shortfall, settings: Settings, records: Records
) -> None:
    skip_unless_in_force(entry, settings)
    with that_it_is_not_shown_is_news(entry, "", settings, records):
        text = report(entry)
        for part in ("```python\n", "prints `", "**Why.**", "**Environment**", "torch 2", entry.link):
            assert part in text
        if isinstance(entry, Divergence):
            assert "certified by ball arithmetic" in text
