"""The options of the audit, and what pytest does differently where it is asked for.

Nothing here is loaded but pytest and what the project depends on in any case: the audit's own libraries are
an extra.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from torch_loss_parity.processes.folders import META
from torch_loss_parity.subjects.settings import SETTINGS

HERE = Path(__file__).resolve().parent
ITEMS = HERE / "test_audit.py"
LIBRARIES = ("pydantic", "jinja2", "tqdm")
LACKING = tuple(name for name in LIBRARIES if find_spec(name) is None)
SESSION = pytest.StashKey[Any]()  # a `torch_loss_parity.audit.session.Session`, loaded when it is asked for


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("parity audit", "by how much numbers differ, as a report")
    group.addoption(
        "--audit",
        metavar="DIR",
        help="measure in place of testing, and write DIR/audit.json and DIR/index.html",
    )
    group.addoption(
        "--audit-compare", metavar="FILE", help="show what changed since the audit.json of an earlier audit"
    )
    group.addoption(
        "--audit-compare-fail",
        metavar="EXPR",
        action="append",
        help="fail where a figure grew: max_ulp:10%% (by more than ten per cent), max_ulp:0.5 (by more than "
        "0.5); may be repeated",
    )
    group.addoption(
        "--audit-beside",
        metavar="FILE",
        help="of --observed: what torch returned to the same plan in the same environment, to be measured "
        "beside the subject",
    )
    group.addoption("--workers", metavar="N", type=int, help="processes of the audit (default: the cores)")
    group.addoption(
        "--scheduler", metavar="URL", help="a Dask scheduler for the work of the audit, tcp://HOST:PORT"
    )


@pytest.hookimpl(trylast=True)  # after the settings are known
def pytest_configure(config: pytest.Config) -> None:
    option = config.option
    if option.audit is None:
        given = ("audit_compare", "audit_compare_fail", "audit_beside", "workers", "scheduler")
        alone = [f"--{name.replace('_', '-')}" for name in given if getattr(option, name) is not None]
        if alone:
            raise pytest.UsageError(f"{alone[0]} is about an audit, and none was asked for; add --audit DIR")
        return
    if LACKING:
        raise pytest.UsageError(
            f"--audit needs {', '.join(LACKING)}; install the extra: pip install -e '.[report]'"
        )
    if getattr(option, "numprocesses", None) or getattr(option, "tx", None):
        raise pytest.UsageError(
            "-n does not go together with --audit, which spreads its work itself; say --workers N"
        )
    from torch_loss_parity.audit.session import Session, WrongRequest

    try:
        session = config.stash[SESSION] = Session.from_options(config.stash[SETTINGS], option)
    except WrongRequest as error:
        raise pytest.UsageError(str(error)) from error
    config.pluginmanager.register(session, "parity-audit")


def pytest_report_header(config: pytest.Config) -> list[str]:
    if config.option.audit is None:
        return (
            [f"parity: no audit without {', '.join(LACKING)} (extra: report); its tests are left out"]
            if LACKING
            else []
        )
    return list(config.stash[SESSION].header)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The items of the audit are there where it is asked for, and its modules where their libraries are."""
    if collection_path == ITEMS and config.option.audit is None:
        return True
    lacking = HERE in (collection_path, *collection_path.parents) or (
        collection_path.parent == META and "audit" in collection_path.name
    )
    return True if LACKING and lacking else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """An audit is no test: the others are left out, and counted as deselected."""
    if config.option.audit is None:
        return
    others = [item for item in items if item.path != ITEMS]
    items[:] = [item for item in items if item.path == ITEMS]
    config.hook.pytest_deselected(items=others)


@pytest.fixture(scope="session")
def audit(request: pytest.FixtureRequest) -> Any:
    """The audit of this run; its work begins with the first item that asks for it."""
    return request.config.stash[SESSION].run
