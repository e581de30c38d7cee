"""What is observed where torch and NumPy are, and judged elsewhere, has the verdict of one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torch_loss_parity.cases.case import Call
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.meta import observed_runs
from torch_loss_parity.meta.observed_runs import SUBJECTS
from torch_loss_parity.processes.folders import CHECKOUT
from torch_loss_parity.processes.watchdog import Ended, NotReturned
from torch_loss_parity.reports.screen import TOO_LITTLE, Screen
from torch_loss_parity.subjects.declined import NotObserved, NotOffered
from torch_loss_parity.subjects.observing import answer
from torch_loss_parity.subjects.observing.compare import compare
from torch_loss_parity.subjects.observing.container import DamagedFile, Reader, Writer
from torch_loss_parity.subjects.observing.encoding import decoded, digest_of, encoded, key_of, narrowest
from torch_loss_parity.subjects.observing.recorded import FORMAT, Recorded
from torch_loss_parity.subjects.observing.source import Request
from torch_loss_parity.subjects.run_subject import WrongResult

# What Python loads first in an environment that has torch, what torch needs, and NumPy.
BARE = """
import sys
WITHOUT = {"flint", "hypothesis", "covertable", "array_api_compat", "pydantic", "jinja2", "pytest", "_pytest",
           "scipy", "click", "packaging", "tqdm", "tomli", "pytest_benchmark", "xdist"}
