"""A result of many rows, shown to be right block by block: what does not fit the cache is seen once.

Note [Row by row]
    Rows do not know of each other. Where a loss is reduced, a row's gradient is that of its own loss for the
    upstream gradient over the denominator, which a sum and a mean share out. What the rounding arithmetic
    charges for sharing it out is left out, so the bound of a row alone is at most the one of the whole.

    In each block the fast arithmetic of `torch_loss_parity.expectation.lower_bounds` decides most rows, and
    the rounding arithmetic the others. If a row is not shown to be right, nothing is: the whole is judged as
    any call is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import torch

from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.expectation import arithmetic_of, expected, output_shape
from torch_loss_parity.expectation.lower_bounds import Low, stored
from torch_loss_parity.expectation.quantity import FORWARD, format_of
from torch_loss_parity.expectation.second_order import gradient_of
from torch_loss_parity.judging import explanations
from torch_loss_parity.judging.comparison import judge
from torch_loss_parity.judging.explanations import Explanation
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.operators.facets import dims_of
from torch_loss_parity.reference.arithmetic import rounding_functions
from torch_loss_parity.reference.arithmetic.error import Error
from torch_loss_parity.reference.arithmetic.formats import FLOAT32
from torch_loss_parity.reference.arithmetic.profiles import Profile
from torch_loss_parity.reference.arithmetic.round_once import store
from torch_loss_parity.reference.arithmetic.rounding import Rounded
from torch_loss_parity.reference.reduction import reduce
from torch_loss_parity.tensors.arrays import widen

LARGE = 2**16  # elements of the input: from here on it pays
BLOCK = 2**17  # elements of a block: a megabyte of float64, and few enough calls of NumPy
CLEARLY = 1 - 2.0**-7  # what is left out of the fast arithmetic is less than the rest
SMALL = 2**18  # losses: so few are added up in the rounding arithmetic
REDUCED = ("mean", "sum")


@dataclass(frozen=True)
class Rows:
    """A call whose rows are judged one by one.

    Attributes
    ----------
    call : Call
        Its arrays are empty; the options, and the dtypes, are those of the call.
    arrays : mapping of str to tensor
        The arguments, and under "grad_output" the upstream gradient, where it has rows.
    whole : mapping of str to tensor
        The arguments that all rows share.
    share : float
        Of a loss that is reduced: the upstream gradient of each row.
    """

    call: Call
    arrays: Mapping[str, torch.Tensor]
    whole: Mapping[str, torch.Tensor]
    share: float | None
    profile: Profile

    def block(self, rows: Any) -> tuple[Call, np.ndarray | None]:
        """The call of some rows, where nothing is reduced, and its upstream gradient."""
        arguments = dict(self.call.arguments)
        arguments |= {
            name: _numbers(tensor[rows]) for name, tensor in self.arrays.items() if name in arguments
        }
        arguments |= {name: _numbers(tensor) for name, tensor in self.whole.items()}
        if "reduction" in arguments:
            arguments["reduction"] = "none"
        call = replace(self.call, arguments=arguments)
        if "grad_output" in self.arrays:
            return call, _numbers(self.arrays["grad_output"][rows])
        return call, None if self.share is None else np.full(output_shape(call), self.share)


def _numbers(tensor: torch.Tensor) -> np.ndarray:
    if tensor.dtype == torch.bfloat16:  # which NumPy does not have
        return widen(tensor)
    array = tensor.detach().cpu().numpy()  # by this thread alone, while others look at other blocks
    return array.astype(np.float64) if tensor.is_floating_point() else array


def right_by_rows(
    call: Call,
    tensors: Mapping[str, Any],
    observed: Mapping[str, torch.Tensor],
    grad_output: torch.Tensor | None,
    profile: Profile,
) -> bool:
    """Whether every quantity is shown to be right; False says nothing.

    Parameters
    ----------
    call : Call
        The options of the call, and its dtypes.
    tensors : mapping
        Its arguments that are tensors.
    observed : mapping
        The result and the gradients.
    """
    rows = _rows(call, tensors, observed, grad_output, profile)
    if rows is None:
        return False
    reduced = call.arguments.get("reduction") in REDUCED
    n = tensors["input"].shape[0]
    step = max(1, BLOCK // max(1, prod(tensors["input"].shape[1:])))
    blocks = [slice(start, min(start + step, n)) for start in range(0, n, step)]
    judged = {name: tensor for name, tensor in observed.items() if not (reduced and name == FORWARD)}
    losses: dict[int, Low] = {}
    of_losses: dict[int, Low] | None = losses if reduced and FORWARD in observed else None

    def look(judged: Mapping[str, torch.Tensor], way: Explanation | None) -> set[str]:
        """The quantities that are not shown to be right, of a definition or of a way of computing one."""
        wrong: set[str] = set()

        def look_at(block: slice) -> None:
            if left := {name: tensor for name, tensor in judged.items() if name not in wrong}:
                with np.errstate(all="ignore"):
                    wrong.update(_wrong_in_block(rows, block, left, of_losses if way is None else None, way))

        if judged or (way is None and of_losses is not None):
            with ThreadPoolExecutor(max(1, torch.get_num_threads())) as pool:
                list(pool.map(look_at, blocks))
        return wrong

    judged = {name: tensor for name, tensor in observed.items() if not (reduced and name == FORWARD)}
    for name in look(judged, None):
        ways = explanations.ways(call, name)
        if not any(not look({name: observed[name]}, way) for way in ways if not way.arithmetic):
            return False
    return of_losses is None or _total_is_right(rows, tensors, losses, observed[FORWARD])


def _rows(
    call: Call,
    tensors: Mapping[str, torch.Tensor],
    observed: Mapping[str, torch.Tensor],
    grad_output: torch.Tensor | None,
    profile: Profile,
) -> Rows | None:
    """What of the call belongs to each row; None where rows are not judged one by one."""
    operator, input = OPERATORS[call.operator], tensors["input"]
    arithmetic = arithmetic_of(call, FORWARD, profile)
    simple = arithmetic.compute == FLOAT32 and not arithmetic.flushes_inputs and not call.dtypes
    if not simple or call.arguments.get("dtype") is not None or input.ndim == 0 or input.numel() < LARGE:
        return None
    if operator.family.along_dim and 0 in dims_of(call.arguments["dim"], input.ndim):
        return None
    if operator.targets_classes and (input.ndim < 2 or operator.family.axis(call.arguments) is None):
        return None  # of rows that share a layer, too: its gradient is that of all
    shape = operator.result_shape({**call.arguments, **tensors})
    shapes = {FORWARD: shape, **{name: tuple(tensor.shape) for name, tensor in tensors.items()}}
    if any(tuple(tensor.shape) != shapes.get(name) for name, tensor in observed.items()):
        return None
    names = ("input", "target") if operator.targets_classes else tuple(tensors)
    arrays = {name: tensors[name] for name in names if _has_rows(tensors.get(name), input)}
    if "target" in tensors and "target" not in arrays:
        return None
    if any(name not in (FORWARD, *arrays) for name in observed):
        return None  # the gradient of what all rows share
    whole = {name: tensor for name, tensor in tensors.items() if name not in arrays}
    share = None
    if grad_output is not None and tuple(grad_output.shape) != shape:
        return None
    if grad_output is not None and call.arguments.get("reduction") in REDUCED:
        share = float(grad_output) / denominator(call, tensors)
    elif grad_output is not None:
        arrays = {**arrays, "grad_output": grad_output}
    return Rows(call, arrays, whole, share, profile)


def _has_rows(tensor: torch.Tensor | None, input: torch.Tensor) -> bool:
    """Whether a tensor has a row for each of the input's."""
    if tensor is None or tensor.ndim == 0 or tensor.shape[0] != input.shape[0]:
        return False
    return not tensor.is_floating_point() or tensor.ndim == input.ndim


