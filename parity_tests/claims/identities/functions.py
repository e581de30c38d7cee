"""Operators by name, as an identity composes them, and those of a subject.

Nothing is imported that judges: this runs where a subject is only observed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from inspect import signature
from typing import Any

import numpy as np

from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.quantity import FORWARD
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.operators.facets import lies_last
from torch_loss_parity.reference.arithmetic.double_double import DoubleDouble
from torch_loss_parity.reference.arithmetic.formats import FORMATS
from torch_loss_parity.subjects import Subject, run_subject
from torch_loss_parity.subjects.declined import OutsideThePromise

BACKWARD = "_backward"


class Functions:
    """Operators by name, and ``<operator>_backward(grad_output, ..., of="input")``; ``this`` is the operator
    that is counted.

    Attributes
    ----------
    this_family : Family
        Of that operator.
    dtype : str
        Of the tensors.
    xp : module
        Functions for what is computed between operators.
    """

    xp: Any

    def __init__(self, this: str, dtype: str) -> None:
        self.this_operator, self.dtype = this, dtype
        self.this_family = OPERATORS[this].family

    def __getattr__(self, name: str) -> Callable[..., Any]:
        base = name.removesuffix(BACKWARD)
        operator = self.this_operator if base == "this" else base
        if operator not in OPERATORS:
            raise AttributeError(name)

        def forward(*arguments: Any, **options: Any) -> Any:
            return self._call(_call(operator, self.dtype, arguments, options), FORWARD, None)

        def backward(grad_output: Any, *arguments: Any, of: str = "input", **options: Any) -> Any:
            return self._call(_call(operator, self.dtype, arguments, options, of), of, grad_output)

        return backward if name.endswith(BACKWARD) else forward

    def in_dtype(self, dtype: str) -> Functions:
        """The same functions on tensors of another dtype."""
        raise NotImplementedError

    def argument(self, array: np.ndarray) -> Any:
        """An input, whose numbers are those of the dtype."""
        raise NotImplementedError

    def rounded(self, array: Any) -> Any:
        """What was computed between operators, rounded to the dtype: it is to be an argument again."""
        raise NotImplementedError

    def _call(self, call: Call, quantity: str, grad_output: Any) -> Any:
        raise NotImplementedError


class CallFailed(Exception):
    """A subject raised in one call of a composition; the cause is what it raised."""

    def __init__(self, call: Call) -> None:
        super().__init__(call.operator)
        self.call = call


class Observed(Functions):
    """The functions of a subject."""

    xp = np

    def __init__(self, this: str, dtype: str, subject: Subject, device: str) -> None:
        super().__init__(this, dtype)
        self.subject, self.device = subject, device

    def in_dtype(self, dtype: str) -> Observed:
        return Observed(self.this_operator, dtype, self.subject, self.device)

    def argument(self, array: np.ndarray) -> Any:
        return DoubleDouble.of(array) if array.dtype.kind == "f" else array

    def rounded(self, array: Any) -> Any:
        return FORMATS[self.dtype].round(array)

    def _call(self, call: Call, quantity: str, grad_output: Any) -> Any:
        arguments = {name: exactly(value, call.dtype) for name, value in call.arguments.items()}
        call = Call(call.operator, arguments, call.dtype, call.output_dtype, call.differentiable, call.facts)
        upstream = None if quantity == FORWARD else exactly(grad_output, call.output_dtype)
        try:
            return DoubleDouble.of(self._result(call, quantity, upstream))
        except Exception as error:
            raise CallFailed(call) from error

    def _result(self, call: Call, quantity: str, upstream: Any) -> np.ndarray:
        if quantity == FORWARD:
            return run_subject.forward(self.subject, call, self.device)
        if not self.subject.promise.differentiated(call.operator, (quantity,)):
            raise OutsideThePromise(f"the gradient with respect to {quantity}")
        return run_subject.gradients(self.subject, call, self.device, upstream)[quantity]


def exactly(value: Any, dtype: str) -> Any:
    """A real array in float64, which holds every number of the dtype."""
    if not isinstance(value, DoubleDouble | np.ndarray | np.floating) or value.dtype.kind != "f":
        return value
    assert FORMATS[dtype].holds(value).all(), f"an argument of an operator must hold numbers of {dtype}"
    return np.asarray(value, dtype=np.float64)


@cache
def _parameters(operator: str) -> tuple[str, ...]:
    return tuple(signature(OPERATORS[operator].forward).parameters)


def _call(
    operator: str, dtype: str, arguments: tuple[Any, ...], options: Mapping[str, Any], *differentiable: str
) -> Call:
    """One call, with the facts that a condition of the ledger may ask for."""
    names, family = _parameters(operator), OPERATORS[operator].family
    named = dict(zip(names, arguments, strict=False)) | {
        name: value for name, value in options.items() if value is not None
    }
    facts = {name: value for name, value in named.items() if isinstance(value, str | int | float)}
    if family.targets_classes:
        facts["target"] = family.target_kind(named["target"])
    facts |= {"reduction": named.get("reduction", "mean")} if "reduction" in names else {}
    if family.along_dim:
        facts["last_dim"] = lies_last(named, tuple(named["input"].shape))
    return Call(operator, named, dtype, named.get("dtype", dtype), differentiable, facts)
