"""Subjects with a planted property, to be told apart: one that is slow, one that is wrong, two that remember
by address.
"""

from __future__ import annotations

import os
import time
from typing import Any

import torch

SLEEP = float(os.environ.get("PLANTED_SLEEP", "1e-3"))  # seconds a call
# The call of nll_loss in which somebody presses Ctrl-C.
INTERRUPT = int(os.environ.get("PLANTED_INTERRUPT", "0"))
_last: dict[str, Any] = {}
_all: dict[int, torch.Tensor] = {}
_calls: list[int] = []


def softmax(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
    """Right, and a millisecond late."""
    time.sleep(SLEEP)
    return torch.nn.functional.softmax(input, dim, dtype=dtype)


def log_softmax(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
    """Fast and wrong: it does not normalise."""
    return input - 1.0


def cross_entropy(input: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
    """Remembers its last result by the address of its input."""
    if _last.get("address") != input.data_ptr():
        _last.update(
            address=input.data_ptr(), result=torch.nn.functional.cross_entropy(input, target, **options)
        )
    return _last["result"]


def binary_cross_entropy(input: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
    """Remembers every result by the address of its input: fast and right, as long as the numbers
    there stay.
    """
    if input.data_ptr() not in _all:
        _all[input.data_ptr()] = torch.nn.functional.binary_cross_entropy(input, target, **options)
    return _all[input.data_ptr()]


def nll_loss(input: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
    """torch's own, until it is interrupted."""
    _calls.append(1)
    if len(_calls) == INTERRUPT:
        raise KeyboardInterrupt
    return torch.nn.functional.nll_loss(input, target, **options)


def binary_cross_entropy_with_logits(
    input: torch.Tensor, target: torch.Tensor, **options: Any
) -> torch.Tensor:
    """Offers no float64, and fails otherwise."""
    if input.dtype == torch.float64:
        raise NotImplementedError("no float64 here")
    raise RuntimeError("out of order")
