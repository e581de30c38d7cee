"""The structure of the project: layers, sizes, and one package made of three folders."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from torch_loss_parity.meta.imports import FOLDERS, ROOT, files, imports, top
from torch_loss_parity.processes.folders import CHECKOUT, PACKAGE

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# Each imports what stands before it, and nothing that stands behind it.
LAYERS = (
    "reference",
    "processes",
    "tensors",
    "cases",
    "operators",
    "faults",
    "subjects",
    "expectation",
    "ledger",
    "judging",
    "reports",
    "claims",
    "api",
    "issue_report",
    "campaign",
    "audit",
    "versions",
    "plugin",
    "benchmarks",
    "command",
    "__main__",
    "meta",
)
LONGEST, TOO_MANY_AT_THE_TOP, LONGEST_CONFTEST = 400, 20, 40


def test_the_top_is_the_list_of_layers_and_no_longer_than_it_should_be() -> None:
    at_the_top = {top(name) for name in files() if name}
    assert at_the_top == set(LAYERS)
    assert len(at_the_top - set(FOLDERS)) <= TOO_MANY_AT_THE_TOP


def test_imports_run_one_way() -> None:
    """The root of the package, which imports its face when that is asked for, is left out."""
    back = {
        f"{each.importer} imports {each.imported}"
        for each in imports()
        if each.importer and each.imported and not each.late
        if LAYERS.index(top(each.imported)) > LAYERS.index(top(each.importer))
    }
    assert not back, "\n".join(sorted(back))


def test_nothing_imports_a_module_of_tests() -> None:
    tests = {
        f"{each.importer} imports {each.imported}"
        for each in imports()
        if each.imported.rpartition(".")[2].startswith("test_")
    }
    assert not tests, "\n".join(sorted(tests))


def test_what_the_project_ships_imports_nothing_of_its_own_tests() -> None:
    imported = {
        f"{each.importer} imports {each.imported}"
        for each in imports()
        if "meta" in each.imported.split(".") and "meta" not in each.importer.split(".")
    }
    assert not imported, "\n".join(sorted(imported))


def test_no_file_is_too_long() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files().values()}
    long = {str(path.relative_to(CHECKOUT)): n for path, n in lengths.items() if n > LONGEST}
    assert not long
    assert len((CHECKOUT / "conftest.py").read_text().splitlines()) < LONGEST_CONFTEST


@pytest.mark.parametrize("folder", [PACKAGE, *FOLDERS.values()], ids=lambda folder: folder.name)
def test_the_package_holds_every_folder(folder: Path) -> None:
    """setuptools maps folders that are named, and leaves out the others in silence. The suite's tests of
    itself need a checkout: they are not shipped.
    """
    packages = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    prefix = ROOT if folder == PACKAGE else f"{ROOT}.{folder.name}"
    inside = [path.parent.relative_to(folder).parts for path in folder.rglob("*.py")]
    shipped = {".".join([prefix, *parts]) for parts in inside if "meta" not in parts}
    assert shipped == {name for name in packages if _of(name) == prefix}
    assert not any("meta" in name.split(".") for name in packages)


def _of(package: str) -> str:
    """The folder that a package lies in, by the name of its root."""
    names = package.split(".")
    return ".".join(names[:2]) if names[1:] and names[1] in FOLDERS else ROOT
