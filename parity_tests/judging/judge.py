"""A quantity of a call, judged: subject and expectation meet here and nowhere else.

Results, gradients and derivatives in a direction are judged alike: by the derived bound, and where that is
broken by what the ledger says of the subject or by a way, see Note [The order of explanations] of
`torch_loss_parity.judging.explanations`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.expectation.expectation import certified, expected, output_shape, upstream_gradient
from torch_loss_parity.expectation.quantity import FORWARD, format_of
from torch_loss_parity.expectation.share import Upstream
from torch_loss_parity.judging import explanations
from torch_loss_parity.judging.explanations import Explanation
from torch_loss_parity.judging.finding import Finding
from torch_loss_parity.judging.reproduction import Steps
from torch_loss_parity.judging.settle import settle
from torch_loss_parity.ledger import ledger
from torch_loss_parity.ledger.ledger import Divergence
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.processes import replaced, watchdog
from torch_loss_parity.reference.arithmetic.rounding import Rounded
from torch_loss_parity.subjects import Subject, run_subject
from torch_loss_parity.subjects.declined import NotOffered, reason_of
from torch_loss_parity.subjects.run_subject import WrongResult

__all__ = [
    "Finding",
    "covering",
    "expected_by",
    "judge_quantity",
    "judge_results",
    "of_the_subject",
    "output_shape",
    "together",
    "verify_forward",
    "verify_gradients",
]


@contextmanager
def of_the_subject(subject: Subject) -> Iterator[None]:
    """Whatever is raised within is the subject's doing.

    Raises
    ------
    NotOffered
        If it says that it does not offer what it was asked for.
    WrongResult
        If it raises anything else.
    Replaced
        If it has replaced what judges it.
    """
    try:
        with watchdog.running():
            yield
    except (WrongResult, NotOffered):
        raise
    except Exception as error:
        if subject.declines(error):
            raise NotOffered(reason_of(error)) from error
        raise WrongResult(f"it raises {type(error).__name__}: {error}") from error
    finally:
        replaced.unchanged()


def verify_forward(
    subject: Subject, case: Case, device: str = "cpu", *, certify: bool = False
) -> Iterator[Finding]:
    """Judge the forward result of one case."""
    call = OPERATORS[case.operator].call(case)
    with of_the_subject(subject):
        observed = run_subject.forward(subject, call, device)
    yield from judge_results(subject, device, case, call, {FORWARD: observed}, None, certify=certify)


def verify_gradients(
    subject: Subject, case: Case, device: str = "cpu", *, certify: bool = False
) -> Iterator[Finding]:
    """Judge the gradient with respect to each differentiable argument of one case, for a random upstream
    gradient.
    """
    call = OPERATORS[case.operator].call(case)
    grad_output = upstream_gradient(call, case)
    with of_the_subject(subject):
        observed = run_subject.gradients(subject, call, device, grad_output)
    yield from judge_results(subject, device, case, call, observed, grad_output, certify=certify)


def judge_results(
    subject: Subject,
    device: str,
    case: Case | None,
    call: Call,
    observed: Mapping[str, np.ndarray],
    grad_output: np.ndarray | None,
    *,
    certify: bool = False,
    mode: str = "",
    steps: Steps | None = None,
) -> Iterator[Finding]:
    """Judge the result, the gradients or both that a subject returned for a call, by name; see
    `judge_quantity`. ``steps`` are how a script computes them.
    """
    gradients = tuple(name for name in call.differentiable if name in observed)
    bounds = expected(call, (FORWARD,), profile=subject.profile) if FORWARD in observed else {}
    bounds |= expected(call, gradients, grad_output, profile=subject.profile) if gradients else {}
    weaker = together(subject, call, gradients, grad_output)
    for quantity, result in observed.items():
        is_result = quantity == FORWARD
        finding = judge_quantity(
            subject,
            device,
            case,
            call,
            quantity,
            result,
            bounds[quantity],
            None if is_result else grad_output,
            certify=certify,
            mode=mode,
            weaker=None if is_result else weaker,
        )
        yield replace(finding, steps=steps)


Weaker = Callable[[str, Explanation], Rounded]  # the bound of a quantity that follows from an explanation


def together(
    subject: Subject, call: Call, gradients: Sequence[str], grad_output: np.ndarray | None
) -> Weaker:
    """The bounds of several gradients, which one evaluation of an explanation gives."""
    known: dict[str, dict[str, Rounded]] = {}

    def weaker(quantity: str, explanation: Explanation) -> Rounded:
        if explanation.name not in known:
            known[explanation.name] = expected_by(explanation, subject, call, gradients, grad_output)
        return known[explanation.name][quantity]

    return weaker


def expected_by(
    explanation: Explanation,
    subject: Subject,
    call: Call,
    quantities: Sequence[str],
    grad_output: Upstream,
    direction: np.ndarray | None = None,
) -> dict[str, Rounded]:
    """What is expected where a subject evaluates what an explanation says."""
    return expected(
        call,
        quantities,
        grad_output,
        direction,
        profile=subject.profile,
        changes=explanation.arithmetic,
        function=explanation.function,
    )


def covering(
    subject: Subject, device: str, call: Call, quantity: str, mode: str = ""
) -> tuple[Divergence, ...]:
    """The entries of the ledger that may explain why a quantity of a call breaks its bound."""
    entries = ledger.in_force(subject.judged_as, device, call.operator, call.dtype)
    return tuple(entry for entry in entries if entry.covers(call, quantity, mode))


def of_torch(
    subject: Subject, device: str, call: Call, quantity: str, mode: str = ""
) -> tuple[Divergence, ...]:
    """The entries about torch that would explain it, of a subject that the ledger says nothing of."""
    if ledger.speaks_of(subject.judged_as, device):
        return ()
    return covering(replace(subject, like="torch"), device, call, quantity, mode)


def judge_quantity(
    subject: Subject,
    device: str,
    case: Case | None,
    call: Call,
    quantity: str,
    observed: np.ndarray,
    bound: Rounded,
    grad_output: Upstream,
    direction: np.ndarray | None = None,
    *,
    certify: bool = False,
    entries: Sequence[Divergence] | None = None,
    mode: str = "",
    weaker: Weaker | None = None,
) -> Finding:
    """Judge what a subject returned for one quantity: by the derived bound, and where it is broken by the
    ledger's and by those of ways.

    Parameters
    ----------
    quantity : str
        The name of the quantity.
    observed : ndarray
        What the subject returned for it, widened.
    bound : Rounded
        The expected value and the derived bound.
    grad_output, direction : ndarray, optional
        Where a derivative was taken; of rows of a reduced loss, what each has of the upstream gradient.
    certify : bool
        Confirm the expected value by balls even where nothing is in doubt.
    entries : sequence of Divergence, optional
        The entries that may explain a broken bound; those that cover the call in the ledger unless given.
    mode : str
        How the result came about; empty for a plain call.
    weaker : callable, optional
        Evaluates an explanation, where one evaluation serves several quantities.
    """

    def known() -> tuple[Explanation, ...]:
        covered = covering(subject, device, call, quantity, mode) if entries is None else entries
        return explanations.in_order(covered, call, quantity)

    def explained(explanation: Explanation) -> Rounded:
        if weaker is not None:
            return weaker(quantity, explanation)
        return expected_by(explanation, subject, call, (quantity,), grad_output, direction)[quantity]

    def truth() -> Rounded | None:
        return certified(call, quantity, grad_output, bound, direction)

    def resembling() -> tuple[Explanation, ...]:
        return explanations.resembling(of_torch(subject, device, call, quantity, mode), call, quantity)

    settled = settle(
        observed,
        bound,
        format_of(call, quantity),
        known,
        explained,
        truth,
        resembling=resembling,
        certify=certify,
    )
    return Finding(
        case,
        call,
        quantity,
        settled.verdict,
        settled.strict,
        settled.divergence,
        settled.certified,
        grad_output if isinstance(grad_output, np.ndarray) else None,
        mode,
        direction=direction,
        explanation=settled.explanation,
        resembles=settled.resembles,
    )
