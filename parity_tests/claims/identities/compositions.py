"""The same composition of operators, as a subject computes it and as the rounding arithmetic bounds it.

An identity is written once, over functions that it is given. With `Observed` they are those of the subject,
on tensors of the dtype; with `Bounds` they are the definitions in the rounding arithmetic, so that the same
text also says what rounding may cost: every operator stores its result in the dtype, as a tensor is stored.

Between operators, both compute in double-double. What that rounds is charged as well, in the arithmetic
``WIDE``: a format of which its exp and log are within 3 ulps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from torch_loss_parity.cases.case import Call
from torch_loss_parity.claims.identities.functions import Functions
from torch_loss_parity.expectation.expectation import FORWARD, arithmetic_of
from torch_loss_parity.judging import explanations
from torch_loss_parity.judging.explanations import Explanation
from torch_loss_parity.ledger import ledger
from torch_loss_parity.ledger.ledger import Divergence
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.reference.arithmetic import rounding_functions
from torch_loss_parity.reference.arithmetic.double_double import DoubleDouble
from torch_loss_parity.reference.arithmetic.flushing import either, flushed
from torch_loss_parity.reference.arithmetic.formats import FORMATS, Arithmetic, Format
from torch_loss_parity.reference.arithmetic.round_once import store
from torch_loss_parity.reference.arithmetic.rounding import Rounded
from torch_loss_parity.subjects import Subject

_WIDEST = Format("double-double", 67, -1022, 1022)
WIDE = Arithmetic(compute=_WIDEST, storage=_WIDEST, flushes_subnormals=False)


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
    number_of_ways : int
        Of the operator and quantity that has the most, among those that were called.
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
        self.number_of_ways = 0
        self._of: Bounds = self

    def in_dtype(self, dtype: str) -> Bounds:
        other = Bounds(self.this_operator, dtype, self.subject, self.device, self.weaker, self.way)
        other.covering, other.ways, other._of = self.covering, self.ways, self._of
        return other

    @property
    def way_taken(self) -> Explanation | None:
        """What was taken of the operator that is counted, or of another that is called."""
        ways = sorted(self.ways.items(), key=lambda item: not item[0].startswith(self.this_operator + ","))
        return ways[0][1] if ways else None

    def _way(self, call: Call, quantity: str) -> Callable[..., Any] | None:
        """The way of that number, of each operator that an identity calls; the last of one that has fewer."""
        known = explanations.ways(call, quantity)
        self._of.number_of_ways = max(self._of.number_of_ways, len(known))
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
