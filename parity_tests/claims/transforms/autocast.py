"""Which dtype each operator computes in under `torch.autocast`, and what judges it there.

Autocast leaves float32 and float64 alone and casts half precision as the table says
(docs.pytorch.org/docs/stable/amp.html, "Autocast Op Reference"). A cast to float32 is exact, so the inputs
stay what they are; the result is then float32, and gradients come back in the dtype of the inputs.

Note [A matrix product]
    Its factors are rounded to the dtype of autocast, and so is the product. A fused kernel may leave them as
    they are; torch's composes a product of 16 bits with a loss of 32; and what is composed of smaller steps
    keeps each of them in 16 bits. All three are right, and a result of either dtype: of each quantity, as a
    backward pass runs outside of autocast.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.claims.transforms import scripts
from torch_loss_parity.claims.transforms.transforms import cotangent_of, function_over, of_dtype
from torch_loss_parity.expectation.expectation import FORWARD, upstream_gradient
from torch_loss_parity.judging.finding import reproduced_by
from torch_loss_parity.judging.judge import Finding, judge_results
from torch_loss_parity.judging.reproduction import Steps
from torch_loss_parity.judging.run_cases import Verify
from torch_loss_parity.operators import OPERATORS, Gap
from torch_loss_parity.operators.facets import AS_GIVEN, SINGLE
from torch_loss_parity.reference.arithmetic.formats import FORMATS
from torch_loss_parity.subjects import BUILTIN, Subject
from torch_loss_parity.subjects.declined import TWO_DTYPES, NotOffered, reason_of
from torch_loss_parity.subjects.run_subject import WrongResult, tensors
from torch_loss_parity.tensors.arrays import TORCH_DTYPES

HALF = ("float16", "bfloat16")


def policy_of(subject: Subject, operator: str, device: str) -> str | None:
    """What autocast does to the inputs of a built-in subject's operator; of another's operators there is no
    table.
    """
    policy = OPERATORS[operator].autocast
    if subject.name not in BUILTIN or subject.name == "reference" or isinstance(policy, Gap):
        return None
    return {"cpu": policy.cpu, "cuda": policy.cuda}.get(device.split(":")[0])


def computed_dtype(call: Call, policy: str) -> str:
    """The dtype of the result under a policy; an explicit ``dtype=`` is respected."""
    explicit = call.arguments.get("dtype")
    return explicit or (SINGLE if policy == SINGLE and call.dtype in HALF else call.dtype)


def factors_of(operator: str) -> tuple[str, ...]:
    """The arguments of a matrix product, see Note [A matrix product]; of most operators none."""
    policy = OPERATORS[operator].autocast
    return () if isinstance(policy, Gap) else policy.factors


def with_rounded_factors(call: Call, autocast_dtype: str) -> Call:
    """The call that autocast makes of one with a matrix product."""
    arguments, dtypes = dict(call.arguments), {}
    for name, value in call.arguments.items():
        if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
            continue
        if name in factors_of(call.operator):
            arguments[name] = FORMATS[autocast_dtype].round(value)
        else:
            dtypes[name] = call.dtype_of(name)
    return replace(call, arguments=arguments, dtype=autocast_dtype, dtypes=dtypes)


def meanings(subject: Subject, call: Call, autocast_dtype: str) -> Iterator[tuple[Subject, Call]]:
    """The calls that a call may be under autocast, each with the subject that it is judged as; see Note
    [A matrix product].
    """
    yield subject, call
    if factors_of(call.operator) and call.dtype != "float64":
        rounded = with_rounded_factors(call, autocast_dtype)
        yield subject, rounded
        in_16_bits = replace(rounded, output_dtype=autocast_dtype, dtypes={})  # whatever dtype it is given as
        yield replace(subject, like="torch"), in_16_bits


@contextmanager
def written_for_one_dtype(subject: Subject, operator: str) -> Iterator[None]:
    """Steps of a loss of a layer may refuse the two dtypes that autocast makes, and say so: it is then not
    offered, unless that is promised.
    """
    try:
        yield
    except RuntimeError as error:
        may_lack = factors_of(operator) and "autocast" in subject.promise.may_lack
        if not may_lack or "dtype" not in str(error):
            raise
        raise NotOffered(f"{TWO_DTYPES}: {reason_of(error)}") from error


def verify_under_autocast(autocast_dtype: str) -> Verify:
    """What judges a result and its gradients under autocast to ``autocast_dtype``, for the dtype that the
    table names.

    Where there is no table, the dtype of the inputs and float32 are both right.
    """

    def verify(
        subject: Subject, case: Case, device: str = "cpu", *, certify: bool = False
    ) -> Iterator[Finding]:
        subject.promise.must_offer("autocast")
        call = OPERATORS[case.operator].call(case)
        policy = policy_of(subject, case.operator, device)
        arguments = tensors(call, device, requires_grad=True)
        steps = Steps(partial(scripts.under_autocast, device, autocast_dtype))
        autocast = torch.autocast(device.split(":")[0], dtype=TORCH_DTYPES[autocast_dtype])
        mode = f"under torch.autocast to {autocast_dtype}"
        allowed = {computed_dtype(call, p) for p in ([AS_GIVEN, SINGLE] if policy is None else [policy])}
        if policy is None and factors_of(call.operator) and call.dtype != "float64":
            allowed.add(autocast_dtype)
        with reproduced_by(call=call, steps=steps, mode=mode, grad_output=upstream_gradient(call, case)):
            with autocast, written_for_one_dtype(subject, case.operator):
                output = function_over(subject, call, arguments, ())()
            dtype = str(output.dtype).removeprefix("torch.")
            if dtype not in allowed:
                raise WrongResult(f"it has dtype {dtype}, expected {' or '.join(sorted(allowed))}")
        call = replace(call, output_dtype=dtype)
        grad_output = upstream_gradient(call, case)
        wanted = call.differentiable
        with written_for_one_dtype(subject, case.operator):
            gradients = torch.autograd.grad(
                output, [arguments[name] for name in wanted], cotangent_of(grad_output, call, device)
            )
        observed = {FORWARD: of_dtype("the result", output, dtype)}
        observed |= {
            name: of_dtype(f"the gradient of {name}", g, call.dtype)
            for name, g in zip(wanted, gradients, strict=True)
        }
        wrong: dict[str, Finding] = {}
        for judged_as, meant in meanings(subject, call, autocast_dtype):
            left = {name: value for name, value in observed.items() if not wrong or name in wrong}
            for finding in judge_results(
                judged_as, device, case, meant, left, grad_output, certify=certify, mode=mode, steps=steps
            ):
                if finding.verdict.passes:
                    wrong.pop(finding.quantity, None)
                    yield finding
                else:
                    wrong.setdefault(finding.quantity, finding)
            if not wrong:
                return
        yield from wrong.values()

    return verify
