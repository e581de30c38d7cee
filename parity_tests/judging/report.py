"""What a person reads: the failure message with its reproduction script, and the table at the end
of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.quantity import FORWARD, Quantity, format_of
from torch_loss_parity.judging.finding import Finding
from torch_loss_parity.judging.tally import Row
from torch_loss_parity.reference.arithmetic.profiles import DEFAULT, Profile
from torch_loss_parity.subjects import Subject

INLINE = 64  # elements that a script spells out; longer arguments are drawn again from their case


def explain(
    finding: Finding,
    subject: Subject,
    device: str,
    write_script: Callable[[Finding, Subject, str], str] | None = None,
) -> str:
    """Why a finding fails: what was called, the worst element, and a script that shows it.

    Parameters
    ----------
    write_script : callable, optional
        Writes the script; that of a plain call unless given.
    """
    call, verdict = finding.call, finding.verdict
    format = format_of(call, finding.quantity)
    what, mode = _what(finding.quantity), f" {finding.driven}" if finding.driven else ""
    problem = verdict.reason or f"the error is {verdict.fraction:.3g} times what rounding allows"
    truth = "the true value, certified by balls" if finding.certified else "float64 evaluation, not certified"
    ulp = (
        float(format.spacing(np.float64(verdict.expected))) if np.isfinite(verdict.expected) else float("nan")
    )
    alone, plain = verdict.ulps * ulp <= verdict.allowed, finding.driven and write_script is None
    unshared = (
        (", of which most is an error that the whole row shares: its neighbours do not have this one's")
        if alone
        else ""
    )
    compared = (
        f"  worst     element {list(verdict.index)} of {verdict.elements}",
        f"  got       {verdict.observed!r}",
        f"  expected  {verdict.expected!r} ({truth})",
        f"  error     {verdict.ulps:.6g} ulp of {format.name}",
        f"  allowed   {verdict.allowed / ulp if ulp else 0.0:.6g} ulp{_under(subject.profile)}{unshared}",
    )
    lines = [
        f"{call.operator} of {subject.name} on {device}, {call.dtype}: the {what}{mode} is wrong: {problem}",
        f"  case      {finding.case}" if finding.case else "  case      not drawn: these arguments",
        *(f"  {name:<9} {_describe(call, name, value)}" for name, value in call.arguments.items()),
        *(compared if verdict.elements else ()),
        *((f"  resembles {finding.resembles.name}: {finding.resembles.loses}",) if finding.resembles else ()),
        "  reproduce with" + (f" (a plain call; the failure is {finding.driven})" if plain else ""),
        *(f"    {line}" for line in (write_script or script)(finding, subject, device).splitlines()),
    ]
    return "\n".join(lines)


def _what(name: str) -> str:
    quantity = Quantity.parse(name)
    if quantity.along:
        return name
    return f"gradient with respect to {quantity.of}" if quantity.of else "result"


def script(finding: Finding, subject: Subject, device: str) -> str:
    """A script that calls the subject as the finding did and prints the worst element beside what is
    expected.
    """
    call, verdict = finding.call, finding.verdict
    arrays = {name: value for name, value in call.arguments.items() if isinstance(value, np.ndarray)}
    if finding.grad_output is not None:
        arrays["grad_output"] = finding.grad_output
    lines = ["import torch", subject.import_of(call.operator)]
    if sum(array.size for array in arrays.values()) <= INLINE or finding.case is None:
        lines += [
            f"{name} = {_literal(array, _dtype_of(call, name), device)}" for name, array in arrays.items()
        ]
    else:
        lines += [
            "from torch_loss_parity.cases.case import Case",
            "from torch_loss_parity.expectation.expectation import grad_output_of",
            "from torch_loss_parity.operators import OPERATORS",
            f"case = {finding.case!r}",
            "call = OPERATORS[case.operator].call(case)",
            *(
                f"{name} = torch.from_numpy(call.arguments[{name!r}]){_to(_dtype_of(call, name), device)}"
                for name, array in arrays.items()
                if name != "grad_output"
            ),
        ]
        if finding.grad_output is not None:
            drawn = f"grad_output_of(call, {finding.grad_output.shape}, case.generator('grad_output'))"
            lines.append(f"grad_output = torch.from_numpy({drawn}){_to(call.output_dtype, device)}")
    named = ", ".join(
        f"{name}={_argument(name, value)}" for name, value in call.arguments.items() if value is not None
    )
    if finding.quantity == FORWARD:
        lines.append(f"result = subject.{call.operator}({named})")
    else:
        lines += [
            f"{finding.quantity}.requires_grad_()",
            f"output = subject.{call.operator}({named})",
            f"result, = torch.autograd.grad(output, {finding.quantity}, grad_output.to(output.dtype))",
        ]
    if verdict.reason.startswith("shape"):
        lines.append(f"print(tuple(result.shape), {verdict.reason!r})")
    else:
        numbers = f"'expected', {_number(verdict.expected)}, 'allowed error', {_number(verdict.allowed)}"
        lines.append(f"print(result[{verdict.index}].item(), {numbers})")
    return "\n".join(lines)


def _dtype_of(call: Call, name: str) -> str:
    if name == "grad_output":
        return call.output_dtype
    value = call.arguments[name]
    return call.dtypes.get(name, call.dtype if value.dtype.kind == "f" else str(value.dtype))


def _number(value: float) -> str:
    return repr(value) if np.isfinite(value) else f"float({str(value)!r})"


def _argument(name: str, value: Any) -> str:
    if isinstance(value, np.ndarray):
        return name
    return f"torch.{value}" if name == "dtype" else repr(value)


def _describe(call: Call, name: str, value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return repr(value)
    numbers = f": {np.array2string(value, threshold=INLINE, precision=6)}" if value.size <= 8 else ""
    return f"{_dtype_of(call, name)} {value.shape}{numbers}"


def _literal(array: np.ndarray, dtype: str, device: str) -> str:
    if array.dtype.kind != "f":
        return (
            f"torch.tensor({array.tolist()}, dtype=torch.{dtype}, device={device!r}).reshape({array.shape})"
        )
    numbers = ", ".join(f"float.fromhex({float(x).hex()!r})" for x in array.reshape(-1))
    return f"torch.tensor([{numbers}], dtype=torch.float64).reshape({array.shape}){_to(dtype, device)}"


def _to(dtype: str, device: str) -> str:
    return f".to(dtype=torch.{dtype}, device={device!r})"


def of_profile(profile: Profile) -> list[str]:
    """What is to be said of a profile; nothing of the default one."""
    if profile == DEFAULT:
        return []
    said = [f"judged under profile {profile.name}: {profile.allows} ({profile.source})"]
    return said + ([f"profile {profile.remark}"] if profile.remark else [])


def _under(profile: Profile, comma: str = "") -> str:
    return "" if profile == DEFAULT else f"{comma} under profile {profile.name}"


def table(rows: Iterable[Row], profile: Profile = DEFAULT) -> list[str]:
    """The table at the end of a run: operator x dtype, with the cases run, the worst error / allowed and the
    verdict, under which profile if not the default one.
    """
    header = (
        f"{'operator':<34}{'dtype':<10}{'cases':>7}{'forward':>9}{'gradient':>9}{'undecided':>10}  verdict"
    )
    lines, under = [header, "-" * len(header)], _under(profile, ",")
    for row in rows:
        fractions = f"{_fraction(row.forward):>9}{_fraction(row.gradient):>9}"
        lines.append(
            f"{row.operator:<34}{row.dtype:<10}{row.cases:>7}{fractions}{row.undecided or '':>10}  "
            f"{row.verdict}{under}"
        )
    return lines


def coverage_table(
    counted: Mapping[tuple[str, str], Mapping[str, int]], operators: Iterable[str], dtypes: Sequence[str]
) -> list[str]:
    """Cases of each claim (a column) by operator and dtype (a row); "-" where the subject does not offer the
    operator.
    """
    claims = sorted({claim for cell in counted.values() for claim in cell})
    header = (
        f"{'operator':<34}{'dtype':<10}"
        + "".join(f"{claim:>{max(len(claim) + 1, 8)}}" for claim in claims)
        + f"{'all':>8}"
    )
    lines = [header, "-" * len(header)]
    totals = dict.fromkeys(claims, 0)
    for key in ((operator, dtype) for operator in operators for dtype in dtypes):
        if key not in counted:
            continue
        cell = counted[key]
        numbers = "".join(f"{_count(cell.get(claim)):>{max(len(claim) + 1, 8)}}" for claim in claims)
        lines.append(f"{key[0]:<34}{key[1]:<10}{numbers}{sum(max(n, 0) for n in cell.values()):>8}")
        for claim, number in cell.items():
            totals[claim] += max(number, 0)
    summed = "".join(f"{totals[claim]:>{max(len(claim) + 1, 8)}}" for claim in claims)
    return [*lines, f"{'all':<44}{summed}{sum(totals.values()):>8}"]


def _count(number: int | None) -> str:
    return "" if number is None else "-" if number < 0 else str(number)


def _fraction(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}" if value < 1000 else f"{value:.2g}"
