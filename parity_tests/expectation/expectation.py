"""The expected result of a call: the definition, or its derivative, in the rounding arithmetic
and in balls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.expectation_cache import cached
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.reference.arithmetic import balls
from torch_loss_parity.reference.arithmetic.double_double import DoubleDouble
from torch_loss_parity.reference.arithmetic.formats import FORMATS, Arithmetic
from torch_loss_parity.reference.arithmetic.round_once import store
from torch_loss_parity.reference.arithmetic.rounding import Rounded, coerce

FORWARD = "forward"


def arithmetic_of(call: Call, claim: str, changes: Mapping[str, Any] | None = None) -> Arithmetic:
    """What is asked of an implementation on ``call``: `Arithmetic.for_dtype`, or what ``changes`` make of it.

    The work is done in the dtype of ``dtype=`` or else of the input: arguments of a wider dtype, and an
    upstream gradient that was promoted, may be rounded to the format it computes in, and promise no better
    accuracy. A gradient is stored in the dtype of its argument. Among the changes, a value ``"storage"``
    stands for the dtype in which the result is stored, ``"working"`` for that in which the work is done.
    """
    working, stored = call.arguments.get("dtype") or call.dtype, call.dtype_of(claim)
    if not changes:
        return _asked(working, stored)
    names = {"storage": FORMATS[stored], "working": FORMATS[working]} | FORMATS
    return replace(_asked(working, stored), **{k: names.get(str(v), v) for k, v in changes.items()})


@cache
def _asked(working: str, stored: str) -> Arithmetic:
    return Arithmetic.for_dtype(working, storage=FORMATS[stored])


@cached
def expected(
    call: Call,
    claims: Sequence[str],
    grad_output: np.ndarray | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    function: Callable[..., Any] | None = None,
) -> dict[str, Rounded]:
    """The value of each claim with the error that rounding may cause.

    Parameters
    ----------
    claims : sequence of str
        ``"forward"`` alone, or names of arguments whose gradients are meant: one evaluation serves them all.
    changes : mapping, optional
        Changes of the arithmetic, from the ledger.
    function : callable, optional
        Evaluated in place of the definition or of its derivative.
    """
    arithmetic = arithmetic_of(call, claims[0], changes)
    wider = call.dtypes or call.output_dtype not in (call.dtype, call.arguments.get("dtype"))
    # The one looks whether an argument is to be rounded to what is worked in.
    wrap = coerce if wider else Rounded
    results = _evaluate(
        call, claims, grad_output, function, lambda array: wrap(array, arithmetic), arithmetic
    )
    return {claim: _stored(call, claim, result) for claim, result in results.items()}


def _stored(call: Call, claim: str, result: Rounded) -> Rounded:
    """The result as it is written to memory; a gradient that flows back through a ``dtype=`` is first written
    in that.
    """
    through = call.arguments.get("dtype")
    for dtype in (through, call.dtype_of(claim)) if through else (call.dtype_of(claim),):
        if FORMATS[dtype] != result.arithmetic.storage:
            result = Rounded(result.value, replace(result.arithmetic, storage=FORMATS[dtype]), result.error)
        result = store(result)
    return result


def enclosed(
    call: Call, claims: Sequence[str], grad_output: np.ndarray | None, arithmetic: Arithmetic
) -> dict[str, Rounded]:
    """The value of each claim as ``arithmetic`` evaluates it, nothing stored: of an arithmetic that is as
    fine as what it is evaluated in, the bound is on that evaluation's own error."""
    return _evaluate(call, claims, grad_output, None, lambda array: Rounded(array, arithmetic), arithmetic)


def certified(call: Call, claim: str, grad_output: np.ndarray | None, bound: Rounded) -> Rounded | None:
    """``bound`` around the true value, from balls; None where balls cannot pin it down."""
    return certify(bound, lambda: in_balls(call, claim, grad_output))


def in_balls(call: Call, claim: str, grad_output: np.ndarray | None) -> Any:
    """An array of balls that enclose the true value of ``claim``, at the precision in force."""
    return _evaluate(call, (claim,), grad_output, None, balls.balls)[claim]


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


def grad_output_of(call: Call, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A random upstream gradient, never a constant: the gradient of softmax is blind to one."""
    return FORMATS[call.output_dtype].round(np.asarray(rng.normal(0, 1, shape)))


def _evaluate(
    call: Call,
    claims: Sequence[str],
    grad_output: np.ndarray | None,
    function: Callable[..., Any] | None,
    wrap: Callable[[Any], Any],
    shared: Arithmetic | None = None,
) -> dict[str, Any]:
    operator = OPERATORS[call.operator]
    arguments = (
        _wrapped(call, wrap) if shared is None else call.once(shared, lambda: _wrapped(call, wrap, shared))
    )
    with np.errstate(all="ignore"):
        if FORWARD in claims:
            return {FORWARD: (function or operator.forward)(**arguments)}
        gradients = (function or operator.backward)(wrap(grad_output), **arguments)
        return {
            claim: getattr(gradients, claim) if isinstance(gradients, tuple) else gradients
            for claim in claims
        }


def _wrapped(
    call: Call, wrap: Callable[[Any], Any], arithmetic: Arithmetic | None = None
) -> Mapping[str, Any]:
    """The arguments as they are computed with."""
    arguments = {
        name: wrap(value) if isinstance(value, np.ndarray) else value
        for name, value in call.arguments.items()
    }
    if "dtype" in arguments:  # the conversion is one rounding of the input, and part of the question
        del arguments["dtype"]
        converted, format = call.arguments["input"], FORMATS[call.output_dtype]
        if arithmetic and not arithmetic.converts:
            format = arithmetic.compute
        if arithmetic and (through := arithmetic.between(FORMATS[call.dtype], format)):
            converted = through.round(converted)
        arguments["input"] = wrap(format.round(converted))
    return arguments
