"""pytest-benchmark beyond its public interface: what is needed of that is taken here, and nowhere else."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pytest_benchmark.logger import PytestBenchmarkWarning


def rounds_of(fixture: Any) -> list[float]:
    """The seconds of each round that the fixture ``benchmark`` timed."""
    return list(fixture.stats.stats.data)


def leave_out_unfinished(config: pytest.Config) -> None:
    """Take out of what is shown and saved what was interrupted or has no result that was judged right."""
    measured = getattr(config, "_benchmarksession").benchmarks  # noqa: B009 - no public way to it
    measured[:] = [bench for bench in measured if not bench.has_error and bench and bench.extra_info]


def leave_out_table(config: pytest.Config) -> None:
    """Show nothing of what was measured; a regression is still one."""
    session = getattr(config, "_benchmarksession")  # noqa: B009 - as above

    def display(terminalreporter: Any) -> None:
        if session.groups:
            session.check_regressions()

    session.display = display


@contextmanager
def saving_nothing_is_no_error() -> Iterator[None]:
    """That nothing is left to be saved is no reason to end in a traceback."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", PytestBenchmarkWarning)
        yield
