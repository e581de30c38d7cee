"""Which dtype each operator computes in under `torch.autocast`, and what judges it there.

Autocast leaves float32 and float64 alone and casts half precision as the table says
(docs.pytorch.org/docs/stable/amp.html, "Autocast Op Reference"). A cast to float32 is exact, so the inputs
stay what they are; the result is then float32, and gradients come back in the dtype of the inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

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
from torch_loss_parity.subjects import BUILTIN, Subject
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


def verify_under_autocast(autocast_dtype: str) -> Verify:
    """What judges a result and its gradients under autocast to ``autocast_dtype``, for the dtype that the
    table names.

    Where there is no table, the dtype of the inputs and float32 are both right.
    """

    def verify(
        subject: Subject, case: Case, device: str = "cpu", *, certify: bool = False
    ) -> Iterator[Finding]:
        call = OPERATORS[case.operator].call(case)
        policy = policy_of(subject, case.operator, device)
        arguments = tensors(call, device, requires_grad=True)
        steps = Steps(partial(scripts.under_autocast, device, autocast_dtype))
        autocast = torch.autocast(device.split(":")[0], dtype=TORCH_DTYPES[autocast_dtype])
        mode = f"under torch.autocast to {autocast_dtype}"
        allowed = {computed_dtype(call, p) for p in ([AS_GIVEN, SINGLE] if policy is None else [policy])}
        with reproduced_by(call=call, steps=steps, mode=mode, grad_output=upstream_gradient(call, case)):
            with autocast:
                output = function_over(subject, call, arguments, ())()
            dtype = str(output.dtype).removeprefix("torch.")
            if dtype not in allowed:
                raise WrongResult(f"it has dtype {dtype}, expected {' or '.join(sorted(allowed))}")
        call = replace(call, output_dtype=dtype)
        grad_output = upstream_gradient(call, case)
        wanted = call.differentiable
        gradients = torch.autograd.grad(
            output, [arguments[name] for name in wanted], cotangent_of(grad_output, call, device)
        )
        observed = {FORWARD: of_dtype("the result", output, dtype)}
        observed |= {
            name: of_dtype(f"the gradient of {name}", g, call.dtype)
            for name, g in zip(wanted, gradients, strict=True)
        }
        yield from judge_results(
            subject, device, case, call, observed, grad_output, certify=certify, mode=mode, steps=steps
        )

    return verify
