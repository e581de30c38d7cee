"""The upstream gradient of each row of a loss that is reduced: as the definition evaluates it, in any
arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from torch_loss_parity.reference.arguments import namespace
from torch_loss_parity.reference.reduction import reduce_backward


@dataclass(frozen=True)
class Share:
    """The upstream gradient of a reduced loss over what its mean divides by.

    Attributes
    ----------
    grad_output : float
    count : int
        What it divides by; 0 of a sum, which divides by nothing.
    weights : ndarray, optional
        The weights of all rows, whose sum stands in place of the count.
    """

    grad_output: float
    count: int = 0
    weights: np.ndarray | None = None

    def evaluated(self, wrap: Callable[[Any], Any]) -> Any:
        """The quotient of what ``wrap`` makes of these numbers."""
        grad_output = wrap(np.asarray(self.grad_output))
        if self.weights is not None:
            return reduce_backward(grad_output, "mean", self.denominator(wrap))
        return reduce_backward(grad_output, "mean" if self.count else "sum", self.count)

    def denominator(self, wrap: Callable[[Any], Any]) -> Any:
        """What a mean divides by."""
        if self.weights is None:
            return self.count
        weights = wrap(self.weights)
        return namespace(weights=weights).sum(weights)


Upstream = np.ndarray | Share | None
