"""Which failing tests a run shows: those with the smallest case of each cause, and few beside them.

A wrong kernel fails hundreds of tests for a handful of reasons. What is left out is counted in a line;
``--all-failures`` shows it. Only tests of what a subject claims are left out, never the suite's tests of
itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from torch_loss_parity.judging import tally
from torch_loss_parity.operators.kinds import KINDS
from torch_loss_parity.processes.folders import META
from torch_loss_parity.reports.screen import CAUSES, KeyOfCause

OF_A_CAUSE = 2
FAILS = ("failed", "error")  # the lists of pytest's terminal that are shortened
Told = Mapping[str, Mapping[KeyOfCause, tuple[int, str]]]  # test, cause: size and text of its smallest case


def chosen(told: Told, smallest: Mapping[KeyOfCause, str]) -> set[str]:
    """The tests to show.

    Parameters
    ----------
    told : mapping
        Why each test fails.
    smallest : mapping
        The smallest case of each cause, in the order in which the verdict names them.
    """
    shown: dict[str, None] = {}
    for place in range(OF_A_CAUSE):
        for cause, example in smallest.items():
            tests = sorted(
                (test for test, causes in told.items() if cause in causes),
                key=lambda test: (told[test][cause][1] != example, told[test][cause][0]),
            )
            if len(tests) > place and len(shown) < CAUSES:
                shown[tests[place]] = None
    return set(shown)


def is_of_a_claim(test: str) -> bool:
    """Whether a test is of what a subject claims, and none of the suite's tests of itself."""
    return tally.claim_of(test) in KINDS and Path(test.partition("::")[0]).parent.name != META.name


@contextmanager
def shortened(terminal: pytest.TerminalReporter, shown: Iterable[str]) -> Iterator[int]:
    """Within, the terminal has no other failing tests of claims than those; how many it has not."""
    kept, before = set(shown), {name: terminal.stats.get(name, []) for name in FAILS}
    hidden: set[str] = set()
    for name, reports in before.items():
        left_out = [each.nodeid for each in reports if is_of_a_claim(each.nodeid) and each.nodeid not in kept]
        if left_out:
            terminal.stats[name] = [each for each in reports if each.nodeid not in left_out]
            hidden.update(left_out)
    try:
        yield len(hidden)
    finally:
        terminal.stats.update({name: reports for name, reports in before.items() if reports})
