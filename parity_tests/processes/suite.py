"""pytest on this suite: by a configuration of its own, whatever that of the folder it is started from says.

Note [The suite runs by itself]
    pytest takes its configuration from the folder that it is started in: options, filters of warnings,
    markers, a conftest.py, all of it meant for the tests of that folder. None of it may change a verdict.
    So where the suite is installed, pytest gets ``suite.toml`` of this package, no conftest.py, and no
    variable that adds options or plugins. What is said on the command line holds.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch_loss_parity.processes.folders import BENCHMARKS, PACKAGE, REFERENCE, place_of

if TYPE_CHECKING:
    import pytest

CONFIGURATION = PACKAGE / "suite.toml"
OF_OTHER_TESTS = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")  # variables
REST = "--"  # on a command line: what follows is no option


def arguments(given: Sequence[str]) -> list[str]:
    """The arguments of pytest with its configuration; of an option that is given twice the last one holds."""
    own = ["-c", str(CONFIGURATION)]
    if not any(each.endswith("no:cacheprovider") for each in given):  # without it nothing may be said of it
        own += ["-o", f"cache_dir={Path.cwd() / '.pytest_cache'}"]  # not in the folder of the package
    end = given.index(REST) if REST in given else len(given)
    return [*given[:end], *own, *given[end:]]


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables without those that change a run of pytest."""
    return {name: value for name, value in variables.items() if name not in OF_OTHER_TESTS}


def is_own(config: pytest.Config) -> bool:
    """Whether a run has the suite's own configuration, and not that of the checkout."""
    return config.inipath == CONFIGURATION


def foreign(config: pytest.Config) -> list[str]:
    """What a run of the suite's own was given that is no part of the suite."""
    parts = (PACKAGE, REFERENCE, BENCHMARKS)
    given = zip(config.args, places(config), strict=True)
    return [str(each) for each, place in given if not {place, *place.parents}.intersection(parts)]


def places(config: pytest.Config) -> list[Path]:
    """The folders and files that pytest was given."""
    return [place_of(str(argument), config.invocation_params.dir) for argument in config.args]


_by_command: list[bool] = []  # whether the command of the package runs pytest


def has_its_process() -> bool:
    """Whether this process is there for one run of pytest, and has been started for it."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    by_name = Path(sys.argv[0]).name in ("pytest", "py.test", "pytest.exe")
    return bool(_by_command) or by_name or (spec is not None and spec.name == "pytest.__main__")


def of_benchmarks(config: pytest.Config) -> bool:
    """Whether a run was given benchmarks."""
    return any({place, *place.parents} & {BENCHMARKS} for place in places(config))


def run_here(given: Sequence[str]) -> int:
    """The exit status of pytest in this process, which has imported nothing of the suite that tests."""
    import pytest  # not before it is needed: a command line that is asked for help does without

    for name in OF_OTHER_TESTS:
        os.environ.pop(name, None)
    _by_command.append(True)
    try:
        return int(pytest.main(arguments(given)))
    finally:
        _by_command.clear()


def run_anew(given: Sequence[str]) -> int:
    """The exit status of pytest in a process of its own, which has the terminal."""
    command = [sys.executable, "-m", "pytest", *arguments(given)]
    with subprocess.Popen(command, env=environment(os.environ)) as process:
        while True:
            try:
                status = process.wait()
            except KeyboardInterrupt:  # it has been interrupted too, and ends by itself
                continue
            return status if status >= 0 else 128 - status
