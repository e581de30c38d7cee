"""The built-in subjects: torch's functions, its modules, its compiled functions, and the definitions themselves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

import reference


def functional() -> Any:
    """torch.nn.functional as it is."""
    return torch.nn.functional


def definitions() -> Any:
    """The reference on torch tensors, differentiated by autograd."""
    return reference


def compiled() -> Any:
    """torch.nn.functional under torch.compile, with dynamic shapes: a case does not cost a compilation of its own."""
    from parity_tests.operators import OPERATORS

    return SimpleNamespace(**{name: torch.compile(getattr(torch.nn.functional, name), dynamic=True) for name in OPERATORS})


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

    def binary_cross_entropy_with_logits(input: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
        return torch.nn.BCEWithLogitsLoss(**options)(input, target)

    return SimpleNamespace(
        softmax=softmax,
        log_softmax=log_softmax,
        nll_loss=nll_loss,
        cross_entropy=cross_entropy,
        binary_cross_entropy=binary_cross_entropy,
        binary_cross_entropy_with_logits=binary_cross_entropy_with_logits,
    )
