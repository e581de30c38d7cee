"""A Python without what only POSIX systems offer, to try here what runs on the others.

    python -m torch_loss_parity.meta.without_posix -m pytest parity_tests --effort quick

runs Python with what comes after the name of this module. In it, and in every process that it starts, no
module of this project finds a fork, SIGALRM, an interval timer, os.pwrite, os.sysconf or anything else of
`ATTRIBUTES`, the modules fcntl and resource, or /proc, and multiprocessing starts every process anew.
Libraries find what they always find: on those systems they do something else, which is theirs.

What this cannot show: other C libraries, file systems and processors.
"""

from __future__ import annotations

import builtins
import multiprocessing.context
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

ROOT = Path(__file__).parents[2]
ATTRIBUTES: Mapping[ModuleType, str] = {
    os: "fork forkpty waitid killpg getpgid setsid nice pwrite pread mkfifo O_ASYNC O_NONBLOCK getloadavg "
    "sched_getaffinity sysconf sysconf_names confstr confstr_names getuid geteuid uname",
    signal: "setitimer getitimer ITIMER_REAL SIGALRM SIGKILL SIGIO SIGUSR1 alarm pause",
}
MODULES = ("fcntl", "resource", "pwd", "grp", "termios")
PROJECT = (
    "torch_loss_parity",
    "parity_tests",
    "benchmarks",
    "reference",
    "conftest",
    "__main__",
    "__mp_main__",
)
BETWEEN = ("pathlib", "posixpath", "genericpath", "os", "io")  # what asks for a file on behalf of others
SITE = "from torch_loss_parity.meta.without_posix import take_away\ntake_away()\n"


class Lacking(ModuleType):
    """A module without some of its attributes."""

    def __init__(self, module: ModuleType, names: Sequence[str]) -> None:
        super().__init__(module.__name__, module.__doc__)
        self.__dict__.update(_module=module, _names=names)

    def __getattr__(self, name: str) -> Any:
        if name in self.__dict__["_names"]:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(self.__dict__["_module"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__dict__["_module"], name, value)


def take_away() -> None:
    """From this process; Python calls it before anything else is imported, see `environment`."""
    for method in ("fork", "forkserver"):
        multiprocessing.context._concrete_contexts.pop(method, None)  # type: ignore[attr-defined]
    multiprocessing.set_start_method("spawn")
    _refuse_modules()
    _refuse_proc()


def _refuse_modules() -> None:
    imported = builtins.__import__
    lacking = {module.__name__: Lacking(module, names.split()) for module, names in ATTRIBUTES.items()}

    def import_(name: str, globals: Any = None, *rest: Any, **more: Any) -> Any:
        if not _is_project((globals or {}).get("__name__", "")):
            return imported(name, globals, *rest, **more)
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return lacking.get(name) or imported(name, globals, *rest, **more)

    builtins.__import__ = import_


def _refuse_proc() -> None:
    stat = os.stat

    def without_proc(path: Any, *rest: Any, **more: Any) -> os.stat_result:
        _refuse(path)
        return stat(path, *rest, **more)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("open", "os.listdir", "os.scandir"):
            _refuse(arguments[0])

    os.stat = without_proc
    # Of Python 3.10, which has looked it up already.
    if accessor := getattr(pathlib, "_normal_accessor", None):
        accessor.stat = without_proc
    sys.addaudithook(hook)


def _refuse(path: Any) -> None:
    name = "" if path is None or isinstance(path, int) else os.fsdecode(path)
    if name.startswith("/proc/") and _is_project(_asking()):
        raise FileNotFoundError(2, "No such file or directory", name)


def _asking() -> str:
    """The module that asks for a file."""
    frame: FrameType | None = sys._getframe()
    module = ""
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module != __name__ and module.partition(".")[0] not in BETWEEN:
            break
        frame = frame.f_back
    return module


def _is_project(module: str) -> bool:
    return module.partition(".")[0] in PROJECT and module != __name__


def environment(directory: Path) -> dict[str, str]:
    """The variables of a Python without POSIX; what it loads first is written to ``directory``."""
    (directory / "sitecustomize.py").write_text(SITE)
    path = [str(directory), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


def main() -> int:
    """Run Python with the arguments of this process."""
    with tempfile.TemporaryDirectory() as directory:
        return subprocess.run([sys.executable, *sys.argv[1:]], env=environment(Path(directory))).returncode


if __name__ == "__main__":
    sys.exit(main())
