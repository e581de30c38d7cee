"""Sums along the last dimension, in the orders in which kernels add."""

from __future__ import annotations

from collections.abc import Callable

import torch

Tensor = torch.Tensor
Sum = Callable[[Tensor], Tensor]  # of each row, with the last dimension gone


def plain(x: Tensor) -> Tensor:
    """As torch adds."""
    return x.sum(-1)


def sequential(x: Tensor) -> Tensor:
    """From the first to the last."""
    total = torch.zeros_like(x[..., 0])
    for column in x.unbind(-1):
        total = total + column
    return total


def pairwise(x: Tensor) -> Tensor:
    """Halves are added, and their halves, until one element is left: a tree."""
    while x.shape[-1] > 1:
        half = (x.shape[-1] + 1) // 2
        first, second = x[..., :half], x[..., half:]
        x = torch.cat([first[..., : second.shape[-1]] + second, first[..., second.shape[-1] :]], -1)
    return x[..., 0]


def in_blocks(x: Tensor, width: int = 64) -> Tensor:
    """Each block of ``width`` is summed, and the blocks one after the other."""
    return sequential(torch.stack([block.sum(-1) for block in x.split(width, -1)], -1))


def by_lanes(x: Tensor, lanes: int = 32) -> Tensor:
    """Each of 32 lanes adds every 32nd element, and the lanes are added as a tree: how a warp sums a row."""
    blocks = x.split(lanes, -1)
    total = torch.zeros_like(blocks[0])
    for block in blocks:
        total[..., : block.shape[-1]] += block
    return pairwise(total)


def compensated(x: Tensor, lanes: int = 256) -> Tensor:
    """Kahan's: each of 256 lanes carries what its last addition has lost, unless that is infinite."""
    blocks = x.split(lanes, -1)
    total, lost = torch.zeros_like(blocks[0]), torch.zeros_like(blocks[0])
    for block in blocks:
        width = block.shape[-1]
        term = block - lost[..., :width]
        after = total[..., :width] + term
        lost[..., :width] = _finite((after - total[..., :width]) - term)
        total[..., :width] = after
    return _two_sums(total) if x.shape[-1] > 1 else total[..., 0]


def _two_sums(x: Tensor) -> Tensor:
    """A tree whose additions leave their errors, which are added at the end."""
    errors = torch.zeros_like(x[..., 0])
    while x.shape[-1] > 1:
        half = (x.shape[-1] + 1) // 2
        first, second = x[..., :half], x[..., half:]
        kept, first = first[..., second.shape[-1] :], first[..., : second.shape[-1]]
        total = first + second
        other = total - first
        errors = errors + _finite((first - (total - other)) + (second - other)).sum(-1)
        x = torch.cat([total, kept], -1)
    return x[..., 0] + errors


def _finite(lost: Tensor) -> Tensor:
    """What an addition has lost; nothing where an infinity was added, or nan."""
    return torch.where(lost.isfinite(), lost, torch.zeros_like(lost))


def in_float64(x: Tensor) -> Tensor:
    """Accumulated in float64 and rounded once."""
    return x.double().sum(-1).to(x.dtype)
