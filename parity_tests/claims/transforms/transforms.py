"""How torch is driven under its transforms: vmap, grad, vjp, jacrev, inference_mode, no_grad and autocast.

Each takes a subject through a transform and judges what comes back against the truth of the call that it
stands for: a slice of a batched call against that slice alone, a row of a Jacobian against the gradient for a
one-hot upstream gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.claims.transforms import scripts
from torch_loss_parity.expectation.expectation import FORWARD, grad_output_of
from torch_loss_parity.judging.finding import reproduced_by
from torch_loss_parity.judging.judge import Finding, judge_results, output_shape
from torch_loss_parity.judging.mode import Mode
from torch_loss_parity.judging.reproduction import Steps
from torch_loss_parity.judging.run_cases import Verify
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.declined import NotOffered, reason_of
from torch_loss_parity.subjects.run_subject import (
    WrongResult,
    by_position_and_name,
    forward,
    gradients,
    must_be_a_tensor,
    tensors,
)
from torch_loss_parity.tensors.arrays import TORCH_DTYPES, to_tensor, widen

SLICES = 3
APART = 2**20  # between the seeds of two slices: farther than the seeds of two cases
VMAP = "under torch.func.vmap"
PER_SAMPLE = "under torch.func.vmap of its gradient"
JACREV = "under torch.func.jacrev"
GRAD = "under torch.func.grad"
VJP = "under torch.func.vjp"


def function_over(
    subject: Subject, call: Call, arguments: Mapping[str, Any], names: Sequence[str]
) -> Callable[..., torch.Tensor]:
    """The subject's function of the tensors ``names`` alone, for a transform of torch.func; the other
    arguments are closed over. Of no names it is called as it is.
    """
    if names:
        subject.promise.must_offer("transforms")

    def function(*given: torch.Tensor) -> torch.Tensor:
        positional, named = by_position_and_name({**arguments, **dict(zip(names, given, strict=True))})
        output = subject.function(call.operator)(*positional, **named)
        must_be_a_tensor("the result", output)
        return output

    return function


def of_dtype(what: str, tensor: torch.Tensor, dtype: str) -> np.ndarray:
    """The tensor widened, if it has the dtype that it should have."""
    if tensor.dtype != TORCH_DTYPES[dtype]:
        raise WrongResult(f"{what} has dtype {tensor.dtype}, expected {TORCH_DTYPES[dtype]}")
    return widen(tensor)


# --- vmap ---------------------------------------------------------------------------------------------------


def arrays_of(call: Call) -> tuple[str, ...]:
    """The arguments of ``call`` that are arrays."""
    return tuple(name for name, value in call.arguments.items() if isinstance(value, np.ndarray))


def batch(case: Case, names: Sequence[str], count: int = SLICES) -> list[Call]:
    """Calls that differ in the arguments ``names`` alone; every other argument is the first one's."""
    calls = [OPERATORS[case.operator].call(replace(case, seed=case.seed + APART * i)) for i in range(count)]
    return [
        replace(calls[0], arguments={**calls[0].arguments, **{name: call.arguments[name] for name in names}})
        for call in calls
    ]


def verify_vmap(names: Sequence[str], in_dim: int = 0, out_dim: int = 0) -> Verify:
    """What judges each slice of a call that is mapped over the arguments ``names``."""

    def verify(
        subject: Subject, case: Case, device: str = "cpu", *, certify: bool = False
    ) -> Iterator[Finding]:
        calls = batch(case, names)
        arguments = [tensors(call, device) for call in calls]
        stacked = [torch.stack([each[name] for each in arguments], in_dim) for name in names]
        mapped = torch.func.vmap(
            function_over(subject, calls[0], arguments[0], names), in_dims=in_dim, out_dims=out_dim
        )
        steps_of = partial(scripts.mapped, calls, names, in_dim, out_dim)
        with reproduced_by(call=calls[0], steps=steps_of(0)):
            output = mapped(*stacked).movedim(out_dim, 0)
        where = f"over {'+'.join(names)}, in_dims={in_dim}, out_dims={out_dim}"
        results = {FORWARD: output}
        yield from _judge_slices(subject, device, case, calls, results, None, where, certify, steps_of)

    return verify


def verify_vmap_of_nothing(names: Sequence[str]) -> Verify:
    """As `verify_vmap`, of a call without rows. Who does not offer the same of some rows does not offer it:
    of none, what vmap cannot do (a mask that chooses rows) fails otherwise.
    """
    mapped = verify_vmap(names)

    def verify(
        subject: Subject, case: Case, device: str = "cpu", *, certify: bool = False
    ) -> Iterator[Finding]:
        try:
            yield from mapped(subject, case, device, certify=certify)
        except Exception:
            try:
                list(mapped(subject, replace(case, shape=(SLICES, *case.shape[1:])), device))
            except Exception as error:
                if subject.declines(error):
                    raise NotOffered(reason_of(error)) from error
            raise

    return verify


