"""Arguments that have a default, left out: each in turn, and all of them at once. The result and the
gradients are those of the call in which every default is written out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from inspect import signature
from typing import Any

from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.claims.checks import TallyOf
from torch_loss_parity.expectation.expectation import FORWARD, expected, upstream_gradient
from torch_loss_parity.judging.finding import Finding
from torch_loss_parity.judging.judge import judge_quantity, of_the_subject
from torch_loss_parity.judging.run_cases import check_cases
from torch_loss_parity.operators import OPERATORS, Operator
from torch_loss_parity.subjects import Subject, run_subject
from torch_loss_parity.subjects.declined import OutsideThePromise
from torch_loss_parity.subjects.settings import Settings

SHAPE = (5, 4)
TELLING = {"ignored": "some", "dim": 1}  # a row that the default of ignore_index leaves out


def what_is_left_out_has_its_default(
    operator: Operator, dtypes: Sequence[str], settings: Settings, tally_of: TallyOf
) -> None:
    """In every dtype, one case."""
    options = {name: value for name, value in TELLING.items() if value in operator.options.get(name, ())}
    for dtype in dtypes:
        case = operator.case(dtype, SHAPE, next(iter(operator.values)), options, settings.seed)
        check_cases([case], verify_left_out, settings, tally_of(dtype))


def defaults_of(operator: Operator) -> dict[str, Any]:
    """The arguments that have a default, with it; what torch's function does not take is left as it is."""
    parameters = [
        each
        for name, each in signature(operator.forward).parameters.items()
        if name not in operator.extensions
    ]
    return {each.name: each.default for each in parameters if each.default is not each.empty}


def calls_of(case: Case) -> tuple[Call, list[tuple[str, Call]]]:
    """The call with every default written out; and those that leave some out, with what they leave out."""
    operator = OPERATORS[case.operator]
    drawn, defaults = operator.call(case), defaults_of(operator)
    written = replace(drawn, arguments={**drawn.arguments, **defaults})
    left_out = [(name, (name,)) for name in defaults] + [("every argument that has a default", (*defaults,))]
    calls = []
    for what, names in left_out:
        given = {name: value for name, value in written.arguments.items() if name not in names}
        calls.append((what, replace(written, arguments=given)))
    return written, calls


def verify_left_out(
    subject: Subject, case: Case, device: str = "cpu", *, certify: bool = False
) -> Iterator[Finding]:
    """Judge each call that leaves something out by the bound of the one that leaves out nothing."""
    written, calls = calls_of(case)
    if outside := subject.promise.outside_call(written):
        raise OutsideThePromise(outside)
    grad_output = upstream_gradient(written, case)
    bounds = expected(written, (FORWARD,), profile=subject.profile)
    bounds |= expected(written, written.differentiable, grad_output, profile=subject.profile)
    for what, call in calls:
        with of_the_subject(subject):
            observed = run_subject.results(subject, call, device, grad_output)
        for quantity, result in observed.items():
            upstream = None if quantity == FORWARD else grad_output
            finding = judge_quantity(
                subject,
                device,
                case,
                written,
                quantity,
                result,
                bounds[quantity],
                upstream,
                mode=f"without {what}",
            )
            yield replace(finding, call=call)
