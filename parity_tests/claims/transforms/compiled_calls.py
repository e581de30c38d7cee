"""What is compiled: calls of every operator, and calls behind the rewrites that compilers have got wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.expectation.expectation import grad_output_of
from torch_loss_parity.judging.judge import output_shape
from torch_loss_parity.operators import OPERATORS, Gap, Operator
from torch_loss_parity.reference.arithmetic.formats import FORMATS

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


def rewritten(dtype: str) -> Iterator[Program]:
    """What compilers have got wrong: a softmax of scaled logits, of its sum, beside another result, and of
    sigmoid before its loss.
    """
    plain = {"dim": -1, "dtype": None}
    logits = np.asarray([[0.0, 100.0, 3.0], [-1.0, -2.0, -1.5], [1.0, 1.0, -1.0], [-np.inf, 2.0, 0.0]])
    for scale in (1e14, -10.0) if dtype != "float16" else (100.3, -10.0):
        # pytorch#163932 and #161150, asi#2886: a shift before the scale, or fused with it, overflows. The
        # product, rounded, is the input; its gaps are so wide that whoever does not round it gets the same.
        scaled = FORMATS[dtype].round(logits * scale)
        yield _made(
            f"softmax of logits * {scale:g}",
            "softmax",
            dtype,
            {"input": scaled, **plain},
            {"input": logits, **plain},
            _times(scale),
        )
    # pytorch#189787: the sum is folded to 1, also where a row is nan.
    rows = np.asarray([[0.0, 1.0, 2.0], [np.nan, 0.0, 0.0], [-np.inf, -np.inf, -np.inf], [np.inf, 0.0, 0.0]])
    yield _made("softmax, summed", "softmax", dtype, {"input": rows, **plain}, summed=True)
    # pytorch#114225: another result of the same function changes this one.
    drawn = np.random.Generator(np.random.Philox(1)).normal(0, 3, (5, 17))
    yield _made(
        "softmax beside torch.cat",
        "softmax",
        dtype,
        {"input": FORMATS[dtype].round(drawn), **plain},
        beside=_concatenate,
    )
    # tensorflow#118313: the loss of a sigmoid loses its clamp. These are 0 and 1 to the last bit, whatever
    # the dtype.
    certain = {
        "input": np.asarray([0.0, 0.0, 1.0, 1.0]),
        "target": np.asarray([0.0, 1.0, 0.0, 1.0]),
        "weight": None,
        "reduction": "none",
    }
    wide = {**certain, "input": np.asarray([-1000.0, -1000.0, 1000.0, 1000.0])}
    yield _made(
        "binary_cross_entropy of a sigmoid", "binary_cross_entropy", dtype, certain, wide, torch.sigmoid
    )


def _made(
    name: str,
    operator: str,
    dtype: str,
    judged: Mapping[str, Any],
    given: Mapping[str, Any] | None = None,
    before: Rewrite | None = None,
    **rest: Any,
) -> Program:
    call = Call(operator, judged, dtype, dtype)
    return Program(
        name,
        call,
        call if given is None else replace(call, arguments=given),
        np.zeros(()),
        before=before,
        **rest,
    )


def _times(scale: float) -> Rewrite:
    return lambda x: x * scale


def _concatenate(x: Any, y: Any) -> Any:
    return torch.cat([x, y])
