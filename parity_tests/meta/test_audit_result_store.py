"""A run of chunks survives the death of its workers and of itself, locally and on a cluster, and gives the
same results.

Claims shown here: results come in order and whole; what is finished is not run again, but is where anything
that it depends on is another; a worker that dies costs no chunk; a chunk that always kills its worker, or
raises, is named; both ways give the same; what is wrong with a scheduler's address is said in time.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import pytest

from torch_loss_parity.audit import result_store
from torch_loss_parity.audit.result_store import Chunk
from torch_loss_parity.meta import audit_work as work
from torch_loss_parity.processes import cluster_pool, task_pool
from torch_loss_parity.processes.cluster_pool import SchedulerError
from torch_loss_parity.processes.folders import CHECKOUT
from torch_loss_parity.processes.strikes import STRIKES_OF_WORKERS
from torch_loss_parity.processes.task_pool import TaskError

pytestmark = pytest.mark.whole_runs
NEEDS_DASK = pytest.mark.skipif(
    not find_spec("distributed"), reason="Dask is not installed: pip install 'torch-loss-parity[dask]'"
)


def squares(n: int, seconds: float = 0.0) -> list[Chunk]:
    return [Chunk(f"square of {i}", work.slow_square, (i, seconds)) for i in range(n)]


def results(some: list[Chunk], pool: task_pool.Pool, store: Path | None = None) -> list[int]:
    return [result for _, result in result_store.run(some, pool, store)]


def test_results_come_in_order_and_each_is_reported_once() -> None:
    # The first is the last to be finished.
    some = [Chunk("slow", work.slow_square, (7, 0.3)), *squares(3)]
    seen: list[str] = []
    with result_store.executor(2) as pool:
        results = list(result_store.run(some, pool, progress=lambda chunk, kept: seen.append(chunk.name)))
    assert [(chunk.name, result) for chunk, result in results] == [
        (c.name, c.arguments[0] ** 2) for c in some
    ]
    assert sorted(seen) == sorted(chunk.name for chunk in some)
    assert seen[0] != "slow"


def test_what_is_finished_is_kept_and_not_run_again(tmp_path: Path) -> None:
    marks, store = tmp_path / "marks", tmp_path / "store"
    marks.mkdir()
    some = [Chunk(str(n), work.count_square, (n, str(marks))) for n in range(6)]
    with result_store.executor(1) as pool:
        begun = result_store.run(some, pool, store)
        assert [next(begun)[1] for _ in range(3)] == [0, 1, 4]
        begun.close()  # interrupted
        finished = {path.name for path in marks.iterdir()}
        assert results(some, pool, store) == [n * n for n in range(6)]
        assert results(some, pool, store) == [n * n for n in range(6)]
    assert {str(n) for n in range(3)} <= finished
    # One may have been in flight when the run was interrupted, and is run once more.
    assert sum(len((marks / str(n)).read_text()) for n in range(6)) <= 7
    assert not list(store.glob(".*"))


def test_what_depends_on_something_else_is_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chunk = Chunk("a", work.square, (3,))
    others = (
        replace(chunk, arguments=(4,)),
        replace(chunk, name="b"),
        replace(chunk, function=work.refuse),
        replace(chunk, state="c"),
    )
    here = result_store.environment()
    keys = {c.key(e) for c in (chunk, *others) for e in (here, "another")}
    assert len(keys) == 2 * (1 + len(others))
    with result_store.executor(1) as pool:
        assert results([chunk], pool, tmp_path) == [9]
        assert results([others[0]], pool, tmp_path) == [16]
        (kept,) = [path for path in tmp_path.iterdir() if path.stem == chunk.key(here)]
        kept.write_text(json.dumps({"chunk": "a", "result": 10}))
        assert results([chunk], pool, tmp_path) == [10]  # it is the store that was asked
        kept.write_text(kept.read_text()[:-5])  # truncated
        assert results([chunk], pool, tmp_path) == [9]
        monkeypatch.setattr(result_store, "environment", lambda: "another")
        with pytest.raises(TaskError, match="this worker has other versions of torch"):
            results([chunk], pool, tmp_path)


def test_a_subject_that_was_changed_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, module = tmp_path / "mine.py", tmp_path / "mymodule.py"
    monkeypatch.syspath_prepend(tmp_path)
    for path, name in ((file, str(file)), (module, "mymodule")):
        path.write_text("a = 1")
        before = result_store.state_of(name)
        assert result_store.state_of(name) == before
        path.write_text("a = 2")
        assert result_store.state_of(name) != before
    assert (
        result_store.state_of("torch") == result_store.state_of("fault:any") == ""
    )  # part of the environment


def test_a_worker_that_dies_costs_no_chunk(tmp_path: Path) -> None:
    some = [
        *squares(4, 0.05),
        Chunk("killer", work.square_at_the_second_try, (9, str(tmp_path / "mark"))),
        *squares(6)[4:],
    ]
    with result_store.executor(2) as pool:
        assert results(some, pool, tmp_path / "store") == [0, 1, 4, 9, 81, 16, 25]
    assert (tmp_path / "mark").exists()


@pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="processes are looked for in /proc, and there is none"
)
def test_workers_end_with_the_process_that_is_killed(tmp_path: Path) -> None:
    """However it ended: nothing is left that waits for work."""
    killed = get_context("spawn").Process(target=work.be_killed, args=(str(tmp_path / "processes"),))
    killed.start()
    killed.join(60)
    assert killed.exitcode == -work.KILL
    workers = [Path(f"/proc/{number}") for number in (tmp_path / "processes").read_text().split()]
    assert workers
    deadline = time.monotonic() + 10
    while any(path.exists() for path in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(path.exists() for path in workers)


def test_a_chunk_that_kills_its_workers_is_named(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    some = [*squares(3), Chunk("the killer", work.die, (str(mark),))]
    with (
        result_store.executor(2) as pool,
        pytest.raises(TaskError, match="chunk the killer has killed 3 workers"),
    ):
        results(some, pool, tmp_path / "store")
    assert len(mark.read_text()) in (STRIKES_OF_WORKERS, STRIKES_OF_WORKERS + 1)  # once it was not alone
    assert len(list((tmp_path / "store").iterdir())) == 3


def test_a_chunk_that_raises_is_named() -> None:
    with (
        result_store.executor(1) as pool,
        pytest.raises(TaskError, match="chunk wrong: ValueError: 3 is refused"),
    ):
        results([*squares(2), Chunk("wrong", work.refuse, (3,))], pool)


def test_two_chunks_of_one_name_are_refused() -> None:
    with (
        result_store.executor(1) as pool,
        pytest.raises(ValueError, match="chunks share the name 'square of 1'"),
    ):
        results([*squares(2), squares(2)[1]], pool)


def test_no_worker_is_refused() -> None:
    with pytest.raises(ValueError, match="--workers is 0; it must be at least 1"), result_store.executor(0):
        pass


@NEEDS_DASK
@pytest.mark.parametrize("address", ["127.0.0.1:8786", "tcp://127.0.0.1", "http://127.0.0.1:8786"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with (
        pytest.raises(SchedulerError, match="it must be an address such as tcp://HOST:8786"),
        result_store.executor(1, address),
    ):
        pass


@NEEDS_DASK
def test_where_nobody_answers_the_run_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_pool, "ANSWER", 0.5)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with (
            pytest.raises(SchedulerError, match=f"no scheduler answers at {address} within 0.5 s"),
            result_store.executor(1, address),
        ):
            pass


def test_without_dask_a_scheduler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(SchedulerError, match=r"pip install 'torch-loss-parity\[dask\]'"),
        result_store.executor(1, "tcp://127.0.0.1:8786"),
    ):
        pass


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and two workers on the loopback."""
    file = folder / "scheduler.json"
    dask = [sys.executable, "-W", "ignore", "-m"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(CHECKOUT),
        "OMP_NUM_THREADS": "1",
        "DASK_DISTRIBUTED__ADMIN__TICK__LIMIT": "1h",
    }
    command = [
        "distributed.cli.dask_scheduler",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--no-dashboard",
        "--scheduler-file",
        str(file),
    ]
    log = (folder / "log").open("wb")
    started = [subprocess.Popen([*dask, *command], env=environment, stderr=log, stdout=log)]
    try:
        worker = [
            "distributed.cli.dask_worker",
            "--scheduler-file",
            str(file),
            "--host",
            "127.0.0.1",
            "--nthreads",
            "1",
            "--no-nanny",
        ]
        worker += ["--no-dashboard", "--local-directory", str(folder)]
        started += [
            subprocess.Popen([*dask, *worker], env=environment, stderr=log, stdout=log) for _ in range(2)
        ]
        deadline = time.monotonic() + 60
        while not file.exists() or not file.read_text().strip():
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
        yield json.loads(file.read_text())["address"], started[1:]
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()
        log.close()


