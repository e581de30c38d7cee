"""The smallest inputs that the ledger records: as calls, and what a test makes of their verdicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from torch_loss_parity.cases.case import Call
from torch_loss_parity.expectation.expectation import FORWARD, expected
from torch_loss_parity.expectation.quantity import Quantity
from torch_loss_parity.judging.failure_message import explain
from torch_loss_parity.judging.finding import Finding
from torch_loss_parity.judging.judge import judge_quantity
from torch_loss_parity.ledger import verified
from torch_loss_parity.ledger.ledger import Divergence
from torch_loss_parity.ledger.news import News
from torch_loss_parity.subjects import run_subject
from torch_loss_parity.subjects.settings import Settings


def smallest_input(
    entry: Divergence, quantity: str, dtype: str
) -> tuple[Call, np.ndarray | None, np.ndarray | None]:
    """The smallest input recorded for a quantity as a call in ``dtype``, with its upstream gradient and its
    direction.
    """
    call, grad_output = entry.smallest_call(quantity, dtype)
    arguments = {name: value for name, value in call.arguments.items() if name != "direction"}
    direction = call.arguments.get("direction")
    call = replace(call, arguments=arguments, differentiable=Quantity.parse(quantity).arguments)
    return call, grad_output, None if direction is None else np.asarray(direction, dtype=np.float64)


def judge_smallest_input(
    entry: Divergence,
    call: Call,
    quantity: str,
    observed: np.ndarray,
    grad_output: np.ndarray | None,
    settings: Settings,
    mode: str = "",
) -> Finding:
    """The certified verdict on what a subject made of a smallest input; the entry alone may explain it."""
    bound = expected(call, (quantity,), grad_output, profile=settings.subject.profile)[quantity]
    return judge_quantity(
        settings.subject,
        settings.device,
        None,
        call,
        quantity,
        observed,
        bound,
        grad_output,
        entries=(entry,),
        certify=True,
        mode=mode,
    )


def skip_unless_in_force(entry: Divergence, settings: Settings) -> None:
    """Skip the test of an entry that does not speak of the subject, the device and the installed torch, or
    whose operator the subject does not offer.
    """
    if not settings.subject.offers(operator := entry.operators[0]):
        pytest.skip(f"not offered: {settings.subject.name} has no {operator}")
    if not entry.in_force(settings.subject.name, settings.device):
        pytest.skip(
            f"the entry speaks of {', '.join(entry.subjects)} on {', '.join(entry.devices)} with "
            f"torch {entry.torch}"
        )


def check_divergence(
    entry: Divergence,
    findings: Sequence[Finding],
    place: str,
    settings: Settings,
    tell: Callable[[News], None],
    diverged: Callable[[str], None],
) -> None:
    """Check that a smallest input breaks the bound in one of its findings, and that what the entry says holds
    where it is broken; that none breaks it is news.

    Parameters
    ----------
    findings : sequence of Finding
        Judged with ``entries=(entry,)``, certified.
    place : str
        Says in the news where the entry does not diverge.
    """
    assert findings, "nothing was judged"
    if all(finding.strict.passes for finding in findings):
        most = "at most " if len(findings) > 1 else ""
        worst = max(finding.strict.fraction for finding in findings)
        how = f"{most}{worst:.3g} of the bound at its smallest input"
        tell(verified.no_longer(entry.id, place, how, settings.device))
        return
    for finding in findings:
        explained = finding.strict.passes or finding.divergence == entry.id
        assert explained, explain(finding, settings.subject, settings.device)
    diverged(entry.id)


def check_smallest_input(
    entry: Divergence,
    quantity: str,
    dtype: str,
    settings: Settings,
    tell: Callable[[News], None],
    diverged: Callable[[str], None],
) -> None:
    """Check that a plain call of the smallest input for a quantity diverges in a dtype as the entry says."""
    skip_unless_in_force(entry, settings)
    call, grad_output, _ = smallest_input(entry, quantity, dtype)
    if quantity == FORWARD:
        observed = run_subject.forward(settings.subject, call, settings.device)
    else:
        assert grad_output is not None, "a gradient's smallest input needs a grad_output"
        observed = run_subject.gradients(settings.subject, call, settings.device, grad_output)[quantity]
    finding = judge_smallest_input(entry, call, quantity, observed, grad_output, settings)
    check_divergence(entry, [finding], f"{quantity}, {dtype}", settings, tell, diverged)
