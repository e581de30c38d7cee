"""pytest's side of the benchmarks: options, which tests there are, when they are timed, what is printed and
saved.

Note [When times are taken]
    ``pytest benchmarks`` times, and leaves out the benchmarks' tests of themselves. ``pytest`` alone, and any
    run that names something else too, checks that every path is right and takes no times: beside other tests,
    or in several processes, they would mean nothing. ``--benchmark-disable``, ``--benchmark-skip`` and ``-n``
    switch them off as usual, ``--benchmark-enable`` and ``--benchmark-only`` on.
"""

from __future__ import annotations

import os
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from torch_loss_parity.benchmarks import allocator, observed
from torch_loss_parity.benchmarks.clock import Clock, Replay
from torch_loss_parity.benchmarks.machine_info import complete, machine_there
from torch_loss_parity.benchmarks.matrix import (
    CORRECTNESS,
    EFFORTS,
    Cell,
    cells,
    shape_from,
    shape_name,
    together,
)
from torch_loss_parity.benchmarks.paths import PATHS, SUBJECT, of_subject
from torch_loss_parity.benchmarks.promised import sentences, works_inside
from torch_loss_parity.benchmarks.session import Benchmarks
from torch_loss_parity.benchmarks.timed_run import CELL, Timed
from torch_loss_parity.benchmarks.workload import not_timed
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.processes import suite
from torch_loss_parity.subjects.observing.recorded import Recorded
from torch_loss_parity.subjects.settings import SETTINGS, Settings, WrongOption

HERE = Path(__file__).resolve().parent
META = HERE / "meta"
RUN = pytest.StashKey[Benchmarks]()
ALLOCATOR = pytest.StashKey[str]()
PARAMETERS = "operator, mode, shape, dtype, path"
MODULE = "test_paths.py"


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.register(Switch(), "benchmarks-switch")
    group = parser.getgroup("benchmarks", "timing of loss functions")
    group.addoption(
        "--threads",
        type=int,
        default=1,
        metavar="N",
        help="threads of torch on the CPU while timing (default: 1)",
    )
    group.addoption(
        "--path", metavar="A,B", help=f"paths to time: {', '.join(PATHS)}, {SUBJECT} (default: all)"
    )
    group.addoption(
        "--shape", metavar="ROWSxCLASSES,...", help="shapes to time, instead of those of the effort"
    )
    group.addoption("--cold-cache", action="store_true", help="empty the caches before each call")
    group.addoption("--benchmark-report", metavar="FILE.html", help="write what was measured as one page")


def _times_are_taken(config: pytest.Config) -> bool:
    """See Note [When times are taken]."""
    option, said = config.option, config.invocation_params.args
    if (
        option.benchmark_skip
        or "--benchmark-disable" in said
        or getattr(option, "numprocesses", None)
        or hasattr(config, "workerinput")
    ):
        return False
    if option.benchmark_enable or option.benchmark_only:
        return True
    paths = suite.places(config)
    return all(path == HERE or (HERE in path.parents and META not in (path, *path.parents)) for path in paths)


class Switch:
    """Says whether times are taken, before pytest-benchmark looks."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        timed = _times_are_taken(config)
        config.option.benchmark_disable, config.option.benchmark_enable = not timed, timed
        if timed:
            # A pool would wait, spinning, beside what is timed.
            os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
        config.stash[ALLOCATOR] = allocator.keep_memory() if timed else allocator.AS_IT_IS


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Once the project's own options are known to be right."""
    try:
        config.stash[RUN] = run = _benchmarks(config, config.stash[SETTINGS], config.option.benchmark_enable)
    except (WrongOption, ValueError) as error:
        raise pytest.UsageError(str(error)) from error
    if run.timed:
        config.pluginmanager.register(Timed(config, run), "benchmarks-timed")


