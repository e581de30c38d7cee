"""The built-in subjects: torch's functions, its modules, and the definitions themselves.

Its compiled functions are in `compiled`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import torch

from torch_loss_parity import reference
from torch_loss_parity.operators import OPERATORS, Gap, Operator


def function_of(operator: Operator) -> Callable[..., Any]:
    """The function of torch that a record names.

    Raises
    ------
    AttributeError
        If torch has none of that name.
    """
    attribute: Any = torch
    for part in operator.function.removeprefix("torch.").split("."):
        attribute = getattr(attribute, part)
    function: Callable[..., Any] = attribute
    return function


def functions_of_torch() -> dict[str, Callable[..., Any]]:
    """The function of torch for every operator that the installed release has, by name."""
    functions = {}
    for name, operator in OPERATORS.items():
        with suppress(AttributeError):  # linear_cross_entropy, before torch 2.13
            functions[name] = function_of(operator)
    return functions


def functional() -> Any:
    """torch.nn.functional as it is, with the functions of operators that torch has elsewhere."""
    elsewhere = {
        name: function_of(operator)
        for name, operator in OPERATORS.items()
        if operator.function != f"torch.nn.functional.{name}"
    }
    return SimpleNamespace(**{**vars(torch.nn.functional), **elsewhere}) if elsewhere else torch.nn.functional


def import_of_function(operator: str) -> str:
    """The line of a script, after ``import torch``, that makes ``subject`` hold the function of torch."""
    function = OPERATORS[operator].function
    module, _, name = function.rpartition(".")
    if name == operator:
        return f"import {module} as subject"
    return f"from types import SimpleNamespace; subject = SimpleNamespace({operator}={function})"


def import_of_definition(operator: str) -> str:
    """The line of a script that makes ``subject`` hold the definition."""
    if hasattr(reference, operator):
        return "from torch_loss_parity import reference as subject"
    return "from torch_loss_parity.subjects.builtin import definitions; subject = definitions()"


def definitions() -> Any:
    """The reference on torch tensors, differentiated by autograd.

    It has no dtype of its own: several are promoted, as arrays are.
    """

    def of_one_dtype(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(input: torch.Tensor, target: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
            others = {
                getattr(value, "dtype", input.dtype)
                for value in (*arguments, *options.values())
                if value is not None
            }
            if others - {input.dtype}:
                raise NotImplementedError(
                    "weights of another dtype: the result of a definition has the dtype that all promote to"
                )
            output: torch.Tensor = function(input, target, *arguments, **options)
            return output

        return call

    return SimpleNamespace(
        **{
            name: of_one_dtype(operator.forward) if operator.acts_on_elements else operator.forward
            for name, operator in OPERATORS.items()
        }
    )


def modules() -> Any:
    """The modules of torch.nn, called as functions; those of rows know no ``dtype``."""

    def of_rows(module: Callable[..., Any]) -> Callable[..., Any]:
        def call(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
            output: torch.Tensor = module(dim)(input if dtype is None else input.to(dtype))
            return output

        return call

    def of_targets(module: Callable[..., Any]) -> Callable[..., Any]:
        def call(input: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
            output: torch.Tensor = module(**options)(input, target)
            return output

        return call

    functions = {}
    for name, operator in OPERATORS.items():
        if not isinstance(operator.modules, Gap):
            function = (of_rows if operator.family.along_dim else of_targets)(
                getattr(torch.nn, operator.modules.name)
            )
            function.__name__ = name
            functions[name] = function
    return SimpleNamespace(**functions)
