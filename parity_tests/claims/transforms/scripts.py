"""How a script drives a subject under a transform: the lines that do what `transforms` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from torch_loss_parity.cases.case import Call
from torch_loss_parity.judging.reproduction import (
    Lines,
    Steps,
    Wanted,
    dtype_of,
    gradients_of_output,
    requiring,
)


def _lambda(names: Sequence[str], wanted: Wanted) -> str:
    return f"lambda {', '.join(names)}: {wanted.call}"


def _tuple(names: Sequence[str]) -> str:
    return f"({', '.join(names)},)"


def _arrays_of_slices(
    calls: Sequence[Call], names: Sequence[str], upstream: Sequence[np.ndarray] | None = None
) -> Mapping[str, tuple[np.ndarray, str]]:
    """What differs from slice to slice, by the name of the argument and the number of the slice."""
    arrays = {
        f"{name}_{i}": (call.arguments[name], dtype_of(call, name))
        for name in names
        for i, call in enumerate(calls)
    }
    given = enumerate(upstream or ())
    return arrays | {f"grad_output_{i}": (array, calls[0].output_dtype) for i, array in given}


def _stacked(name: str, numbers: Sequence[int], dim: int = 0) -> str:
    return f"torch.stack([{', '.join(f'{name}_{i}' for i in numbers)}], {dim})"


# --- vmap ---------------------------------------------------------------------------------------------------


def mapped(calls: Sequence[Call], names: Sequence[str], in_dim: int, out_dim: int, at: int) -> Steps:
    """Slice ``at`` of a call that is mapped over arguments."""

    def lines(wanted: Wanted) -> Lines:
        stacked = ", ".join(_stacked(name, range(len(calls)), in_dim) for name in names)
        function = f"torch.func.vmap({_lambda(names, wanted)}, in_dims={in_dim}, out_dims={out_dim})"
        yield f"mapped = {function}"
        yield f"result = mapped({stacked}).movedim({out_dim}, 0)[{at}]"

    return Steps(lines, _arrays_of_slices(calls, names))


def mapped_twice(calls: Sequence[Call], names: Sequence[str], outer: int, inner: int, at: int) -> Steps:
    """Slice ``at`` of a call that is mapped over arguments, and within that once more over ``input``."""

    def lines(wanted: Wanted) -> Lines:
        shape = calls[0].arguments["input"].shape
        every, others = range(outer * inner), [name for name in names if name != "input"]
        yield f"both = {_stacked('input', every)}.reshape({(outer, inner, *shape)}).movedim(1, -1)"
        stacked = [_stacked(name, every[::inner]) for name in others]
        dims = _tuple(["-1", *("None" for _ in others)])
        yield f"once = torch.func.vmap({_lambda(['input', *others], wanted)}, in_dims={dims})"
        yield f"result = torch.func.vmap(once)({', '.join(['both', *stacked])}).flatten(0, 1)[{at}]"

    return Steps(lines, _arrays_of_slices(calls, list(dict.fromkeys(("input", *names)))))


def gradients_of_samples(
    calls: Sequence[Call], names: Sequence[str], upstream: Sequence[np.ndarray], reduced: bool, at: int
) -> Steps:
    """The gradients of slice ``at`` of a call that is mapped over arguments."""

    def lines(wanted: Wanted) -> Lines:
        every = range(len(calls))
        yield f"def gradients({', '.join([*names, 'grad_output'])}):"
        yield f"    return {pulled_back(wanted, reduced)}"
        stacked = ", ".join(_stacked(name, every) for name in (*names, "grad_output"))
        number = wanted.differentiable.index(wanted.quantity.of) if wanted.quantity.of else 0
        yield f"result = torch.func.vmap(gradients)({stacked})[{number}][{at}]"

    return Steps(lines, _arrays_of_slices(calls, names, upstream))


def pulled_back(wanted: Wanted, reduced: bool) -> str:
    """The gradients of all differentiable arguments: by `torch.func.grad` of a reduced loss, else by
    `torch.func.vjp`.
    """
    names = wanted.differentiable
    if reduced:
        numbers = tuple(range(len(names)))
        return f"torch.func.grad({_lambda(names, wanted)}, argnums={numbers})({', '.join(names)})"
    return f"torch.func.vjp({_lambda(names, wanted)}, {', '.join(names)})[1](grad_output)"


# --- functions and modes ------------------------------------------------------------------------------------


def under_vjp(wanted: Wanted) -> Lines:
    """The result or a gradient by `torch.func.vjp`."""
    names, of = wanted.differentiable, wanted.quantity.of
    yield f"output, pull_back = torch.func.vjp({_lambda(names, wanted)}, {', '.join(names)})"
    if not of:
        yield "result = output"
    if of or wanted.whole:
        kind = "result" if of else "gradient"
        yield f"{kind} = pull_back(grad_output)[{names.index(of) if of else 0}]"


def under(guard: str, wanted: Wanted) -> Lines:
    """The result of a call within a guard; whether it records a graph is printed."""
    yield from requiring(wanted.differentiable)
    yield f"with {guard}:"
    yield f"    result = {wanted.call}"
    yield "print('requires_grad', result.requires_grad)"


def under_grad(wanted: Wanted) -> Lines:
    """A gradient by `torch.func.grad`."""
    number = wanted.differentiable.index(wanted.quantity.of) if wanted.quantity.of else 0
    yield f"result = {pulled_back(wanted, reduced=True)}[{number}]"


def under_jacrev(index: tuple[int, ...], wanted: Wanted) -> Lines:
    """A row of a Jacobian."""
    names, numbers = wanted.differentiable, tuple(range(len(wanted.differentiable)))
    number = names.index(wanted.quantity.of) if wanted.quantity.of else 0
    jacobians = f"torch.func.jacrev({_lambda(names, wanted)}, argnums={numbers})({', '.join(names)})"
    yield f"result = {jacobians}[{number}][{', '.join(map(str, index)) or '()'}]"


def under_autocast(device: str, dtype: str, wanted: Wanted) -> Lines:
    """The result or a gradient, the call under `torch.autocast`."""
    yield from requiring(wanted.differentiable)
    yield f"with torch.autocast({device.split(':')[0]!r}, dtype=torch.{dtype}):"
    yield f"    output = {wanted.call}"
    if not wanted.quantity.of:
        yield "result = output"
    yield from gradients_of_output(wanted)


def compiled(backend: str, wanted: Wanted) -> Lines:
    """The result or a gradient of the function, compiled."""
    yield from requiring(wanted.differentiable)
    yield f"function = torch.compile({wanted.function}, backend={backend!r})"
    yield f"output = function({wanted.passed})"
    if not wanted.quantity.of:
        yield "result = output"
    yield from gradients_of_output(wanted)


def of_module(name: str, keywords: Sequence[str], wanted: Wanted) -> Lines:
    """The result or a gradient of a class of torch.nn, built with the options of the call."""
    arrays = [argument for argument in ("input", "target") if argument in wanted.arguments]
    options = ", ".join(keywords)
    yield from requiring(wanted.differentiable)
    yield f"output = torch.nn.{name}({options})({', '.join(arrays)})"
    if not wanted.quantity.of:
        yield "result = output"
    yield from gradients_of_output(wanted)


UNDER_VJP, UNDER_GRAD = Steps(under_vjp), Steps(under_grad)
NO_GRAD = Steps(partial(under, "torch.no_grad()"))
INFERENCE = Steps(partial(under, "torch.inference_mode()"))
