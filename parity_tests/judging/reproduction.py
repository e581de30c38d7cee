"""Reproduction scripts: a failure as a program that needs torch and the subject alone, and prints it.

A script binds ``subject``, then each tensor of the call by the name of its argument, ``grad_output`` and
``v`` (a direction) where derivatives are taken, computes ``result`` in some `Steps`, and prints what is wrong
with it. Its numbers are exact: few are spelt out, many are the bytes of the tensor, compressed.
"""

from __future__ import annotations

import base64
import tempfile
import textwrap
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch

from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.quantity import Quantity
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.run_subject import by_position_and_name
from torch_loss_parity.tensors.arrays import to_tensor

INLINE = 64  # elements that a script spells out
COLUMNS = 88  # of a line of bytes: a hundred with what stands around it in a message
LONGEST = 150  # lines that are printed; a longer script is written to a file
FOLDER = Path(tempfile.gettempdir()) / "torch-loss-parity"

DECODER = (
    "import base64, zlib",
    "",
    "def tensor(text, dtype, shape):",
    "    data = zlib.decompress(base64.b64decode(text))",
    "    return torch.frombuffer(bytearray(data), dtype=dtype).reshape(shape)",
    "",
)


@dataclass(frozen=True)
class Wanted:
    """What a script is to compute.

    Attributes
    ----------
    operator : str
    quantity : Quantity
    function : str
        The function that is called, as the script names it.
    passed : str
        The arguments of the call, as the script names them.
    differentiable : tuple of str
        The arguments that a gradient is taken of.
    arguments : mapping
        Those of the call.
    arrays : mapping
        The arrays that the script binds, by name.
    whole : bool
        Whether there is nothing to compare, so that all is to be computed.
    """

    operator: str
    quantity: Quantity
    function: str
    passed: str
    differentiable: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    whole: bool = False

    @property
    def call(self) -> str:
        return f"{self.function}({self.passed})"


Lines = Iterator[str]
Writer = Callable[[Wanted], Lines]


@dataclass(frozen=True)
class Steps:
    """How a script computes what a finding is about, where that is no plain call.

    Attributes
    ----------
    lines : callable
        The lines that bind ``result``.
    arrays : mapping
        Tensors that these need besides those of the call: numbers and dtype, by name.
    """

    lines: Writer
    arrays: Mapping[str, tuple[np.ndarray, str]] = field(default_factory=dict)


# --- plain calls --------------------------------------------------------------------------------------------


def plain(wanted: Wanted) -> Lines:
    """The result, from arguments that require no gradient; or one of the gradients, of all at once."""
    if wanted.quantity == Quantity():
        yield f"result = {wanted.call}"
    else:
        yield from with_gradients(wanted)


def with_gradients(wanted: Wanted) -> Lines:
    """The result or a gradient, from one call whose arguments require gradients."""
    yield from requiring(wanted.differentiable)
    yield f"output = {wanted.call}"
    if wanted.quantity == Quantity():
        yield "result = output"
    yield from gradients_of_output(wanted)


def gradients_of_output(wanted: Wanted) -> Lines:
    """The gradient that is wanted, of ``output``."""
    of = wanted.quantity.of
    if not of and not (wanted.whole and wanted.differentiable):
        return
    yield f"gradients = torch.autograd.grad(output, [{', '.join(wanted.differentiable)}], grad_output)"
    if of:
        yield f"result = gradients[{wanted.differentiable.index(of)}]  # with respect to {of}"


def requiring(names: Iterable[str]) -> Lines:
    """Lines that let tensors require gradients."""
    yield from (f"{name}.requires_grad_()" for name in names)


def of_everything(wanted: Wanted) -> Lines:
    """Call, differentiate, and say what comes back: of a failure that leaves nothing to compare."""
    said = "print(type(result).__name__, result.dtype, tuple(result.shape), result.device)"
    yield from (f"result = {wanted.call}", said)
    if wanted.differentiable:
        yield from requiring(wanted.differentiable)
        yield from (f"result = {wanted.call}", said)
        names = ", ".join(wanted.differentiable)
        given = f"[{names}], torch.ones_like(result), allow_unused=True"
        yield f"gradients = torch.autograd.grad(result, {given})"
        yield "print([g if g is None else (g.dtype, tuple(g.shape), g.device) for g in gradients])"


# --- the script ---------------------------------------------------------------------------------------------