class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in WITHOUT else self.finder.find_spec(name, path, target)
sys.meta_path[:] = map(Without, sys.meta_path)
"""
COMMAND = [sys.executable, "-m", "torch_loss_parity"]
SAME = ("counts", "worst", "diverging", "failures", "exitstatus", "environment")
X = np.asarray([[1.0, 2.0, -np.inf]])
CALL = Call("softmax", {"input": X, "dim": 1, "dtype": None}, "float32", "float32", ("input",))
HEADER = {
    "format": FORMAT,
    "operators": ["softmax"],
    "requests": 600,
    "environment": {"told": "a machine"},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every subject judged in one process and in two; torch observed where only torch and NumPy are."""
    directory = tmp_path_factory.mktemp("observed")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTEST_ADDOPTS": ""}
    (directory / "torch").mkdir()
    here = [sys.executable, "-m", observed_runs.__name__]
    observe = [*COMMAND, "observe", "--plan=plan.npz", "--output=torch/observed.npz"]
    for command, bare in (([*here, "plan", "plan.npz"], False), (observe, True), ([*here, "."], False)):
        variables = environment | (bare_environment(directory) if bare else {})
        done = subprocess.run(command, cwd=directory, env=variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return directory


def bare_environment(directory: Path) -> dict[str, str]:
    """The variables with which Python finds torch, what torch needs, and NumPy."""
    (directory / "bare").mkdir(exist_ok=True)
    (directory / "bare" / "sitecustomize.py").write_text(BARE)
    paths = [str(directory / "bare"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths)}


def outcome(path: Path) -> Mapping[str, Any]:
    written: Mapping[str, Any] = json.loads(path.read_text())
    return written


@pytest.mark.whole_runs
@pytest.mark.parametrize("name", [name for name, (_, alone) in SUBJECTS.items() if alone])
def test_two_processes_find_what_one_finds(runs: Path, name: str) -> None:
    one, two = (outcome(runs / name / f"{which}.json") for which in ("one", "two"))
    assert {key: two[key] for key in SAME} == {key: one[key] for key in SAME}
    assert two["verdict"] == one["verdict"] | {"not_observed": two["verdict"]["not_observed"]}
    assert "layouts" in two["verdict"]["not_observed"]
    assert two["verdict"]["word"] == ("pass" if name in ("torch", "right") else "FAIL")


@pytest.mark.whole_runs
def test_what_ends_the_process_is_told_and_the_rest_is_judged(runs: Path) -> None:
    two = outcome(runs / "dies" / "two.json")
    assert two["failures"][0]["message"] == "Failed: softmax of dies.py: it ended the process (SIGKILL)"
    assert two["verdict"]["word"] == "FAIL"
    # As many cases as where the same calls do not return.
    hangs = outcome(runs / "hangs" / "two.json")
    assert two["counts"] == hangs["counts"]
    assert len(two["failures"]) == len(hangs["failures"])


def written(path: Path, number: int = 600) -> Path:
    """A file of answers in three parts, each a result of its own and one that all have."""
    writer, shared = Writer(path, HEADER), np.arange(7.0)
    for i in range(number):
        value = {"forward": np.asarray([i / 3]), "input": shared}
        writer.add({"key": Request("drive", CALL, {"i": i}).key, **answer.of_value(value, writer.keep)})
    writer.close({"why": "done"})
    return path


def test_an_answer_comes_back_as_it_was_and_is_kept_once(tmp_path: Path) -> None:
    recorded = Recorded(written(tmp_path / "file.npz"))
    back = recorded.answer(Request("drive", CALL, {"i": 599}))
    np.testing.assert_array_equal(back["forward"], [599 / 3])
    np.testing.assert_array_equal(back["input"], np.arange(7.0))
    with pytest.raises(NotObserved, match="the file holds no such call"):
        recorded.answer(Request("drive", CALL, {"i": 600}))
    with np.load(tmp_path / "file.npz") as arrays:  # it is an npz
        stored = [arrays[name].size for name in arrays.files if name.endswith("float16")]
    assert sum(stored) == 7 + 200  # what all have, and each third of an integer that is one


@pytest.mark.parametrize("share", [0.1, 0.5, 0.7, 0.9])
def test_of_a_file_that_was_cut_short_what_was_done_is_there(tmp_path: Path, share: float) -> None:
    content = written(tmp_path / "file.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[: int(len(content) * share)])
    recorded = Recorded(tmp_path / "cut.npz")
    assert recorded.shortage == "the file was cut short"
    assert len(recorded) in (0, 256, 512, 600)
    assert len(recorded) > 600 * share - 256 - 60
    assert recorded.told.endswith("of 600 calls observed on a machine; the file was cut short")
    if len(recorded):
        np.testing.assert_array_equal(recorded.answer(Request("drive", CALL, {"i": 0}))["forward"], [0.0])
    with pytest.raises(NotObserved, match="the file was cut short"):
        recorded.answer(Request("drive", CALL, {"i": 600}))


def test_what_was_to_be_observed_and_is_not_is_no_pass() -> None:
    tally = Tally("softmax", "float32", "forward")
    for _ in range(9):
        tally.count()
    tally.decline(str(NotObserved("the file was cut short")))
    screen = Screen("title", [tally.as_property()], [], "", lambda reason: False)
    assert screen.word == TOO_LITTLE
    assert any("1 cases" in line for line, _ in screen.lines())


def test_two_files_are_compared_call_by_call(tmp_path: Path) -> None:
    def observed(name: str, **values: Any) -> Path:
        writer = Writer(tmp_path / name, HEADER | {"subject": name})
        for key, value in values.items():
            told = {"key": key, "claim": "forward", "operator": "softmax", "dtype": "float32"}
            if isinstance(value, Exception):
                writer.add({**told, **answer.of_exception(value)})
            else:
                writer.add({**told, **answer.of_value({"forward": np.asarray(value)}, writer.keep)})
        writer.close({"why": "done"})
        return tmp_path / name

    first = observed("a", same=[1.0, np.nan], bits=[1.0, 4.0], shape=[1.0], raises=ValueError("a"), more=1.0)
    second = observed("b", same=[1.0, np.nan], bits=[1.0, 3.0], shape=[[1.0]], raises=ValueError("b"))
    compared = compare(first, second)
    (cell,) = compared.cells.values()
    assert vars(cell) == {"calls": 4, "same": 2, "bits": 1, "otherwise": 1, "apart": 0.25}
    assert not compared
    assert compare(first, first)
    assert "1 calls in this file only" in next(compared.lines())
    assert "forward, softmax, float32" in list(compared.lines())[-1]


def test_a_damaged_or_foreign_file_is_told_in_a_line(tmp_path: Path) -> None:
    path = written(tmp_path / "file.npz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "damaged.npz").write_bytes(content)
    with pytest.raises(DamagedFile, match=r"damaged\.npz is damaged: .*; 256 records of 1 whole parts"):
        Recorded(tmp_path / "damaged.npz")
    np.savez(tmp_path / "foreign.npz", a=X)
    with pytest.raises(DamagedFile, match=r"foreign\.npz is no file of a .*; nothing of it was read"):
        Recorded(tmp_path / "foreign.npz")
    (tmp_path / "text.npz").write_text("text")
    with pytest.raises(DamagedFile, match=r"text\.npz is no file of a .*: nothing of it can be read"):
        Recorded(tmp_path / "text.npz")
    with pytest.raises(DamagedFile, match=r"none\.npz cannot be read: No such file"):
        Reader(tmp_path / "none.npz", FORMAT)


def test_a_value_comes_back_as_it_was() -> None:
    arrays: dict[str, np.ndarray] = {}

    def keep(array: np.ndarray) -> str:
        arrays[digest_of(array)] = array
        return digest_of(array)

    value = (CALL, [1, -0.0, float("nan"), True, None, 2j], {"dim": (0, 1), "empty": ()})
    call, plain, mapping = decoded(json.loads(json.dumps(encoded(value, keep))), arrays.__getitem__)
    assert str(plain) == "[1, -0.0, nan, True, None, 2j]"
    assert mapping == {"dim": (0, 1), "empty": ()}
    assert (call.operator, call.differentiable, call.arguments["dim"]) == ("softmax", ("input",), 1)
    np.testing.assert_array_equal(call.arguments["input"], X)


def test_every_difference_of_a_request_is_one_of_its_key() -> None:
    others = [
        (CALL, {"g": X}),
        (CALL, {"g": -X}),
        (CALL, {"g": X[0]}),
        (CALL, {"g": X.astype(np.float32)}),
        (CALL, {"g": 1}),
        (CALL, {"g": True}),
        (CALL, {"g": (1,)}),
        (Call("softmax", CALL.arguments, "float64", "float32", ("input",)), {"g": X}),
    ]
    keys = [Request("drive", call, given).key for call, given in others]
    assert len({*keys, Request("other", CALL, {"g": X}).key}) == len(others) + 1


@pytest.mark.parametrize(
    ("numbers", "stored"), [([1.0, np.inf, -0.0], "float16"), ([2.0**20], "float32"), ([0.1], "float64")]
)
def test_arrays_are_stored_in_the_narrowest_dtype_that_holds_their_bits(
    numbers: list[float], stored: str
) -> None:
    array = np.asarray(numbers)
    assert narrowest(array).dtype == stored
    assert narrowest(array).astype(np.float64).tobytes() == array.tobytes()


class OfItsOwn(ValueError):
    """An exception of a subject's."""


def test_what_was_raised_is_raised_again() -> None:
    error = OfItsOwn("no such thing")
    with pytest.raises(ValueError, match="no such thing") as raised:
        answer.given_again(answer.of_exception(error))
    assert type(raised.value).__name__ == "OfItsOwn"
    for kind in (NotOffered, WrongResult, NotImplementedError, KeyError):
        cause = kind("words")
        cause.__cause__ = TypeError("why")
        with pytest.raises(kind) as raised_again:
            answer.given_again(answer.of_exception(cause))
        assert str(raised_again.value) == str(cause)
        assert str(raised_again.value.__cause__) == "why"
    with pytest.raises(NotReturned):
        answer.given_again(answer.of_loss("did not return within 3 s"))
    with pytest.raises(Ended, match="it ended the process"):
        answer.given_again(answer.of_loss("ended the process (SIGKILL)"))


def test_a_device_without_memory_says_nothing_of_the_subject() -> None:
    no_memory = type("OutOfMemoryError", (RuntimeError,), {})("tried to allocate 80 GiB")
    with pytest.raises(NotObserved, match="the device had no memory for it"):
        answer.given_again(answer.of_exception(no_memory))


def test_keys_do_not_depend_on_the_order_of_what_is_given() -> None:
    assert key_of({"a": 1}) != key_of({"a": 2})
    assert Request("drive", CALL, {"a": 1, "b": 2}).key == Request("drive", CALL, {"b": 2, "a": 1}).key


@pytest.mark.whole_runs
def test_what_cannot_be_observed_in_a_bare_environment_is_told(runs: Path) -> None:
    variables = {**os.environ, **bare_environment(runs)}
    for given, words in (
        (["torch"], "error: --plan is needed where hypothesis, which draws cases, is not installed"),
        (["fault:zeros", "--plan=plan.npz"], "error: 'fault:zeros' evaluates definitions, which needs"),
    ):
        command = [*COMMAND, "observe", *given]
        done = subprocess.run(command, cwd=runs, env=variables, capture_output=True, text=True)
        assert (done.returncode, done.stderr[: len(words)]) == (4, words)


@pytest.mark.whole_runs
@pytest.mark.skipif(os.name != "posix", reason="a script of bash")
def test_the_script_for_a_gpu_says_what_it_did_in_its_budget(tmp_path: Path) -> None:
    """Of ten seconds only the first steps have any: all others are named, and nothing hangs."""
    variables = {"DEVICE": "cpu", "BUDGET": "12", "OUT": str(tmp_path), "WHEELS": str(tmp_path / "none")}
    script = str(CHECKOUT / ".ci" / "gpu")
    done = subprocess.run(["bash", script], env={**os.environ, **variables, "PYTHON": sys.executable})
    assert done.returncode == 0
    said = (tmp_path / "summary.txt").read_text().splitlines()
    steps = [line.split()[0] for line in said[1:] if not line.startswith(" ")]
    assert steps[:4] == ["environment", "wheels", "plan-quick", "torch-quick"]
    assert {"judged-quick", "bits", "benchmarks", "torch-standard", "liger"} < set(steps)
    assert "not begun" in next(line for line in said if line.startswith("torch-standard"))
    assert int(said[-1].split()[2]) < 30
