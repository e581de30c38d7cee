"""torch's private API is used in one module, and what stands in where a release lacks it says the same."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from torch_loss_parity import benchmarks, reference
from torch_loss_parity.processes.folders import PACKAGE
from torch_loss_parity.tensors import torch_private

HOME = Path(torch_private.__file__).resolve()
FOLDERS = {
    PACKAGE,
    *(Path(path).resolve() for package in (reference, benchmarks) for path in package.__path__),
}
# A backend in Python is made of what is private to torch; a cheat takes what it finds.
OF_ITSELF = {PACKAGE / "meta" / "pretend_device.py", PACKAGE / "faults" / "cheats.py"}
OF_TENSORS = ("_version", "_base", "_cdata", "_backward_hooks")  # attributes, whatever the tensor is called
PRIVATE = re.compile(r"torch(\.\w+)*\._[a-zA-Z]\w*(\.\w+)*")


def dotted(node: ast.AST) -> str:
    """``a.b.c`` of an attribute of a name, else ""."""
    if isinstance(node, ast.Attribute):
        return f"{before}.{node.attr}" if (before := dotted(node.value)) else ""
    return node.id if isinstance(node, ast.Name) else ""


def named(node: ast.AST) -> Iterator[str]:
    """The dotted names that a part of a program uses, in a text too: modules are also loaded by name."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Attribute):
        yield dotted(node)
        if node.attr in OF_TENSORS:
            yield f"torch.Tensor.{node.attr}"
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def private_names(source: str) -> set[str]:
    return {name for node in ast.walk(ast.parse(source)) for name in named(node) if PRIVATE.fullmatch(name)}


def test_one_module_uses_what_is_private_to_torch() -> None:
    files = {path.resolve() for folder in FOLDERS for path in folder.rglob("*.py")}
    used = {str(path): private_names(path.read_text(encoding="utf-8")) for path in files - {HOME} - OF_ITSELF}
    assert OF_ITSELF | {HOME} <= files
    assert {path: names for path, names in used.items() if names} == {}


@pytest.mark.parametrize(
    "source",
    [
        "torch._C._functorch.is_batchedtensor(x)",
        "from torch._inductor.utils import run_and_get_code",
        "from torch import _dynamo",
        "import torch.testing._internal.common_utils",
        "x._version",
        "f('torch." + "_decomp')",
    ],
)
def test_each_way_to_use_it_is_seen(source: str) -> None:
    assert private_names(source)
    assert private_names("torch.__version__, x.__torch_function__, torch.compiler.reset(), self._x") == set()


def test_what_has_no_address_is_of_a_transform() -> None:
    """What stands in for `is_transformed` says the same, of ordinary tensors and within each transform."""
    seen = []

    def look(x: torch.Tensor) -> torch.Tensor:
        seen.append((torch_private.is_transformed(x), torch_private.has_no_address(x)))
        return x.sum()

    x = torch.ones(2, 3)
    for call in (look, torch.func.vmap(look), torch.func.grad(look)):
        call(x)
    assert seen == [(False, False), (True, True), (True, True)]


def test_without_dynamos_limits_the_releases_own_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch_private.variants_limit()
    with torch_private.variants_up_to(before + 1):
        assert torch_private.variants_limit() == before + 1
    assert torch_private.variants_limit() == before > 0
    monkeypatch.setattr(torch, "_dynamo", SimpleNamespace(config=SimpleNamespace()))
    with torch_private.variants_up_to(before + 1):
        assert torch_private.variants_limit() == 0
    assert torch_private.untraceable() is RuntimeError
