"""Whether kernels of Triton can run here: on a GPU, or under its interpreter, which computes with NumPy on
the CPU and shows structure (masks, tails, ignored rows, chunks), not the accuracy of a GPU's instructions.
"""

from __future__ import annotations

import os
from typing import Any

import torch

INTERPRETER = "TRITON_INTERPRET"
# Promised of an autograd.Function whose backward is a kernel.
OF_KERNELS: dict[str, Any] = {"double_backward": False, "forward_mode": False, "transforms": False}
# And of the losses of others: class indices, and arguments of one dtype.
OF_LOSSES: dict[str, Any] = {**OF_KERNELS, "target": "indices", "mixed_dtypes": False}


def interpreted() -> bool:
    """Whether Triton's interpreter is asked for."""
    return os.environ.get(INTERPRETER) == "1"


def must_run(whose: str) -> None:
    """Refuse to import kernels that cannot run.

    Raises
    ------
    ImportError
        If there is no GPU and the interpreter is not asked for.
    """
    if not interpreted() and not torch.cuda.is_available():
        raise ImportError(
            f"{whose}'s kernels are compiled by Triton for a GPU, and torch finds none here; {INTERPRETER}=1 "
            f"runs them on the CPU, in Triton's interpreter"
        )


def must_be_on_a_gpu(tensor: torch.Tensor, whose: str) -> None:
    """Say that tensors of the CPU are not offered, where nothing interprets.

    Raises
    ------
    NotImplementedError
    """
    if not interpreted() and not tensor.is_cuda:
        raise NotImplementedError(f"tensors on {tensor.device}: {whose} needs CUDA, --device cuda")


def dtypes() -> tuple[str, ...]:
    """Those of kernels: the interpreter drops the bits that bfloat16 has not, where a GPU rounds."""
    return ("float16", "float32") if interpreted() else ("float16", "bfloat16", "float32")


def weights() -> dict[str, Any]:
    """What is promised of Liger-Kernel's class weights: the interpreter has no ``.to()`` of the numbers that
    they bring.
    """
    return {"weight": None} if interpreted() else {}