def script(
    subject: Subject,
    device: str,
    call: Call,
    quantity: str,
    steps: Steps,
    printed: Iterable[str],
    *,
    whole: bool = False,
    grad_output: np.ndarray | None = None,
    direction: np.ndarray | None = None,
) -> str:
    """A script of a call.

    Parameters
    ----------
    printed : iterable of str
        The lines that print what is wrong with ``result``.
    grad_output, direction : ndarray, optional
        Where derivatives are taken.
    """
    call = subject.given(call)
    arrays = {
        name: (value, dtype_of(call, name))
        for name, value in call.arguments.items()
        if isinstance(value, np.ndarray)
    }
    if grad_output is not None:
        arrays["grad_output"] = grad_output, dtype_of(call, "grad_output")
    if direction is not None:
        arrays["v"] = direction, call.dtype
    arrays |= steps.arrays
    wanted = Wanted(
        call.operator,
        Quantity.parse(quantity),
        f"subject.{call.operator}",
        passed(call),
        call.differentiable,
        call.arguments,
        {name: array for name, (array, _) in arrays.items()},
        whole,
    )
    return written(subject.import_of(call.operator), arrays, device, [*steps.lines(wanted), *printed])


def written(
    imports: str, arrays: Mapping[str, tuple[np.ndarray, str]], device: str, body: Iterable[str]
) -> str:
    """A script: what it imports, its tensors, and its lines."""
    decoder = DECODER if any(array.size > INLINE for array, _ in arrays.values()) else ()
    tensors = [line for name, given in arrays.items() for line in bound(name, *given, device)]
    lines = [*tensors, *body]
    numbers = [name for name in ("inf", "nan") if any(_speaks_of(name, line) for line in lines)]
    constants = [f"from math import {', '.join(numbers)}"] if numbers else []
    return "\n".join(["import torch", *constants, *decoder, imports, *lines])


def _speaks_of(name: str, line: str) -> bool:
    return any(f"{before}{name}" in line for before in ("[", " ", "(", "-"))


def passed(call: Call) -> str:
    """The arguments of a call as people pass them: input and target by position, everything else by name."""
    positional, named = by_position_and_name({name: name for name in call.arguments})
    values = {name: _argument(name, call.arguments[name]) for name in named}
    return ", ".join([*positional, *(f"{name}={value}" for name, value in values.items())])


def _argument(name: str, value: Any) -> str:
    if isinstance(value, np.ndarray):
        return name
    return f"torch.{value}" if name == "dtype" and value is not None else repr(value)


def dtype_of(call: Call, name: str) -> str:
    """The dtype of an argument, an array, or of the upstream gradient."""
    if name == "grad_output":
        return call.output_dtype
    value = call.arguments[name]
    return call.dtypes.get(name, call.dtype if value.dtype.kind == "f" else str(value.dtype))


def bound(name: str, array: np.ndarray, dtype: str, device: str) -> Lines:
    """The lines that bind a tensor to a name."""
    there = "" if device == "cpu" else f", device={device!r}"
    if array.size <= INLINE:
        # Nested lists do not say what shape an empty array has.
        shaped = f".reshape({array.shape})" if 0 in array.shape else ""
        line = f"{name} = torch.tensor({array.tolist()}, dtype=torch.{dtype}{there}){shaped}"
        yield from textwrap.wrap(line, COLUMNS, subsequent_indent="    ", break_on_hyphens=False)
        return
    data = to_tensor(array, dtype, "cpu").contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    text = base64.b64encode(zlib.compress(data, 9)).decode()
    yield f"{name} = tensor("
    yield from (f'    "{text[at : at + COLUMNS]}"' for at in range(0, len(text), COLUMNS))
    moved = "" if device == "cpu" else f".to({device!r})"
    yield f"    , torch.{dtype}, {array.shape}){moved}"


def compared(index: Sequence[int], expected: float, allowed: float) -> Lines:
    """Lines that print one element of ``result`` beside what it should be, and whether it is that."""
    at = f"[{', '.join(map(str, index))}]" if index else ""
    yield f"got, expected, allowed = result{at}.item(), {expected!r}, {allowed!r}"
    yield "right = got == expected or got != got and expected != expected or abs(got - expected) <= allowed"
    yield 'print(got, "expected", expected, "allowed error", allowed, "right" if right else "WRONG")'


def shown(text: str, operator: str) -> list[str]:
    """A script as a message shows it: its lines, or where there are many, the command that runs it."""
    lines = text.splitlines()
    if len(lines) <= LONGEST:
        return ["reproduce with", *(f"  {line}" for line in lines)]
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{operator}-{blake2b(text.encode(), digest_size=6).hexdigest()}.py"
    path.write_text(text + "\n", encoding="utf-8")
    return ["reproduce with", f"  python {path}"]
