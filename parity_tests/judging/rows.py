"""The rows of a call of large tensors: what belongs to each of them, and calls of some of them.

Note [Row by row]
    Rows do not know of each other. Where a loss is reduced, a row's gradient is that of a sum for the
    upstream gradient over the denominator, which a sum and a mean share out: `Share` evaluates it as the
    definition does, so that a row is allowed what it is allowed in the whole. Of an operator that acts on
    elements, elements are rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import torch

from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.expectation import arithmetic_of
from torch_loss_parity.expectation.quantity import FORWARD
from torch_loss_parity.expectation.share import Share, Upstream
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.operators.facets import dims_of
from torch_loss_parity.reference.arithmetic.formats import FLOAT32
from torch_loss_parity.reference.arithmetic.profiles import Profile
from torch_loss_parity.tensors.arrays import widen

LARGE = 2**16  # elements of the input: from here on it pays
REDUCED = ("mean", "sum")


@dataclass(frozen=True)
class Rows:
    """A call whose rows are judged one by one.

    Attributes
    ----------
    call : Call
        Its arrays are empty; the options, and the dtypes, are those of the call.
    shape : tuple of int
        The shape of the input.
    arrays : mapping of str to tensor
        The arguments, and under "grad_output" the upstream gradient, where it has rows.
    whole : mapping of str to tensor
        The arguments that all rows share.
    share : Share or ndarray, optional
        Of a loss that is reduced: the upstream gradient of each row.
    """

    call: Call
    shape: tuple[int, ...]
    arrays: Mapping[str, torch.Tensor]
    whole: Mapping[str, torch.Tensor]
    share: Upstream
    profile: Profile

    @property
    def reduced(self) -> bool:
        return self.call.arguments.get("reduction") in REDUCED

    @property
    def of_elements(self) -> bool:
        """Whether each element is a row."""
        return OPERATORS[self.call.operator].acts_on_elements

    @property
    def size(self) -> int:
        """The elements of a row."""
        return 1 if self.of_elements else prod(self.shape[1:])

    def blocks(self, elements: int) -> list[slice]:
        """The rows, in blocks of about so many elements."""
        n, step = self.shape[0], max(1, elements // max(1, prod(self.shape[1:])))
        return [slice(start, min(start + step, n)) for start in range(0, n, step)]

    @property
    def axis(self) -> int:
        """The dimension that rows lie along."""
        if OPERATORS[self.call.operator].family.along_dim:
            return dims_of(self.call.arguments["dim"], len(self.shape))[0]
        return min(1, len(self.shape) - 1)

    def block(self, rows: Any) -> tuple[Call, Upstream]:
        """The call of some rows, nothing reduced, and the upstream gradient of its sum or of its rows."""
        arrays = {name: numbers(tensor[rows]) for name, tensor in self.arrays.items()}
        return self._of(arrays, {name: numbers(tensor) for name, tensor in self.whole.items()})

    def elements(self, at: np.ndarray) -> tuple[Call, Upstream]:
        """The same of some elements, in one row, by their places in the flattened input."""
        places = np.unravel_index(at, self.shape)

        def picked(tensor: torch.Tensor) -> np.ndarray:
            spread = torch.broadcast_to(tensor, self.shape)
            return numbers(spread[tuple(torch.from_numpy(place) for place in places)])

        arrays = {name: picked(tensor) for name, tensor in {**self.arrays, **self.whole}.items()}
        return self._of(arrays, {})

    def _of(self, arrays: dict[str, np.ndarray], whole: dict[str, np.ndarray]) -> tuple[Call, Upstream]:
        upstream = arrays.pop("grad_output", self.share)
        arguments = {**self.call.arguments, **arrays, **whole}
        if "reduction" in arguments:
            arguments["reduction"] = "none"
        return replace(self.call, arguments=arguments), upstream


def as_sum(rows: Rows, call: Call) -> Call:
    """The call of some rows whose gradients are asked for: where the whole is reduced, it is a sum."""
    return replace(call, arguments={**call.arguments, "reduction": "sum"}) if rows.reduced else call


def numbers(tensor: torch.Tensor) -> np.ndarray:
    """The numbers of a tensor, exactly."""
    if tensor.dtype == torch.bfloat16:  # which NumPy does not have
        return widen(tensor)
    array = tensor.detach().cpu().numpy()  # by this thread alone, while others look at other blocks
    return array.astype(np.float64) if tensor.is_floating_point() else array


def rows_of(
    call: Call,
    tensors: Mapping[str, torch.Tensor],
    observed: Mapping[str, torch.Tensor],
    grad_output: torch.Tensor | None,
    profile: Profile,
) -> Rows | None:
    """What of the call belongs to each row; None where rows are not judged one by one.

    Parameters
    ----------
    call : Call
        The options of the call, and its dtypes.
    tensors : mapping
        Its arguments that are tensors.
    observed : mapping
        The result and the gradients.
    """
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
    share: Upstream = None
    if grad_output is not None and tuple(grad_output.shape) != shape:
        return None
    if grad_output is not None and call.arguments.get("reduction") in REDUCED:
        share = share_of(call, tensors, float(grad_output))
    elif grad_output is not None:
        arrays = {**arrays, "grad_output": grad_output}
    return Rows(call, tuple(input.shape), arrays, whole, share, profile)


def _has_rows(tensor: torch.Tensor | None, input: torch.Tensor) -> bool:
    """Whether a tensor has a row for each of the input's."""
    if tensor is None or tensor.ndim == 0 or tensor.shape[0] != input.shape[0]:
        return False
    return not tensor.is_floating_point() or tensor.ndim == input.ndim


def share_of(call: Call, tensors: Mapping[str, torch.Tensor], grad_output: float) -> Share:
    """What reaches each row of a reduced loss."""
    input, target = tensors["input"], tensors["target"]
    if call.arguments["reduction"] == "sum":
        return Share(grad_output)
    if not OPERATORS[call.operator].targets_classes:
        return Share(grad_output, count=input.numel())
    if target.shape == input.shape:
        return Share(grad_output, count=prod(input.shape) // input.shape[1])
    counted = target != call.arguments["ignore_index"]
    if (weight := tensors.get("weight")) is None:
        return Share(grad_output, weights=counted.cpu().numpy().astype(np.float64))
    of_targets = weight.detach().double()[torch.where(counted, target, 0)]
    return Share(grad_output, weights=torch.where(counted, of_targets, 0.0).cpu().numpy())
