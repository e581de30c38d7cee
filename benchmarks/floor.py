"""The limit: how fast the bytes that must move can be moved, on the same device, in the same round, from the
same state of the cache.

Note [The floor]
    The floor is timed like a path: a step that moves the bytes of the work and computes nothing. It reads the
    very tensors that the work reads, in their order, and writes into new memory, as the work does, so that it
    finds of both in the cache what the work finds. Whole operands, and parts of an eighth and more, are
    moved; what is smaller, the class indices and the loss, is charged at the same rate, since calling a
    kernel for it would cost more than the bytes do.

    Bytes can be moved in several ways: copied, or added where two are read for one that is written, or read
    and written apart, by torch or by the C library, whose stores may go past the cache. Which is the fastest
    depends on size, machine and state of the cache. All are tried, and the fastest is the floor.

    Each step is a few calls, and a call costs what it costs also where it moves next to nothing. Of small
    operands that is nearly all of the floor, and a path whose own call is cheaper can be below it with all
    of its work done. So each floor comes with the same calls on one number a piece (``idle``): no path takes
    less than the floor without them.

    Beside it stands the time of the exponentials alone (``torch.exp`` into a buffer): of a size in the cache
    it is what limits. It is no bound, as softmax may use a faster and looser exponential than ``torch.exp``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from torch_loss_parity.benchmarks.buffers import Buffers, bytes_of
from torch_loss_parity.benchmarks.paths import Step
from torch_loss_parity.benchmarks.workload import Traffic

PART = 8  # a part of an operand that is smaller than its eighth is not moved but charged
ITEM = 8  # bytes: all dtypes are moved as float64, as bytes move at one speed, but are added up at several

Piece = tuple[int, int, int]  # the number of a source, and elements from and to
Sources = Sequence[Sequence[torch.Tensor]]  # of each buffer


@dataclass(frozen=True)
class Floor:
    """One way of moving the bytes of a work.

    Attributes
    ----------
    name : str
    step : Step
        Moves them, nearly all.
    idle : Step
        The same calls, on one number of each piece.
    share : float
        What must move, over what the step moves.
    """

    name: str
    step: Step
    idle: Step
    share: float


@dataclass(frozen=True)
class Plan:
    """What is copied, what is only read and what is only written: pieces of the sources, by number and
    elements from and to; lengths."""

    copied: tuple[Piece, ...]
    read: tuple[Piece, ...]
    written: tuple[int, ...]

    @property
    def elements(self) -> int:
        """How many are read and written."""
        return 2 * _length(self.copied) + _length(self.read) + sum(self.written)

    @property
    def adds(self) -> bool:
        """Whether it is one copy and one read, of the same length."""
        return len(self.copied) == len(self.read) == 1 and _length(self.copied) == _length(self.read)

    @property
    def idle(self) -> Plan:
        """The same pieces, one number of each."""
        copied, read = (
            tuple((source, at, at + 1) for source, at, _ in each) for each in (self.copied, self.read)
        )
        return Plan(copied, read, (1,) * len(self.written))

    @property
    def apart(self) -> Plan:
        """The same without copies."""
        written = tuple(_length([piece]) for piece in self.copied)
        return Plan((), (*self.copied, *self.read), (*written, *self.written))


def _length(pieces: Sequence[Piece]) -> int:
    return sum(end - start for _, start, end in pieces)


def plan(traffic: Traffic, sources: Sequence[int]) -> Plan:
    """How ``traffic`` is moved, given the elements of each source; as much as can be is copied.

    A plan that would move nothing, since the traffic is a small part of an operand, reads or writes one
    operand instead.
    """
    operand = sources[0]
    least = max(1, operand // PART)
    reads, writes = traffic.reads // ITEM, traffic.writes // ITEM
    copied: list[Piece] = []
    read: list[Piece] = []
    for number, length in enumerate(sources):
        both, end = min(length, reads, writes), min(length, reads)
        both = both if both >= least else 0
        if both:
            copied.append((number, 0, both))
        if end - both >= least:
            read.append((number, both, end))
        reads, writes = reads - end, writes - both
    written = [min(operand, writes - done) for done in range(0, writes, operand)]
    whole = Plan(tuple(copied), tuple(read), tuple(length for length in written if length >= least))
    if whole.elements:
        return whole
    return Plan((), ((0, 0, operand),), ()) if traffic.reads >= traffic.writes else Plan((), (), (operand,))


def floors(traffic: Traffic, buffers: Buffers, mode: str) -> list[Floor]:
    """Every way of moving ``traffic`` that there is on the device."""
    sources = [[bytes_of(tensor) for tensor in buffers.read(i, mode)] for i in range(len(buffers.order))]
    together = plan(traffic, [len(source) for source in sources[0]])
    share = traffic.bytes / (together.elements * ITEM)
    on_cpu = sources[0][0].device.type == "cpu"
    copying = [("copied", _copy), *([("copied by the C library", _memmove)] if on_cpu else [])]
    filling = [("filled", _fill), *([("filled by the C library", _memset)] if on_cpu else [])]

    def moving(
        name: str, moved: Plan, copy: Callable[..., Any] = _copy, fill: Callable[..., Any] = _fill
    ) -> Floor:
        return Floor(
            name, _moving(moved, sources, copy, fill), _moving(moved.idle, sources, copy, fill), share
        )

    ways = []
    if together.copied:
        ways += [moving(name, together, copy) for name, copy in copying]
    if together.adds:
        ways.append(Floor("added", _adding(together, sources), _adding(together.idle, sources), share))
    apart = together.apart
    if apart.written:
        ways += [moving(f"read, {how}", apart, fill=fill) for how, fill in filling]
    return ways or [moving("read", apart)]


def exponentials(operands: Sequence[torch.Tensor]) -> Step:
    """The exponential of every element, into one buffer."""
    plain = [operand.detach() for operand in operands]
    into = torch.empty_like(plain[0])
    return _step(lambda i: torch.exp(plain[i], out=into))


def _moving(plan: Plan, sources: Sources, copy: Callable[..., Any], fill: Callable[..., Any]) -> Step:
    copied = [[source[number][start:end] for number, start, end in plan.copied] for source in sources]
    read = [[source[number][start:end] for number, start, end in plan.read] for source in sources]
    new = sources[0][0].new_empty

    def move(i: int) -> list[torch.Tensor]:
        tensors = [copy(new(piece.shape), piece) for piece in copied[i]]
        tensors += [piece.sum() for piece in read[i]]
        return tensors + [fill(new((length,))) for length in plan.written]

    return _step(move)


def _adding(plan: Plan, sources: Sources) -> Step:
    (first, start, end), (second, begin, stop) = plan.copied[0], plan.read[0]
    pieces = [(source[first][start:end], source[second][begin:stop]) for source in sources]
    new = sources[0][0].new_empty

    def move(i: int) -> list[torch.Tensor]:
        tensors = [torch.add(*pieces[i], out=new((end - start,)))]
        return tensors + [_fill(new((length,))) for length in plan.written]

    return _step(move)


def _step(call: Callable[[int], Any]) -> Step:
    return Step(lambda i: i, call, lambda output: {})


def _copy(new: torch.Tensor, piece: torch.Tensor) -> torch.Tensor:
    return new.copy_(piece)


def _memmove(new: torch.Tensor, piece: torch.Tensor) -> torch.Tensor:
    ctypes.memmove(new.data_ptr(), piece.data_ptr(), piece.numel() * ITEM)
    return new


def _fill(new: torch.Tensor) -> torch.Tensor:
    return new.fill_(1.0)


def _memset(new: torch.Tensor) -> torch.Tensor:
    ctypes.memset(new.data_ptr(), 0, new.numel() * ITEM)
    return new
