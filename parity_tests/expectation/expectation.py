"""The expected quantities of a call: the definition, its gradients and the derivatives of both in a
direction, in the rounding arithmetic and in balls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.expectation_cache import cached, on_disk
from torch_loss_parity.expectation.quantity import FORWARD, Quantity
from torch_loss_parity.expectation.second_order import derivative, gradient_of
from torch_loss_parity.expectation.share import Share, Upstream
from torch_loss_parity.expectation.upstream import grad_output_of, output_shape, upstream_gradient
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.reference.arithmetic import balls
from torch_loss_parity.reference.arithmetic.double_double import DoubleDouble
from torch_loss_parity.reference.arithmetic.flushing import either, flushed
from torch_loss_parity.reference.arithmetic.formats import FORMATS, Arithmetic
from torch_loss_parity.reference.arithmetic.profiles import DEFAULT, Profile
from torch_loss_parity.reference.arithmetic.round_once import store
from torch_loss_parity.reference.arithmetic.rounding import Rounded, coerce

__all__ = [
    "FORWARD",
    "arithmetic_of",
    "certified",
    "certify",
    "enclosed",
    "expected",
    "grad_output_of",
    "in_balls",
    "output_shape",
    "upstream_gradient",
]


def arithmetic_of(
    call: Call, quantity: str, profile: Profile = DEFAULT, changes: Mapping[str, Any] | None = None
) -> Arithmetic:
    """What is asked of an implementation on ``call``: `Arithmetic.for_dtype`, what a profile makes of it, and
    ``changes`` of that.

    The work is done in the dtype of ``dtype=`` or else of the input: arguments of a wider dtype, and an
    upstream gradient that was promoted, may be rounded to the format it computes in, and promise no better
    accuracy. A gradient is stored in the dtype of its argument. Among the changes, a value ``"storage"``
    stands for the dtype in which the result is stored, ``"working"`` for that in which the work is done.
    """
    working, stored = call.arguments.get("dtype") or call.dtype, Quantity.parse(quantity).dtype_in(call)
    arithmetic = _arithmetic(working, stored, call.output_dtype, profile)
    if not changes:
        return arithmetic
    names = {"storage": FORMATS[stored], "working": FORMATS[working]} | FORMATS
    return replace(arithmetic, **{k: names.get(str(v), v) for k, v in changes.items()})


@cache
def _arithmetic(working: str, stored: str, result: str, profile: Profile) -> Arithmetic:
    formats = {"storage": FORMATS[stored], "result": FORMATS[result], "input": FORMATS[working]}
    return profile.applied_to(Arithmetic.for_dtype(working, **formats))


@cached
def expected(
    call: Call,
    quantities: Sequence[str],
    grad_output: Upstream = None,
    direction: np.ndarray | None = None,
    *,
    profile: Profile = DEFAULT,
    changes: Mapping[str, Any] | None = None,
    function: Callable[..., Any] | None = None,
) -> dict[str, Rounded]:
    """The value of each quantity with the error that rounding may cause.

    Parameters
    ----------
    quantities : sequence of str
        The result alone, or gradients: one evaluation serves them all. With a direction, the derivatives of
        these along one argument.
    grad_output : ndarray or Share, optional
        The upstream gradient, of all but the result.
    direction : ndarray, optional
        Of the argument that the derivatives are taken along.
    profile : Profile
        Under which it is judged: that of the subject.
    changes : mapping, optional
        Changes of the arithmetic, from the ledger.
    function : callable, optional
        Evaluated in place of the definition or of its derivative; in place of a derivative in a direction,
        ``function(quantity, direction, grad_output, **arguments)``.
    """
    if not quantities:
        return {}
    arithmetic = arithmetic_of(call, quantities[0], profile, changes)
    bounds = _bounds(call, quantities, grad_output, direction, arithmetic, function)
    if arithmetic.flushes_inputs and (others := _flushed(call, grad_output, direction, arithmetic)):
        flushed_bounds = _bounds(others[0], quantities, *others[1:], arithmetic, function)
        bounds = {name: either(bound, flushed_bounds[name]) for name, bound in bounds.items()}
    return bounds


def _flushed(
    call: Call, grad_output: Upstream, direction: np.ndarray | None, arithmetic: Arithmetic
) -> tuple[Call, Upstream, np.ndarray | None] | None:
    """The same call with zeros in place of subnormal numbers; None where there are none."""
    format = arithmetic.compute
    arguments = {name: flushed(value, format) for name, value in call.arguments.items()}
    upstream: Upstream = flushed(grad_output, format)
    along = flushed(direction, format)
    same = upstream is grad_output and along is direction
    if same and all(arguments[name] is value for name, value in call.arguments.items()):
        return None
    return replace(call, arguments=arguments), upstream, along


def _bounds(
    call: Call,
    quantities: Sequence[str],
    grad_output: Upstream,
    direction: np.ndarray | None,
    arithmetic: Arithmetic,
    function: Callable[..., Any] | None,
) -> dict[str, Rounded]:
    wider = call.dtypes or call.output_dtype not in (call.dtype, call.arguments.get("dtype"))
    # The one looks whether an argument is to be rounded to what is worked in.
    wrap = coerce if wider else Rounded
    results = _evaluate(
        call,
        quantities,
        grad_output,
        direction,
        function,
        lambda array: wrap(array, arithmetic),
        arithmetic,
    )
    return {name: _stored(call, name, result) for name, result in results.items()}


def _stored(call: Call, quantity: str, result: Rounded) -> Rounded:
    """The result as it is written to memory; a gradient that flows back through a ``dtype=`` is first written
    in that.
    """
    stored, through = Quantity.parse(quantity).dtype_in(call), call.arguments.get("dtype")
    for dtype in (through, stored) if through else (stored,):
        if FORMATS[dtype] != result.arithmetic.storage:
            result = Rounded(result.value, replace(result.arithmetic, storage=FORMATS[dtype]), result.error)
        result = store(result)
    return result


def enclosed(
    call: Call, quantities: Sequence[str], grad_output: Upstream, arithmetic: Arithmetic
) -> dict[str, Rounded]:
    """The value of each quantity as ``arithmetic`` evaluates it, nothing stored: of an arithmetic that is as
    fine as what it is evaluated in, the bound is on that evaluation's own error."""
    return _evaluate(
        call, quantities, grad_output, None, None, lambda array: Rounded(array, arithmetic), arithmetic
    )