@NEEDS_DASK
def test_a_cluster_that_loses_a_worker_gives_what_local_processes_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some, store = squares(12, 0.1), tmp_path / "store"
    with cluster(tmp_path) as (address, workers), result_store.executor(scheduler=address) as pool:
        ended: list[int] = []

        def kill(chunk: Chunk, kept: bool) -> None:
            if not ended and len(list(store.iterdir())) >= 3:
                workers[0].kill()
                ended.append(workers[0].wait())

        collected = [
            (chunk.name, result) for chunk, result in result_store.run(some, pool, store, progress=kill)
        ]
        assert ended != [0]
        assert len(ended) == 1
        assert [result for _, result in collected] == [n * n for n in range(12)]
        assert len(list(store.iterdir())) == len(some)
        with pytest.raises(TaskError, match="chunk wrong: ValueError: 3 is refused"):
            results([Chunk("wrong", work.refuse, (3,))], pool)

        monkeypatch.setattr(cluster_pool, "ALONE", 0.2)
        monkeypatch.setattr(task_pool, "LOOK", 0.1)
        workers[1].kill()
        with pytest.raises(TaskError, match=r"has had no worker for 0\.2 s; what is finished is kept"):
            results(squares(20, 0.1), pool)
    with result_store.executor(1) as local:
        assert [(chunk.name, result) for chunk, result in result_store.run(some[:2], local)] == collected[:2]
