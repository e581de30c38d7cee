"""The package as somebody else has it: a wheel, installed into an environment of its own, and a folder that
is not made for it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch_loss_parity.processes.folders import CHECKOUT, DISTRIBUTION, ROOT
from torch_loss_parity.versions.environments import interpreter

PARTS = ("parity_tests", "reference", "benchmarks", "pyproject.toml", "README.md", "LICENSE", "action.yml")
PIP = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_ROOT_USER_ACTION": "ignore"}
# A run of pytest, and of Python, is to be that of somebody who has set nothing.
NOT_THEIRS = ("PYTEST_", "PYTHON", "TORCH_LOSS_PARITY", "HYPOTHESIS_")
LIMIT = 600.0  # seconds, for one process
SHOWN = 3000  # characters

# What a folder of somebody else may say to its own tests. Nothing of it is meant for the suite.
FILES: Mapping[str, str] = {
    "pytest.ini": """\
[pytest]
addopts = -q --strict-markers -k theirs --maxfail=1 -p no:benchmark
filterwarnings = error
python_files = check_*.py
python_functions = check_*
testpaths = tests
xfail_strict = true
markers = theirs: of this folder
""",
    "conftest.py": """\
import os, pytest
if os.environ.get("THEIRS") != "1":
    raise RuntimeError("the conftest.py of this folder is not the suite's")
@pytest.fixture(autouse=True)
def theirs():
    yield
def pytest_addoption(parser):
    parser.addoption("--subject", help="whom the mail is about")
""",
    "reference/__init__.py": "raise RuntimeError('the reference of this folder is not the suite\\'s')\n",
    "benchmarks/__init__.py": "raise RuntimeError('the benchmarks of this folder are not the suite\\'s')\n",
    "parity_tests/__init__.py": "raise RuntimeError('the tests of this folder are not the suite\\'s')\n",
    "tests/check_theirs.py": "def check_theirs():\n    pass\n",
    # The naive kernel of the README: some of what is asked of it fails.
    "my_kernels.py": """\
import torch

def softmax(input, dim, dtype=None):
    x = input if dtype is None else input.to(dtype)
    exponentials = torch.exp(x - x.amax(dim, keepdim=True))
    return exponentials / exponentials.sum(dim, keepdim=True)
""",
}


def copy_of_the_checkout(to: Path) -> Path:
    """What a wheel is built from; building leaves folders behind."""
    to.mkdir()
    for name in PARTS:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        else:
            shutil.copy(source, to / name)
    return to


def wheel_of(source: Path, into: Path) -> Path:
    """The wheel of a copy of the checkout."""
    command = ("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(into), str(source))
    subprocess.run([sys.executable, "-m", "pip", *command], check=True, env=os.environ | PIP, timeout=LIMIT)
    (wheel,) = into.glob("*.whl")
    return wheel


def folder_of_somebody(folder: Path) -> Path:
    """A folder with files of the same names as parts of this project, and a configuration of pytest."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@dataclass(frozen=True)
class Environment:
    """A virtual environment that has the libraries of this one, but not this project.

    Attributes
    ----------
    python : str
        Its interpreter.
    packages : Path
        Where pip installs.
    """

    python: str
    packages: Path

    @classmethod
    def at(cls, place: Path) -> Environment:
        """Make one: with links to the libraries, as to install them takes minutes."""
        venv.create(place, symlinks=os.name != "nt", with_pip=False)
        libraries = place / "libraries"
        libraries.mkdir()
        for path in map(Path, sys.path):
            for each in path.iterdir() if path.name in ("site-packages", "dist-packages") else ():
                ours = each.name.startswith((ROOT, "__editable__")) or each.suffix == ".pth"
                if not ours and not (libraries / each.name).exists():
                    (libraries / each.name).symlink_to(each)
        (packages,) = place.rglob("site-packages")
        (packages / "libraries.pth").write_text(f"{libraries}\n")
        return cls(str(interpreter(place)), packages)

    @property
    def command(self) -> str:
        """``torch-loss-parity``, as pip has installed it."""
        return str(Path(self.python).with_name(DISTRIBUTION))

    def installed(self) -> set[str]:
        """The names in the folder that pip installs into."""
        return {path.name for path in self.packages.iterdir()}

    def pip(self, *arguments: str) -> None:
        self.run(self.python, "-m", "pip", *arguments, "--quiet", folder=self.packages, check=True)

    def run(
        self,
        *command: str,
        folder: Path,
        variables: Mapping[str, str] | None = None,
        check: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a folder, with the variables of somebody who has set nothing."""
        theirs = {name: value for name, value in os.environ.items() if not name.startswith(NOT_THEIRS)}
        path = os.pathsep.join([str(Path(self.python).parent), theirs.get("PATH", "")])
        return subprocess.run(
            command,
            cwd=folder,
            env=theirs | PIP | {"PATH": path} | dict(variables or {}),
            capture_output=True,
            text=True,
            check=check,
            timeout=LIMIT,
        )


def output_of(ended: subprocess.CompletedProcess[str]) -> str:
    """The command of a process, and the end of what it printed."""
    return f"{ended.args}\n{ended.stderr[-SHOWN:]}\n{ended.stdout[-SHOWN:]}"


def quick(arguments: Sequence[str], operator: str = "softmax") -> list[str]:
    """A command with the options of a run that takes seconds."""
    return [*arguments, "--operator", operator, "--dtype", "float32", "--effort", "quick"]
