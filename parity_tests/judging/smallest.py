"""The smallest inputs that the ledger records, as calls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.quantity import Quantity
from torch_loss_parity.ledger.ledger import Divergence


def smallest_input(
    entry: Divergence, quantity: str, dtype: str
) -> tuple[Call, np.ndarray | None, np.ndarray | None]:
    """The smallest input recorded for a quantity as a call in ``dtype``, with its upstream gradient and its
    direction.
    """
    call, grad_output = entry.smallest_call(quantity, dtype)
    arguments = {name: value for name, value in call.arguments.items() if name != "direction"}
    direction = call.arguments.get("direction")
    call = replace(call, arguments=arguments, differentiable=Quantity.parse(quantity).arguments)
    return call, grad_output, None if direction is None else np.asarray(direction, dtype=np.float64)
