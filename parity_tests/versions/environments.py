"""Where a release of torch is: an environment that is there, or one that is made for it and removed again."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.version import InvalidVersion, Version

from torch_loss_parity.processes.folders import CHECKOUT, DISTRIBUTION, INSTALLED

NEWEST = "newest"
QUIET = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
FOREIGN = ("PYTHONPATH", "PYTHONHOME")  # they would bring in what another environment has
AVAILABLE = re.compile(r"^torch \((\S+)\)", re.MULTILINE)
Runs = Callable[..., "subprocess.CompletedProcess[str]"]  # as `subprocess.run`


class NotInstalled(Exception):
    """A release could not be installed; the message says why, in one line."""


@dataclass(frozen=True)
class Wanted:
    """A release that is asked for.

    Attributes
    ----------
    version : str
        "2.13.0".
    python : str
        The interpreter of an environment that has it; "" where one is to be made.
    """

    version: str
    python: str = ""


def release_of(argument: str) -> Wanted:
    """What ``VERSION``, ``VERSION=PATH`` or ``newest`` in its place asks for.

    Raises
    ------
    ValueError
        If it is neither a release nor ``newest``, or there is no such interpreter.
    """
    version, given, python = argument.partition("=")
    if version != NEWEST:
        try:
            parsed = Version(version)
        except InvalidVersion:
            parsed = None
        if parsed is None or parsed.is_prerelease or len(parsed.release) > 3:
            raise ValueError(f"{argument!r} is no release of torch: give 2.13.0, 2.13.0=PYTHON or newest")
        version = f"{parsed.major}.{parsed.minor}.{parsed.micro}"
    path = shutil.which(python) if given else ""
    if path is None or (given and not path):
        raise ValueError(f"{argument!r}: there is no interpreter {python!r}")
    return Wanted(version, os.path.abspath(path) if path else "")


def environment() -> dict[str, str]:
    """The variables that other interpreters are started with: ours, PIP_* among them."""
    return QUIET | {name: value for name, value in os.environ.items() if name not in FOREIGN}


def newest(run: Runs = subprocess.run) -> str:
    """The newest release of torch on the index that pip is set up for.

    Raises
    ------
    NotInstalled
        If pip does not say.
    """
    command = [sys.executable, "-m", "pip", "index", "versions", "torch"]
    completed = run(command, env=environment(), capture_output=True, text=True)
    if match := AVAILABLE.search(completed.stdout):
        return Version(match[1]).base_version
    raise NotInstalled(f"pip does not say which release is the newest: {_reason(completed)}")


@contextmanager
def environment_with(
    version: str, directory: Path | None, keep: bool, run: Runs = subprocess.run
) -> Iterator[str]:
    """The interpreter of an environment with a release and the newest of what this project needs.

    Parameters
    ----------
    directory : Path or None
        The environment is made in a folder of it named after the release; None for a temporary one.
    keep : bool
        Leave it there, and use one that is there. If not, it is gone afterwards.

    Raises
    ------
    NotInstalled
        If it cannot be made.
    """
    if directory is None:
        with tempfile.TemporaryDirectory(prefix=f"torch-{version}-") as temporary:
            yield _installed(version, Path(temporary) / version, run)
        return
    place = directory.resolve() / version
    if place.exists():
        if not keep or not interpreter(place).exists():
            what = "is no environment" if keep else "--keep uses it"
            raise NotInstalled(f"{place} is there already: {what}")
        yield str(interpreter(place))
        return
    try:
        yield _installed(version, place, run)
    finally:
        if not keep:
            shutil.rmtree(place, ignore_errors=True)


def interpreter(place: Path) -> Path:
    """The interpreter of a virtual environment."""
    return place / "Scripts" / "python.exe" if os.name == "nt" else place / "bin" / "python"


def _installed(version: str, place: Path, run: Runs) -> str:
    """Make an environment; one that is not whole is not left behind."""
    python = str(interpreter(place))
    try:
        _do([sys.executable, "-m", "venv", str(place)], run)
        _do([python, "-m", "pip", "install", "--quiet", f"torch=={version}", *project()], run)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    return python


def project() -> list[str]:
    """What pip is told to install of this project: the checkout, or what this package was installed from."""
    if not INSTALLED:
        return ["--editable", f"{CHECKOUT}[parallel]"]
    distribution = metadata.distribution(DISTRIBUTION)
    origin = distribution.read_text("direct_url.json")  # not there where it came from an index
    url = json.loads(origin)["url"] if origin else None
    return [
        f"{DISTRIBUTION}[parallel] @ {url}" if url else f"{DISTRIBUTION}[parallel]=={distribution.version}"
    ]


def _do(command: Sequence[str], run: Runs) -> None:
    done = run(command, env=environment(), capture_output=True, text=True)
    if done.returncode:
        raise NotInstalled(_reason(done))


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """The line that says what went wrong: pip's last error, or the last of all."""
    lines = [line.strip() for line in (done.stderr or done.stdout or "").splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return (errors or lines or [f"exit status {done.returncode}"])[-1]
