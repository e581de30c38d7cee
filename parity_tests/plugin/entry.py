"""What pytest loads of this package wherever it is installed: options with a prefix, a fixture, and a door.

Nothing is imported but pytest and the standard library, and a run that does not use the package does not
notice it. The door: where the suite itself is among what pytest is to run (``pytest --pyargs
torch_loss_parity``), pytest is started anew, with the configuration and the options of the suite: see
Note [The suite runs by itself] of `torch_loss_parity.processes.suite`.

Note [Assertions are not rewritten]
    pytest rewrites every module of a package that has a plugin, to show the values in a failing assertion,
    and keeps what it made of a module in a file beside it. Here an assertion has a message; and such files
    would stay behind when the package is uninstalled, and its name with them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

ROOT = "torch_loss_parity"
PACKAGE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
# Of `torch_loss_parity.verify`, which options with ``--parity-`` set.
SETTINGS: Mapping[str, tuple[str, type, str]] = {
    "device": ("NAME", str, "where functions run: cpu, cuda, cuda:1, ..."),
    "dtype": ("A,B", str, "dtypes to verify, such as float32,bfloat16"),
    "effort": ("NAME", str, "quick, standard or thorough"),
    "seed": ("N", int, "the same seed gives the same cases"),
}


def _leave_as_it_is() -> None:
    """See Note [Assertions are not rewritten]: of what is imported by now, and of what will be."""
    for name in (ROOT, f"{ROOT}.plugin", __name__):
        source = Path(sys.modules[name].__file__ or "")
        for cache in source.parent.glob(f"__pycache__/{source.stem}.*-pytest-*.pyc"):
            with suppress(OSError):
                cache.unlink()
    hook = globals().get("__loader__")  # pytest's, where it has rewritten this module
    # Both are private: where they are not, assertions are rewritten, and nothing else is amiss.
    if isinstance(marked := getattr(hook, "_must_rewrite", None), set):
        marked.discard(ROOT)
        getattr(hook, "_marked_for_rewrite_cache", {}).clear()


_leave_as_it_is()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("torch-loss-parity", "the fixture parity_verify, of torch-loss-parity")
    for name, (metavar, kind, meaning) in SETTINGS.items():
        group.addoption(f"--parity-{name}", metavar=metavar, type=kind, help=meaning)


@pytest.hookimpl(wrapper=True, tryfirst=True)  # before output is captured, and any conftest.py is loaded
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, object, object]:
    given = early_config.known_args_namespace
    if not early_config.pluginmanager.has_plugin(
        f"{ROOT}.plugin.interface"
    ):  # that would be a run of the suite
        named = [
            argument for argument in given.file_or_dir if _is_the_suite(argument, early_config, given.pyargs)
        ]
        if named and not _is_of_the_checkout(early_config):
            sys.exit(_started_anew(early_config.invocation_params.args, named))
    return (yield)


def _is_the_suite(argument: str, config: pytest.Config, by_name: bool) -> bool:
    """Whether an argument names the package or a part of it, by its name or its place."""
    place = argument.partition("::")[0]
    if by_name and place.partition(".")[0] == ROOT:
        return True
    path = os.path.realpath(os.path.join(config.invocation_params.dir, place))
    return path == PACKAGE or path.startswith(PACKAGE + os.sep)


def _is_of_the_checkout(config: pytest.Config) -> bool:
    """Whether the configuration is that of the checkout that the package lies in."""
    return config.inipath is not None and str(config.inipath.parent) == os.path.dirname(PACKAGE)


def _started_anew(given: Sequence[str], named: Sequence[str]) -> int:
    from torch_loss_parity.processes.suite import run_anew

    # That the suite is named may be the doing of a configuration, which does not hold any more.
    return run_anew([*given, *(() if set(named) & set(given) else ("--pyargs", *named))])


@pytest.fixture(scope="session")
def parity_verify(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`torch_loss_parity.verify`, with what ``--parity-`` options say: device, dtypes, effort and seed."""
    from torch_loss_parity import verify

    option = request.config.getoption
    given = {name: option(f"parity_{name}") for name in SETTINGS}
    settings = {name: value for name, value in given.items() if value is not None}
    if "dtype" in settings:
        settings["dtypes"] = settings.pop("dtype").split(",")
    return partial(verify, **settings)
