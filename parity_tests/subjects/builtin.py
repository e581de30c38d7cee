"""The built-in subjects: torch's functions, its modules, and the definitions themselves.

Its compiled functions are in `compiled`.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch

from torch_loss_parity import reference


def functional() -> Any:
    """torch.nn.functional as it is."""
    return torch.nn.functional


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

    names = ("softmax", "log_softmax", "nll_loss", "cross_entropy")
    binary = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
    return SimpleNamespace(
        **{name: getattr(reference, name) for name in names},
        **{name: of_one_dtype(getattr(reference, name)) for name in binary},
    )


def modules() -> Any:
    """The modules of torch.nn, called as functions. Softmax and LogSoftmax know no ``dtype``."""

    def softmax(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
        return torch.nn.Softmax(dim)(input if dtype is None else input.to(dtype))

    def log_softmax(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
        return torch.nn.LogSoftmax(dim)(input if dtype is None else input.to(dtype))

    def nll_loss(input: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
        return torch.nn.NLLLoss(**options)(input, target)

    def cross_entropy(input: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
        return torch.nn.CrossEntropyLoss(**options)(input, target)

    def binary_cross_entropy(input: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
        return torch.nn.BCELoss(**options)(input, target)

    def binary_cross_entropy_with_logits(
        input: torch.Tensor, target: torch.Tensor, **options: Any
    ) -> torch.Tensor:
        return torch.nn.BCEWithLogitsLoss(**options)(input, target)

    return SimpleNamespace(
        softmax=softmax,
        log_softmax=log_softmax,
        nll_loss=nll_loss,
        cross_entropy=cross_entropy,
        binary_cross_entropy=binary_cross_entropy,
        binary_cross_entropy_with_logits=binary_cross_entropy_with_logits,
    )
