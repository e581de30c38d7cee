"""The environments that releases of torch are run in, and what a run of pytest in one leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.version import Version

from torch_loss_parity.meta.version_runs import quick, run_of
from torch_loss_parity.versions.__main__ import main
from torch_loss_parity.versions.environments import (
    NotInstalled,
    Runs,
    Wanted,
    environment_with,
    interpreter,
    newest,
    release_of,
)
from torch_loss_parity.versions.run import NotRun, Options, outcome

# --- environments -------------------------------------------------------------------------------------------


class Commands:
    """Stands for `subprocess.run`: keeps what it is asked, and makes what venv would make."""

    def __init__(self, failing: str = "", said: str = "", errors: str = "", returncode: int = 1) -> None:
        self.failing, self.said, self.errors, self.returncode = failing, said, errors, returncode
        self.commands: list[list[str]] = []
        self.options: list[dict[str, Any]] = []

    def __call__(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        self.options.append(options)
        if "venv" in command:
            python = interpreter(Path(command[-1]))
            python.parent.mkdir(parents=True)
            python.touch()
        failed = bool(self.failing) and self.failing in command
        return subprocess.CompletedProcess(command, self.returncode if failed else 0, self.said, self.errors)


def test_an_environment_has_the_release_and_this_project_and_is_gone_afterwards() -> None:
    commands = Commands()
    with environment_with("2.11.0", None, keep=False, run=commands) as python:
        assert Path(python).exists()
        folder = Path(python).parents[1]
    assert not folder.parent.exists()
    venv, pip = commands.commands
    assert venv == [sys.executable, "-m", "venv", str(folder)]
    assert pip[:4] == [python, "-m", "pip", "install"]
    assert "torch==2.11.0" in pip
    assert pip[-1] == f"{Path(__file__).resolve().parents[2]}[parallel]"


def test_an_environment_is_kept_where_that_is_asked_and_used_again(tmp_path: Path) -> None:
    with environment_with("2.11.0", tmp_path, keep=False, run=Commands()) as python:
        assert Path(python).is_relative_to(tmp_path / "2.11.0")
    assert not (tmp_path / "2.11.0").exists()
    with environment_with("2.11.0", tmp_path, keep=True, run=Commands()) as first:
        pass
    unused = Commands()
    with environment_with("2.11.0", tmp_path, keep=True, run=unused) as second:
        assert first == second
    assert Path(first).exists()
    assert not unused.commands


def test_what_was_there_before_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "2.11.0").mkdir()
    (tmp_path / "2.11.0" / "mine").touch()
    for keep, why in ((False, "--keep uses it"), (True, "is no environment")):
        with (
            pytest.raises(NotInstalled, match=why),
            environment_with("2.11.0", tmp_path, keep=keep, run=Commands()),
        ):
            pass
    assert (tmp_path / "2.11.0" / "mine").exists()


def test_what_cannot_be_installed_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    errors = "WARNING: slow\nERROR: No matching distribution found for torch==9.9\n[notice] a new pip\n"
    for keep in (False, True):
        commands = Commands("pip", errors=errors)
        with (
            pytest.raises(NotInstalled) as raised,
            environment_with("9.9", tmp_path, keep=keep, run=commands),
        ):
            pass
        assert str(raised.value) == "No matching distribution found for torch==9.9"
        assert not list(tmp_path.iterdir())
    with (
        pytest.raises(NotInstalled, match="exit status 1"),
        environment_with("9.9", None, keep=False, run=Commands("venv")),
    ):
        pass


def test_the_variables_of_pip_are_passed_on_and_those_of_another_python_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    commands = Commands()
    with environment_with("2.11.0", None, keep=False, run=commands):
        pass
    for options in commands.options:
        assert options["env"]["PIP_INDEX_URL"] == "https://mirror.example/simple"
        assert "PYTHONPATH" not in options["env"]


def test_pip_says_which_release_is_the_newest() -> None:
    assert newest(Commands(said="torch (2.15.0+cpu)\nAvailable versions: 2.15.0+cpu, 2.14.1\n")) == "2.15.0"
    with pytest.raises(NotInstalled, match="pip does not say which release is the newest: No matching"):
        newest(Commands(said="", errors="ERROR: No matching distribution found for torch\n"))


def test_an_interpreter_is_found_by_name_too() -> None:
    assert release_of("2.13.0+cpu") == Wanted("2.13.0")
    assert release_of(f"2.13.0={sys.executable}") == Wanted("2.13.0", sys.executable)


def running(record: Mapping[str, Any] | None, returncode: int = 0) -> Runs:
    """Stands for `subprocess.run` of pytest, which writes an outcome."""

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        path = next(Path(each.partition("=")[2]) for each in command if each.startswith("--outcome="))
        if record is not None:
            path.write_text(json.dumps(record))
        return subprocess.CompletedProcess(command, returncode)

    return run


def test_a_run_is_what_pytest_wrote_unless_it_did_not_end_or_had_another_torch() -> None:
    options, record = Options(effort="quick"), run_of("2.13.0")
    for returncode in (0, 1):
        assert outcome("python", "2.13.0", options, running(record, returncode)) == record
    for returncode in (2, 3, 4, 5, -9):
        with pytest.raises(NotRun, match=f"pytest ended with exit status {returncode}"):
            outcome("python", "2.13.0", options, running(record, returncode))
    with pytest.raises(NotRun, match="pytest ended with exit status 0"):
        outcome("python", "2.13.0", options, running(None))
    with pytest.raises(NotRun, match=r"python has torch 2.13.0"):
        outcome("python", "2.15.0", options, running(record))


@pytest.mark.whole_runs
def test_the_suite_is_run_by_an_environment_that_is_there(capfd: pytest.CaptureFixture[str]) -> None:
    version = Version(torch.__version__).base_version
    narrow = ["--operator", "nll_loss", "--dtype", "float64"]
    assert main(quick(f"{version}={sys.executable}", *narrow)) == 0
    out = capfd.readouterr().out
    assert f"| {version} | 20" in out
    assert "1 operator, 1 dtype." in out
