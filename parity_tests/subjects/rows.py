"""Losses of rows (N, C), of arguments of any shape: as people who use such kernels call them."""

from __future__ import annotations

from collections.abc import Callable

import torch


def of_rows(
    kernel: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    input: torch.Tensor,
    target: torch.Tensor,
    reduction: str,
    class_dim: int,
) -> torch.Tensor:
    """The losses that a kernel of rows (N, C) and indices (N) computes.

    Parameters
    ----------
    input : tensor, shape (N, C), (C) or with more dimensions
        What the kernel is given in rows, along ``class_dim`` where it has several dimensions.
    target : tensor, the shape of ``input`` without its classes
        Indices.

    Raises
    ------
    NotImplementedError
        For class probabilities.
    """
    if target.is_floating_point():
        raise NotImplementedError("class probabilities")
    if input.ndim == 2:
        return kernel(input, target)
    rows = input.unsqueeze(0) if input.ndim == 1 else input.movedim(class_dim, -1)
    losses = kernel(rows.reshape(-1, rows.shape[-1]), target.reshape(-1))
    return losses.reshape(target.shape) if reduction == "none" else losses
