"""What autograd makes of the definitions: the formulas of the subject ``reference``, where they are weaker
than the closed forms.

The definition on `Taped` arrays is its own reverse mode. A derivative of second order is the directional
derivative of that, on dual numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

from torch_loss_parity import reference
from torch_loss_parity.expectation.quantity import Quantity
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.reference.arithmetic.dual import Dual, multiplied_at_kinks, tangent_of
from torch_loss_parity.reference.arithmetic.tape import Taped, pull_back

VARIABLES = ("input", "target", "weight")


class Gradients(NamedTuple):
    """The gradient with respect to each argument, None where there is none."""

    input: Any
    target: Any = None
    weight: Any = None


def _gradients(operator: str, grad_output: Any, arguments: dict[str, Any]) -> Gradients:
    real = {
        name
        for name in VARIABLES
        if hasattr(arguments.get(name), "dtype") and arguments[name].dtype.kind not in "biu"
    }
    if operator != "cross_entropy" or "target" not in real:
        real.discard("weight")  # which torch does not differentiate
    taped = {
        name: Taped(value, variable=name in real) if hasattr(value, "shape") else value
        for name, value in arguments.items()
    }
    output = getattr(reference, operator)(**taped)
    return Gradients(
        **pull_back(output, grad_output, {name: taped[name] for name in VARIABLES if name in real})
    )


def _backward(operator: str) -> Callable[..., Gradients]:
    def backward(grad_output: Any, **arguments: Any) -> Gradients:
        return _gradients(operator, grad_output, arguments)

    return backward


def _twice(operator: str) -> Callable[..., Any]:
    """Reverse over reverse; `torch_loss_parity.expectation.second_order.double_backward` says what is
    differentiated by what.
    """

    def twice(quantity: Quantity, direction: Any, grad_output: Any, **arguments: Any) -> Any:
        asked = (quantity.along, quantity.of)
        outer = {
            name: Taped(value, variable=name in asked) if hasattr(value, "shape") else value
            for name, value in arguments.items()
        }
        upstream = Taped(grad_output, variable=True)
        if not quantity.of:
            first, second = quantity.along, upstream
        elif OPERATORS[operator].acts_on_elements:
            first, second = quantity.of, outer[quantity.along]
        else:
            first, second = quantity.along, outer[quantity.of]
        gradient = getattr(_gradients(operator, upstream, outer), first)
        found = pull_back(gradient, direction, {"second": second})["second"]
        return second.inner.zeros_like(second.value) if found is None else found

    return twice


def _along(operator: str) -> Callable[..., Any]:
    """The result's derivative as `_twice` has it, but where a clamp meets what is infinite; a gradient's in
    forward mode over reverse.
    """

    def along(quantity: Quantity, direction: Any, grad_output: Any, **arguments: Any) -> Any:
        clamps = operator == "binary_cross_entropy"
        if not quantity.of and not clamps:
            return _twice(operator)(quantity, direction, grad_output, **arguments)
        duals = {
            name: Dual(value, direction if name == quantity.along else None)
            if hasattr(value, "shape")
            else value
            for name, value in arguments.items()
        }
        with multiplied_at_kinks() if clamps else nullcontext():
            if not quantity.of:
                return tangent_of(getattr(reference, operator)(**duals))
            return tangent_of(getattr(_gradients(operator, Dual(grad_output), duals), quantity.of))

    return along


softmax_by_autograd_backward = _backward("softmax")
log_softmax_by_autograd_backward = _backward("log_softmax")
nll_loss_by_autograd_backward = _backward("nll_loss")
cross_entropy_by_autograd_backward = _backward("cross_entropy")
binary_cross_entropy_by_autograd_backward = _backward("binary_cross_entropy")
binary_cross_entropy_with_logits_by_autograd_backward = _backward("binary_cross_entropy_with_logits")

softmax_by_autograd_twice = _twice("softmax")
log_softmax_by_autograd_twice = _twice("log_softmax")
nll_loss_by_autograd_twice = _twice("nll_loss")
cross_entropy_by_autograd_twice = _twice("cross_entropy")
binary_cross_entropy_by_autograd_twice = _twice("binary_cross_entropy")
binary_cross_entropy_with_logits_by_autograd_twice = _twice("binary_cross_entropy_with_logits")
softmax_by_autograd_along = _along("softmax")
log_softmax_by_autograd_along = _along("log_softmax")
nll_loss_by_autograd_along = _along("nll_loss")
cross_entropy_by_autograd_along = _along("cross_entropy")
binary_cross_entropy_by_autograd_along = _along("binary_cross_entropy")
binary_cross_entropy_with_logits_by_autograd_along = _along("binary_cross_entropy_with_logits")
