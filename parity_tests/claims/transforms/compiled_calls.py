"""Calls that are compiled: those of every operator's record, plain and behind the rewrites that compilers
have got wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.expectation.expectation import grad_output_of
from torch_loss_parity.judging.judge import output_shape
from torch_loss_parity.operators import OPERATORS, Gap, Operator

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
    def of(cls, case: Case) -> Program:
        """The plain call of a case, with its gradients."""
        call = OPERATORS[case.operator].call(case)
        return cls(
            str(case),
            call,
            call,
            grad_output_of(call, output_shape(call), case.generator("grad_output")),
            case,
        )


def programs_of(operator: Operator, dtype: str, seed: int, *, first_alone: bool = False) -> list[Program]:
    """The plain calls of an operator that are compiled."""
    calls = operator.compiled
    chosen = () if isinstance(calls, Gap) else calls[: 1 if first_alone else None]
    return [Program.of(operator.case(dtype, each.shape, each.values, each.options, seed)) for each in chosen]


def rewritten_of(operator: Operator, dtype: str) -> list[Program]:
    """The calls of an operator behind the rewrites that compilers have got wrong."""
    if isinstance(operator.rewritten, Gap):
        return []
    programs = []
    for each in operator.rewritten(dtype):
        call = Call(operator.name, each.judged, dtype, dtype)
        given = replace(call, arguments=each.given)
        programs.append(
            Program(
                each.name,
                call,
                given,
                np.zeros(()),
                before=each.before,
                summed=each.summed,
                beside=each.beside,
            )
        )
    return programs
