"""What the second-order formulas of the two binary losses are evaluated on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from math import prod
from typing import Any

from torch_loss_parity.expectation.quantity import Quantity
from torch_loss_parity.reference.arguments import namespace
from torch_loss_parity.reference.reduction import reduce, reduce_backward


@dataclass(frozen=True, eq=False)
class Elements:
    """The arguments of a call, with the quantity, the direction and the upstream gradient; and the ways in
    which weight and 1/N come in.
    """

    quantity: Quantity
    direction: Any
    grad_output: Any
    input: Any
    target: Any
    weight: Any
    reduction: str
    pos_weight: Any

    @property
    def xp(self) -> Any:
        return namespace(input=self.input)

    @property
    def zeros(self) -> Any:
        return self.xp.zeros_like(self.input)

    def weighted(self, value: Any) -> Any:
        return value if self.weight is None else value * self.weight

    def averaged(self, value: Any) -> Any:
        """The gradient that reaches each loss."""
        return reduce_backward(value, self.reduction, prod(self.input.shape))

    def product(self) -> Any:
        """The direction, of a gradient times the upstream gradient."""
        return self.direction * self.grad_output if self.quantity.of else self.direction

    def cotangent(self) -> Any:
        """What reverse mode multiplies each element's derivative with: 1/N and the weight come first."""
        cotangent = self.weighted(self.averaged(self.direction))
        return cotangent * self.grad_output if self.quantity.of else cotangent

    def from_cotangent(self, value: Any) -> Any:
        return (
            value
            if self.quantity.of
            else reduce(self.xp, value, "none" if self.reduction == "none" else "sum", 1)
        )

    def weighted_last(self, value: Any) -> Any:
        """The quantity, of a derivative times the direction: the weight, then 1/N."""
        value = self.weighted(value)
        return (
            self.averaged(value)
            if self.quantity.of
            else reduce(self.xp, value, self.reduction, prod(self.input.shape))
        )

    def grad_losses(self) -> Any:
        """The gradient that reaches each loss before it is weighted."""
        return self.weighted(self.averaged(self.grad_output)) + self.zeros

    def to_upstream(self, value: Any) -> Any:
        """What reverse mode passes on to the upstream gradient: `grad_losses` is linear in it."""
        value = self.averaged(self.weighted(value))
        return value if self.reduction == "none" else self.xp.sum(value)


def of_elements(formula: Callable[..., Any]) -> Callable[..., Any]:
    """A formula of `Elements`, and perhaps constants, as a function of a quantity, a direction, an upstream
    gradient and the arguments.
    """

    @wraps(formula)
    def called(
        quantity: Quantity,
        direction: Any,
        grad_output: Any,
        input: Any,
        target: Any,
        weight: Any = None,
        reduction: str = "mean",
        pos_weight: Any = None,
        **constants: float,
    ) -> Any:
        return formula(
            Elements(quantity, direction, grad_output, input, target, weight, reduction, pos_weight),
            **constants,
        )

    return called
