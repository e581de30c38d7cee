"""The kernels without a fault, as a subject that notices whether a test calls it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from torch_loss_parity.faults.kernels import RIGHT

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


softmax = _counted(RIGHT["softmax"])
log_softmax = _counted(RIGHT["log_softmax"])
nll_loss = _counted(RIGHT["nll_loss"])
cross_entropy = _counted(RIGHT["cross_entropy"])
binary_cross_entropy = _counted(RIGHT["binary_cross_entropy"])
binary_cross_entropy_with_logits = _counted(RIGHT["binary_cross_entropy_with_logits"])
