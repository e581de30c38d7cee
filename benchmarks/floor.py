"""The limit: how fast the bytes that must move can be moved, on the same device, in the same minute, at the same size.

Note [The floor]
    The operand is copied, and besides only read (added up) and only written (filled), between the measured rounds, so that a
    neighbour on the machine or a change of its clock slows both. The copy has the operand's own size, since what fits into a cache
    moves several times as fast as what does not, and it rotates over the same buffers. A byte that is read for one that is written
    costs half a copy, or what reading and writing them apart cost if that is less; what is left over is only read or only written,
    at the better of that rate and half a copy. So no kernel that moves what it must can be faster, whichever of its stores are
    cached: a time below the floor is an error of the harness.

    Beside it stands the time of the exponentials alone (``torch.exp`` into a buffer): of a size in the cache it is what limits. It
    is no bound, as softmax may use a faster and looser exponential than ``torch.exp``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from benchmarks.work import Traffic


@dataclass(frozen=True)
class Rates:
    """Seconds for one operand of ``size`` bytes: copied, only read, only written."""

    size: int
    copy: float
    read: float
    write: float

    def floor(self, traffic: Traffic) -> float:
        """The seconds that ``traffic`` takes at least, see Note [The floor]."""
        pair = min(self.copy, self.read + self.write)  # one operand read and another written
        both = min(traffic.reads, traffic.writes)
        apart = (traffic.reads - both) * min(self.read, pair / 2) + (traffic.writes - both) * min(self.write, pair / 2)
        return (both * pair + apart) / self.size

    @property
    def bandwidth(self) -> float:
        """Bytes a second of the copy, read and written."""
        return 2 * self.size / self.copy


@dataclass(frozen=True)
class Movers:
    """What is timed for the floor, each on the operand in one of the buffers."""

    size: int
    copy: Callable[[int], object]
    read: Callable[[int], object]
    write: Callable[[int], object]
    exponentials: Callable[[int], object]


def movers(operands: Sequence[torch.Tensor]) -> Movers:
    """Copy, read and write as wide as the operands, which are contiguous and of one size."""
    sources = [_bytes_of(operand) for operand in operands]
    destination, exponentials = torch.empty_like(sources[0]), torch.empty_like(operands[0], requires_grad=False)
    plain = [operand.detach() for operand in operands]
    return Movers(
        size=sources[0].numel() * sources[0].element_size(),
        copy=lambda i: destination.copy_(sources[i]),
        read=lambda i: sources[i].sum(),
        write=lambda i: destination.fill_(1.0),
        exponentials=lambda i: torch.exp(plain[i], out=exponentials),
    )


def _bytes_of(operand: torch.Tensor) -> torch.Tensor:
    """The same memory as float64, in whichever dtype it is: bytes move at one speed, but are added up at several."""
    flat = operand.detach().reshape(-1).view(torch.uint8)
    if flat.numel() < 8:
        raise ValueError(f"the operand has {flat.numel()} bytes; at least 8 are needed to move them as float64")
    return flat[: flat.numel() // 8 * 8].view(torch.float64)
