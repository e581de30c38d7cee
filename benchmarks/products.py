"""The limit of a linear layer: how fast its matrix products can be computed, on the same device, in the same
round.

Note [The floor of products]
    Whoever fuses a layer with its loss still multiplies: once for the logits and twice for the gradients,
    each product as many multiplications and additions as rows, classes and features make. The floor is timed
    on the very factors of the work: the logits stand for their own gradient, which has their shape, and no
    exponential is taken. Kept whole or made in chunks of rows, by torch or by NumPy's library, in half
    precision also in float32: the fastest is the floor, and where moving the bytes takes longer, that is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from torch_loss_parity.benchmarks.buffers import Buffers
from torch_loss_parity.benchmarks.floor import Floor
from torch_loss_parity.benchmarks.paths import Step
from torch_loss_parity.reference.arithmetic.profiles import Profile

CHUNK = 128  # rows: their logits stay in a cache
WHOLE, CHUNKED, SINGLE, BY_NUMPY, TF32 = MULTIPLIED = (
    "multiplied",
    "multiplied in chunks",
    "multiplied in float32",
    "multiplied by NumPy",
    "multiplied in TF32",
)
Multiply = Callable[[Any, Any, bool], Any]  # factors, and whether the gradients of both are wanted too
Seen = Callable[[torch.Tensor], Any]


def products(number: int, buffers: Buffers, profile: Profile) -> list[Floor]:
    """Every way that there is on the device of computing the products of a layer: ``number`` is 1 for the
    logits, 3 with the gradients of both factors, and 0 where nothing is multiplied.
    """
    if not number:
        return []
    factors = [[each.detach() for each in buffers.operands(i)] for i in range(len(buffers.order))]

    def step(multiply: Multiply, seen_as: Seen, part: slice) -> Step:
        given = [[each[part, part] for each in pair] for pair in factors]

        def call(i: int) -> Any:
            x, w = map(seen_as, given[i])
            return multiply(x, w, number > 1)

        return Step(lambda i: i, call, lambda output: {})

    every, one = slice(None), slice(0, 1)
    return [
        Floor(name, step(multiply, seen_as, every), step(multiply, seen_as, one), 1.0)
        for name, multiply, seen_as in _ways(factors[0][0], profile)
    ]


def _ways(like: torch.Tensor, profile: Profile) -> Iterator[tuple[str, Multiply, Seen]]:
    yield WHOLE, _whole, _as_it_is
    yield CHUNKED, _in_chunks, _as_it_is
    on_cpu = like.device.type == "cpu"
    if like.element_size() == 2:
        yield SINGLE, _whole, torch.Tensor.float
    elif on_cpu:
        yield BY_NUMPY, _whole, torch.Tensor.numpy
    if not on_cpu and "factors" in profile.changes.get(str(like.dtype).removeprefix("torch."), {}):
        yield TF32, _in_tf32, _as_it_is


def _as_it_is(factor: torch.Tensor) -> torch.Tensor:
    return factor


def _whole(x: Any, w: Any, gradients: bool) -> Any:
    logits = x @ w.T
    return (logits @ w, logits.T @ x) if gradients else logits


def _in_chunks(x: torch.Tensor, w: torch.Tensor, gradients: bool) -> Any:
    held, of_input, of_layer = x.new_empty(CHUNK, len(w)), torch.empty_like(x), torch.zeros_like(w)
    for begin in range(0, len(x), CHUNK):
        rows = x[begin : begin + CHUNK]
        logits = torch.mm(rows, w.T, out=held[: len(rows)])
        if gradients:
            torch.mm(logits, w, out=of_input[begin : begin + CHUNK])
            of_layer.addmm_(logits.T, rows)
    return of_input, of_layer


def _in_tf32(x: torch.Tensor, w: torch.Tensor, gradients: bool) -> Any:
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        return _whole(x, w, gradients)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
