"""What was timed elsewhere is judged here, and shown as what is timed here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch

from torch_loss_parity.benchmarks import matrix, observed
from torch_loss_parity.benchmarks.buffers import buffers, draw
from torch_loss_parity.benchmarks.clock import Replay
from torch_loss_parity.benchmarks.machine_info import machine_of, machine_there
from torch_loss_parity.benchmarks.matrix import EFFORTS, Cell, Sheet
from torch_loss_parity.benchmarks.meta.planted_paths import Stopwatch
from torch_loss_parity.benchmarks.meta.results import run_of
from torch_loss_parity.benchmarks.paths import PATHS, SUBJECT
from torch_loss_parity.benchmarks.returned import Returned, is_as_large, picked_rows
from torch_loss_parity.benchmarks.session import Benchmarks, WrongPath
from torch_loss_parity.benchmarks.verify import Truth
from torch_loss_parity.benchmarks.workload import MODES, TRAINING, WORKS
from torch_loss_parity.ledger.environment import of_this_process
from torch_loss_parity.plugin.observing import of_file, planned
from torch_loss_parity.subjects import Subject, load
from torch_loss_parity.subjects.observing import answer
from torch_loss_parity.subjects.observing.container import Writer
from torch_loss_parity.subjects.observing.planning import BENCHMARK, Plan, Planning
from torch_loss_parity.subjects.observing.recorded import FORMAT, Recorded
from torch_loss_parity.subjects.settings import Settings

SHAPE = (64, 32)
BRIEF = replace(
    EFFORTS["quick"],
    sheets=(Sheet(("softmax", "cross_entropy"), (TRAINING,), (SHAPE,), ("float32",)),),
    seconds=0.0,
    rounds=(3, 3),
)
ANY = {"operator": None, "profile": None, "like": None, "time_limit": None}
MACHINE = {"cpu": "another", "threads": 1, "allocator": "as it is", "device": "a GPU"}


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plan of two cells that take no time to speak of."""
    monkeypatch.setitem(vars(matrix)["EFFORTS"], "quick", BRIEF)
    settings = Settings.of("torch", "cpu", "float32", "quick", 0)
    settings = planned(settings, tmp_path / "plan.npz", BENCHMARK)
    observed.ask(settings)
    assert isinstance(settings.subject.namespace, Planning)
    assert settings.subject.namespace.close() == 2
    return tmp_path / "plan.npz"


def timed(plan: Path, subject: Subject) -> Path:
    """What comes back from a subject, timed in this process."""
    asked, path = Plan(plan), plan.with_name("observed.npz")
    environment = {**of_this_process().as_dict(), "torch_version": torch.__version__, "told": "elsewhere"}
    header = {
        "format": FORMAT,
        "made": "today",
        "subject": subject.name,
        "imports": subject.imports,
        "device": "cpu",
        "plan": asked.header,
        "dtypes": asked.header["dtypes"],
        "asked_operators": [],
        "operators": ["softmax", "cross_entropy"],
        "requests": len(asked.records),
        "promise": asked.header["promise"],
        "profile": None,
        "time_limit": 60.0,
        "environment": {**environment, "machine_info": MACHINE},
    }
    writer = Writer(path, header)
    for record in asked.records:
        value = asked.request(record).run(subject, "cpu")
        writer.add({"key": record["key"], **answer.of_value(value, writer.keep)})
    writer.close({"why": "done"})
    return path


def run_on(file: Path) -> Benchmarks:
    """A run of the benchmarks on a file."""
    settings = of_file(Recorded(file), ANY)
    run = run_of(observed.path_of(settings.subject))
    run.subject, run.effort, run.effort_name = settings.subject, BRIEF, "quick"
    return run


