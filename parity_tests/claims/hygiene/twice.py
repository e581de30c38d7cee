"""A check that one tensor may be two arguments: a layer that is the batch itself, as of contrastive losses,
or probabilities that are their own target. Its gradient is the sum of both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from torch_loss_parity.cases.case import Case
from torch_loss_parity.claims.hygiene.conduct import Probe, offered
from torch_loss_parity.claims.layouts.layouts import called
from torch_loss_parity.expectation.expectation import FORWARD
from torch_loss_parity.expectation.formulas import autograd_formulas
from torch_loss_parity.expectation.quantity import format_of
from torch_loss_parity.expectation.second_order import gradient_of
from torch_loss_parity.judging import explanations
from torch_loss_parity.judging.comparison import judge
from torch_loss_parity.judging.explanations import Explanation
from torch_loss_parity.judging.judge import covering, expected_by
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import OPERATORS, Operator
from torch_loss_parity.reference.ways.way import stored
from torch_loss_parity.subjects.run_subject import must_be_a_tensor
from torch_loss_parity.subjects.settings import Settings
from torch_loss_parity.tensors.arrays import widen

SQUARE = (6, 6)  # as many rows as classes, so that a batch is a layer of as many
OPTIONS = ({"reduction": "sum", "target": "soft"}, {"target": "probabilities"})


def case_of(operator: Operator, dtype: str, seed: int) -> Case:
    """A square call in which as many arguments are differentiated as the operator has."""
    options = {name: value for each in OPTIONS for name, value in offered(operator, each).items()}
    return operator.case(dtype, SQUARE, next(iter(operator.values)), options, seed)


def one_tensor_may_be_two_arguments(operator: Operator, dtype: str, settings: Settings, tally: Tally) -> None:
    """Against the sum of the gradients of two equal tensors, which are judged by other claims."""
    case = case_of(operator, dtype, settings.seed)
    for pair in _pairs(Probe(case, settings, tally)):
        probe = Probe(case, settings, tally, twice=pair)
        assert probe.first
        first, second = pair
        arguments, grad_output = probe.given()
        arguments[second] = arguments[first]
        what = f"where {first} and {second} are one tensor"
        with probe.of_the_subject():
            output = called(settings.subject, probe.call, arguments)
            must_be_a_tensor("the result", output)
            (gradient,) = torch.autograd.grad(output, [arguments[first]], grad_output)
            must_be_a_tensor(f"the gradient {what}", gradient)
        probe.agrees({FORWARD: output}, what, exactly=False)
        right = _is_the_sum(probe, gradient)
        tally.count(right)
        assert right, (
            f"{case}: {what}, its gradient is not the sum of both\n{probe.script(_script(first, second))}"
        )


def _pairs(probe: Probe) -> Iterator[tuple[str, str]]:
    """Differentiable arguments of one shape."""
    call = probe.call
    names = [name for name in call.differentiable if isinstance(call.arguments[name], np.ndarray)]
    for number, first in enumerate(names):
        for second in names[number + 1 :]:
            if call.arguments[first].shape == call.arguments[second].shape:
                yield first, second


def _is_the_sum(probe: Probe, gradient: torch.Tensor) -> bool:
    """Bit for bit, or as the definition or one explanation has it."""
    one, other = (probe.first[name] for name in probe.twice)
    if torch.equal(gradient, one + other):
        return True
    call, name, settings = probe.call, probe.twice[0], probe.settings
    entries = covering(settings.subject, settings.device, call, name)
    return any(
        _explains(probe, replace(by, function=function), gradient)
        for by in (Explanation("the definition"), *explanations.in_order(entries, call, name))
        for function in _sums(by.function or OPERATORS[call.operator].backward, probe.twice)
    )


def _sums(gradients: Callable[..., Any], pair: tuple[str, ...]) -> Iterator[Callable[..., Any]]:
    """Both gradients, stored and added up; and what autograd makes of one variable, in whose gradient the
    terms of both meet in another order.
    """
    yield partial(_added_up, gradients, pair)
    if isinstance(gradients, partial) and gradients.func is autograd_formulas.backward:
        yield partial(gradients, one=pair)


def _added_up(gradients: Callable[..., Any], pair: tuple[str, ...], upstream: Any, **arguments: Any) -> Any:
    each = gradients(upstream, **arguments)
    first, second = (stored(gradient_of(each, name), like="gradient") for name in pair)
    return first + second


def _explains(probe: Probe, by: Explanation, gradient: torch.Tensor) -> bool:
    name = probe.twice[0]
    bound = expected_by(by, probe.settings.subject, probe.call, (name,), probe.upstream)[name]
    return judge(widen(gradient), bound, format_of(probe.call, name)).passes


def _script(first: str, second: str) -> tuple[str, ...]:
    return (
        "given = {name: v.detach().clone().requires_grad_(name in differentiable)",
        "         if isinstance(v, torch.Tensor) else v for name, v in mine.items()}",
        f"one, other = given[{first!r}], given[{second!r}]",
        "apart = torch.autograd.grad(call(given), [one, other], grad_output)",
        f"given[{second!r}] = one",
        "print('of one tensor', *torch.autograd.grad(call(given), [one], grad_output))",
        "print('the sum', apart[0] + apart[1])",
    )
