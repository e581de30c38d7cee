"""PyTorch's own sample inputs for the operators, as calls that are judged like any other."""

from __future__ import annotations

import inspect
import random
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch

from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.expectation import FORWARD, grad_output_of
from torch_loss_parity.expectation.expectation_cache import once
from torch_loss_parity.judging.judge import Finding, judge_results, of_the_subject, output_shape
from torch_loss_parity.operators import OPERATORS, Gap
from torch_loss_parity.operators.record import bound, facts_of, options_of
from torch_loss_parity.subjects import run_subject
from torch_loss_parity.subjects.settings import Settings
from torch_loss_parity.tensors.arrays import TORCH_DTYPES, widen
from torch_loss_parity.tensors.torch_private import operators_tested

NAMES = {
    operator.sample_inputs: name
    for name, operator in OPERATORS.items()
    if not isinstance(operator.sample_inputs, Gap)
}


def samples(dtype: torch.dtype, requires_grad: bool = False, seed: int = 0) -> list[tuple[str, Any]]:
    """PyTorch's samples for each operator; every variant of an operator is met.

    They are drawn from the generators that all share, whose state depends on what ran before: it is set here,
    and put back.
    """
    listed, state = [], random.getstate()
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        random.seed(seed)
        for info in operators_tested():
            if info.name in NAMES:
                # Without the wrapper that walks the stack.
                operator = NAMES[info.name]
                drawn = info.sample_inputs_func(info, "cpu", dtype, requires_grad)
                # What the definition has no argument for is a subject's business: how torch makes chunks.
                listed += [(operator, sample) for sample in drawn if set(sample.kwargs) <= known(operator)]
    random.setstate(state)
    return listed


def calls(dtype: str, seed: int = 0) -> list[Call]:
    """PyTorch's samples in a dtype, as calls; none where PyTorch does not have them. To load them takes
    longer than to judge what a subject makes of them: they are kept on disk, where something is.
    """

    def drawn() -> list[Call]:
        return [as_call(name, sample, dtype) for name, sample in samples(TORCH_DTYPES[dtype], seed=seed)]

    definitions = (operator.forward for operator in OPERATORS.values())
    key = ("sample inputs", torch.__version__, dtype, seed)
    return once(key, drawn, definitions, _as_values, _of_values)


def _as_values(calls: list[Call]) -> list[Any]:
    """The calls, as `torch_loss_parity.expectation.encoding` takes them."""
    values: list[Any] = []
    for call in calls:
        mappings = call.arguments, call.facts, dict.fromkeys(call.differentiable)
        assert not call.dtypes
        values += [call.operator, call.dtype, call.output_dtype]
        for mapping in mappings:
            values += [len(mapping), *mapping, *mapping.values()]
    return values


def _of_values(values: Sequence[Any]) -> list[Call]:
    each, calls = iter(values), []

    def mapping() -> dict[str, Any]:
        half = next(each)
        taken = list(islice(each, 2 * half))
        return dict(zip(taken[:half], taken[half:], strict=True))

    for operator in each:
        dtype, output_dtype = next(each), next(each)
        arguments, facts, differentiable = mapping(), mapping(), mapping()
        calls.append(Call(operator, arguments, dtype, output_dtype, tuple(differentiable), facts))
    return calls


def known(operator: str) -> set[str]:
    """The arguments that an operator's definition has."""
    return set(inspect.signature(OPERATORS[operator].forward).parameters)


def as_call(operator: str, sample: Any, dtype: str) -> Call:
    """A sample as a call: arguments by name in the order of the signature, what is left out at
    its default.
    """
    record = OPERATORS[operator]
    given = bound(record, sample.input, *sample.args, **sample.kwargs)
    arguments = {name: _plain(value) for name, value in given.items()}
    differentiable, facts = record.differentiable(options_of(record, arguments)), facts_of(record, arguments)
    return Call(operator, arguments, dtype, arguments.get("dtype") or dtype, differentiable, facts)


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return widen(value) if value.dtype.is_floating_point else value.numpy()
    return str(value).removeprefix("torch.") if isinstance(value, torch.dtype) else value


def judge_sample(
    call: Call, settings: Settings, rng: np.random.Generator, certify: bool = True
) -> Iterator[Finding]:
    """The forward result and every gradient of one call, certified unless it is one of many."""
    subject, device = settings.subject, settings.device
    call = subject.promise.asked_of(call)
    grad_output = grad_output_of(call, output_shape(call), rng)
    try:
        with of_the_subject(subject):
            results = dict(run_subject.separately(subject, call, device, grad_output))
    except run_subject.WrongResult as error:
        yield Finding.of_failure(None, call, str(error))
        return
    result = {FORWARD: results.pop(FORWARD)}
    yield from judge_results(subject, device, None, call, result, None, certify=certify)
    yield from judge_results(subject, device, None, call, results, grad_output, certify=certify)
