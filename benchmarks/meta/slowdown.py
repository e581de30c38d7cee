"""How small a difference the benchmarks tell: a slowdown that is planted, and none.

    python -m torch_loss_parity.benchmarks.meta.slowdown                # 5 %, the groups of ``pytest
    benchmarks`` python -m torch_loss_parity.benchmarks.meta.slowdown --share 0.03 --effort quick

Two paths are timed: torch, which is against itself, and torch that waits after each call for a share of the
time which it took. Of the groups whose calls take a millisecond and more it is counted in how many the
interval of the slowed path tells it from torch, and in how many that of torch holds 1. The exit status is 0
if the slowdown is told in three quarters of the groups. It is the CPU that waits, so it is for the CPU alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path as File
from textwrap import fill
from time import perf_counter
from typing import Any
from unittest.mock import patch

import pytest

from torch_loss_parity.benchmarks.buffers import Buffers
from torch_loss_parity.benchmarks.noise import noise
from torch_loss_parity.benchmarks.paths import BASELINE, PATHS, SUBJECT, Path, Step
from torch_loss_parity.benchmarks.plugin import RUN
from torch_loss_parity.benchmarks.result import Result
from torch_loss_parity.benchmarks.session import Benchmarks
from torch_loss_parity.benchmarks.workload import Work

SHARE, ENOUGH = 0.05, 0.75
KEPT, WIDTH = 61, 110  # rounds of a group, and letters of a line, in a file
QUIET = ("-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")


def slowed(share: float) -> Path:
    """Torch, and ``share`` of each call's time longer."""

    def step(work: Work, mode: str, buffers: Buffers) -> Step:
        own = PATHS[BASELINE].step(work, mode, buffers)

        def call(argument: Any) -> Any:
            start = perf_counter()
            output = own.call(argument)
            end = perf_counter()
            while perf_counter() - end < share * (end - start):
                pass
            return output

        return Step(own.prepare, call, own.read)

    return replace(PATHS[BASELINE], name=SUBJECT, what=f"torch, {share:.0%} slower", step=step)


@dataclass
class Kept:
    """Takes the run from pytest when it has ended."""

    run: list[Benchmarks] = field(default_factory=list)

    def pytest_unconfigure(self, config: pytest.Config) -> None:
        if RUN in config.stash:
            self.run.append(config.stash[RUN])


def told(results: Sequence[Result]) -> list[tuple[Result, bool]]:
    """The slowed path's results in groups whose calls take a millisecond and more, and whether each is told
    from torch, as slower."""
    apart = noise(results)
    slowed = [result for result in results if result.path == SUBJECT and result.group in apart.long]
    return [(result, apart.tells_apart(result) and result.speed < 1) for result in slowed]


def main(arguments: list[str] | None = None) -> int:
    """Run, and say in how many groups the slowdown was told."""
    about = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(
        prog="python -m torch_loss_parity.benchmarks.meta.slowdown", description=about
    )
    parser.add_argument("--share", type=float, default=SHARE, help=f"how much slower (default: {SHARE})")
    parser.add_argument(
        "--record",
        type=File,
        metavar="FILE",
        help="write the rounds' quotients, torch against itself, as JSON",
    )
    options, others = parser.parse_known_args(arguments)
    kept = Kept()
    with patch.dict(PATHS, {SUBJECT: slowed(options.share)}):
        command = ["benchmarks", "--path", f"{BASELINE},{SUBJECT}", *QUIET, *others]
        status = pytest.main(command, plugins=[kept])
    if not kept.run:  # a wrong option; pytest has said which
        return int(status)
    (run,) = kept.run
    if options.record:
        options.record.write_text(written(recorded(run)), encoding="utf-8")
    counts, apart = told(run.results), noise(run.results)
    for result, seen in counts:
        if not seen:
            print(f"not told: {result.group_name}: {result.speed_low:.3f} to {result.speed_high:.3f}")
    print(apart.verdict)
    count = sum(seen for _, seen in counts)
    slower = f"a slowdown of {options.share:.0%}"
    print(f"{slower} was told in {count} of the {len(counts)} groups of a millisecond and more")
    return int(status) or int(count < ENOUGH * len(counts) or not counts)


def recorded(run: Benchmarks) -> dict[str, list[float]]:
    """The quotients of torch against itself in groups whose calls take a millisecond and more."""
    kept = {group: run.quotients[group, BASELINE][:KEPT] for group in noise(run.results).long}
    return {", ".join(group): [round(each, 4) for each in quotients] for group, quotients in kept.items()}


def written(rounds: Mapping[str, Sequence[float]]) -> str:
    """JSON in lines that can be read."""
    groups = [f"{json.dumps(group)}:\n{fill(json.dumps(each), WIDTH)}" for group, each in rounds.items()]
    return "{\n" + ",\n".join(groups) + "\n}\n"


if __name__ == "__main__":
    sys.exit(main())
