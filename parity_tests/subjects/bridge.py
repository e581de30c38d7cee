"""Array libraries with gradients of their own as subjects: arrays go over and come back, the library's vjp is
the backward.

A library needs three functions. ``to(tensor)`` and ``back(array)`` carry numbers over and back, through
DLPack or NumPy; ``vjp(function, arrays, others)`` returns ``function(*arrays, *others)`` and what pulls an
upstream gradient back to each of ``arrays``. A function that is given again is the same object again, so that
a library which compiles may keep what it has compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Bridge:
    """A way to an array library and back."""

    to: Callable[[torch.Tensor], Any]
    back: Callable[[Any], torch.Tensor]
    vjp: Callable[
        [Callable[..., Any], Sequence[Any], Sequence[Any]], tuple[Any, Callable[[Any], Sequence[Any]]]
    ]

    def call(
        self, function: Callable[..., Any], differentiable: Sequence[torch.Tensor], *others: Any
    ) -> torch.Tensor:
        """``function`` of the library's arrays, as a function of tensors that autograd differentiates.

        Parameters
        ----------
        function : callable
            Takes the library's arrays, those of ``differentiable`` and then those of ``others``.
        differentiable : sequence of Tensor
        others : tensors, or anything else, which is passed as it is
        """
        carried = [self.to(other.detach()) if isinstance(other, torch.Tensor) else other for other in others]
        output: torch.Tensor = _Bridged.apply(self, function, carried, *differentiable)
        return output


class _Bridged(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, bridge: Bridge, function: Callable[..., Any], others: Sequence[Any], *tensors: torch.Tensor
    ) -> torch.Tensor:
        result, ctx.pull_back = bridge.vjp(
            function, [bridge.to(tensor.detach()) for tensor in tensors], others
        )
        ctx.bridge = bridge
        return bridge.back(result).to(tensors[0].device)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[Any, ...]:
        gradients = ctx.pull_back(ctx.bridge.to(grad_output.detach()))
        return None, None, None, *(ctx.bridge.back(gradient).to(grad_output.device) for gradient in gradients)
