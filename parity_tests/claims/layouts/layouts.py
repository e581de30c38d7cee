"""Where an argument lies in memory: views with every kind of stride, each inside a larger buffer that must
not be touched.

Note [Layouts]
    A layout says in what order the dimensions of a tensor lie in memory, how far apart neighbours are, and
    how much is left free at the end of each row. Around and between the elements lies nan, or an index that
    no class has: whoever takes the strides, the offset or the length of a view for granted meets it. Five
    elements lie in front, so that no view is aligned to a vector.

    Some layouts let elements share memory: expanded views with stride 0 and overlapping windows. They hold
    only numbers that repeat, so `shared` first makes the numbers of a call repeat.

    torch has no negative strides: a NumPy array with one, ``as_strided`` with one and a slice with a negative
    step are refused, and ``torch.flip`` copies. ``test_layouts.py`` checks that this is so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import torch

from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.expectation import FORWARD
from torch_loss_parity.judging.reproduction import Lines, Wanted, with_gradients
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.run_subject import (
    WrongResult,
    by_position_and_name,
    gradients_of,
    must_be_a_tensor,
)
from torch_loss_parity.tensors.arrays import TORCH_DTYPES, dtype_in_call, to_tensor, widen

GUARD = 5  # elements in front of a view and behind it
NO_CLASS = 2**40 + 1  # an index that no class has and no ignore_index equals
GRAD_OUTPUT = "grad_output"
Strides = tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """How the elements of a tensor lie in memory.

    Attributes
    ----------
    name : str
        An adjective: "from transposed views".
    order : callable
        The dimensions, of the number given, from the slowest to the fastest.
    step : int
        Every step-th element is used, along each dimension.
    free : int
        Elements left free at the end of each row.
    least : int
        The number of dimensions from which on the layout is a different one.
    """

    name: str
    order: Callable[[int], tuple[int, ...]] = lambda dims: tuple(range(dims))
    step: int = 1
    free: int = 0
    least: int = 0

    def strides(self, shape: tuple[int, ...]) -> Strides:
        stride, strides = self.step, [0] * len(shape)
        for place, dim in enumerate(reversed(self.order(len(shape)))):
            strides[dim] = stride
            stride *= max(shape[dim], 1)
            stride = stride * self.step if place else (stride + self.free) * self.step
        return tuple(strides)

    def fitting(self, dims: int) -> Layout:
        """This layout; a simpler one where there are not enough dimensions for it."""
        return self if dims >= self.least else STRIDED if dims else OFFSET


OFFSET = Layout("offset")
STRIDED = Layout("strided", step=2, least=1)
PADDED = Layout("padded", free=3, least=2)
TRANSPOSED = Layout("transposed", lambda dims: (*range(dims - 2), dims - 1, dims - 2), least=2)
REVERSED = Layout("reversed", lambda dims: tuple(reversed(range(dims))), least=3)
# torch.channels_last of 4 and of 5 dimensions.
CHANNELS_LAST = Layout("channels-last", lambda dims: (0, *range(2, dims), 1), least=3)
ROTATED = Layout("rotated", lambda dims: (*range(1, dims), 0), least=3)
APART = Layout("transposed, strided", lambda dims: (*range(dims - 2), dims - 1, dims - 2), step=3, least=2)
LAYOUTS = (OFFSET, STRIDED, PADDED, TRANSPOSED, REVERSED, CHANNELS_LAST, ROTATED, APART)

ONE_NUMBER = "expanded from one number"
# Strides that let elements share memory, for numbers that repeat along what is shared.
SHARED: Mapping[str, Callable[[tuple[int, ...]], Strides]] = {
    "expanded along the first dimension": lambda shape: (0, *_contiguous(shape[1:]))[: len(shape)],
    "expanded along the last dimension": lambda shape: (
        (*_contiguous(shape[:-1]), 0) if len(shape) > 1 else _contiguous(shape)
    ),
    ONE_NUMBER: lambda shape: (0,) * len(shape),
    "overlapping": lambda shape: (1,) * len(shape),
}


def _contiguous(shape: tuple[int, ...]) -> Strides:
    return OFFSET.strides(shape)


@dataclass(frozen=True)
class Placed:
    """A view in a buffer, and what the buffer held, bit for bit, when the view was filled."""

    view: torch.Tensor
    buffer: torch.Tensor
    before: torch.Tensor

    @property
    def untouched(self) -> bool:
        return torch.equal(bits(self.buffer), self.before)


def place(array: np.ndarray, strides: Strides, dtype: torch.dtype, device: str) -> Placed:
    """``array`` as a view with these strides, amid numbers that must not be read."""
    length = 2 * GUARD + sum((n - 1) * s for n, s in zip(array.shape, strides, strict=True) if n > 0) + 1
    buffer = torch.full(
        (length,), float("nan") if dtype.is_floating_point else NO_CLASS, dtype=dtype, device=device
    )
    view = buffer.as_strided(array.shape, strides, GUARD)
    values = to_tensor(array, dtype, device)
    once = tuple(slice(1) if stride == 0 else slice(None) for stride in strides)
    apart = [stride for stride in strides if stride]
    if len(set(apart)) < len(apart):  # elements that share memory are written one by one, in effect
        for index in np.ndindex(array.shape):
            view[index] = values[index]
    else:
        view[once].copy_(values[once])
    return Placed(view, buffer, bits(buffer).clone())


def bits(tensor: torch.Tensor) -> torch.Tensor:
    """The bytes of a tensor, so that nan equals nan and 0 differs from -0."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def shared(
    call: Call,
    grad_output: np.ndarray,
    names: tuple[str, ...],
    strides_of: Callable[[tuple[int, ...]], Strides],
) -> Any:
    """``call`` and ``grad_output`` with numbers that repeat, in the arguments named, wherever elements will
    share memory.
    """

    def repeat(array: np.ndarray) -> np.ndarray:
        if not array.size or not array.ndim:
            return array
        where = sum(i * s for i, s in zip(np.indices(array.shape), strides_of(array.shape), strict=True))
        _, first, inverse = np.unique(where, return_index=True, return_inverse=True)
        return array.reshape(-1)[first][inverse].reshape(array.shape)

    arguments = {
        name: repeat(value) if name in names and isinstance(value, np.ndarray) else value
        for name, value in call.arguments.items()
    }
    return replace(call, arguments=arguments), repeat(grad_output) if GRAD_OUTPUT in names else grad_output


