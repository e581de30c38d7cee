"""Calls that are compiled: those of every operator's record, plain and behind the rewrites that compilers
have got wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.cases.case_like import CaseLike
from torch_loss_parity.expectation.expectation import upstream_gradient
from torch_loss_parity.operators import Gap, Operator

Rewrite = Callable[..., Any]


@dataclass(frozen=True)
class Program:
    """A call as part of a compiled function.

    Attributes
    ----------
    call : Call
        What is judged: the operator on the arguments that reach it.
    given : Call
        The arguments that the compiled function is given.
    before : callable, optional
        What the compiled function does to the input first.
    summed : bool
        Whether it adds up the result along the last dimension.
    beside : callable, optional
        What it makes of input and result besides, and returns too.
    """

    name: str
    call: Call
    given: Call
    grad_output: np.ndarray
    case: Case | None = None
    before: Rewrite | None = None
    summed: bool = False
    beside: Rewrite | None = None

    @classmethod
    def of(cls, case: CaseLike, operator: Operator, dtype: str, **rewrite: Any) -> Program:
        """A case of an operator, with the gradients of what is drawn.

        Parameters
        ----------
        rewrite
            What the compiled function does besides: ``before``, ``summed``, ``beside``.
        """
        given, call = case.call(operator, dtype), case.expects(operator, dtype)
        assert isinstance(call, Call), f"{case} is refused"
        drawn = case if isinstance(case, Case) else None
        grad_output = upstream_gradient(call, drawn) if drawn else np.zeros(())
        return cls(str(case), call, given, grad_output, drawn, **rewrite)


def programs_of(operator: Operator, dtype: str, seed: int, *, first_alone: bool = False) -> list[Program]:
    """The plain calls of an operator that are compiled."""
    calls = operator.compiled
    chosen = () if isinstance(calls, Gap) else calls[: 1 if first_alone else None]
    cases = [operator.case(dtype, each.shape, each.values, each.options, seed) for each in chosen]
    return [Program.of(case, operator, dtype) for case in cases]


def rewritten_of(operator: Operator, dtype: str) -> list[Program]:
    """The calls of an operator behind the rewrites that compilers have got wrong."""
    if isinstance(operator.rewritten, Gap):
        return []
    return [
        Program.of(case, operator, dtype, before=case.before, summed=case.summed, beside=case.beside)
        for case in operator.rewritten(dtype)
    ]
