"""Second derivatives of linear_cross_entropy as torch evaluates them: those of its layer, and of
cross_entropy of the logits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch_loss_parity.expectation.formulas.torch_second_order.classes import (
    cross_entropy_double_backward,
    cross_entropy_jvp,
)
from torch_loss_parity.expectation.quantity import Quantity
from torch_loss_parity.reference.arithmetic.dual import Dual, tangent_of
from torch_loss_parity.reference.linear_cross_entropy import NO_INDEX, linear, linear_backward
from torch_loss_parity.reference.ways.class_products import cross_entropy_in_order_backward
from torch_loss_parity.reference.ways.extended import extended_backward

_in_order_backward = partial(extended_backward, cross_entropy_in_order_backward)
FACTORS = ("input", "linear_weight", "linear_bias")


def _through_the_layer(
    of_logits: Callable[..., Any],
    quantity: Quantity,
    direction: Any,
    grad_output: Any,
    input: Any,
    linear_weight: Any,
    target: Any,
    *,
    linear_bias: Any = None,
    weight: Any = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    softcap: float | None = None,
) -> Any:
    """The chain rule around a formula of cross_entropy."""

    def dual(name: str, value: Any) -> Any:
        return None if value is None else Dual(value, direction if quantity.along == name else None)

    factors = [
        dual(name, value) for name, value in zip(FACTORS, (input, linear_weight, linear_bias), strict=True)
    ]
    logits = linear(*factors)
    along = "input" if quantity.along in FACTORS else quantity.along
    inner = logits.tangent if quantity.along in FACTORS else direction
    index = NO_INDEX if ignore_index is None else ignore_index
    given = (logits.primal, target, weight, index, reduction, label_smoothing)
    more: dict[str, Any] = {"z_loss": z_loss, "softcap": softcap}
    if quantity.of not in FACTORS:
        return of_logits(Quantity(along, quantity.of), inner, grad_output, *given, **more)
    gradient = _in_order_backward(grad_output, *given, **more).input
    tangent = of_logits(Quantity(along, "input"), inner, grad_output, *given, **more)
    gradients = linear_backward(Dual(gradient, tangent), *factors)
    return tangent_of(gradients[FACTORS.index(quantity.of)])


linear_cross_entropy_double_backward = partial(_through_the_layer, cross_entropy_double_backward)
linear_cross_entropy_jvp = partial(_through_the_layer, cross_entropy_jvp)
