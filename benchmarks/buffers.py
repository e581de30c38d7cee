"""The arguments that a path is called with, in two places in turn.

Note [Rotating inputs]
    An implementation that remembers its last result by the address of its input would be fast and right for
    ever on one buffer. So calls alternate between two buffers that hold different numbers; and once the time
    is taken, the buffers exchange their contents and each is called once more: whoever remembers by address
    now returns what belongs to other numbers.

Note [Just written]
    How fast a call is depends on what of its inputs is in a cache, and so on what ran before it. In use that
    is the layer before, which has just written them. So before each measured block they are written anew,
    with the bits that they have: whatever is timed, the path, torch or the floor, finds them as the layer
    before leaves them. What backward reads is what forward, which was just called, has left, and the upstream
    gradient, written after it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import torch

from torch_loss_parity.benchmarks.workload import BACKWARD, FORWARD, Work
from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.expectation.upstream import upstream_gradient
from torch_loss_parity.subjects.run_subject import tensors
from torch_loss_parity.tensors.arrays import to_tensor

NUMBER = 2


@dataclass(frozen=True)
class Dataset:
    """A call as it is drawn, and its upstream gradient."""

    case: Case
    call: Call
    grad_output: np.ndarray


@dataclass(frozen=True)
class Buffers:
    """Datasets on the device that they are worked on; ``order[i]`` is the dataset that buffer i holds."""

    datasets: tuple[Dataset, ...]
    arguments: tuple[dict[str, Any], ...]
    grad_outputs: tuple[torch.Tensor, ...]
    order: list[int]

    @property
    def operand(self) -> int:
        """The bytes of ``input``, or of the logits of a layer, which may be held or not."""
        return prod(self.datasets[0].case.shape) * int(self.arguments[0]["input"].element_size())

    @property
    def differentiated(self) -> tuple[str, ...]:
        """The arguments whose gradients are asked for, ``input`` first."""
        return self.datasets[0].call.differentiable

    def operands(self, number: int) -> list[torch.Tensor]:
        """What is differentiated."""
        return [self.arguments[number][name] for name in self.differentiated]

    @property
    def exponents(self) -> list[torch.Tensor]:
        """What the exponentials of each are taken of: the input, or the logits of a layer."""
        every = [[each.detach() for each in self.operands(i)] for i in range(len(self.arguments))]
        return [input if not layer else input @ layer[0].T for input, *layer in every]

    def read(self, number: int, mode: str) -> list[torch.Tensor]:
        """What a mode reads that is large, in order: what is differentiated, which stands for what forward
        saved, and what else has the shape of the case."""
        arguments, upstream = self.arguments[number], self.grad_outputs[number]
        shape = self.datasets[number].case.shape
        targets = [arguments["target"]] if mode != BACKWARD and "target" in arguments else []
        gradients = [upstream] if mode != FORWARD else []
        others = (each for each in (*targets, *gradients) if each.shape == shape)
        return [*self.operands(number), *others]

    def rewrite_arguments(self, number: int) -> None:
        """Write what forward reads, ``input`` last: see Note [Just written]."""
        arguments = self.arguments[number]
        for name in sorted(arguments, key=lambda name: name == "input"):
            if isinstance(arguments[name], torch.Tensor):
                _rewrite(arguments[name])

    def rewrite_upstream(self, number: int) -> None:
        """Write the upstream gradient."""
        _rewrite(self.grad_outputs[number])

    def require_grad(self, required: bool) -> None:
        """Whether autograd is to record what happens to what is differentiated."""
        for number in range(len(self.arguments)):
            for operand in self.operands(number):
                operand.grad = None
                operand.requires_grad_(required)

    def exchange(self) -> None:
        """Each buffer gets what the next one holds, at the same address."""
        held = [
            {**arguments, "grad_output": g}
            for arguments, g in zip(self.arguments, self.grad_outputs, strict=True)
        ]
        with torch.no_grad():
            for name, first in held[0].items():
                if isinstance(first, torch.Tensor):
                    kept = first.clone()
                    for here, after in pairwise(held):
                        here[name].copy_(after[name])
                    held[-1][name].copy_(kept)
        self.order[:] = [*self.order[1:], self.order[0]]

    def beginning_with(self, buffer: int) -> list[int]:
        """The number of every buffer, one of them first."""
        return [buffer, *(i for i in range(len(self.order)) if i != buffer)]


def bytes_of(tensor: torch.Tensor) -> torch.Tensor:
    """The memory of a contiguous tensor as float64, but for what is left over.

    Raises
    ------
    ValueError
        If there is less than one.
    """
    flat = tensor.detach().reshape(-1).view(torch.uint8)
    if flat.numel() < 8:
        raise ValueError(f"the operand has {flat.numel()} bytes; moving them as float64 takes at least 8")
    return flat[: flat.numel() // 8 * 8].view(torch.float64)


def _rewrite(tensor: torch.Tensor) -> None:
    if tensor.numel() * tensor.element_size() >= 8:
        bytes_of(tensor).view(torch.int64).bitwise_or_(0)


def draw(
    work: Work, dtype: str, shape: tuple[int, ...], seed: int, number: int = NUMBER
) -> tuple[Dataset, ...]:
    """Datasets of a work, each with other numbers; the gradients are asked for that training asks for."""
    drawn = []
    for i in range(number):
        case = work.case(dtype, shape, seed + i)
        call = replace(work.record.call(case), differentiable=work.gradients)
        drawn.append(Dataset(case, call, upstream_gradient(call, case)))
    return tuple(drawn)


def buffers(datasets: tuple[Dataset, ...], device: str) -> Buffers:
    """The datasets on a device."""
    return Buffers(
        datasets=datasets,
        arguments=tuple(tensors(each.call, device) for each in datasets),
        grad_outputs=tuple(to_tensor(each.grad_output, each.call.output_dtype, device) for each in datasets),
        order=list(range(len(datasets))),
    )