def verify_nested_vmap(names: Sequence[str]) -> Verify:
    """As `verify_vmap`, mapped twice: over ``names``, and within that once more over ``input``."""

    def verify(
        subject: Subject, case: Case, device: str = "cpu", *, certify: bool = False
    ) -> Iterator[Finding]:
        outer, inner = 2, SLICES
        inputs = [call.arguments["input"] for call in batch(case, ("input",), outer * inner)]
        rows = [call for call in batch(case, names, outer) for _ in range(inner)]
        calls = [
            replace(call, arguments={**call.arguments, "input": x})
            for call, x in zip(rows, inputs, strict=True)
        ]
        arguments = [tensors(call, device) for call in calls]
        stacked = [
            torch.stack([each[name] for each in arguments[::inner]]) for name in names if name != "input"
        ]
        both = torch.stack([each["input"] for each in arguments])
        both = both.reshape(outer, inner, *both.shape[1:]).movedim(1, -1)
        order = ("input", *(name for name in names if name != "input"))
        function = function_over(subject, calls[0], arguments[0], order)
        once = torch.func.vmap(function, in_dims=(-1, *(None for _ in stacked)))
        steps_of = partial(scripts.mapped_twice, calls, names, outer, inner)
        with reproduced_by(call=calls[0], steps=steps_of(0)):
            output = torch.func.vmap(once)(both, *stacked).flatten(0, 1)
        results = {FORWARD: output}
        yield from _judge_slices(subject, device, case, calls, results, None, "twice", certify, steps_of)

    return verify


def verify_per_sample_gradients(names: Sequence[str]) -> Verify:
    """What judges the gradients of each slice: of a reduced loss by `torch.func.grad`, else by
    `torch.func.vjp`.
    """

    def verify(
        subject: Subject, case: Case, device: str = "cpu", *, certify: bool = False
    ) -> Iterator[Finding]:
        calls = batch(case, names)
        arguments = [tensors(call, device) for call in calls]
        upstream = [upstream_of(call, case, i) for i, call in enumerate(calls)]
        wanted = calls[0].differentiable
        closed = {name: value for name, value in arguments[0].items() if name not in names}

        def sample_gradients(
            mapped: dict[str, torch.Tensor], cotangent: torch.Tensor
        ) -> tuple[torch.Tensor, ...]:
            return _pull_back(subject, calls[0], {**closed, **mapped}, cotangent)

        stacked = {name: torch.stack([each[name] for each in arguments]) for name in names}
        cotangents = cotangent_of(np.stack(upstream), calls[0], device)
        reduced = _is_reduced(calls[0])
        steps_of = partial(scripts.gradients_of_samples, calls, names, upstream, reduced)
        with reproduced_by(call=calls[0], steps=steps_of(0), grad_output=upstream[0]):
            gradients = torch.func.vmap(sample_gradients)(stacked, cotangents)
        where, results = f"over {'+'.join(names)}", dict(zip(wanted, gradients, strict=True))
        yield from _judge_slices(subject, device, case, calls, results, upstream, where, certify, steps_of)

    return verify


def upstream_of(call: Call, case: Case, number: int = 0) -> np.ndarray:
    """1 for a reduced loss, as in training; random where there is more than one result."""
    if _is_reduced(call):
        return np.ones(())
    return grad_output_of(call, output_shape(call), case.generator(f"grad_output {number}"))


def _is_reduced(call: Call) -> bool:
    """Whether the result is one number that a reduction gives."""
    return "reduction" in call.arguments and output_shape(call) == ()


