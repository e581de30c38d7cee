"""The ways in which torch is asked for gradients, and how each is driven: whatever the mode, the closed form
is expected.

Those of second order are in `torch_loss_parity.claims.modes.second_order`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np

from torch_loss_parity.cases.case import Call
from torch_loss_parity.claims.modes.drives import (
    LOSS_SCALE,
    SCALE,
    again,
    all_but_one,
    backward,
    micro_batches,
    one_at_a_time,
    retained,
    scaled_scalar,
    split_by_rows,
    splits,
)
from torch_loss_parity.judging.mode import Mode
from torch_loss_parity.judging.reproduction import Lines, Steps, Wanted, requiring
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.subjects import Subject


def _of(wanted: Wanted) -> str:
    """The argument whose gradient is meant; the first where nothing came back."""
    return wanted.quantity.of or wanted.differentiable[0]


def _backward(wanted: Wanted) -> Lines:
    yield from requiring(wanted.differentiable)
    yield f"{wanted.call}.backward(grad_output)"
    yield f"result = {_of(wanted)}.grad"


def _scaled(wanted: Wanted) -> Lines:
    yield from requiring(wanted.differentiable)
    yield f"scale = 1.0 if input.dtype == torch.float16 else {LOSS_SCALE}  # of the loss"
    yield f"({SCALE} * scale * ({wanted.call} * (grad_output / {SCALE})).sum()).backward()"
    yield f"result = {_of(wanted)}.grad.double() / scale"


def _retained(number: int, wanted: Wanted) -> Lines:
    yield from requiring(wanted.differentiable)
    yield f"output, leaves = {wanted.call}, [{', '.join(wanted.differentiable)}]"
    for retain in ("True", "False"):
        kind = "result" if (retain == "False") == bool(number) else "other"
        gradient = f"torch.autograd.grad(output, leaves, grad_output, retain_graph={retain})"
        yield f"{kind} = {gradient}[{wanted.differentiable.index(_of(wanted))}]"


def _alone(wanted: Wanted) -> Lines:
    yield f"{_of(wanted)}.requires_grad_()"
    yield f"{wanted.call}.backward(grad_output)"
    yield f"result = {_of(wanted)}.grad"


def _frozen(frozen: str, wanted: Wanted) -> Lines:
    yield from requiring(name for name in wanted.differentiable if name != frozen)
    yield f"{wanted.call}.backward(grad_output)"
    yield f"result = {_of(wanted)}.grad"


def _where_one_is_frozen() -> Iterator[Mode]:
    """A mode for each argument that some operator differentiates beside two others."""
    several = [names for o in OPERATORS.values() if len(names := o.differentiable_arguments) > 2]
    for frozen in dict.fromkeys(name for names in several for name in names):
        yield Mode(
            f"where {frozen} requires no gradient",
            partial(_all_but, frozen),
            partial(_leaves_several, frozen),
            steps=Steps(partial(_frozen, frozen)),
        )


def _all_but(
    frozen: str, subject: Subject, call: Call, device: str, grad_output: np.ndarray
) -> Mapping[str, np.ndarray]:
    return all_but_one(subject, call, device, grad_output, frozen)


def _leaves_several(frozen: str, call: Call) -> bool:
    """Whether others are differentiated: each alone is another mode."""
    return frozen in call.differentiable and len(call.differentiable) > 2


def _in_parts(wanted: Wanted) -> Lines:
    names = split_by_rows(wanted.operator, wanted.arguments)
    half = wanted.arguments["input"].shape[0] // 2
    mean = wanted.arguments.get("reduction") == "mean"
    yield from requiring(wanted.differentiable)
    yield f"function = lambda {', '.join(names)}: {wanted.call}"
    yield f"for rows in (slice(0, {half}), slice({half}, None)):"
    yield f"    upstream = grad_output[rows] if grad_output.ndim else grad_output * {0.5 if mean else 1.0}"
    yield f"    function({', '.join(f'{name}[rows]' for name in names)}).backward(upstream)"
    yield f"result = {_of(wanted)}.grad"


FIRST_ORDER = (
    Mode("by backward() into .grad", backward, steps=Steps(_backward)),
    Mode("folded into a scaled scalar", scaled_scalar, steps=Steps(_scaled)),
    Mode("through a retained graph", retained, steps=Steps(partial(_retained, 0))),
    Mode("through a retained graph again", again, steps=Steps(partial(_retained, 1))),
    Mode(
        "with one argument at a time",
        one_at_a_time,
        lambda call: len(call.differentiable) > 1,
        steps=Steps(_alone),
    ),
    *_where_one_is_frozen(),
    Mode("accumulated over micro-batches", micro_batches, splits, steps=Steps(_in_parts)),
)
