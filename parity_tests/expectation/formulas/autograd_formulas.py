"""What autograd makes of the definitions: the formulas of the subject ``reference``, where they are weaker
than the closed forms.

The definition on `Taped` arrays is its own reverse mode. A derivative of second order is the directional
derivative of that, on dual numbers. There are three formulas of every operator, which the ledger calls
``<operator>_by_autograd_backward``, ``_twice`` and ``_along``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple

from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.operators.record import options_of
from torch_loss_parity.reference.arithmetic.dual import Dual, multiplied_at_kinks, tangent_of
from torch_loss_parity.reference.arithmetic.tape import Taped, pull_back

BY_AUTOGRAD = "_by_autograd_"


class Gradients(NamedTuple):
    """The gradient with respect to each argument, None where there is none."""

    input: Any
    linear_weight: Any = None
    linear_bias: Any = None
    target: Any = None
    weight: Any = None


def backward(
    operator: str,
    grad_output: Any,
    /,
    forward: Callable[..., Any] | None = None,
    one: Collection[str] = (),
    **arguments: Any,
) -> Gradients:
    """Reverse mode, of the definition or of another ``forward``; arguments named in ``one`` are one variable,
    whose gradient each of them has.
    """
    record = OPERATORS[operator]
    wanted = record.differentiable(options_of(record, arguments))
    taped = {
        name: Taped(value, variable=name in wanted) if hasattr(value, "shape") else value
        for name, value in arguments.items()
    }
    taped |= {name: taped[next(iter(one))] for name in one}
    output = (forward or record.forward)(**taped)
    return Gradients(**pull_back(output, grad_output, {name: taped[name] for name in wanted}))


def twice(
    operator: str,
    quantity: Any,
    direction: Any,
    grad_output: Any,
    /,
    forward: Callable[..., Any] | None = None,
    **arguments: Any,
) -> Any:
    """Reverse over reverse; `torch_loss_parity.expectation.second_order.double_backward` says what is
    differentiated by what.
    """
    variables = (quantity.along, quantity.of)
    outer = {
        name: Taped(value, variable=name in variables) if hasattr(value, "shape") else value
        for name, value in arguments.items()
    }
    upstream = Taped(grad_output, variable=True)
    if not quantity.of:
        first, second = quantity.along, upstream
    elif OPERATORS[operator].acts_on_elements:
        first, second = quantity.of, outer[quantity.along]
    else:
        first, second = quantity.along, outer[quantity.of]
    gradient = getattr(backward(operator, upstream, forward, (), **outer), first)
    derivative = pull_back(gradient, direction, {"second": second})["second"]
    return second.inner.zeros_like(second.value) if derivative is None else derivative


def along(
    operator: str,
    quantity: Any,
    direction: Any,
    grad_output: Any,
    /,
    forward: Callable[..., Any] | None = None,
    **arguments: Any,
) -> Any:
    """The result's derivative as `twice` has it, but where a clamp meets what is infinite; a gradient's in
    forward mode over reverse.
    """
    clamps = OPERATORS[operator].clamps
    if not quantity.of and not clamps:
        return twice(operator, quantity, direction, grad_output, forward, **arguments)
    duals = {
        name: Dual(value, direction if name == quantity.along else None) if hasattr(value, "shape") else value
        for name, value in arguments.items()
    }
    with multiplied_at_kinks() if clamps else nullcontext():
        if not quantity.of:
            return tangent_of((forward or OPERATORS[operator].forward)(**duals))
        return tangent_of(getattr(backward(operator, Dual(grad_output), forward, (), **duals), quantity.of))


MODES: Mapping[str, Callable[..., Any]] = {"backward": backward, "twice": twice, "along": along}


def __getattr__(name: str) -> Callable[..., Any]:
    """The formula that the ledger calls by ``name``: that of an operator, in one of `MODES`."""
    operator, _, mode = name.partition(BY_AUTOGRAD)
    if operator not in OPERATORS or mode not in MODES:
        raise AttributeError(f"module {__name__!r} has no formula {name!r}")
    return partial(MODES[mode], operator)
