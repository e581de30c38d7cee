"""The options of pytest that a run has, what they begin, and the header that repeats them."""

from __future__ import annotations

import atexit
import gc
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

from torch_loss_parity.judging import report, tally
from torch_loss_parity.operators import DTYPES
from torch_loss_parity.plugin import observing, supervised
from torch_loss_parity.plugin.entry import SETTINGS as ENTRY
from torch_loss_parity.plugin.keys import WATCH
from torch_loss_parity.plugin.summary import Summary
from torch_loss_parity.processes import machine, replaced, suite, system, watchdog
from torch_loss_parity.reference.arithmetic.profiles import PROFILES
from torch_loss_parity.reports.screen import CAUSES
from torch_loss_parity.subjects import BUILTIN, SubjectError
from torch_loss_parity.subjects.settings import SETTINGS, NothingToTest, WrongOption

WATCHED = "parity-watch"  # the directory, as workers of pytest-xdist are told


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("parity", "verification of loss functions")
    group.addoption(
        "--subject",
        default="torch",
        metavar="NAME",
        help=f"what is under test: {', '.join(BUILTIN)}, a dotted module or a path to a .py file (default: "
        f"torch)",
    )
    group.addoption(
        "--device", default="cpu", help="where the subject runs: cpu, cuda, cuda:1, ... (default: cpu)"
    )
    group.addoption(
        "--dtype",
        default=",".join(DTYPES),
        metavar="A,B",
        help=f"dtypes to run (default: {','.join(DTYPES)})",
    )
    group.addoption(
        "--profile",
        metavar="NAME",
        help=f"what the arithmetic of the subject may do: {', '.join(PROFILES)}, or a .toml file (default: "
        f"what the subject's module says in PROFILE, else default)",
    )
    group.addoption(
        "--promise",
        metavar="NAME=VALUE,...",
        help="what the subject promises, beside what its module says in PROMISES, and in place of what has "
        "the same name there: target=indices,weight=None,reduction=mean|sum; nothing else is asked",
    )
    group.addoption(
        "--like",
        metavar="NAME",
        help="judge the subject as torch, or torch.compile, is: what the ledger knows of its divergences is "
        "known of a subject that is made of its functions",
    )
    group.addoption("--operator", metavar="A,B", help="operators to run (default: all)")
    group.addoption("--effort", default="standard", help="quick, standard or thorough (default: standard)")
    group.addoption(
        "--time-limit",
        type=float,
        metavar="SECONDS",
        help="how long a case may take before it fails (default: 60 at quick, 120 at standard, 1800 at "
        "thorough effort)",
    )
    group.addoption(
        "--counts",
        metavar="FILE",
        help="write the number of cases by operator, dtype and claim to FILE, as JSON",
    )
    group.addoption(
        "--all-failures",
        action="store_true",
        help=f"show every test that fails; without it at most {CAUSES} are shown, those with the smallest "
        f"case of each cause first",
    )
    group.addoption(
        "--whole-runs",
        action="store_true",
        help="also tests of the suite that take seconds, or start whole runs",
    )
    group.addoption(
        "--seed", default=0, type=int, metavar="N", help="the same seed gives the same cases (default: 0)"
    )


def pytest_configure(config: pytest.Config) -> None:
    option = config.getoption
    if meant := [name for name in ENTRY if option(f"parity_{name}", None) is not None]:
        raise pytest.UsageError(f"--parity-{meant[0]} is for tests of your own; the suite has --{meant[0]}")
    if suite.is_own(config) and (others := suite.foreign(config)):
        raise pytest.UsageError(f"{others[0]} is no part of this suite, which runs by itself")
    names = (
        "subject",
        "device",
        "dtype",
        "effort",
        "seed",
        "time_limit",
        "operator",
        "profile",
        "promise",
        "like",
    )
    replaced.begin(option("subject"))
    config.add_cleanup(replaced.end)
    try:
        config.stash[SETTINGS] = observing.settings_of(config, {name: option(name) for name in names})
    except NothingToTest as error:
        pytest.exit(f"nothing was tested: {error}", returncode=pytest.ExitCode.NO_TESTS_COLLECTED)
    except (WrongOption, SubjectError) as error:
        raise pytest.UsageError(str(error)) from error
    worker = getattr(config, "workerinput", None)
    shared = worker[WATCHED] if worker else supervised.directory()
    directory = Path(shared or tempfile.mkdtemp(prefix="parity-"))
    config.stash[WATCH] = watchdog.start(
        directory,
        getattr(config, "workerinput", {}).get("workerid", supervised.MAIN),
        config.stash[SETTINGS].time_limit,
    )
    if not worker and getattr(config.option, "maxworkerrestart", "") is None:
        config.option.maxworkerrestart = "1000"  # however many workers a subject kills, the report is whole
    config.pluginmanager.register(Summary(config), tally.SUMMARY)
    # The same results in one process and in a worker of pytest-xdist; test_bits asks for more itself.
    torch.set_num_threads(1)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist where the others write down what they are doing."""
    node.workerinput[WATCHED] = str(node.config.stash[WATCH].directory)


def pytest_unconfigure(config: pytest.Config) -> None:
    gc.enable()  # where nothing was collected
    if suite.is_own(config):
        gc.freeze()  # pytest goes through everything twice more, which takes half a second
        if "triton" in sys.modules:  # whose bindings print what is not let go in the end
            atexit.register(gc.unfreeze)
    if WATCH in config.stash:
        watchdog.stop()
        if not hasattr(config, "workerinput") and not supervised.directory():
            shutil.rmtree(config.stash[WATCH].directory, ignore_errors=True)


def pytest_report_header(config: pytest.Config) -> list[str]:
    settings = config.stash[SETTINGS]
    return [
        f"parity: subject {settings.subject.name}, device {settings.device}, "
        f"dtypes {','.join(settings.dtypes)}, "
        f"effort {settings.effort_name}, seed {settings.seed}",
        *(f"parity: {line}" for line in report.of_profile(settings.subject.profile)),
        *([f"parity: promised: {promised}"] if (promised := str(settings.subject.promise)) else []),
        machine.header(),
        *(f"parity: {line}" for line in system.missing()),
        *(
            ["parity: quick effort leaves out the suite's tests of itself, in folders called meta"]
            if settings.effort_name == "quick"
            else []
        ),
        *(
            []
            if config.option.whole_runs
            else ["parity: tests of the suite that start whole runs are left out; --whole-runs adds them"]
        ),
    ]