@pytest.mark.parametrize(
    ("name", "path"), [("torch", "torch"), ("right:softmax-is-exp-of-log-softmax", SUBJECT)]
)
def test_what_was_timed_elsewhere_is_judged_here(plan: Path, name: str, path: str) -> None:
    run = run_on(timed(plan, load(name, ("softmax", "cross_entropy"))))
    clock = Replay()
    stopwatch = Stopwatch(clock)
    cell = Cell("softmax", TRAINING, SHAPE, "float32", path)
    result = run.measure(cell, stopwatch, clock)
    timing, answers = observed.looked_up(run.subject, "cpu", cell, WORKS["softmax"], "quick", 0)
    assert stopwatch.data == timing.path
    assert (result.rounds, result.median) == (3, median(timing.path))
    assert result.times_floor == median(t / f for t, f in zip(timing.path, timing.floor, strict=True))
    assert result.ways  # the gradient of both is right by another way than the definition
    # The last call of the rounds, and each buffer once it held other numbers.
    assert [each.exchanged for each in answers] == [False, True, True]
    assert {each.dataset for each in answers} == {0, 1}
    assert not run.late(cell)
    assert machine_of(run) == {**MACHINE, "observed": "today"}
    assert machine_there(Recorded(plan.with_name("observed.npz")))["device"] == "a GPU"


def test_what_is_wrong_has_no_time(plan: Path) -> None:
    wrong = load("torch", ("softmax",))
    softmax = torch.nn.functional.softmax

    class Scaled:
        @staticmethod
        def softmax(*given: Any, **named: Any) -> torch.Tensor:
            return softmax(*given, **named) * 1.001

        cross_entropy = staticmethod(torch.nn.functional.cross_entropy)

    run = run_on(timed(plan, replace(wrong, name="theirs.py", namespace=Scaled())))
    clock = Replay()
    cell = Cell("softmax", TRAINING, SHAPE, "float32", SUBJECT)
    with pytest.raises(WrongPath, match=r"subject has no time in softmax.*the result is wrong"):
        run.measure(cell, Stopwatch(clock), clock)
    assert len(run.wrong) == 1
    other = replace(cell, work="cross_entropy")
    assert run.measure(other, Stopwatch(clock), clock).fraction <= 1


@pytest.mark.parametrize("mode", MODES)
def test_rows_that_are_written_down_are_judged_as_the_whole(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a result with more elements than are judged whole."""
    monkeypatch.setattr("torch_loss_parity.benchmarks.returned.WHOLE", SHAPE[0] * SHAPE[1] // 8)
    for name in ("softmax", "cross_entropy"):
        (drawn,) = datasets = draw(WORKS[name], "float32", SHAPE, 3, number=1)
        step = PATHS["torch"].step(WORKS[name], mode, buffers(datasets, "cpu"))
        returned: Mapping[str, Any] = step.read(step.call(step.prepare(0)))
        truth, rows = Truth(drawn), picked_rows(drawn)
        assert rows is not None
        for quantity, value in returned.items():
            described = Returned.of(value, rows if is_as_large(drawn, quantity) else None)
            assert described.numbers.size <= SHAPE[0] * SHAPE[1] // 8
            assert truth.judge(quantity, described, PATHS["torch"], "cpu") == truth.judge(
                quantity, value, PATHS["torch"], "cpu"
            )


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (torch.zeros(8, 4, dtype=torch.float64), "it has dtype torch.float64, expected torch.float32"),
        (np.zeros((8, 4)), "it has dtype float64, expected float32"),
        (torch.zeros(2, 4), r"it has shape \(2, 4\), expected \(8, 4\)"),
        (torch.zeros(()), r"it has shape \(\), expected \(8, 4\)"),
        (7, "it is a int, expected a tensor or an array"),
    ],
)
def test_what_cannot_be_compared_is_said(value: Any, said: str) -> None:
    described = Returned.of(value, np.asarray([1, 5]))
    assert re.fullmatch(said, described.wrong((8, 4), "float32"))
    assert Returned.of(torch.ones(8, 4), np.asarray([1, 5])).wrong((8, 4), "float32") == ""


def test_a_replay_takes_the_times_of_another_run() -> None:
    clock: Callable[[], Any] = Replay("CUDA events")
    vars(clock)["seconds"] = [0.25, 0.5]
    assert [-(clock() - clock()) for _ in range(2)] == [0.25, 0.5]
    assert str(clock) == "CUDA events"