def certified(
    call: Call,
    quantity: str,
    grad_output: Upstream,
    bound: Rounded,
    direction: np.ndarray | None = None,
) -> Rounded | None:
    """``bound`` around the true value, from balls; None where balls cannot pin it down."""
    operator, value, error = OPERATORS[call.operator], bound.value, bound.error
    formulas = (operator.forward, operator.backward)
    halves = (value.high, value.low) if isinstance(value, DoubleDouble) else value
    shared = [(unknown.axis, *coefficients) for unknown, coefficients in error.shared.items()]
    around = (halves, bound.arithmetic, error.relative, error.absolute, shared)
    return on_disk(
        ("certified", formulas, call, quantity, grad_output, direction, around),
        formulas,
        lambda: certify(bound, lambda: in_balls(call, quantity, grad_output, direction)),
        lambda truth: [truth],
        lambda values: values[0],
    )


def in_balls(call: Call, quantity: str, grad_output: Upstream, direction: np.ndarray | None = None) -> Any:
    """An array of balls that enclose the true value of ``quantity``, at the precision in force."""
    return _evaluate(call, (quantity,), grad_output, direction, None, balls.balls)[quantity]


def certify(bound: Rounded, evaluate: Callable[[], Any]) -> Rounded | None:
    """``bound`` around the true value that the balls of ``evaluate`` enclose; None where they cannot pin it
    down.

    Precision is raised until the radius of every ball is a millionth of the allowed error; what radius is
    left is added to it. Elements whose true value is no finite number keep the value they have.
    """
    if not np.isfinite(bound.value).any():
        return None
    room = np.maximum(np.asarray(bound.total_error()) / 2**20, 2.0**-1074)
    bits = 128
    while bits <= 4096:
        with balls.precision(bits):
            midpoint, remainder, radius = balls.enclosure(evaluate())
        known = np.isfinite(midpoint) & np.isfinite(bound.value)
        if np.all(~known | (radius <= room)):
            truth = np.where(known, DoubleDouble(midpoint, remainder), bound.value)
            error = replace(bound.error, absolute=bound.error.absolute + np.where(known, radius, 0.0))
            return Rounded(truth, bound.arithmetic, error)
        bits *= 2
    return None


def _evaluate(
    call: Call,
    quantities: Sequence[str],
    grad_output: Upstream,
    direction: np.ndarray | None,
    function: Callable[..., Any] | None,
    wrap: Callable[[Any], Any],
    shared: Arithmetic | None = None,
) -> dict[str, Any]:
    operator = OPERATORS[call.operator]
    arguments = (
        _wrapped(call, wrap) if shared is None else call.once(shared, lambda: _wrapped(call, wrap, shared))
    )
    if isinstance(grad_output, Share):
        upstream = grad_output.evaluated(wrap)
    else:
        upstream = None if grad_output is None else wrap(grad_output)
    with np.errstate(all="ignore"):
        if direction is not None:
            v = wrap(_converted(call, direction, shared))
            along = {name: Quantity.parse(name) for name in quantities}
            if function is not None:
                return {name: function(each, v, upstream, **arguments) for name, each in along.items()}
            return {
                name: derivative(call.operator, each, v, upstream, arguments) for name, each in along.items()
            }
        if FORWARD in quantities:
            return {FORWARD: (function or operator.forward)(**arguments)}
        gradients = (function or operator.backward)(upstream, **arguments)
        return {name: gradient_of(gradients, name) for name in quantities}


def _wrapped(
    call: Call, wrap: Callable[[Any], Any], arithmetic: Arithmetic | None = None
) -> Mapping[str, Any]:
    """The arguments as they are computed with."""
    arguments = {
        name: wrap(value) if isinstance(value, np.ndarray) else value
        for name, value in call.arguments.items()
        if name != "dtype"
    }
    if "dtype" in call.arguments:
        arguments["input"] = wrap(_converted(call, call.arguments["input"], arithmetic))
    return arguments


def _converted(call: Call, input: np.ndarray, arithmetic: Arithmetic | None) -> np.ndarray:
    """``input``, or a direction of it, as ``dtype=`` makes it: one rounding, and part of the question."""
    if "dtype" not in call.arguments:
        return input
    format = FORMATS[call.output_dtype]
    if arithmetic and not arithmetic.converts:
        format = arithmetic.compute
    if arithmetic and (through := arithmetic.between(FORMATS[call.dtype], format)):
        input = through.round(input)
    return format.round(input)
