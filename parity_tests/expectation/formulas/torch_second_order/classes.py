"""Second derivatives of cross_entropy as torch evaluates them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch_loss_parity.expectation.formulas.torch_second_order.rows import logsumexp_jvp
from torch_loss_parity.expectation.quantity import Quantity
from torch_loss_parity.expectation.second_order import derivative
from torch_loss_parity.reference.arguments import class_dim, namespace
from torch_loss_parity.reference.arithmetic.dual import Dual, tangent_of
from torch_loss_parity.reference.ways.class_products import (
    cross_entropy_of_log_probabilities,
    cross_entropy_of_log_probabilities_backward,
    through_log_softmax,
)
from torch_loss_parity.reference.ways.rows import log_softmax_textbook
from torch_loss_parity.reference.z_loss import z_losses, z_losses_backward


def _with_z_loss(
    formula: Callable[..., Any],
    quantity: Quantity,
    direction: Any,
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    z_loss: float = 0.0,
    softcap: float | None = None,
) -> Any:
    """A formula of the loss, and the same derivative of the z-loss where there is one; of capped logits that
    of the definition.
    """
    if softcap is not None:
        arguments = {
            "input": input,
            "target": target,
            "weight": weight,
            "ignore_index": ignore_index,
            "reduction": reduction,
            "label_smoothing": label_smoothing,
            "z_loss": z_loss,
            "softcap": softcap,
        }
        return derivative("cross_entropy", quantity, direction, grad_output, arguments)
    options = (ignore_index, reduction)
    value = formula(quantity, direction, grad_output, input, target, weight, *options, label_smoothing)
    if not z_loss or quantity.along != "input" or quantity.of not in ("", "input"):
        return value
    duals = Dual(input, direction), Dual(target)
    if not quantity.of:
        return value + z_loss * tangent_of(z_losses(*duals, *options))
    return value + z_loss * tangent_of(z_losses_backward(Dual(grad_output), *duals, *options))


def _double_backward(
    quantity: Quantity,
    direction: Any,
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """The log-probabilities as in `log_softmax_double_backward`; what is linear in them in torch's order,
    `cross_entropy_in_order`.
    """
    xp, dim = namespace(input=input), class_dim(input)
    y = log_softmax_textbook(input, dim)
    options = (ignore_index, reduction, label_smoothing)
    if quantity.along != "input":
        return _cross_entropy_along(quantity, direction, grad_output, Dual(y), target, weight, *options)
    p = xp.exp(y)
    if quantity.of == "input":
        grad_y = cross_entropy_of_log_probabilities_backward(grad_output, y, target, weight, *options).input
        c = -xp.sum(grad_y, axis=dim, keepdims=True) * p * direction
        return c - p * xp.sum(c, axis=dim, keepdims=True)
    tangent = direction - xp.sum(direction * p, axis=dim, keepdims=True)
    return _cross_entropy_along(quantity, direction, grad_output, Dual(y, tangent), target, weight, *options)


def _jvp(
    quantity: Quantity,
    direction: Any,
    grad_output: Any,
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """The log-probabilities as in `log_softmax_jvp`; what is linear in them in torch's order,
    `cross_entropy_in_order`.
    """
    xp, dim = namespace(input=input), class_dim(input)
    y = Dual(
        log_softmax_textbook(input, dim),
        direction - logsumexp_jvp(xp, input, direction, dim) if quantity.along == "input" else None,
    )
    return _cross_entropy_along(
        quantity, direction, grad_output, y, target, weight, ignore_index, reduction, label_smoothing
    )


def _cross_entropy_along(
    quantity: Quantity, direction: Any, grad_output: Any, y: Dual, target: Any, weight: Any, *options: Any
) -> Any:
    """The quantity, once the log-probabilities and their derivative are known."""
    target = Dual(target, direction if quantity.along == "target" else None)
    weight = weight if weight is None else Dual(weight, direction if quantity.along == "weight" else None)
    if not quantity.of:
        return tangent_of(cross_entropy_of_log_probabilities(y, target, weight, *options))
    gradients = cross_entropy_of_log_probabilities_backward(Dual(grad_output), y, target, weight, *options)
    if quantity.of != "input":
        return tangent_of(getattr(gradients, quantity.of))
    return tangent_of(through_log_softmax(namespace(y=y).exp(y), gradients.input))


cross_entropy_double_backward = partial(_with_z_loss, _double_backward)
cross_entropy_jvp = partial(_with_z_loss, _jvp)
