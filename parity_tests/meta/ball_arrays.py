"""Arrays of balls for formulas that create zeros and ones."""

from __future__ import annotations

from typing import Any

import flint
import numpy as np

from torch_loss_parity.reference.arithmetic import balls


class Balls(np.ndarray):
    """Balls whose zeros and ones are balls too: those of NumPy are integers, which have no exponential."""

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        result = super().__array_function__(function, types, args, kwargs)
        created = function in (np.zeros_like, np.ones_like) and result.dtype == object
        return result * flint.arb(1) if created else result


def in_balls(array: np.ndarray) -> np.ndarray:
    ball = balls.balls(array)
    return ball.view(Balls) if ball.dtype == object else ball
