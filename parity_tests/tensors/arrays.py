"""Arrays as torch tensors, and back: numbers go over exactly wherever the dtype holds them."""

from __future__ import annotations

import numpy as np
import torch

TORCH_DTYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}

# Classes of tensors that answer with the numbers that they hold: a backend that is written in Python has one.
OF_A_BACKEND: tuple[type[torch.Tensor], ...] = (torch.Tensor,)


def to_tensor(array: np.ndarray, dtype: str | torch.dtype, device: str | torch.device) -> torch.Tensor:
    """The numbers of an array in a contiguous tensor of its own memory, rounded to ``dtype``."""
    torch_dtype = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    return torch.from_numpy(np.array(array, order="C")).to(device=device, dtype=torch_dtype)


def dtype_in_call(array: np.ndarray, dtype: str) -> torch.dtype:
    """The dtype of an argument in a call in ``dtype``: that of real numbers, all else keeps its own."""
    return getattr(torch, dtype if array.dtype.kind == "f" else str(array.dtype))


def widen(tensor: torch.Tensor) -> np.ndarray:
    """The tensor's numbers in float64, each exactly.

    Raises
    ------
    TypeError
        If it is of a class of somebody's own: that may answer with other numbers than it holds.
    """
    if type(tensor) not in (*OF_A_BACKEND, torch.nn.Parameter):
        raise TypeError(f"a {type(tensor).__name__} is not read, only a torch.Tensor itself")
    return tensor.detach().to(device="cpu", dtype=torch.float64).numpy()