def _benchmarks(config: pytest.Config, settings: Settings, timed: bool) -> Benchmarks:
    option = config.option
    if option.threads < 1:
        raise WrongOption(f"--threads is {option.threads}; it must be at least 1")
    if option.benchmark_report and not Path(option.benchmark_report).absolute().parent.is_dir():
        raise WrongOption(f"--benchmark-report is {option.benchmark_report!r}; its folder must exist")
    if option.benchmark_report and find_spec("jinja2") is None:
        raise WrongOption(
            "--benchmark-report needs Jinja2, which is not installed; it is in the extra "
            "'report' of this project"
        )
    elsewhere = settings.subject.is_elsewhere
    if elsewhere and (unlike := _not_of_a_file(option)):
        raise WrongOption(f"{unlike} is given, and --observed; the file says what was timed")
    paths = dict(PATHS)
    if elsewhere:
        path = observed.path_of(settings.subject)
        paths = {path.name: path}
    elif settings.subject.name != "torch":
        paths[SUBJECT] = of_subject(settings.subject)
    if option.path:
        names = [name.strip() for name in option.path.split(",")]
        for name in names:
            if name not in paths:
                hint = " (name it with --subject)" if name == SUBJECT else ""
                raise WrongOption(f"--path is {name!r}{hint}; choose from {', '.join(paths)}")
        paths = {name: path for name, path in paths.items() if name in names}
    shapes = tuple(shape_from(text.strip()) for text in option.shape.split(",")) if option.shape else ()
    effort = EFFORTS[settings.effort_name]
    sheets = effort.sheets if timed else CORRECTNESS
    refused: Counter[str] = Counter()
    works = works_inside(settings.subject.promise)
    chosen = cells(
        sheets,
        paths,
        settings.device,
        operators=settings.operators,
        dtypes=settings.dtypes,
        shapes=shapes if timed else (),
        refused=refused,
        works=works,
    )
    source = settings.subject.namespace
    there = machine_there(source) if isinstance(source, Recorded) else {}
    return Benchmarks(
        subject=settings.subject,
        paths=paths,
        effort=effort,
        effort_name=settings.effort_name,
        device=settings.device,
        threads=there.get("threads", option.threads),
        seed=settings.seed,
        cold=option.cold_cache,
        timed=timed,
        cells=tuple(together(chosen)),
        left_out=effort.left_out if timed else (),
        not_timed=not_timed(settings.operators or OPERATORS),
        works={work.name: work for work in works.values()},
        promised=sentences(works, settings.subject.promise),
        not_offered=refused,
        allocator=there.get("allocator", config.stash[ALLOCATOR]),
    )


def _not_of_a_file(option: Any) -> str:
    """The first option that was given of those that say how a subject is timed; empty where there is none."""
    given = {
        "--path": option.path,
        "--shape": option.shape,
        "--cold-cache": option.cold_cache,
        "--threads": option.threads != 1,
    }
    return next((name for name, value in given.items() if value), "")


def pytest_report_header(config: pytest.Config) -> list[str]:
    run = config.stash[RUN]
    without = [f"benchmarks: no workload: {what}" for what in run.not_timed]
    if not run.timed:
        return ["benchmarks: each path is checked, none is timed; `pytest benchmarks` times", *without]
    return [
        f"benchmarks: {len(run.cells)} cells, {run.threads} threads, caches "
        f"{'emptied' if run.cold else 'warm'}, memory {run.allocator}",
        "benchmarks: their tests of themselves, benchmarks/meta, are left out of a run that times",
        *without,
    ]


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The cells of this run, as parameters that JSON can hold: `--benchmark-group-by=param:dtype` works.

    Given as a mark, since the project's own operators and dtypes are given to whoever does not say so
    himself.
    """
    if metafunc.definition.path != HERE / MODULE or "path" not in metafunc.fixturenames:
        return
    rows = [
        pytest.param(cell.work, cell.mode, shape_name(cell.shape), cell.dtype, cell.path, id=_id(cell))
        for cell in metafunc.config.stash[RUN].cells
    ]
    metafunc.definition.add_marker(pytest.mark.parametrize(PARAMETERS, rows))


def _id(cell: Cell) -> str:
    return f"{cell.work}-{cell.mode}-{shape_name(cell.shape)}-{cell.dtype}-{cell.path}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    run = config.stash[RUN]
    by_id = {_id(cell): cell for cell in run.cells}
    for item in items:
        name = getattr(getattr(item, "callspec", None), "id", "")
        if (
            item.path == HERE / MODULE and name in by_id
        ):  # none where nothing is chosen: pytest skips the test
            item.stash[CELL] = cell = by_id[name]
            group = f"{cell.work}, {cell.mode}, {shape_name(cell.shape)}, {cell.dtype}"
            clock = Replay() if run.subject.is_elsewhere else Clock(run.device)
            item.add_marker(pytest.mark.benchmark(group=group, timer=clock))
    if run.timed:
        own = [item for item in items if META in item.path.parents]
        config.hook.pytest_deselected(items=own)
        items[:] = [item for item in items if META not in item.path.parents]


@pytest.fixture
def benchmarks(request: pytest.FixtureRequest) -> Benchmarks:
    """The run."""
    return request.config.stash[RUN]


@pytest.fixture
def cell(request: pytest.FixtureRequest) -> Cell:
    """What a test is to measure."""
    return request.node.stash[CELL]


@pytest.fixture
def clock(request: pytest.FixtureRequest) -> Clock | Replay:
    """pytest-benchmark's timer in this test."""
    marker = request.node.get_closest_marker("benchmark")
    assert marker is not None
    return marker.kwargs["timer"]


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    option, source = config.option, config.stash[SETTINGS].subject.namespace
    if isinstance(source, Recorded):
        machine_info.clear()
        machine_info.update(machine_there(source))
        return
    complete(machine_info, threads=option.threads, allocator=config.stash[ALLOCATOR], device=option.device)
