"""The worst element of a result: what it was computed from, what it is truly, and a script that reproduces
it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from torch_loss_parity.audit.certify import Truth
from torch_loss_parity.audit.record import Worst
from torch_loss_parity.audit.single_row import row_of_element
from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.expectation.expectation import FORWARD
from torch_loss_parity.expectation.quantity import Quantity
from torch_loss_parity.judging.comparison import Verdict
from torch_loss_parity.judging.failure_message import script
from torch_loss_parity.judging.judge import Finding, of_the_subject
from torch_loss_parity.judging.reproduction import INLINE, Wanted, compared, dtype_of, passed, plain
from torch_loss_parity.subjects import Subject, run_subject
from torch_loss_parity.subjects.declined import NotOffered


def worst(
    subject: Subject,
    device: str,
    case: Case | None,
    call: Call,
    quantity: str,
    grad_output: np.ndarray,
    verdict: Verdict,
    truth: Truth,
    torch: np.ndarray | None,
) -> Worst:
    """Describe the worst element, that of ``verdict``, by its row alone where the subject returns the same
    for that.

    Parameters
    ----------
    case : Case or None
        What draws the arguments again, where they are too many to print.
    torch : ndarray or None
        What torch returns, where it is not the subject.
    """
    index, upstream = verdict.index, None if quantity == FORWARD else grad_output
    finding = Finding(case, call, quantity, verdict, verdict, "", True, upstream)
    row = row_of_element(call, quantity, grad_output, index) if index else None
    printable = _size(call, upstream) <= INLINE
    if row is not None and _size(row[0], None if upstream is None else row[1]) <= INLINE:
        given, gradient, at = row
        if _same(subject, device, given, quantity, gradient, at, verdict.observed):
            upstream = None if upstream is None else gradient
            finding = Finding(None, given, quantity, replace(verdict, index=at), verdict, "", True, upstream)
            printable = True
    return Worst(
        index=index,
        arguments=_printed(finding) if printable else {"case": str(case)},
        observed=verdict.observed.hex(),
        torch="" if torch is None else float(torch[index]).hex(),
        truth=truth.decimal(int(np.ravel_multi_index(index, truth.value.shape)) if index else 0),
        ulps=verdict.ulps,
        fraction=verdict.fraction,
        script=script(finding, subject, device) if printable else _drawn_again(finding, subject, device),
    )


def _drawn_again(finding: Finding, subject: Subject, device: str) -> str:
    """A script whose arguments, too many to print, are drawn again: it needs this project."""
    call, verdict, draws = finding.call, finding.verdict, []
    drawn = "torch.from_numpy(np.asarray({})).to(dtype=torch.{}, device={!r})"
    for name, value in call.arguments.items():
        if isinstance(value, np.ndarray):
            lines = drawn.format(f"call.arguments[{name!r}]", dtype_of(call, name), device)
            draws.append(f"{name} = {lines}")
    wanted = Quantity.parse(finding.quantity)
    if finding.grad_output is not None:
        lines = drawn.format("upstream_gradient(call, case)", call.output_dtype, device)
        draws.append(f"grad_output = {lines}")
    function = f"subject.{call.operator}"
    steps = plain(Wanted(call.operator, wanted, function, passed(call), call.differentiable, call.arguments))
    return "\n".join(
        [
            "import numpy as np",
            "import torch",
            "from torch_loss_parity.cases.case import Case",
            "from torch_loss_parity.expectation.expectation import upstream_gradient",
            "from torch_loss_parity.operators import OPERATORS",
            subject.import_of(call.operator),
            f"case = {finding.case!r}",
            "call = OPERATORS[case.operator].call(case)",
            *draws,
            *steps,
            *compared(verdict.index, verdict.expected, verdict.allowed),
        ]
    )


def _size(call: Call, upstream: np.ndarray | None) -> int:
    """The numbers that a script has to spell out."""
    return sum(value.size for value in (*call.arguments.values(), upstream) if isinstance(value, np.ndarray))


def _same(
    subject: Subject,
    device: str,
    call: Call,
    quantity: str,
    grad_output: np.ndarray,
    index: tuple[int, ...],
    observed: float,
) -> bool:
    """Whether the subject returns the same for a row alone as it did among others."""
    try:
        with of_the_subject(subject):
            if quantity == FORWARD:
                result = run_subject.forward(subject, call, device)
            else:
                result = run_subject.gradients(subject, call, device, grad_output)[quantity]
    except (NotOffered, run_subject.WrongResult):
        return False
    return result.ndim == len(index) and float(result[index]).hex() == observed.hex()


def _printed(finding: Finding) -> dict[str, str]:
    """The arguments, numbers in hexadecimal."""
    shown: dict[str, Any] = dict(finding.call.arguments)
    if finding.grad_output is not None:
        shown["grad_output"] = finding.grad_output
    return {name: _text(value) for name, value in shown.items() if value is not None}


def _text(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return str(value)
    return " ".join(float(x).hex() if value.dtype.kind == "f" else str(int(x)) for x in value.reshape(-1))
