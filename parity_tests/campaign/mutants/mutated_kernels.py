"""A right kernel with a mutant of the definitions in it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from types import ModuleType, SimpleNamespace
from typing import Any

import torch

from torch_loss_parity.campaign.mutants.mutation import Mutant, mutants_of, mutated
from torch_loss_parity.faults.right import definition
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.processes.folders import REFERENCE
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.written_promise import of_mapping

ORIGINAL, COPY = "torch_loss_parity.reference", "torch_loss_parity_mutated"


@cache
def sources() -> dict[str, str]:
    """The modules of the definitions, each behind those that it imports."""
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(REFERENCE.glob("[a-z]*.py"))}
    needs = {name: {other for other in texts if _imports(text, other)} for name, text in texts.items()}
    return {name: texts[name] for name in TopologicalSorter(needs).static_order()}


def _imports(text: str, name: str) -> bool:
    return f"{ORIGINAL}.{name} import" in text


@cache
def all_mutants() -> tuple[Mutant, ...]:
    """Every mutant of the definitions."""
    return tuple(mutant for name, text in sources().items() for mutant in mutants_of(name, text))


@dataclass(frozen=True)
class Definitions:
    """Modules with a mutant in one of them: the functions by their names."""

    functions: dict[str, Any]
    touched: frozenset[str]  # modules that hold the mutant, or import such a module

    def operators(self) -> list[str]:
        """The operators that the mutant can reach."""
        return [
            name
            for name, record in OPERATORS.items()
            if inspect.unwrap(record.forward).__module__.rpartition(".")[2] in self.touched
        ]


def with_mutant(mutant: Mutant) -> Definitions:
    """The definitions with a mutant in them; nothing of it stays in this process.

    Raises
    ------
    Exception
        Whatever a mutant raises while its module is loaded.
    """
    touched: set[str] = set()
    functions: dict[str, Any] = {}
    with _apart():
        for name, text in sources().items():
            is_mutated = name == mutant.module
            if is_mutated or any(_imports(text, other) for other in touched):
                touched.add(name)
            source = mutated(text, mutant.number) if is_mutated else text
            module = ModuleType(f"{COPY}.{name}")
            sys.modules[module.__name__] = module
            exec(compile(source.replace(f"{ORIGINAL}.", f"{COPY}."), name, "exec"), vars(module))
            functions |= {key: value for key, value in vars(module).items() if inspect.isfunction(value)}
    return Definitions(functions, frozenset(touched))


@contextmanager
def _apart() -> Iterator[None]:
    """Modules of the copy, while they are loaded."""
    sys.modules[COPY] = ModuleType(COPY)
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == COPY]:
            del sys.modules[name]


def subject_of(mutant: Mutant, operator: str, functions: dict[str, Any]) -> Subject:
    """The right kernel of an operator, with the mutated definition, derivative and refusals."""
    forward, backward = (
        _without_defaults(operator, functions[name]) for name in (operator, f"{operator}_backward")
    )
    kernel = definition.kernel(operator, forward, backward, refusals=forward)
    extensions = {name: dict(record.extensions) for name, record in OPERATORS.items()}
    promise = of_mapping({**definition.PROMISES, **extensions})
    return Subject(str(mutant), SimpleNamespace(**{operator: kernel}), "", promise=promise)


def _without_defaults(operator: str, function: Any) -> Callable[..., Any]:
    """A function that is not given what has its default in the definition: it takes its own."""
    parameters = inspect.signature(OPERATORS[operator].forward).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.default is not each.empty}

    def called(*positional: Any, **named: Any) -> Any:
        return function(
            *positional,
            **{
                name: value
                for name, value in named.items()
                if name not in defaults or isinstance(value, torch.Tensor) or value != defaults[name]
            },
        )

    return called
