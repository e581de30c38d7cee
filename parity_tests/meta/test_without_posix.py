"""Without fork, SIGALRM, fcntl, resource and /proc a run finds the same, and says what is missing.

See `torch_loss_parity.meta.without_posix`; what a subject does there that it should not is in
`test_subjects`, runs that are forked from one process in `test_forked_runs`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from torch_loss_parity.benchmarks.meta.running import run
from torch_loss_parity.meta import small_audit, without_posix
from torch_loss_parity.processes import system

pytestmark = pytest.mark.whole_runs


def printed(*command: str, environment: Mapping[str, str] | None = None) -> str:
    """What a process of Python prints, which ends well."""
    root, python = without_posix.ROOT, (sys.executable, "-m", *command)
    done = subprocess.run(python, cwd=root, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    return without_posix.environment(tmp_path_factory.mktemp("site"))


def verdicts(printed: str) -> list[str]:
    """The tables: worst error / allowed, and cases of each claim."""
    return re.findall(r"^  b?float\d+ .*$", printed, re.MULTILINE)


def test_a_run_finds_the_same_and_names_what_is_missing(elsewhere: Mapping[str, str]) -> None:
    """Of one operator: what a system lacks is lacking of all of them."""
    arguments = ("parity_tests", "--operator", "softmax", "--dtype", "float32", "--effort", "quick")
    there = printed("pytest", "-p", "no:cacheprovider", *arguments, environment=elsewhere)
    ended = run(*arguments)
    assert ended.exitcode == 0, ended.printed
    here = ended.printed
    assert len(verdicts(there)) == 2
    assert verdicts(there) == verdicts(here)
    for facility in system.FACILITIES:
        assert f"parity: without {facility.name}: {facility.without}" in " ".join(there.split())
    named = [line for line in here.splitlines() if line.startswith("parity: without")]
    assert named == [f"parity: {line}" for line in system.missing()]


def figures(directory: Path) -> Any:
    """What an audit found, without what differs between two runs."""
    audit = json.loads((directory / "audit.json").read_text(encoding="utf-8"))
    return {name: audit[name] for name in ("figures", "axes", "divergences", "missing")}


def test_an_audit_of_processes_started_anew_is_the_same(tmp_path: Path, elsewhere: Mapping[str, str]) -> None:
    for name, environment in (("here", None), ("there", elsewhere)):
        arguments = ("--operator", "softmax", "--dtype", "float16", "--effort", "quick", "--workers", "1")
        command = (small_audit.__name__, str(tmp_path / "log"), *arguments, "--audit", str(tmp_path / name))
        printed(*command, environment=environment)
    assert figures(tmp_path / "there") == figures(tmp_path / "here")
    assert {figure["how"] for figure in figures(tmp_path / "here")["figures"]} >= {"random", "exhaustive"}
