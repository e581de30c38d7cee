"""What is asked of a subject in a case, or in a search for the worst, and the figures that follow."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Literal

import numpy as np

from torch_loss_parity.audit.axes import (
    Results,
)
from torch_loss_parity.audit.certify import Truth, truths
from torch_loss_parity.audit.errors import Errors
from torch_loss_parity.audit.operator_facets import audited
from torch_loss_parity.audit.part import Conditions, Part, attempted
from torch_loss_parity.audit.record import Figure, Measures
from torch_loss_parity.audit.search import Search
from torch_loss_parity.audit.single_row import extent, logit_range
from torch_loss_parity.audit.standing import standing_of
from torch_loss_parity.audit.worst import worst
from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.expectation.expectation import FORWARD, expected, upstream_gradient
from torch_loss_parity.judging.comparison import Verdict
from torch_loss_parity.judging.judge import judge_quantity, of_the_subject, output_shape
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.reference.arithmetic.rounding import Rounded
from torch_loss_parity.subjects import Subject, run_subject
from torch_loss_parity.subjects.declined import NotObserved
from torch_loss_parity.subjects.run_subject import WrongResult


def asked(case: Case) -> Iterator[tuple[str, Call, Sequence[str], np.ndarray]]:
    """What is asked of a subject in a case: first its result, then its gradients, if it promises any."""
    call = OPERATORS[case.operator].call(case)
    grad_output = upstream_gradient(call, case)
    yield "the result", call, (FORWARD,), grad_output
    if call.differentiable:
        yield "the gradients", call, call.differentiable, grad_output


def draw(conditions: Conditions, case: Case) -> str:
    """The figures of a case: of its result, and of its gradients."""
    operator = OPERATORS[case.operator]
    options = {
        name: str(value) for name, value in case.options if value != operator.options.get(name, (None,))[0]
    }
    parts = []
    for what, call, quantities, grad_output in asked(case):
        attempt = partial(
            _figures, conditions, case, call, quantities, grad_output, "random", case.values, options
        )
        parts.append(attempted(f"{what} of {case}", attempt))
    return Part.of(parts).model_dump_json()


def _figures(
    conditions: Conditions,
    case: Case | None,
    call: Call,
    quantities: Sequence[str],
    grad_output: np.ndarray,
    how: Literal["random", "searched"],
    values: str,
    options: Mapping[str, str],
) -> Part:
    subject, device, implementation = conditions.loaded, conditions.device, conditions.torch
    observed = results_of(subject, device, call, quantities, grad_output)
    beside: Results = {}
    if implementation is not None:
        with suppress(NotObserved):
            beside = results_of(implementation, device, call, quantities, grad_output)
    upstream = None if FORWARD in quantities else grad_output
    bounds = expected(call, quantities, upstream, profile=subject.profile)
    true = truths(call, quantities, upstream)
    rows, classes = extent(call)
    figures = []
    for quantity in quantities:
        measured = partial(
            _measures, device, case, call, quantity, upstream, bounds[quantity], true[quantity]
        )
        measures, verdict = measured(subject, observed[quantity])
        torch = beside.get(quantity)
        torch_measures = None
        if implementation is not None and torch is not None:
            torch_measures, _ = measured(implementation, torch)
        figures.append(
            Figure(
                operator=call.operator,
                dtype=call.dtype,
                quantity=quantity,
                how=how,
                classes=classes,
                rows=rows,
                values=values,
                logit_range=logit_range(call),
                options=dict(options),
                inputs=_hash(call.arguments, upstream),
                subject=measures,
                torch=torch_measures,
                worst=worst(
                    subject, device, case, call, quantity, grad_output, verdict, true[quantity], torch
                ),
            )
        )
    return Part(figures=tuple(figures))


def results_of(
    subject: Subject, device: str, call: Call, quantities: Sequence[str], grad_output: np.ndarray
) -> Results:
    """What a subject returns: its result alone, or its gradients.

    Raises
    ------
    WrongResult, NotOffered
        If it returns what has another shape, or nothing.
    """
    with of_the_subject(subject):
        if FORWARD in quantities:
            results: Results = {FORWARD: run_subject.forward(subject, call, device)}
        else:
            results = run_subject.gradients(subject, call, device, grad_output)
    for quantity, result in results.items():
        shape = output_shape(call) if quantity == FORWARD else call.arguments[quantity].shape
        if result.shape != shape:
            raise WrongResult(f"{quantity} has shape {result.shape}, expected {shape}")
    return results


def _measures(
    device: str,
    case: Case | None,
    call: Call,
    quantity: str,
    grad_output: np.ndarray | None,
    bound: Rounded,
    truth: Truth,
    subject: Subject,
    observed: np.ndarray,
) -> tuple[Measures, Verdict]:
    """The measures of a result, and the verdict on the element with the largest error."""
    finding = judge_quantity(subject, device, case, call, quantity, observed, bound, grad_output)
    errors = Errors.of(observed, truth, bound)
    measures = errors.measures(
        fraction=finding.strict.fraction,
        standing=standing_of(finding),
        outputs=_hash({"": observed}),
    )
    index = tuple(int(i) for i in np.unravel_index(max(errors.worst, 0), observed.shape))
    value = bound.value
    with np.errstate(all="ignore"):
        allowed = float(np.broadcast_to(bound.total_error(), value.shape)[index])
        error = (
            0.0
            if observed[index] == truth.value[index]
            else float(np.abs(observed[index] - truth.value[index]))
        )
        fraction = (
            np.inf
            if errors.max_ulp == np.inf
            else 0.0
            if error == 0
            else error / allowed
            if allowed
            else np.inf
        )
    at = Verdict(
        fraction=float(fraction) if np.isfinite(allowed) else 0.0,
        index=index,
        observed=float(observed[index]),
        expected=float(truth.value[index]),
        allowed=allowed,
        ulps=errors.max_ulp,
        elements=observed.size,
    )
    return measures, at


def _hash(arguments: Mapping[str, Any], grad_output: np.ndarray | None = None) -> str:
    """SHA-256 of the bytes of all arguments."""
    digest = hashlib.sha256()
    for name, value in sorted((dict(arguments) | {"grad_output": grad_output}).items()):
        if value is not None:
            digest.update(name.encode())
            digest.update(
                np.ascontiguousarray(value).tobytes()
                if isinstance(value, np.ndarray)
                else repr(value).encode()
            )
    return digest.hexdigest()


def search(conditions: Conditions, operator: str, dtype: str, evaluations: int) -> str:
    """The figures of the worst that is found by climbing, for each quantity and each objective."""
    subject = conditions.loaded
    record, of = subject.promise.operator(OPERATORS[operator]), audited(operator)
    call = record.call(record.case(dtype, (1, 2), of.telling[0], of.base, 0))
    parts = []
    for quantity in (FORWARD, *call.differentiable):

        def measured_part(quantity: str = quantity) -> Part:
            searching = Search(
                subject, conditions.device, operator, dtype, quantity, evaluations, conditions.seed
            )
            return Part.of(
                [
                    _figures(
                        conditions,
                        None,
                        one.call,
                        (quantity,),
                        one.grad_output,
                        "searched",
                        f"climbed by {one.objective}",
                        {},
                    )
                    for one in searching.worst_rows()
                ]
            )

        parts.append(attempted(f"a search for the worst {quantity} of {operator}, {dtype}", measured_part))
    return Part.of(parts).model_dump_json()
