"""What second-order results are expected: directional derivatives of the results, and of the gradients.

Every one of them is the tangent of an unchanged definition on dual numbers
(`torch_loss_parity.reference.arithmetic.dual`), in rounding arithmetic for the value with its bound, in balls
for the certified value. Two kinds of claims are enough:

    jvp along A               the derivative of the forward result in a direction v of the argument A
    gradient of B along A     the derivative of B's gradient in a direction v of the argument A

Note [One Hessian]
    Second derivatives are symmetric: double backward, the gradient of <v, grad_A> with respect to B, is the
    tangent of grad_B along A, and its gradient with respect to the upstream gradient is the jvp along A. One
    evaluation serves forward mode, forward over reverse and reverse over reverse.

    The losses of binary cross-entropy act on each element alone, so their Jacobians are diagonal and the jvp
    is the closed-form gradient times v. It is evaluated so: their gradient is in a better form than the line
    by line derivative of the forward, and at the clamps, which are no part of the derivative, only the closed
    form says what the derivative is. There the Hessian is not symmetric either: the derivative of <v, grad_A>
    with respect to B is that of grad_A along B, `double_backward` says which.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.expectation.expectation import FORWARD, arithmetic_of, certify
from torch_loss_parity.expectation.expectation_cache import remembered
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.reference.arguments import namespace
from torch_loss_parity.reference.arithmetic import balls
from torch_loss_parity.reference.arithmetic.dual import Dual, tangent_of
from torch_loss_parity.reference.arithmetic.formats import FORMATS
from torch_loss_parity.reference.arithmetic.rounding import Rounded, store
from torch_loss_parity.reference.reduction import reduce


@dataclass(frozen=True)
class Claim:
    """A second-order claim: the derivative, along the argument ``along``, of the forward result or of the
    gradient of ``of``.
    """

    along: str
    of: str = ""

    def __str__(self) -> str:
        return f"gradient of {self.of} along {self.along}" if self.of else f"jvp along {self.along}"

    @classmethod
    def parse(cls, name: str) -> Claim:
        """The claim that ``str`` gave.

        Raises
        ------
        ValueError
            If ``name`` is no second-order claim.
        """
        match name.split():
            case ["jvp", "along", along]:
                return cls(along)
            case ["gradient", "of", of, "along", along]:
                return cls(along, of)
        raise ValueError(f"{name!r} is neither 'jvp along A' nor 'gradient of B along A'")


@dataclass(frozen=True, eq=False)
class Probe:
    """What a second-order result is taken at: an upstream gradient and a direction, numbers of the call's
    dtypes.
    """

    grad_output: np.ndarray
    direction: np.ndarray


def is_second_order(claim: str) -> bool:
    return claim.startswith(("jvp along", "gradient of"))


def direction_of(call: Call, case: Case, along: str) -> np.ndarray:
    """A random direction for the argument ``along``."""
    shape = call.arguments[along].shape
    return FORMATS[call.dtype].round(np.asarray(case.generator(f"direction {along}").normal(0, 1, shape)))


def double_backward(call: Call, along: str, by: str) -> Claim:
    """The claim that the gradient of <v, grad of ``along``> with respect to ``by`` makes, see Note [One
    Hessian].
    """
    if by == "grad_output":
        return Claim(along)
    return Claim(by, along) if OPERATORS[call.operator].acts_on_elements else Claim(along, by)


@remembered
def expected(
    call: Call,
    claim: Claim,
    probe: Probe,
    *,
    changes: Mapping[str, Any] | None = None,
    function: Callable[..., Any] | None = None,
) -> Rounded:
    """The value of ``claim`` with the error that rounding may cause.

    Parameters
    ----------
    changes : mapping, optional
        Changes of the arithmetic, from the ledger.
    function : callable, optional
        Evaluated in place of the derivative: ``function(claim, direction, grad_output, **arguments)``.
    """
    arithmetic = arithmetic_of(call, "gradient" if claim.of else FORWARD, changes)
    return store(_evaluate(call, claim, probe, function, lambda array: Rounded(array, arithmetic)))


def certified(call: Call, claim: Claim, probe: Probe, bound: Rounded) -> Rounded | None:
    """``bound`` around the true value, from balls; None where balls cannot pin it down."""
    return certify(bound, lambda: in_balls(call, claim, probe))


def in_balls(call: Call, claim: Claim, probe: Probe) -> Any:
    """An array of balls that enclose the true value of ``claim``, at the precision in force."""
    return _evaluate(call, claim, probe, None, balls.balls)


def _evaluate(
    call: Call, claim: Claim, probe: Probe, function: Callable[..., Any] | None, wrap: Callable[[Any], Any]
) -> Any:
    arguments = {name: value for name, value in call.arguments.items() if name != "dtype"}
    direction = probe.direction
    # Input and direction are converted: one rounding, part of the question.
    if call.arguments.get("dtype") is not None:
        to = FORMATS[call.output_dtype]
        arguments["input"], direction = to.round(arguments["input"]), to.round(direction)
    wrapped = {
        name: wrap(value) if isinstance(value, np.ndarray) else value for name, value in arguments.items()
    }
    with np.errstate(all="ignore"):
        if function is not None:
            return function(claim, wrap(direction), wrap(probe.grad_output), **wrapped)
        if claim.of:
            return gradient_along(call.operator, claim, wrap(direction), wrap(probe.grad_output), wrapped)
        return jvp(call.operator, claim.along, wrap(direction), wrapped)


def jvp(operator: str, along: str, direction: Any, arguments: Mapping[str, Any]) -> Any:
    """The derivative of the forward result along ``direction`` of one argument."""
    if OPERATORS[operator].acts_on_elements:
        xp = namespace(input=arguments["input"])
        each = dict(arguments) | {"reduction": "none"}
        gradients = OPERATORS[operator].backward(xp.ones_like(arguments["input"]), **each)
        return reduce(
            xp, getattr(gradients, along) * direction, arguments["reduction"], prod(arguments["input"].shape)
        )
    return tangent_of(OPERATORS[operator].forward(**_on_duals(arguments, along, direction)))


def gradient_along(
    operator: str, claim: Claim, direction: Any, grad_output: Any, arguments: Mapping[str, Any]
) -> Any:
    """The derivative of the gradient with respect to one argument along ``direction`` of one argument."""
    gradients = OPERATORS[operator].backward(
        Dual(grad_output), **_on_duals(arguments, claim.along, direction)
    )
    return tangent_of(getattr(gradients, claim.of) if isinstance(gradients, tuple) else gradients)


def _on_duals(arguments: Mapping[str, Any], along: str, direction: Any) -> dict[str, Any]:
    """Every array as a `Dual`; all but the argument ``along`` are constants."""
    return {
        name: Dual(value, direction if name == along else None) if hasattr(value, "shape") else value
        for name, value in arguments.items()
    }
