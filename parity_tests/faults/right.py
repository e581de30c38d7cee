"""The kernels that faults are planted in, without a fault, as a subject."""

from __future__ import annotations

from typing import Any

from torch_loss_parity.faults.kernels import RIGHT


def __getattr__(name: str) -> Any:
    """The kernel of an operator."""
    if name not in RIGHT:
        raise AttributeError(f"{__name__} has no {name}")
    return RIGHT[name]