def _pull_back(
    subject: Subject, call: Call, arguments: Mapping[str, Any], cotangent: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    function = function_over(subject, call, arguments, call.differentiable)
    primals = [arguments[name] for name in call.differentiable]
    if _is_reduced(call):
        return torch.func.grad(function, argnums=tuple(range(len(primals))))(*primals)
    pull_back: Any = torch.func.vjp(function, *primals)[1]
    return pull_back(cotangent)


def cotangent_of(upstream: np.ndarray, call: Call, device: str) -> torch.Tensor:
    """An upstream gradient as a tensor of the dtype of the result."""
    return to_tensor(upstream, call.output_dtype, device)


def _judge_slices(
    subject: Subject,
    device: str,
    case: Case,
    calls: Sequence[Call],
    results: Mapping[str, torch.Tensor],
    upstream: Sequence[np.ndarray] | None,
    where: str,
    certify: bool,
    steps_of: Callable[[int], Steps],
) -> Iterator[Finding]:
    mode = VMAP if upstream is None else PER_SAMPLE
    for quantity, result in results.items():
        of_dtype(quantity, result, calls[0].output_dtype if quantity == FORWARD else calls[0].dtype)
        if len(result) != len(calls):
            raise WrongResult(f"{quantity} of {len(calls)} slices has {len(result)}")
    for i, call in enumerate(calls):
        grad_output = None if upstream is None else upstream[i]
        observed = {quantity: widen(result[i]) for quantity, result in results.items()}
        for finding in judge_results(
            subject,
            device,
            case,
            call,
            observed,
            grad_output,
            certify=certify and not i,
            mode=mode,
            steps=steps_of(i),
        ):
            alone = "" if finding.verdict.passes else _alone(subject, device, finding)
            yield replace(finding, where=f"{where}, in slice {i} of {len(calls)}{alone}")


def _alone(subject: Subject, device: str, finding: Finding) -> str:
    """What a loop over plain calls gives for a slice that is wrong: whose fault it is."""
    try:
        if finding.grad_output is None:
            observed = forward(subject, finding.call, device)
        else:
            observed = gradients(subject, finding.call, device, finding.grad_output)[finding.quantity]
    except Exception as error:
        return f" (a plain call of the slice raises {type(error).__name__}: {error})"
    (plain,) = judge_results(
        subject, device, None, finding.call, {finding.quantity: observed}, finding.grad_output
    )
    return f" (a plain call of the slice is {'right' if plain.verdict.passes else 'wrong too'})"


# --- grad, vjp, jacrev --------------------------------------------------------------------------------------


def under_vjp(subject: Subject, call: Call, device: str, grad_output: np.ndarray) -> Mapping[str, np.ndarray]:
    """The result and its gradients by `torch.func.vjp`."""
    arguments = tensors(call, device)
    function = function_over(subject, call, arguments, call.differentiable)
    pulled: Any = torch.func.vjp(function, *(arguments[name] for name in call.differentiable))
    output, pull_back = pulled
    gradients = pull_back(cotangent_of(grad_output, call, device))
    results = {
        name: of_dtype(name, g, call.dtype) for name, g in zip(call.differentiable, gradients, strict=True)
    }
    return {FORWARD: of_dtype("the result", output, call.output_dtype), **results}


def _without_graph(
    guard: Callable[[], Any], is_wrong: Callable[[torch.Tensor], bool]
) -> Callable[..., Mapping[str, np.ndarray]]:
    def observe(
        subject: Subject, call: Call, device: str, grad_output: np.ndarray
    ) -> Mapping[str, np.ndarray]:
        arguments = tensors(call, device, requires_grad=True)
        with guard():
            output = function_over(subject, call, arguments, ())()
        if is_wrong(output):
            raise WrongResult(f"the result under {guard.__name__} records a graph")
        return {FORWARD: of_dtype("the result", output, call.output_dtype)}

    return observe


FUNCTION_MODES = (
    Mode(VJP, under_vjp, steps=scripts.UNDER_VJP),
    Mode(
        "under torch.no_grad",
        _without_graph(torch.no_grad, lambda output: output.requires_grad),
        steps=scripts.NO_GRAD,
    ),
    Mode(
        "under torch.inference_mode",
        _without_graph(torch.inference_mode, lambda output: output.requires_grad),
        steps=scripts.INFERENCE,
    ),
)


def verify_grad(
    subject: Subject, case: Case, device: str = "cpu", *, certify: bool = False
) -> Iterator[Finding]:
    """Judge `torch.func.grad` of a reduced loss, for each differentiable argument."""
    call = OPERATORS[case.operator].call(case)
    with reproduced_by(call=call, steps=scripts.UNDER_GRAD):
        gradients = _pull_back(subject, call, tensors(call, device), torch.ones(()))
    observed = {
        name: of_dtype(name, gradient, call.dtype)
        for name, gradient in zip(call.differentiable, gradients, strict=True)
    }
    steps = scripts.UNDER_GRAD
    yield from judge_results(
        subject, device, case, call, observed, np.ones(()), certify=certify, mode=GRAD, steps=steps
    )


def verify_jacobian(
    subject: Subject, case: Case, device: str = "cpu", *, certify: bool = False
) -> Iterator[Finding]:
    """Judge each row of `torch.func.jacrev` against the derivative for a one-hot upstream gradient."""
    call = OPERATORS[case.operator].call(case)
    arguments, wanted, shape = tensors(call, device), call.differentiable, output_shape(call)
    function = function_over(subject, call, arguments, wanted)
    first = (0,) * len(shape)
    with reproduced_by(call=call, steps=Steps(partial(scripts.under_jacrev, first))):
        in_order = torch.func.jacrev(function, argnums=tuple(range(len(wanted))))(
            *(arguments[name] for name in wanted)
        )
    jacobians = {
        name: of_dtype(name, jacobian, call.dtype) for name, jacobian in zip(wanted, in_order, strict=True)
    }
    for index in np.ndindex(*shape):
        one_hot = np.zeros(shape)
        one_hot[index] = 1.0
        row = {name: jacobian[index] for name, jacobian in jacobians.items()}
        steps = Steps(partial(scripts.under_jacrev, index))
        for finding in judge_results(
            subject, device, case, call, row, one_hot, certify=certify, mode=JACREV, steps=steps
        ):
            yield replace(finding, where=f"in row {list(index)}")
