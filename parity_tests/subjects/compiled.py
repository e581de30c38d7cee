"""torch.nn.functional under torch.compile: what answers a call is compiled code, or the call fails.

Once dynamo has met more variants of a function than its limit allows, or meets something that it cannot
trace, it goes on in eager mode without a word, and a verdict would be about eager mode. So graph breaks are
errors, the limits are out of the way, and every call that no compiled graph has answered is `NotCompiled`.

Shapes are dynamic: a case does not cost a compilation of its own. Every dtype, number of dimensions and set
of options has a function of its own, because dynamo goes through all variants that it has of one.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FunctionType, SimpleNamespace
from typing import Any

import torch

from torch_loss_parity.processes.child_environment import COMPILED_CODE, folder_of_compiled_code
from torch_loss_parity.subjects.builtin import functions_of_torch
from torch_loss_parity.tensors import torch_private

INDUCTOR = "inductor"
NO_LIMIT = 2**20  # of variants: sizes 0 and 1 are compiled apart in each dimension of each argument
# What `_traced` calls: each copy of it has its own.
_function: Callable[..., Any] = torch.nn.functional.softmax


class NotCompiled(RuntimeError):
    """A call was answered by something else than a compiled graph."""


def _traced(*arguments: Any, **options: Any) -> Any:
    return _function(*arguments, **options)


@dataclass
class CompiledFunction:
    """One function, compiled for whatever it is called with.

    Attributes
    ----------
    function : callable
        Of torch.
    backend : str
        Of torch.compile.
    graphs, ran : int
        Graphs that were compiled, and how often one has run.
    """

    function: Callable[..., Any]
    backend: str = INDUCTOR
    graphs: int = 0
    ran: int = 0
    variants: dict[Any, Callable[..., Any]] = field(default_factory=dict)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """
        Raises
        ------
        NotCompiled
            If no compiled graph ran.
        """
        variant, before = self._variant(arguments, options), self.ran
        with (
            warnings.catch_warnings(),
            torch_private.variants_up_to(NO_LIMIT),
        ):
            # The compiler's, about torch and itself: where they are errors, it does not compile.
            warnings.simplefilter("ignore")
            result = variant(*arguments, **options)
        if self.ran == before:
            raise NotCompiled(
                f"{self.function.__name__} was not compiled: no graph of torch.compile has answered the call"
            )
        return result

    def _variant(self, arguments: tuple[Any, ...], options: dict[str, Any]) -> Callable[..., Any]:
        key = tuple(map(_kind, arguments)), tuple((name, _kind(value)) for name, value in options.items())
        if key not in self.variants:
            # Dynamo keeps what it compiles with the code of a function: a copy begins with nothing.
            code = _traced.__code__.replace(co_name=f"{self.function.__name__}_{len(self.variants)}")
            copy = FunctionType(code, {**globals(), "_function": self.function}, code.co_name)
            self.variants[key] = torch.compile(copy, backend=self._compile, dynamic=True, fullgraph=True)
        return self.variants[key]

    def _compile(self, graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        """The backend, and a count of what it compiled and of what of that runs."""
        self.graphs += 1
        compiled = torch_private.backend(self.backend)(graph, inputs)

        def counted(*values: Any) -> Any:
            self.ran += 1
            return compiled(*values)

        return counted


def _kind(value: Any) -> Any:
    """What of an argument goes into a graph beside its sizes."""
    if isinstance(value, torch.Tensor):
        return value.dtype, value.dim(), value.requires_grad
    return type(value), str(value)


def compiled(backend: str = INDUCTOR) -> Any:
    """The function of torch for every operator, compiled."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker:
        # a process has been seen to load a library that another one was writing: ImportError, file too short
        os.environ.setdefault(COMPILED_CODE, str(folder_of_compiled_code() / worker))
    functions = {name: CompiledFunction(each, backend) for name, each in functions_of_torch().items()}
    return SimpleNamespace(**functions, COMPILES=True)
