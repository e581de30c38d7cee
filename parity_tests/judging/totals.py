"""The mean or the sum of the losses of many rows, shown to be right from the losses of the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from torch_loss_parity.expectation.expectation import arithmetic_of
from torch_loss_parity.expectation.lower_bounds import Low
from torch_loss_parity.expectation.quantity import FORWARD, format_of
from torch_loss_parity.judging.comparison import judge
from torch_loss_parity.judging.rows import Rows, share_of
from torch_loss_parity.reference.arithmetic import rounding_functions
from torch_loss_parity.reference.arithmetic.error import Error
from torch_loss_parity.reference.arithmetic.round_once import store
from torch_loss_parity.reference.arithmetic.rounding import Rounded
from torch_loss_parity.reference.reduction import reduce
from torch_loss_parity.tensors.arrays import widen

SMALL = 2**18  # losses: so few are added up in the rounding arithmetic


def is_right(
    rows: Rows, tensors: Mapping[str, torch.Tensor], losses: Sequence[Low], observed: torch.Tensor
) -> bool:
    """Whether the mean or the sum of losses is right, of which each may be off by what it is allowed; False
    says nothing.
    """
    value = np.concatenate([each.value.reshape(-1) for each in losses])
    errors = [np.broadcast_to(0.0 if each.total is None else each.total, each.shape) for each in losses]
    own = np.concatenate([error.reshape(-1) for error in errors])
    arithmetic, reduction = arithmetic_of(rows.call, FORWARD, rows.profile), rows.call.arguments["reduction"]

    def exactly(array: np.ndarray) -> Rounded:
        return Rounded(array, arithmetic)

    by = share_of(rows.call, tensors, 1.0).denominator(exactly)
    with np.errstate(all="ignore"):
        if value.size <= SMALL:
            total = reduce(rounding_functions, Rounded(value, arithmetic, Error(0.0, own)), reduction, by)
        else:
            number = float(by.value if isinstance(by, Rounded) else by) or 1.0
            total = Rounded(np.sum(value) / number, arithmetic, Error(0.0, np.sum(own) / number))
    return judge(widen(observed), store(total), format_of(rows.call, FORWARD)).passes
