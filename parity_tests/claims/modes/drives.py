"""How torch is asked for gradients of first order, mode by mode; see
`torch_loss_parity.claims.modes.first_order`.

Nothing is imported that judges: this runs where a subject is only observed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from torch_loss_parity.cases.case import Call
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.operators.facets import dims_of
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.observing.source import observable
from torch_loss_parity.subjects.run_subject import (
    WrongResult,
    by_position_and_name,
    must_be_a_tensor,
    tensors,
)
from torch_loss_parity.tensors.arrays import to_tensor, widen

# Powers of two: multiplying by them is exact, and so is dividing, as upstream gradients are far from
# overflow.
SCALE = 0.25
LOSS_SCALE = 2.0**20  # of mixed precision, which begins at 2**16


# --- a call, as torch sees it -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Bound:
    """A call with its tensors: a function of the differentiable ones."""

    subject: Subject
    call: Call
    arguments: Mapping[str, Any]
    grad_output: torch.Tensor

    @classmethod
    def of(cls, subject: Subject, call: Call, device: str, grad_output: np.ndarray) -> Bound:
        upstream = to_tensor(grad_output, call.output_dtype, device)
        return cls(subject, call, tensors(call, device), upstream)

    def __call__(self, **instead: Any) -> torch.Tensor:
        """The result, with some arguments replaced."""
        positional, named = by_position_and_name({**self.arguments, **instead})
        output = self.subject.function(self.call.operator)(*positional, **named)
        must_be_a_tensor("the result", output)
        return output

    def leaves(self, *names: str) -> dict[str, torch.Tensor]:
        """Fresh leaves that require a gradient."""
        return {name: self.arguments[name].detach().clone().requires_grad_() for name in names}


def _widened(gradients: Mapping[str, Any]) -> dict[str, np.ndarray]:
    for name, gradient in gradients.items():
        if gradient is None:
            raise WrongResult(f"there is no gradient with respect to {name}")
    return {name: widen(gradient) for name, gradient in gradients.items()}


# --- first order --------------------------------------------------------------------------------------------


@observable
def backward(subject: Subject, call: Call, device: str, grad_output: np.ndarray) -> dict[str, np.ndarray]:
    """``output.backward(grad_output)``, read from ``.grad``."""
    bound = Bound.of(subject, call, device, grad_output)
    leaves = bound.leaves(*call.differentiable)
    bound(**leaves).backward(bound.grad_output)
    return _widened({name: leaf.grad for name, leaf in leaves.items()})


@observable
def scaled_scalar(
    subject: Subject, call: Call, device: str, grad_output: np.ndarray
) -> dict[str, np.ndarray]:
    """``(c * s * (g / c * output).sum()).backward()``, divided by s: the upstream gradient is folded into a
    scalar under a loss scale s, 1 in float16, which it would leave.
    """
    bound = Bound.of(subject, call, device, grad_output)
    leaves = bound.leaves(*call.differentiable)
    scale = loss_scale(call)
    (SCALE * scale * (bound(**leaves) * (bound.grad_output / SCALE)).sum()).backward()
    return _widened({name: _unscaled(leaf.grad, scale) for name, leaf in leaves.items()})


def _unscaled(gradient: torch.Tensor | None, scale: float) -> torch.Tensor | None:
    """A gradient over a power of two: 0 where it is in its own dtype, of which alone a bound speaks (2**-170
    in float32), and else not rounded once more, as a subnormal quotient would be.
    """
    if gradient is None:
        return None
    own = (gradient / scale).cpu().double()
    return torch.where(own == 0, own, gradient.cpu().double() / scale)


def loss_scale(call: Call) -> float:
    """What a loss is multiplied by; 1 where float16 takes part, in which gradients would overflow."""
    return 1.0 if "float16" in (call.dtype, call.output_dtype, *call.dtypes.values()) else LOSS_SCALE


@observable
def retained(subject: Subject, call: Call, device: str, grad_output: np.ndarray) -> dict[str, np.ndarray]:
    """The first of two backward passes through one graph."""
    return _through_one_graph(subject, call, device, grad_output, 0)


@observable
def again(subject: Subject, call: Call, device: str, grad_output: np.ndarray) -> dict[str, np.ndarray]:
    """The second of two backward passes through one graph: what was saved for backward must have survived the
    first.
    """
    return _through_one_graph(subject, call, device, grad_output, 1)


def _through_one_graph(
    subject: Subject, call: Call, device: str, grad_output: np.ndarray, number: int
) -> dict[str, np.ndarray]:
    bound = Bound.of(subject, call, device, grad_output)
    leaves = bound.leaves(*call.differentiable)
    output = bound(**leaves)
    passes = [
        torch.autograd.grad(
            output, list(leaves.values()), bound.grad_output, retain_graph=retain, allow_unused=True
        )
        for retain in (True, False)
    ]
    return _widened(dict(zip(leaves, passes[number], strict=True)))


@observable
def one_at_a_time(
    subject: Subject, call: Call, device: str, grad_output: np.ndarray
) -> dict[str, np.ndarray]:
    """Each gradient from a call in which no other argument requires one."""
    bound = Bound.of(subject, call, device, grad_output)
    gradients = {}
    for name in call.differentiable:
        leaves = bound.leaves(name)
        bound(**leaves).backward(bound.grad_output)
        gradients[name] = leaves[name].grad
    return _widened(gradients)


@observable
def all_but_one(
    subject: Subject, call: Call, device: str, grad_output: np.ndarray, frozen: str
) -> dict[str, np.ndarray]:
    """The gradients of the others from a call in which ``frozen`` requires none, as of a layer trained
    on features that are not.
    """
    bound = Bound.of(subject, call, device, grad_output)
    leaves = bound.leaves(*(name for name in call.differentiable if name != frozen))
    bound(**leaves).backward(bound.grad_output)
    return _widened({name: leaf.grad for name, leaf in leaves.items()})


@observable
def micro_batches(
    subject: Subject, call: Call, device: str, grad_output: np.ndarray
) -> dict[str, np.ndarray]:
    """The rows in two parts, each with its own backward pass, accumulated in ``.grad``; see `splits`."""
    bound = Bound.of(subject, call, device, grad_output)
    leaves = bound.leaves(*call.differentiable)
    rows = call.arguments["input"].shape[0]
    mean = call.arguments.get("reduction") == "mean"
    for part in (slice(0, rows // 2), slice(rows // 2, None)):
        # The parts of a mean are equally large, and each counts for a half.
        upstream = (
            bound.grad_output[part] if bound.grad_output.ndim else bound.grad_output * (0.5 if mean else 1.0)
        )
        bound(**_rows(call, {**bound.arguments, **leaves}, part)).backward(upstream)
    return _widened({name: leaf.grad for name, leaf in leaves.items()})


def _rows(call: Call, arguments: Mapping[str, Any], part: slice) -> dict[str, Any]:
    return {name: arguments[name][part] for name in split_by_rows(call.operator, call.arguments)}


def split_by_rows(operator: str, arguments: Mapping[str, Any]) -> list[str]:
    """The arguments that have rows of their own."""
    shape = arguments["input"].shape
    names = [name for name in ("input", "target") if isinstance(arguments.get(name), np.ndarray)]
    for name in ("weight", "pos_weight"):  # of each element: split where it has rows of its own
        value = arguments.get(name)
        if (
            isinstance(value, np.ndarray)
            and value.ndim == len(shape)
            and value.shape[0] == shape[0]
            and "dim" not in arguments
            and not OPERATORS[operator].targets_classes
        ):
            names.append(name)
    return names


def splits(call: Call) -> bool:
    """Whether the sum over two parts of the rows is the same gradient, and as exact.

    The gradient of a class weight or of a layer is a sum over all rows, whose parts would be rounded on
    their own. A weighted mean divides by the weights of all rows, which no part knows.
    """
    arguments = call.arguments
    shape = arguments["input"].shape
    if len(shape) < 2 or shape[0] < 2 or 0 in shape or {"weight", "linear_weight"} & {*call.differentiable}:
        return False
    if "dim" in arguments:
        return 0 not in dims_of(arguments["dim"], len(shape))
    if arguments["reduction"] == "mean":
        indices = OPERATORS[call.operator].targets_classes and arguments["target"].dtype.kind != "f"
        counted = not indices or (
            arguments["weight"] is None and not np.any(arguments["target"] == arguments["ignore_index"])
        )
        return shape[0] % 2 == 0 and counted
    return True
