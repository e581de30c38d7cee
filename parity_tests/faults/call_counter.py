"""The kernels without a fault, as a subject that notices whether a test calls it.

It promises what a fault does, by default everything: a test that a promise leaves out would not call it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from torch_loss_parity.faults.right.definition import RIGHT

__all__ = ["calls"]
_calls = 0


def calls() -> int:
    """How often any of the kernels has been called in this process."""
    return _calls


def _counted(kernel: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(kernel)
    def call(*positional: Any, **named: Any) -> Any:
        global _calls
        _calls += 1
        return kernel(*positional, **named)

    return call


_COUNTED = {name: _counted(kernel) for name, kernel in RIGHT.items()}


def __getattr__(name: str) -> Any:
    """The kernel of an operator."""
    if name not in _COUNTED:
        raise AttributeError(f"{__name__} has no {name}")
    return _COUNTED[name]
