"""`assert_close_to_truth`: a user's own result and gradients, in a test of their own, against the truth.

    from torch_loss_parity import assert_close_to_truth

    assert_close_to_truth(loss, "cross_entropy", input=logits, target=target, reduction="sum")

There is no tolerance to choose: the definition is evaluated on the same numbers, and what rounding may cost
in the dtype of the result is allowed, element by element.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.expectation import output_shape
from torch_loss_parity.expectation.quantity import FORWARD
from torch_loss_parity.judging.by_rows import wrong_by_rows
from torch_loss_parity.judging.failure_message import described, numbers, problem_of, under, what, wrapped_all
from torch_loss_parity.judging.finding import Finding
from torch_loss_parity.judging.given_call import (
    anyone,
    bound_arguments,
    call_of,
    differentiable,
    numbers_of,
    operator_named,
    wrong_arguments,
)
from torch_loss_parity.judging.judge import judge_results
from torch_loss_parity.operators import DTYPES, Operator
from torch_loss_parity.reference.arithmetic.formats import FORMATS
from torch_loss_parity.reference.arithmetic.profiles import DEFAULT, Profile
from torch_loss_parity.subjects import Subject


def assert_close_to_truth(
    actual: Any,
    operator: str,
    *arguments: Any,
    grads: Mapping[str, Any] | None = None,
    grad_output: Any = None,
    profile: str = DEFAULT.name,
    like: str = "",
    **options: Any,
) -> None:
    """Assert that a result, and gradients, are as close to the truth as rounding allows.

    Parameters
    ----------
    actual : tensor or array, or None
        What the implementation under test returned, on any device; None where gradients alone are judged. It
        is held against what rounding may cost in the dtype that it is in.
    operator : str
        The name of the operator.
    *arguments, **options
        Those of the call, as torch.nn.functional takes them: tensors or arrays on any device.
    grads : mapping of str to tensor or array, optional
        Gradients by the argument that they are with respect to: ``{"input": logits.grad}``.
    grad_output : tensor, array or number, optional
        The upstream gradient that they were computed for, of the shape of the result; 1 after
        ``loss.backward()``. Needed where there are ``grads``.
    profile : str
        What the arithmetic that it was computed in may do: a name in
        `torch_loss_parity.reference.arithmetic.profiles.PROFILES`, or the path of a ``.toml`` file.
    like : {"", "torch", "torch.compile"}
        What it was computed with, if that is torch's own functions: their known divergences are no failures.

    Raises
    ------
    AssertionError
        If a result or a gradient is wrong: with the element that breaks the bound, its error in ulps, what is
        allowed, and which way of computing the operator, or known divergence of torch, it resembles.
    ValueError
        If the operator, the profile, ``like``, a dtype, a gradient's name or an argument is none that is
        allowed, or ``grad_output`` is missing.
    TypeError
        If these are no arguments of the operator, or ``actual`` or a gradient is no tensor.
    """
    __tracebackhide__ = True
    record, subject = operator_named(operator), anyone(profile, like)
    given = bound_arguments(record, arguments, options)
    findings = _by_rows(record, given, actual, grads, grad_output, subject)
    if findings is None:
        findings = _of_the_whole(record, given, actual, grads, grad_output, subject)
    wrong = [finding for finding in findings if not finding.verdict.passes]
    if wrong:
        raise AssertionError("\n\n".join(explain(finding, subject.profile) for finding in wrong))


def _of_the_whole(
    record: Operator, given: Mapping[str, Any], actual: Any, grads: Any, grad_output: Any, subject: Subject
) -> list[Finding]:
    """What is judged, quantity by quantity, of tensors of any size."""
    observed, stored = _observed(actual, grads)
    call = call_of(record, given, stored.get(FORWARD, ""), {k: v for k, v in stored.items() if k != FORWARD})
    upstream = None
    with wrong_arguments():
        if grads:
            _check_names(call, grads)
            upstream, dtype = _upstream(call, grad_output)
            if not FORMATS[call.output_dtype].holds(upstream).all():
                call = replace(call, dtypes={**call.dtypes, "grad_output": dtype})
        return list(judge_results(subject, "cpu", None, call, observed, upstream))


def _by_rows(
    operator: Operator, given: Mapping[str, Any], actual: Any, grads: Any, grad_output: Any, subject: Subject
) -> list[Finding] | None:
    """What is wrong with tensors of many rows; None where they are judged in the whole, a wrong call too."""
    if not isinstance(grads, Mapping | None) or not isinstance(given["input"], torch.Tensor):
        return None
    tensors = {name: value for name, value in given.items() if isinstance(value, torch.Tensor)}
    judged = {FORWARD: actual, **(grads or {})}
    judged = {name: value for name, value in judged.items() if value is not None}
    if isinstance(grad_output, int | float):
        grad_output = torch.tensor(float(grad_output), dtype=torch.float64)
    of_tensors = all(isinstance(value, torch.Tensor) for value in judged.values())
    if not of_tensors or not judged or (grads and grad_output is None):
        return None
    if not isinstance(grad_output, torch.Tensor | None):
        return None
    dtypes = {name: str(value.dtype).removeprefix("torch.") for name, value in judged.items()}
    if not set(dtypes.values()) <= set(DTYPES):
        return None
    empty = {name: value[:0] if name in tensors and value.ndim else value for name, value in given.items()}
    stored = {name: dtype for name, dtype in dtypes.items() if name != FORWARD}
    try:
        call = call_of(operator, empty, dtypes.get(FORWARD, ""), stored)
        if any(name not in differentiable(call) for name in stored):
            return None
        findings = wrong_by_rows(subject, call, tensors, judged, grad_output)
    except (ValueError, TypeError, IndexError, RuntimeError):
        return None  # a wrong call: who looks at the whole says so
    if findings:
        whole = call_of(operator, given, dtypes.get(FORWARD, ""), stored)
        findings = [replace(finding, call=whole) for finding in findings]
    return findings


def explain(finding: Finding, profile: Profile) -> str:
    """Why a finding fails: what was called, and the element that breaks the bound."""
    call, problem = finding.call, f"{problem_of(finding)}{under(profile, ',')}"
    # The first line stays one, as a test may look for it in what pytest.raises has caught.
    first = f"{call.operator}: the {what(finding.quantity)} is wrong: {problem}"
    return "\n".join([first, *wrapped_all([*described(call), *numbers(finding)])])


def _observed(actual: Any, grads: Any) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The numbers of what is judged, and their dtypes, by quantity."""
    if grads is not None and not isinstance(grads, Mapping):
        raise TypeError(f"grads is a {type(grads).__name__}; it must be a mapping of names to gradients")
    given = {} if actual is None else {FORWARD: numbers_of("actual", actual)}
    given |= {name: numbers_of(f"grads[{name!r}]", gradient) for name, gradient in (grads or {}).items()}
    if not given:
        raise ValueError("actual is None and there are no grads; one of them must be given")
    return {k: array for k, (array, _) in given.items()}, {k: dtype for k, (_, dtype) in given.items()}


def _check_names(call: Call, grads: Mapping[str, Any]) -> None:
    allowed = differentiable(call)
    if unknown := [name for name in grads if name not in allowed]:
        raise ValueError(f"grads has {', '.join(map(repr, unknown))}; choose from {', '.join(allowed)}")


def _upstream(call: Call, grad_output: Any) -> tuple[np.ndarray, str]:
    shape = output_shape(call)
    if grad_output is None:
        raise ValueError(
            f"grads are given and grad_output is not; it must be the upstream gradient, of shape {shape}"
        )
    if isinstance(grad_output, int | float):
        grad_output = np.asarray(float(grad_output))
    array, dtype = numbers_of("grad_output", grad_output)
    if array.shape != shape:
        raise ValueError(f"grad_output has shape {array.shape}; it must have that of the result, {shape}")
    return array, dtype
