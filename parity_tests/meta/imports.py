"""The import graph of the project, read from its sources: who imports whom, and when."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch_loss_parity.processes.folders import CHECKOUT, PACKAGE

ROOT = "torch_loss_parity"
FOLDERS = {"reference": CHECKOUT / "reference", "benchmarks": CHECKOUT / "benchmarks"}


@dataclass(frozen=True)
class Import:
    """One module imports another.

    Attributes
    ----------
    importer, imported : str
        Dotted names below the package.
    late : bool
        Whether it happens in a function, or for the type checker alone.
    """

    importer: str
    imported: str
    late: bool


def files() -> dict[str, Path]:
    """The modules of the project by their dotted names below the package."""
    modules: dict[str, Path] = {}
    for prefix, folder in {"": PACKAGE, **FOLDERS}.items():
        for path in folder.rglob("*.py"):
            parts = [*filter(None, [prefix]), *path.relative_to(folder).with_suffix("").parts]
            modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def imports() -> Iterator[Import]:
    """Every import of one module of the project by another."""
    known = files()
    for name, path in known.items():
        yield from _of(name, ast.parse(path.read_text(encoding="utf-8")), known, late=False)


def reached(module: str) -> set[str]:
    """A module, and all that it imports, or what that imports, before any of its functions is called."""
    known, loaded, waiting = files(), set[str](), [module]
    while waiting:
        loaded.add(name := waiting.pop())
        named = [*_of(name, ast.parse(known[name].read_text(encoding="utf-8")), known, late=False)]
        waiting += {each.imported for each in named if each.imported and not each.late} - loaded
    return loaded


def _of(name: str, tree: ast.AST, known: dict[str, Path], *, late: bool) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            whole = node.module or ""
            targets = [f"{whole}.{alias.name}" for alias in node.names]
        else:
            lazy = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _for_types(node)
            yield from _of(name, node, known, late=late or lazy)
            continue
        for target in targets:
            if target.partition(".")[0] == ROOT:
                yield Import(name, _module(target.removeprefix(ROOT).lstrip("."), known), late)


def _for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def _module(target: str, known: dict[str, Path]) -> str:
    """The module that a dotted name lies in."""
    while target not in known:
        target = target.rpartition(".")[0]
    return target


def top(module: str) -> str:
    """The module or package at the top of the package that a module belongs to."""
    return module.partition(".")[0]
