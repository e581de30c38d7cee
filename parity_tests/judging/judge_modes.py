"""A call, judged in several modes against one expectation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.expectation.expectation import (
    expected,
    upstream_gradient,
)
from torch_loss_parity.expectation.quantity import FORWARD, Quantity
from torch_loss_parity.judging.finding import Finding, recorded, reproduced_by
from torch_loss_parity.judging.judge import covering, judge_quantity, of_the_subject, together
from torch_loss_parity.judging.mode import Mode
from torch_loss_parity.ledger import ledger, verified
from torch_loss_parity.ledger.ledger import Divergence, Shortfall
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.reference.arithmetic.rounding import Rounded
from torch_loss_parity.reference.linear_cross_entropy import NO_INDEX
from torch_loss_parity.subjects import COMPLETE, Subject
from torch_loss_parity.subjects.declined import NO_SECOND_DERIVATIVE, NotOffered, reason_of
from torch_loss_parity.subjects.run_subject import WrongResult

CLAIM = "modes"  # of a shortfall that says in which mode there is no derivative in a direction


def verify_in_modes(modes: Sequence[Mode]) -> Callable[..., Iterator[Finding]]:
    """What judges one case in each of ``modes``."""

    def verify(
        subject: Subject, case: Case, device: str = "cpu", *, certify: bool = False
    ) -> Iterator[Finding]:
        call = OPERATORS[case.operator].call(case)
        grad_output = upstream_gradient(call, case)
        yield from judge_modes(subject, device, case, call, modes, grad_output, certify=certify)

    return verify


def judge_modes(
    subject: Subject,
    device: str,
    case: Case | None,
    call: Call,
    modes: Iterable[Mode],
    grad_output: np.ndarray,
    direction: np.ndarray | None = None,
    *,
    certify: bool = False,
    entries: Iterable[Divergence] | None = None,
    only: str | None = None,
) -> Iterator[Finding]:
    """Judge what each mode finds, all against one expectation; the same bits have the same verdict.

    Parameters
    ----------
    grad_output, direction : ndarray
        Where derivatives are taken: the upstream gradient, and the direction of the modes that have one.
    certify, entries
        As in `torch_loss_parity.judging.judge.judge_quantity`.
    only : str, optional
        The one quantity that is judged.
    """
    allowed = None if entries is None else tuple(entries)
    bounds: dict[str, Rounded] = {}
    judged: dict[Any, Finding] = {}
    weaker = together(subject, call, call.differentiable, grad_output)
    for mode in modes:
        if not mode.applies(call):
            continue
        missing = _missing(subject, device, call, mode)
        try:
            with of_the_subject(subject):
                observed = mode.observe(subject, call, device, grad_output)
        except (NotOffered, WrongResult) as error:
            along = direction if mode.along else None
            how = {"steps": mode.steps, "mode": mode.name, "grad_output": grad_output, "direction": along}
            with reproduced_by(**how):
                finding = _without_result(subject, device, case, call, mode, missing, error)
            yield replace(finding, mode=mode.name)
            continue
        news = (
            verified.no_longer_falls_short(missing.id, call.operator, call.dtype, str(mode), device)
            if missing
            else None
        )
        for name, result in observed.items():
            if only not in (None, name):
                continue
            quantity = Quantity.parse(name)
            if quantity.along and not quantity.of and _depends_on_nothing(call) and _is_none(result):
                continue
            known = covering(subject, device, call, name, mode.name) if allowed is None else allowed
            key = name, result.shape, result.tobytes(), tuple(entry.id for entry in known)
            upstream = None if name == FORWARD else grad_output
            if key not in judged:
                plain = quantity == Quantity(of=name)  # one evaluation serves all gradients
                if name not in bounds:
                    evaluated = call.differentiable if plain else (name,)
                    bounds |= expected(call, evaluated, upstream, direction, profile=subject.profile)
                judged[key] = judge_quantity(
                    subject,
                    device,
                    case,
                    call,
                    name,
                    result,
                    bounds[name],
                    upstream,
                    direction,
                    certify=certify,
                    entries=known,
                    weaker=weaker if plain else None,
                )
            yield replace(judged[key], mode=mode.name, news=news, steps=mode.steps)


def _depends_on_nothing(call: Call) -> bool:
    """Whether a result is of no elements, or a mean of no rows: its derivative in a direction is 0, as its
    gradient is, or 0/0, as the mean itself.
    """
    if call.arguments["input"].size == 0:
        return True
    target = call.arguments.get("target")
    if call.arguments.get("reduction") != "mean" or target is None or target.dtype.kind not in "iu":
        return False
    index = call.arguments.get("ignore_index")
    return bool((target == (NO_INDEX if index is None else index)).all())


def _is_none(result: np.ndarray) -> bool:
    return bool(np.all((result == 0) | np.isnan(result)))


def _missing(subject: Subject, device: str, call: Call, mode: Mode) -> Shortfall | None:
    """The shortfall that says that there is no derivative in a direction in a mode."""
    if not mode.along:
        return None
    return ledger.shortfall(subject.judged_as, device, CLAIM, call.operator, call.dtype, str(mode))


def _without_result(
    subject: Subject,
    device: str,
    case: Case | None,
    call: Call,
    mode: Mode,
    missing: Shortfall | None,
    error: NotOffered | WrongResult,
) -> Finding:
    """What a mode without a result comes to: known to the ledger, not offered by the subject, or wrong.

    Raises
    ------
    WrongResult
        If it is wrong.
    """
    reason, raised = str(error), error.__cause__
    if missing is not None:
        return Finding.of_recorded(case, call, reason, missing.id)
    if isinstance(error, NotOffered):
        # Of a direction it says what it does not offer: the function itself, or the mode.
        return Finding.of_declined(case, call, f"{mode.name}: {reason}" if mode.along and raised else reason)
    if mode.along and raised is not None:
        if subject.name not in COMPLETE and NO_SECOND_DERIVATIVE in str(raised):
            return Finding.of_declined(case, call, f"{mode.name}: {reason_of(raised)}")
        reason = f"{mode} of {call.operator} raises {type(raised).__name__}: {raised}"
    known = recorded(subject, case, call, device, reason)
    if known is None:
        raise WrongResult(reason) from error
    return known