def from_views(
    subject: Subject,
    call: Call,
    device: str,
    grad_output: np.ndarray,
    strides_of: Callable[[str, tuple[int, ...]], Strides],
) -> Iterator[tuple[str, np.ndarray]]:
    """The subject's result, and then its gradients, from views with the strides that ``strides_of`` gives to
    each argument.

    Everything about them but the numbers is checked here: kind, dtype, device, shape, ``requires_grad``, and
    that the buffers around the views hold what they held.

    Raises
    ------
    WrongResult
        If something other than a number is wrong.
    """
    placed: dict[str, Placed] = {}
    arguments: dict[str, Any] = {}
    for name, value in call.arguments.items():
        if isinstance(value, np.ndarray):
            dtype = dtype_in_call(value, call.dtype)
            placed[name] = place(value, strides_of(name, value.shape), dtype, device)
            arguments[name] = placed[name].view.detach().requires_grad_(name in call.differentiable)
        else:
            arguments[name] = TORCH_DTYPES[value] if name == "dtype" and value is not None else value
    poison(grad_output.shape, TORCH_DTYPES[call.output_dtype], device)
    output = called(subject, call, arguments)
    _check(
        "the result", output, TORCH_DTYPES[call.output_dtype], arguments["input"].device, grad_output.shape
    )
    if call.differentiable and not output.requires_grad:
        raise WrongResult("the result does not require a gradient, and its arguments do")
    _check_untouched(placed, "the forward pass")
    yield FORWARD, widen(output)
    upstream = place(grad_output, strides_of(GRAD_OUTPUT, grad_output.shape), output.dtype, device)
    wanted = [arguments[name] for name in call.differentiable]
    poison(call.arguments["input"].shape, TORCH_DTYPES[call.dtype], device)
    gradients = gradients_of(output, wanted, upstream.view, allow_unused=True)
    _check_untouched(placed | {GRAD_OUTPUT: upstream}, "the backward pass")
    for name, argument, gradient in zip(call.differentiable, wanted, gradients, strict=True):
        _check(
            f"the gradient with respect to {name}",
            gradient,
            argument.dtype,
            argument.device,
            tuple(argument.shape),
        )
        yield name, widen(gradient)


def called(subject: Subject, call: Call, arguments: Mapping[str, Any]) -> Any:
    """What the subject returns: input and target by position, everything else by name, as people call it."""
    positional, named = by_position_and_name(arguments)
    return subject.function(call.operator)(*positional, **named)


def poison(shape: tuple[int, ...], dtype: torch.dtype, device: str) -> None:
    """Leave nan in freed memory: an implementation that does not write its result shall not find a right one
    there.
    """
    rubbish = [torch.full(shape, float("nan"), dtype=dtype, device=device) for _ in range(4)]
    rubbish += [torch.full((prod(shape) + GUARD,), float("nan"), dtype=dtype, device=device)]
    del rubbish


def _check(what: str, tensor: Any, dtype: torch.dtype, device: torch.device, shape: tuple[int, ...]) -> None:
    must_be_a_tensor(what, tensor)
    for kind, got, wanted in (
        ("dtype", tensor.dtype, dtype),
        ("device", tensor.device, device),
        ("shape", tuple(tensor.shape), shape),
    ):
        if got != wanted:
            raise WrongResult(f"{what} has {kind} {got}, expected {wanted}")


def _check_untouched(placed: Mapping[str, Placed], when: str) -> None:
    touched = [name for name, there in placed.items() if not there.untouched]
    if touched:
        raise WrongResult(f"{when} wrote into the memory of {', '.join(touched)}, or around it")


VIEWED = f"""
def viewed(tensor, strides, free):
    last = sum((n - 1) * s for n, s in zip(tensor.shape, strides)) if tensor.numel() else 0
    buffer = torch.full(({2 * GUARD} + last + 1,), free, dtype=tensor.dtype, device=tensor.device)
    view = buffer.as_strided(tensor.shape, strides, {GUARD})
    for index in itertools.product(*map(range, tensor.shape)):
        view[index] = tensor[index]
    buffers.append((buffer, buffer.clone()))
    return view
""".strip()


def in_views(strides_of: Callable[[str, tuple[int, ...]], Strides], wanted: Wanted) -> Lines:
    """The lines by which a script calls a subject as `from_views` does."""
    yield "import itertools"
    yield "buffers = []"
    yield from VIEWED.splitlines()
    for name, array in wanted.arrays.items():
        free = "float('nan')" if array.dtype.kind == "f" else NO_CLASS
        yield f"{name} = viewed({name}, {strides_of(name, array.shape)}, {free})"
    yield from with_gradients(wanted)
    same = "torch.equal(now.view(torch.uint8), then.view(torch.uint8))"
    yield f"print('buffers written to:', sum(not {same} for now, then in buffers))"
