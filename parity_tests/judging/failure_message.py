"""The failure message: what was called, the element that breaks the bound, and a script that shows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.quantity import Quantity, format_of
from torch_loss_parity.judging import reproduction
from torch_loss_parity.judging.causes import LIKE_TORCH
from torch_loss_parity.judging.finding import Finding
from torch_loss_parity.judging.reproduction import INLINE, Steps, compared, dtype_of
from torch_loss_parity.judging.wrapping import wrapped
from torch_loss_parity.reference.arithmetic.formats import Format
from torch_loss_parity.reference.arithmetic.profiles import DEFAULT, Profile
from torch_loss_parity.subjects import Subject

BESIDE = 12  # columns, of what a line says of a name
PLAIN, OF_EVERYTHING = Steps(reproduction.plain), Steps(reproduction.of_everything)


def explain(finding: Finding, subject: Subject, device: str) -> str:
    """Why a finding fails: what was called, the worst element, and a script that shows it."""
    call, mode = finding.call, f" {finding.driven}" if finding.driven else ""
    of = f"{call.operator} of {subject.name} on {device}, {call.dtype}"
    # The first line stays one: it is what people look for in what a run has printed.
    first = f"{of}: the {what(finding.quantity)}{mode} is wrong: {problem_of(finding)}"
    said = [
        f"  case      {finding.case}" if finding.case else "  case      not drawn: these arguments",
        *described(call),
        *numbers(finding, subject.profile),
    ]
    shown = reproduction.shown(script(finding, subject, device), call.operator)
    return "\n".join([first, *wrapped_all(said), *(f"  {line}" for line in shown)])


def wrapped_all(lines: Iterable[str]) -> Iterator[str]:
    """The lines of a message, none too wide; what a line says of a name stays beside that."""
    for line in lines:
        yield from wrapped(line, BESIDE)


def problem_of(finding: Finding) -> str:
    """What is wrong, in half a sentence."""
    verdict = finding.verdict
    return verdict.reason or f"the error is {verdict.fraction:.3g} times what rounding allows"


def what(name: str) -> str:
    """A quantity in words."""
    quantity = Quantity.parse(name)
    if quantity.along:
        return name
    return f"gradient with respect to {quantity.of}" if quantity.of else "result"


def described(call: Call) -> list[str]:
    """The arguments of a call, small arrays with their numbers."""
    return [f"  {name:<9} {_describe(call, name, value)}" for name, value in call.arguments.items()]


def _describe(call: Call, name: str, value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return repr(value)
    spelt_out = f": {_spelt_out(value)}" if value.size <= 8 else ""
    return f"{dtype_of(call, name)} {value.shape}{spelt_out}"


def _spelt_out(value: np.ndarray) -> str:
    return " ".join(np.array2string(value, threshold=INLINE, precision=6).split())


def numbers(finding: Finding, profile: Profile = DEFAULT) -> list[str]:
    """The element that breaks the bound, its error and what is allowed, in ulps; and what it resembles."""
    verdict, format = finding.verdict, format_of(finding.call, finding.quantity)
    lines = []
    if verdict.elements:
        truth = (
            "the true value, certified by balls" if finding.certified else "float64 evaluation, not certified"
        )
        error, allowed = f"{verdict.ulps:.6g} ulp of {format.name}", in_ulps(verdict.allowed, verdict, format)
        allowed += under(profile)
        if verdict.common is not None:
            left = abs(verdict.observed - verdict.expected - verdict.common)
            error += f", {in_ulps(left, verdict, format)} of it its own: its row does not share it"
            allowed += f", {in_ulps(verdict.alone, verdict, format)} of it for an error of its own"
        lines += [
            f"  worst     element {list(verdict.index)} of {verdict.elements}",
            f"  got       {verdict.observed!r}",
            f"  expected  {verdict.expected!r} ({truth})",
            f"  error     {error}",
            f"  allowed   {allowed}",
        ]
    if finding.resembles:
        what = finding.resembles.loses if finding.resembles.is_way else f"torch's own; {LIKE_TORCH}"
        lines.append(f"  resembles {finding.resembles.name}: {what}")
    return lines


def in_ulps(error: float, verdict: Any, format: Format) -> str:
    """An error in ulps of the format at the true value of the worst element."""
    ulp = float(format.spacing(np.float64(verdict.expected))) if np.isfinite(verdict.expected) else 0.0
    return f"{error / ulp if ulp else 0.0:.6g} ulp"


def under(profile: Profile, comma: str = "") -> str:
    """Under which profile something was judged; nothing for the default one."""
    return "" if profile == DEFAULT else f"{comma} under profile {profile.name}"


def script(finding: Finding, subject: Subject, device: str) -> str:
    """A script that makes the subject do what it did, and prints the worst element beside what is
    expected.
    """
    call, verdict = finding.call, finding.verdict
    if verdict.elements:
        steps = finding.steps or PLAIN
        common = verdict.common or 0.0
        allowed = verdict.allowed if verdict.common is None else verdict.alone
        printed = (
            [f"print(tuple(result.shape), {verdict.reason!r})"]
            if verdict.reason.startswith("shape")
            else compared(verdict.index, verdict.expected + common, allowed)
        )
    else:
        steps, printed = (
            finding.steps or OF_EVERYTHING,
            [
                "print(type(result), getattr(result, 'dtype', None), getattr(result, 'shape', None))",
                f"print({verdict.reason!r})",
            ],
        )
    return reproduction.script(
        subject,
        device,
        call,
        finding.quantity,
        steps,
        printed,
        whole=not verdict.elements,
        grad_output=finding.grad_output,
        direction=finding.direction,
    )
