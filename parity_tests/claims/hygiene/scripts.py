"""How a script shows that a subject does not behave: a call is run, something happens, and it is run
again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.quantity import FORWARD
from torch_loss_parity.judging import reproduction
from torch_loss_parity.judging.reproduction import Lines, Steps, Wanted, dtype_of
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.written_promise import BY_POSITION

Other = tuple[Call, np.ndarray]  # and its upstream gradient

BITS = """
def bits(tensor):
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).clone()

def show(name, tensor, before):
    same = len(bits(tensor)) == len(before) and torch.equal(bits(tensor), before)
    print(name, "is as it was" if same else "HAS CHANGED", tensor.detach().flatten()[:8].tolist())
"""
# The lines that stand for what happens between two runs; `other` is another call.
RUN_AGAIN: tuple[str, ...] = ()
RUN_OTHER = ("run(other, other_grad_output)",)
RUN_OTHER_WITHOUT = ("run(other, other_grad_output, ())",)
ON_THE_SAME_MEMORY = (
    "given = {name: v.clone() if isinstance(v, torch.Tensor) else v for name, v in other.items()}",
    "call(given)",
    "with torch.no_grad():",
    "    for name, value in mine.items():",
    "        if isinstance(value, torch.Tensor):",
    "            given[name].data.copy_(value)",
    "    result = call(given)",
)
AFTER_A_FAILURE = (
    "for wrong in ({'reduction': 'nonsense'}, {'dim': 99}):",
    "    try:",
    "        call({**mine, **{name: value for name, value in wrong.items() if name in mine}})",
    "        run(mine, torch.zeros(7, 7, 7, dtype=grad_output.dtype, device=grad_output.device))",
    "    except Exception as error:",
    "        print('raised', type(error).__name__)",
)
AFTER_MANY = ("for _ in range(40):", "    run(mine, grad_output)")
AFTER_NO_BACKWARD = (
    "call({name: v.clone().requires_grad_(name in differentiable) if isinstance(v, torch.Tensor) else v",
    "      for name, v in mine.items()})",
)
AFTER_OVERWRITING = (
    "for tensor in run(mine, grad_output)[2]:",
    "    tensor.detach().fill_(float('nan'))",
)


def arrays_of(prefix: str, call: Call, upstream: np.ndarray) -> dict[str, tuple[np.ndarray, str]]:
    """The arrays of a call and its upstream gradient, under names with a prefix."""
    arrays = {
        f"{prefix}{name}": (value, dtype_of(call, name))
        for name, value in call.arguments.items()
        if isinstance(value, np.ndarray)
    }
    return arrays | {f"{prefix}grad_output": (upstream, call.output_dtype)}


def _given(name: str, prefix: str, call: Call) -> str:
    values = {
        argument: f"{prefix}{argument}"
        if isinstance(value, np.ndarray)
        else f"torch.{value}"
        if argument == "dtype" and value is not None
        else repr(value)
        for argument, value in call.arguments.items()
    }
    return f"{name} = dict({', '.join(f'{argument}={value}' for argument, value in values.items())})"


def setting(call: Call, function: str, others: Mapping[str, Other]) -> Lines:
    """What every such script begins with: ``mine`` and the other calls, and ``run``."""
    positional = [name for name in BY_POSITION if name in call.arguments]
    yield f"differentiable = {call.differentiable!r}"
    yield _given("mine", "", call)
    for name, (other, _) in others.items():
        yield _given(name, f"{name}_", other)
    yield from BITS.strip("\n").splitlines()
    yield ""
    yield "def call(given):"
    yield f"    named = {{name: value for name, value in given.items() if name not in {positional}}}"
    yield f"    return {function}({', '.join(f'given[{name!r}]' for name in positional)}, **named)"
    yield ""
    yield "def run(given, upstream, wanted=differentiable):"
    yield "    given = {name: v.detach().clone().requires_grad_(name in wanted)"
    yield "             if isinstance(v, torch.Tensor) else v for name, v in given.items()}"
    yield "    upstream, output = upstream.clone(), call(given)"
    yield "    leaves = [given[name] for name in wanted]"
    yield "    gradients = torch.autograd.grad(output, leaves, upstream) if leaves else ()"
    yield "    return given, upstream, [output, *gradients]"
    yield ""


def steps_after(call: Call, happens: Iterable[str], others: Mapping[str, Other]) -> Steps:
    """Something happens, and then a call is run: its result, or a gradient."""
    arrays: dict[str, tuple[np.ndarray, str]] = {}
    for name, (other, upstream) in others.items():
        arrays |= arrays_of(f"{name}_", other, upstream)
    return Steps(partial(_after, call, tuple(happens), others), arrays)


def _after(call: Call, happens: tuple[str, ...], others: Mapping[str, Other], wanted: Wanted) -> Lines:
    others = {name: (_alike(other, wanted), upstream) for name, (other, upstream) in others.items()}
    yield from setting(_alike(call, wanted), wanted.function, others)
    yield "result = None"
    yield from happens
    without = ", ()" if happens == RUN_OTHER_WITHOUT else ""
    number = 1 + call.differentiable.index(wanted.quantity.of) if wanted.quantity.of else 0
    yield "if result is None:"
    yield f"    result = run(mine, grad_output{without})[2][{number}]"


def _alike(call: Call, wanted: Wanted) -> Call:
    """With the arguments alone that the call which failed was given."""
    given = {name: value for name, value in call.arguments.items() if name in wanted.arguments}
    return replace(call, arguments=given)


def script(
    subject: Subject,
    device: str,
    call: Call,
    upstream: np.ndarray,
    lines: Iterable[str],
    others: Mapping[str, Other] | None = None,
) -> str:
    """A script of these lines, as a message shows it."""
    call = subject.given(call)
    others = {name: (subject.given(other), given) for name, (other, given) in (others or {}).items()}
    arrays = arrays_of("", call, upstream)
    for name, (other, given) in others.items():
        arrays |= arrays_of(f"{name}_", other, given)
    body = [*setting(call, f"subject.{call.operator}", others), *lines]
    text = reproduction.written(subject.import_of(call.operator), arrays, device, body)
    return "\n".join(reproduction.shown(text, call.operator))


# --- what is printed ----------------------------------------------------------------------------------------

GIVEN = (
    "for wanted in ((), differentiable):  # the call alone, and with a backward pass",
    "    given, upstream, _ = run(mine, grad_output, wanted)",
    "    for name, tensor in {**given, 'grad_output': upstream}.items():",
    "        if isinstance(tensor, torch.Tensor):",
    "            show(name, tensor, bits({**mine, 'grad_output': grad_output}[name]))",
    "            print(name, 'was written to', tensor._version, 'times')",
)
MEMORY = (
    "def tensors(which, wanted):",
    "    given, upstream, results = run(mine, grad_output, wanted)",
    "    found = {f'{name} of {which}': v for name, v in given.items() if isinstance(v, torch.Tensor)}",
    "    found[f'grad_output of {which}'] = upstream",
    "    names = ['the result', *(f'the gradient of {name}' for name in wanted)]",
    "    return found | {f'{name} of {which}': v for name, v in zip(names, results)}",
    "",
    "for wanted in ((), differentiable):",
    "    every = list({**tensors('one call', wanted), **tensors('another call', wanted)}.items())",
    "    for i, (name, tensor) in enumerate(every):",
    "        for other_name, other_tensor in every[:i]:",
    "            if tensor.untyped_storage().data_ptr() == other_tensor.untyped_storage().data_ptr():",
    "                print(name, 'LIES IN THE MEMORY of', other_name)",
)


def kept(happens: Iterable[str], wanted: str = "differentiable") -> tuple[str, ...]:
    """Results are kept while something happens."""
    return (
        f"given, upstream, results = run(mine, grad_output, {wanted})",
        "before = [bits(result) for result in results]",
        *happens,
        "for name, result, bits_before in zip(['the result', *differentiable], results, before):",
        "    show(name, result, bits_before)",
    )


OVERWRITTEN = (
    "for tensor in [*given.values(), upstream]:",
    "    if isinstance(tensor, torch.Tensor):",
    "        tensor.detach().fill_(1)",
)


def again(happens: Iterable[str]) -> tuple[str, ...]:
    """A call is run, something happens, and it is run again: the bits."""
    return (
        "before = [bits(result) for result in run(mine, grad_output)[2]]",
        *happens,
        "for _ in range(40):  # some change now and then",
        "    results = run(mine, grad_output)[2]",
        "    if not all(torch.equal(bits(now), then) for now, then in zip(results, before)):",
        "        break",
        f"for name, result, then in zip([{FORWARD!r}, *differentiable], results, before):",
        "    show(name, result, then)",
    )


RETAINED = (
    "given = {name: v.detach().clone().requires_grad_(name in differentiable)",
    "         if isinstance(v, torch.Tensor) else v for name, v in mine.items()}",
    "leaves, output = [given[name] for name in differentiable], call(given)",
    "passes = [torch.autograd.grad(output, leaves, grad_output, retain_graph=True) for _ in range(2)]",
    "alone = run(mine, grad_output)[2][1:]",
    "for which in passes:",
    "    for name, result, then in zip(differentiable, which, alone):",
    "        show(name, result, bits(then))",
)
REQUIRES_GRAD = (
    "for guard in (torch.enable_grad, torch.no_grad, torch.inference_mode):",
    "    for wanted in ((), differentiable):",
    "        with guard():",
    "            leaves = {name: v.clone().requires_grad_(name in wanted)",
    "                      if isinstance(v, torch.Tensor) else v for name, v in mine.items()}",
    "            print(guard.__name__, wanted, 'requires_grad', call(leaves).requires_grad)",
)
