"""The same composition of operators, as a subject computes it and as the rounding arithmetic bounds it.

An identity is written once, over functions that it is given. With `Observed` they are those of the subject,
on tensors of the dtype; with `Bounds` they are the definitions in the rounding arithmetic, so that the same
text also says what rounding may cost: every operator stores its result in the dtype, as a tensor is stored.

Between operators, both compute in double-double. What that rounds is charged as well, in the arithmetic
``WIDE``: a format of which its exp and log are within 3 ulps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from inspect import signature
from typing import Any

import numpy as np

from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.expectation import FORWARD, arithmetic_of
from torch_loss_parity.judging import explanations
from torch_loss_parity.judging.explanations import Explanation
from torch_loss_parity.judging.failure_message import explain
from torch_loss_parity.judging.finding import Finding
from torch_loss_parity.judging.judge import of_the_subject
from torch_loss_parity.ledger import ledger
from torch_loss_parity.ledger.ledger import Divergence
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.operators.facets import lies_last
from torch_loss_parity.reference.arithmetic import rounding_functions
from torch_loss_parity.reference.arithmetic.double_double import DoubleDouble
from torch_loss_parity.reference.arithmetic.flushing import either, flushed
from torch_loss_parity.reference.arithmetic.formats import FORMATS, Arithmetic, Format
from torch_loss_parity.reference.arithmetic.round_once import store
from torch_loss_parity.reference.arithmetic.rounding import Rounded
from torch_loss_parity.subjects import Subject, run_subject

_WIDEST = Format("double-double", 67, -1022, 1022)
WIDE = Arithmetic(compute=_WIDEST, storage=_WIDEST, flushes_subnormals=False)
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
        arguments = {name: _exactly(value, call.dtype) for name, value in call.arguments.items()}
        call = Call(call.operator, arguments, call.dtype, call.output_dtype, call.differentiable, call.facts)
        try:
            with of_the_subject(self.subject):
                result = self._result(call, quantity, grad_output)
        except run_subject.WrongResult as error:
            finding = Finding.of_failure(None, call, str(error))
            raise run_subject.WrongResult(explain(finding, self.subject, self.device)) from error
        return DoubleDouble.of(result)

    def _result(self, call: Call, quantity: str, grad_output: Any) -> np.ndarray:
        if quantity == FORWARD:
            return run_subject.forward(self.subject, call, self.device)
        upstream = _exactly(grad_output, call.output_dtype)
        return run_subject.gradients(self.subject, call, self.device, upstream)[quantity]


class Bounds(Functions):
    """The definitions in the rounding arithmetic; where an entry of the ledger in ``weaker`` covers a call,
    what the entry says holds.

    Attributes
    ----------
    way : int, optional
        Which way of an operator is taken where no entry covers a call; its definition unless given.
    covering : dict of str to Divergence
        The entries that cover a call that was made.
    ways : dict of str to Explanation
        The ways that were taken, by operator and quantity.
    """

    xp = rounding_functions

    def __init__(
        self,
        this: str,
        dtype: str,
        subject: Subject,
        device: str,
        weaker: frozenset[str] = frozenset(),
        way: int | None = None,
    ) -> None:
        super().__init__(this, dtype)
        self.subject, self.device, self.weaker, self.way = subject, device, weaker, way
        self.covering: dict[str, Divergence] = {}
        self.ways: dict[str, Explanation] = {}
        self._numbers: dict[tuple[str, str], int] = {}

    def in_dtype(self, dtype: str) -> Bounds:
        other = Bounds(self.this_operator, dtype, self.subject, self.device, self.weaker, self.way)
        other.covering, other.ways, other._numbers = self.covering, self.ways, self._numbers
        return other

    @property
    def number_of_ways(self) -> int:
        """Of the operator and quantity that has the most, among those that were called."""
        return max(self._numbers.values(), default=0)

    @property
    def way_taken(self) -> Explanation | None:
        """What was taken of the operator that is counted, or of another that is called."""
        ways = sorted(self.ways.items(), key=lambda item: not item[0].startswith(self.this_operator + ","))
        return ways[0][1] if ways else None

    def _way(self, call: Call, quantity: str) -> Callable[..., Any] | None:
        """The way of that number, of each operator that an identity calls; the last of one that has fewer."""
        known = explanations.ways(call, quantity)
        self._numbers[call.operator, quantity] = len(known)
        if self.way is None or not known:
            return None
        explanation = known[min(self.way, len(known) - 1)]
        self.ways[f"{call.operator}, {quantity}"] = explanation
        return explanation.function

    def argument(self, array: np.ndarray) -> Any:
        return Rounded(array, WIDE) if array.dtype.kind == "f" else array

    def rounded(self, array: Any) -> Any:
        return _as(
            WIDE,
            store(
                _as(Arithmetic(compute=_WIDEST, storage=FORMATS[self.dtype], flushes_subnormals=False), array)
            ),
        )

    def _call(self, call: Call, quantity: str, grad_output: Any) -> Any:
        entry = None
        for candidate in ledger.in_force(self.subject.judged_as, self.device, call.operator, call.dtype):
            if candidate.covers(call, quantity):
                self.covering[candidate.id] = candidate
                entry = candidate if candidate.id in self.weaker else entry
        changes = entry.arithmetic if entry else None
        arithmetic = arithmetic_of(call, quantity, self.subject.profile, changes)
        arguments = {
            name: _as(arithmetic, value) for name, value in call.arguments.items() if name != "dtype"
        }
        if call.output_dtype != call.dtype:  # inputs of identities are numbers of both dtypes
            assert FORMATS[call.output_dtype].holds(arguments["input"].value).all(), "the conversion rounds"
        operator = OPERATORS[call.operator]
        function = entry.function(call.operator, quantity) if entry else self._way(call, quantity)
        function = function or (operator.forward if quantity == FORWARD else operator.backward)
        given = (arguments,) if quantity == FORWARD else (arguments, _as(arithmetic, grad_output))
        result = _evaluated(function, quantity, *given)
        if arithmetic.flushes_inputs:
            zeros = [_flushed(each, arithmetic.compute) for each in given]
            result = either(result, _evaluated(function, quantity, *zeros))
        return _as(WIDE, result)


def _evaluated(
    function: Callable[..., Any], quantity: str, arguments: Mapping[str, Any], *upstream: Any
) -> Rounded:
    """A result, or one of the gradients that a derivative returns, as it is stored."""
    with np.errstate(all="ignore"):
        result = function(*upstream, **arguments)
    return store(getattr(result, quantity) if isinstance(result, tuple) else result)


def _flushed(given: Any, format: Format) -> Any:
    if isinstance(given, dict):
        return {name: flushed(value, format) for name, value in given.items()}
    return flushed(given, format)


def _as(arithmetic: Arithmetic, value: Any) -> Any:
    """The same number with the same error, to be computed with in another arithmetic."""
    if isinstance(value, Rounded):
        return Rounded(value.value, arithmetic, value.error)
    return Rounded(value, arithmetic) if isinstance(value, DoubleDouble | np.ndarray) else value


def _exactly(value: Any, dtype: str) -> Any:
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
