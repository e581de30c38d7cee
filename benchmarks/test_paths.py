"""Every path computes every work, and is right; ``pytest benchmarks`` times it, too."""

from __future__ import annotations

from typing import Any

import pytest

from torch_loss_parity.benchmarks.clock import Clock, Replay
from torch_loss_parity.benchmarks.matrix import Cell
from torch_loss_parity.benchmarks.session import Benchmarks
from torch_loss_parity.claims.transforms.compilers import NoCompiler
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.subjects.observing.recorded import Recorded
from torch_loss_parity.subjects.settings import Settings


# Where the path fails before it is timed.
@pytest.mark.filterwarnings("ignore:Benchmark fixture was not used at all")
def test_path(
    benchmarks: Benchmarks,
    cell: Cell,
    clock: Clock | Replay,
    benchmark: Any,
    settings: Settings,
    operator: str,
    mode: str,
    shape: str,
    dtype: str,
    path: str,
) -> None:
    """The result is right by the parity tests' verdict, and took no less time than moving its bytes takes."""
    if not benchmark.enabled:
        if path != "subject" and settings.effort_name == "quick":
            pytest.skip("quick effort checks the paths that are compared only where they are timed")
        benchmarks.check(cell, benchmark)
        return
    if benchmarks.late(cell):
        pytest.skip(f"not begun: the {benchmarks.effort.limit:g} s of this effort are used up")
    try:
        result = benchmarks.measure(cell, benchmark, clock)
    except NoCompiler as error:
        pytest.skip(str(error))
    except BaseException:
        benchmark.has_error = benchmark.skipped = True  # whatever was timed until here is no result
        raise
    benchmark.extra_info.update(result.as_info())
    benchmarks.results.append(result)


def test_something_is_measured(benchmarks: Benchmarks, settings: Settings) -> None:
    """No cell at all would be a pass of nothing, unless the records of all operators say why."""
    if len(benchmarks.not_timed) == len(settings.operators or OPERATORS):
        pytest.skip(f"no workload: {'; '.join(benchmarks.not_timed)}")
    source = settings.subject.namespace
    short = source.shortage if isinstance(source, Recorded) else ""
    assert not short, f"not all that was planned was timed: {short}"
    assert benchmarks.cells, "no path offers what was asked for with --operator, --dtype and --path"