def denominator(call: Call, tensors: Mapping[str, torch.Tensor]) -> float:
    """What a mean divides by: the weights of the targets, the rows, or the elements; 1 of a sum."""
    input, target = tensors["input"], tensors["target"]
    if call.arguments["reduction"] == "sum":
        return 1.0
    if not OPERATORS[call.operator].targets_classes:
        return float(input.numel())
    if target.shape == input.shape:
        return float(input.numel() // input.shape[1])
    counted = target != call.arguments["ignore_index"]
    if (weight := tensors.get("weight")) is None:
        return float(counted.sum())
    return float(weight.detach().double()[torch.where(counted, target, 0)][counted].sum())


def _wrong_in_block(
    rows: Rows,
    block: slice,
    judged: Mapping[str, torch.Tensor],
    losses: dict[int, Low] | None,
    way: Explanation | None,
) -> list[str]:
    """The quantities that are not shown to be right in a block."""
    call, upstream = rows.block(block)
    operator, arithmetic = OPERATORS[call.operator], arithmetic_of(call, FORWARD, rows.profile)
    function = way.function if way else None
    arguments = {
        name: Low(value, arithmetic) if isinstance(value, np.ndarray) else value
        for name, value in call.arguments.items()
        if name != "dtype"
    }
    found: dict[str, Low] = {}
    if FORWARD in judged or losses is not None:
        found[FORWARD] = (function or operator.forward)(**arguments)
    if losses is not None:
        losses[block.start] = found[FORWARD]
    if names := [name for name in judged if name != FORWARD]:
        gradients = (function or operator.backward)(Low(upstream, arithmetic), **arguments)
        found |= {name: gradient_of(gradients, name) for name in names}
    return [
        name
        for name, tensor in judged.items()
        if not _is_right(rows, block, name, found[name], tensor, function)
    ]


def _is_right(
    rows: Rows,
    block: slice,
    quantity: str,
    low: Low,
    tensor: torch.Tensor,
    function: Callable[..., Any] | None,
) -> bool:
    """Whether a quantity is right in a block: by what it is off at least allowed, else by its bound."""
    observed, format = _numbers(tensor[block]), format_of(rows.call, quantity)
    low = stored(low, format)
    difference = observed - low.value
    own = np.broadcast_to(0.0 if low.own is None else low.own * CLEARLY, difference.shape)
    within = np.abs(difference) <= own
    if within.all():
        return True
    doubtful = np.flatnonzero(~within.reshape(len(within), -1).all(axis=1))
    if low.shared is not None:
        shared, axis = np.broadcast_to(low.shared, difference.shape), _axis(rows.call, difference.ndim)
        explained = _explained(difference[doubtful], own[doubtful], shared[doubtful], axis)
        doubtful = doubtful[~explained]
    if not doubtful.size:
        return True
    call, upstream = rows.block(torch.from_numpy(doubtful + block.start))
    given = None if quantity == FORWARD else upstream
    bound = expected(call, (quantity,), given, profile=rows.profile, function=function)[quantity]
    verdict = judge(observed[doubtful], bound, format)
    return verdict.passes and not verdict.undecided


def _axis(call: Call, ndim: int) -> int:
    """The dimension that rows lie along."""
    if OPERATORS[call.operator].family.along_dim:
        return dims_of(call.arguments["dim"], ndim)[0]
    return min(1, ndim - 1)


def _explained(difference: np.ndarray, own: np.ndarray, shared: np.ndarray, axis: int) -> np.ndarray:
    """Of which indices of the first dimension one shared error explains every row."""
    low, high = (difference - own) / shared, (difference + own) / shared
    low, high = np.minimum(low, high), np.maximum(low, high)
    alone = np.abs(difference) <= own  # of what does not share it, nothing else is asked
    low = np.where(shared == 0, np.where(alone, -np.inf, np.inf), low)
    high = np.where(shared == 0, np.inf, high)
    least = np.maximum(np.max(low, axis=axis, keepdims=True), -CLEARLY)
    most = np.minimum(np.min(high, axis=axis, keepdims=True), CLEARLY)
    return np.all((least <= most).reshape(len(difference), -1), axis=1)


def _total_is_right(
    rows: Rows, tensors: Mapping[str, torch.Tensor], losses: Mapping[int, Low], observed: torch.Tensor
) -> bool:
    """Whether the mean or the sum of losses is right, of which each may be off by what it is allowed."""
    call, in_order = rows.call, [losses[start] for start in sorted(losses)]
    value = np.concatenate([each.value.reshape(-1) for each in in_order])
    errors = [np.broadcast_to(0.0 if each.own is None else each.own, each.shape) for each in in_order]
    own = np.concatenate([error.reshape(-1) for error in errors])
    arithmetic, by = arithmetic_of(call, FORWARD, rows.profile), denominator(call, tensors)
    with np.errstate(all="ignore"):
        if value.size <= SMALL:
            each = Rounded(value, arithmetic, Error(0.0, own))
            total = reduce(rounding_functions, each, call.arguments["reduction"], Rounded(by, arithmetic))
        else:
            total = Rounded(np.sum(value) / by, arithmetic, Error(0.0, np.sum(own) / by))
    verdict = judge(widen(observed), store(total), format_of(call, FORWARD))
    return verdict.passes and not verdict.undecided
