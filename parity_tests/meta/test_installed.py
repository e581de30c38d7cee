"""The installed package: what it adds, that it judges as the checkout does wherever it is called, and that it
goes.
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from torch_loss_parity.meta.installation import (
    Environment,
    copy_of_the_checkout,
    folder_of_somebody,
    output_of,
    quick,
    wheel_of,
)
from torch_loss_parity.processes.folders import BENCHMARKS, CHECKOUT, DISTRIBUTION, PACKAGE, REFERENCE, ROOT

pytestmark = pytest.mark.whole_runs

DATA = (".toml", ".json", ".jinja", ".css", ".js", ".typed")
PACKAGES = {"": PACKAGE, "reference": REFERENCE, "benchmarks": BENCHMARKS}
# A file of somebody's tests that tells what pytest has loaded, and which options it has.
TELLS = """\
import json, sys

def pytest_addoption(parser):
    parser.addoption("--tell")

def pytest_unconfigure(config):
    if path := config.getoption("--tell"):
        options = sorted(name for name in vars(config.option))
        with open(path, "w") as file:
            json.dump({"modules": sorted(sys.modules), "options": options}, file)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    return wheel_of(copy_of_the_checkout(folder / "source"), folder)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment that the wheel is installed into."""
    environment = Environment.at(tmp_path_factory.mktemp("environment") / "venv")
    before = environment.installed()
    environment.pip("install", "--no-deps", "--no-index", str(wheel))
    added = {name for name in environment.installed() - before if name != "__pycache__"}
    assert {re.sub(r"-.*\.", ".", name) for name in added} == {ROOT, f"{ROOT}.dist-info"}
    return environment


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return folder_of_somebody(tmp_path)


def findings(path: Path) -> dict[str, Any]:
    """What a run found, as ``--outcome`` wrote it: every count and figure, and every failure by its test."""
    written = path.read_text().replace(
        f"{path.parent}/", ""
    )  # the subject is named by its place, or its name
    outcome = json.loads(written.replace("parity_tests/claims/", "claims/"))
    kept = ("options", "exitstatus", "counts", "worst", "diverging", "failures", "news")
    return {name: outcome[name] for name in kept}


def test_the_wheel_holds_every_module_and_all_data_but_tests_of_the_suite(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith(f"{ROOT}/")}
    lie = {
        "/".join(filter(None, [ROOT, prefix, path.relative_to(folder).as_posix()]))
        for prefix, folder in PACKAGES.items()
        for path in folder.rglob("*")
        if path.suffix in (".py", *DATA) and not {"__pycache__", "meta"}.intersection(path.parts)
    }
    assert lie == held
    assert {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()} - {ROOT} == {
        f"{wheel.name.rsplit('-', 3)[0]}.dist-info"
    }


def test_both_ways_find_what_the_checkout_finds(installed: Environment, folder: Path) -> None:
    """Case by case: a kernel of which some claims fail, in a folder whose configuration is another one."""
    kernels, theirs = "my_kernels.py", {"PYTEST_ADDOPTS": "-k nothing --maxfail=1"}
    checkout = [sys.executable, "-m", "pytest", "parity_tests/claims", "-p", "no:cacheprovider"]
    ways = {
        "checkout": (CHECKOUT, {}, [*checkout, f"--subject={folder / kernels}"]),
        "name": (folder, theirs, [installed.python, "-m", "pytest", "--pyargs", ROOT, "--subject", kernels]),
        "command": (folder, theirs, [installed.command, "verify", kernels]),
    }
    verdicts = {}
    for way, (place, variables, command) in ways.items():
        outcome = folder / f"{way}.json"
        ended = installed.run(*quick(command), f"--outcome={outcome}", folder=place, variables=variables)
        assert ended.returncode == 1, output_of(ended)
        verdicts[way] = findings(outcome)
    assert sum(verdicts["checkout"]["counts"]["softmax"]["float32"].values()) > 300
    assert verdicts["checkout"]["failures"]
    assert verdicts["name"] == verdicts["checkout"]
    assert verdicts["command"] == verdicts["checkout"]


def test_the_suite_is_refused_beside_other_tests(installed: Environment, folder: Path) -> None:
    command = (installed.python, "-m", "pytest", "--pyargs", ROOT, "tests/check_theirs.py")
    ended = installed.run(*command, folder=folder)
    assert ended.returncode == 4, output_of(ended)
    assert "tests/check_theirs.py is no part of this suite, which runs by itself" in output_of(ended)


def test_the_command_ends_as_pytest_does(installed: Environment, folder: Path) -> None:
    ended = installed.run(
        *quick([installed.command, "verify", "torch"]), "--", "-k", "test_forward", folder=folder
    )
    assert ended.returncode == 0, output_of(ended)
    ended = installed.run(installed.command, "verify", "nowhere.py", folder=folder)
    assert ended.returncode == 4
    assert "'nowhere.py' is not a file" in output_of(ended)


def test_it_is_not_noticed_where_it_is_not_used(installed: Environment, tmp_path: Path) -> None:
    """No module but that of the entry point, nothing heavy, and no option without its prefix."""
    (tmp_path / "conftest.py").write_text(TELLS)
    (tmp_path / "test_theirs.py").write_text("def test_theirs():\n    pass\n")
    said = {}
    for name, without in (("with", ()), ("without", ("-p", f"no:{ROOT}"))):
        command = (installed.python, "-m", "pytest", "-p", "no:cacheprovider", f"--tell={tmp_path / name}")
        ended = installed.run(*command, *without, folder=tmp_path)
        assert ended.returncode == 0, output_of(ended)
        assert ROOT not in ended.stdout.replace(str(installed.packages), "")
        said[name] = json.loads((tmp_path / name).read_text())
    options = set(said["with"]["options"]) - set(said["without"]["options"])
    assert options == {"parity_device", "parity_dtype", "parity_effort", "parity_seed"}
    modules = set(said["with"]["modules"]) - set(said["without"]["modules"])
    assert modules == {ROOT, f"{ROOT}.plugin", f"{ROOT}.plugin.entry"}


def test_somebodys_tests_have_a_fixture(installed: Environment, tmp_path: Path) -> None:
    (tmp_path / "test_theirs.py").write_text(
        "import pytest, torch\n\n"
        "def test_right(parity_verify):\n"
        "    verified = parity_verify(torch.softmax, 'softmax', claims=['forward'])\n"
        "    assert {row.dtype for row in verified.rows} == {'float32'}\n\n"
        "def test_wrong(parity_verify):\n"
        "    def wrong(*arguments, **options):\n"
        "        return torch.softmax(*arguments, **options) * 1.001\n\n"
        "    with pytest.raises(AssertionError, match='the result is wrong'):\n"
        "        parity_verify(wrong, 'softmax', claims=['forward'])\n"
    )
    ended = installed.run(installed.python, "-m", "pytest", "--parity-dtype=float32", folder=tmp_path)
    assert ended.returncode == 0, output_of(ended)
    assert "2 passed" in ended.stdout


def test_benchmarks_run_where_it_is_installed(installed: Environment, folder: Path) -> None:
    """As far as that does not depend on how busy a machine is: every path is checked, and none is timed."""
    command = quick([installed.command, "benchmark", "my_kernels.py"])
    ended = installed.run(*command, "--path", "torch,subject", "--", "--benchmark-disable", folder=folder)
    assert ended.returncode == 0, output_of(ended)
    assert "each path is checked, none is timed" in ended.stdout


def test_uninstalling_leaves_nothing_behind(wheel: Path, tmp_path: Path) -> None:
    """Nor what Python and pytest keep of modules that they have loaded."""
    environment = Environment.at(tmp_path / "venv")
    before = environment.installed()
    environment.pip("install", "--no-deps", "--no-index", str(wheel))
    (tmp_path / "test_theirs.py").write_text(
        "from torch_loss_parity import compare, verify\n\ndef test_theirs():\n    pass\n"
    )
    ended = environment.run(environment.python, "-m", "pytest", folder=tmp_path)
    assert ended.returncode == 0, output_of(ended)
    ended = environment.run(
        *quick([environment.python, "-m", "pytest", "--pyargs", ROOT, "-k", "test_forward"]), folder=tmp_path
    )
    assert ended.returncode == 0, output_of(ended)
    environment.pip("uninstall", "--yes", DISTRIBUTION)
    assert environment.installed() - {"__pycache__"} == before - {"__pycache__"}
    assert not (tmp_path / "venv" / "bin" / DISTRIBUTION).exists()
