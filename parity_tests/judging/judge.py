"""A case, from the drawn call to the verdict: subject and reference meet here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.expectation.expectation import FORWARD, certified, expected, grad_output_of
from torch_loss_parity.judging.comparison import Verdict, judge
from torch_loss_parity.ledger import ledger
from torch_loss_parity.ledger.ledger import Divergence
from torch_loss_parity.ledger.news import News
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.processes import watchdog
from torch_loss_parity.reference.arithmetic.formats import FORMATS, Format
from torch_loss_parity.reference.arithmetic.rounding import Rounded
from torch_loss_parity.subjects import Subject, run_subject
from torch_loss_parity.subjects.declined import NotOffered, reason_of
from torch_loss_parity.subjects.run_subject import WrongResult

# Of the limit: more than the evaluation's error can be of the bound, at most 2**-14 (float64 in
# double-double)
CLOSE = 2.0**-10
CERTIFIABLE = 2**18  # elements: at 1 to 3 microseconds an element, balls take less than a second
SAMPLED = 2**12  # elements: of cases that are only sampled or close to the limit, the small ones
NO_RESULT = "no result"  # the claim of a shortfall that leaves nothing to compare


AnyFinding = TypeVar("AnyFinding", bound="Finding")


@dataclass(frozen=True)
class Finding:
    """One claim about one call, judged.

    Attributes
    ----------
    verdict : Verdict
        Against the derived bound; where that is broken and the ledger knows why, against the bound of the
        entry.
    strict : Verdict
        Against the derived bound.
    divergence : str
        The ledger's entry that explains a broken strict bound, or empty.
    certified : bool
        Whether the expected value was confirmed by balls.
    mode : str
        How the subject was made to compute the claim; empty for a plain call.
    declined : str
        Why the subject does not offer it; empty where it does. Then nothing was judged.
    news : News, optional
        What is otherwise than recorded.
    """

    case: Case | None
    call: Call
    claim: str
    verdict: Verdict
    strict: Verdict
    divergence: str
    certified: bool
    grad_output: np.ndarray | None = None
    mode: str = ""
    declined: str = ""
    news: News | None = None

    @classmethod
    def of_failure(cls, case: Case, reason: str) -> Finding:
        """What is wrong with a case where there is nothing to compare."""
        verdict = Verdict(np.inf, reason=reason)
        return cls(case, OPERATORS[case.operator].call(case), FORWARD, verdict, verdict, "", False)

    @classmethod
    def of_recorded(cls, case: Case, reason: str, entry: str) -> Finding:
        """What is wrong with a case where there is nothing to compare, and a shortfall of the ledger knows
        why.
        """
        return cls(
            case,
            OPERATORS[case.operator].call(case),
            FORWARD,
            Verdict(0.0),
            Verdict(np.inf, reason=reason),
            entry,
            False,
        )

    @classmethod
    def of_declined(cls: type[AnyFinding], case: Case, reason: str) -> AnyFinding:
        """A case that the subject does not offer."""
        return cls(
            case,
            OPERATORS[case.operator].call(case),
            FORWARD,
            Verdict(0.0),
            Verdict(0.0),
            "",
            False,
            declined=reason,
        )


def recorded(subject: Subject, case: Case, device: str, error: WrongResult) -> Finding | None:
    """What the ledger knows of a case in which there is nothing to compare, by the words of its failure; None
    where it knows nothing.
    """
    reason = str(error)
    entry = ledger.shortfall(subject.name, device, NO_RESULT, case.operator, case.dtype, reason)
    return Finding.of_recorded(case, reason, entry.id) if entry else None


@contextmanager
def of_the_subject(subject: Subject) -> Iterator[None]:
    """Whatever is raised within is the subject's doing.

    Raises
    ------
    NotOffered
        If it says that it does not offer what it was asked for.
    WrongResult
        If it raises anything else.
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


@dataclass(frozen=True)
class Mode:
    """A way to make a subject compute claims about a call: under a transform, from views of its arguments,
    ...

    Attributes
    ----------
    name : str
        Completes the sentence "is right ...": "from transposed views", "under torch.inference_mode".
    observe : callable
        Takes (subject, call, device, grad_output) and returns the subject's result for each claim, widened.
    applies : callable
        Whether the mode makes sense for a call.
    """

    name: str
    observe: Callable[[Subject, Call, str, np.ndarray], Mapping[str, np.ndarray]]
    applies: Callable[[Call], bool] = lambda call: True

    def __str__(self) -> str:
        return self.name


def verify_in_modes(modes: Sequence[Mode]) -> Callable[..., Iterator[Finding]]:
    """What judges the claims of one case in each of ``modes``, all against the same expectation."""

    def verify(
        subject: Subject, case: Case, device: str = "cpu", *, certify: bool = False
    ) -> Iterator[Finding]:
        call = OPERATORS[case.operator].call(case)
        grad_output = grad_output_of(call, output_shape(call), case.generator("grad_output"))
        bounds: dict[str, Rounded] = {}
        judged: dict[Any, Finding] = {}
        for mode in modes:
            if not mode.applies(call):
                continue
            try:
                with of_the_subject(subject):
                    observed = mode.observe(subject, call, device, grad_output)
            except NotOffered as error:
                yield Finding.of_declined(case, str(error))
                continue
            except WrongResult as error:
                known = recorded(subject, case, device, error)
                if known is None:
                    raise
                yield replace(known, mode=mode.name)
                continue
            for claim in observed:
                if claim not in bounds:
                    bounds |= (
                        expected(call, (claim,))
                        if claim == FORWARD
                        else expected(call, call.differentiable, grad_output)
                    )
            for claim, result in observed.items():
                upstream = None if claim == FORWARD else grad_output
                entries = tuple(_covering(subject, device, call, claim, mode.name))
                # The same bits have the same verdict.
                key = claim, result.shape, result.tobytes(), tuple(entry.id for entry in entries)
                if key not in judged:
                    found = judge_claim(
                        subject,
                        device,
                        case,
                        call,
                        claim,
                        result,
                        bounds[claim],
                        upstream,
                        certify=certify,
                        entries=entries,
                    )
                    judged[key] = found
                yield replace(judged[key], mode=mode.name)

    return verify


def verify_forward(
    subject: Subject, case: Case, device: str = "cpu", *, certify: bool = False
) -> Iterator[Finding]:
    """Judge the forward result of one case."""
    call = OPERATORS[case.operator].call(case)
    with of_the_subject(subject):
        observed = run_subject.forward(subject, call, device)
    bound = expected(call, (FORWARD,))[FORWARD]
    yield judge_claim(subject, device, case, call, FORWARD, observed, bound, None, certify=certify)


def verify_gradients(
    subject: Subject, case: Case, device: str = "cpu", *, certify: bool = False
) -> Iterator[Finding]:
    """Judge the gradient with respect to each differentiable argument of one case, for a random upstream
    gradient.
    """
    call = OPERATORS[case.operator].call(case)
    shape = output_shape(call)
    grad_output = grad_output_of(call, shape, case.generator("grad_output"))
    with of_the_subject(subject):
        observed = run_subject.gradients(subject, call, device, grad_output)
    bounds = expected(call, call.differentiable, grad_output)
    for claim, bound in bounds.items():
        yield judge_claim(
            subject, device, case, call, claim, observed[claim], bound, grad_output, certify=certify
        )


def _covering(subject: Subject, device: str, call: Call, claim: str, mode: str) -> Iterator[Divergence]:
    entries = ledger.in_force(subject.name, device, call.operator, call.dtype)
    return (entry for entry in entries if entry.covers(call, claim, mode))


def output_shape(call: Call) -> tuple[int, ...]:
    """The shape of the result of a call."""
    return OPERATORS[call.operator].result_shape(call.arguments)


def judge_claim(
    subject: Subject,
    device: str,
    case: Case | None,
    call: Call,
    claim: str,
    observed: np.ndarray,
    bound: Rounded,
    grad_output: np.ndarray | None,
    *,
    certify: bool = False,
    entries: Iterable[Divergence] | None = None,
    mode: str = "",
) -> Finding:
    """Judge what a subject returned for one claim: by the derived bound, and where it is broken by the
    ledger's.

    Parameters
    ----------
    observed : ndarray
        The subject's result for ``claim`` of ``call``, widened.
    bound : Rounded
        The expected value and the derived bound.
    certify : bool
        Confirm the expected value by balls even where nothing is in doubt.
    entries : iterable of Divergence, optional
        The entries that may explain a broken bound; those that cover the call in the ledger unless given.
    mode : str
        How the result came about; empty for a plain call.
    """
    covering = tuple(_covering(subject, device, call, claim, mode) if entries is None else entries)

    def weaker(entry: Divergence) -> Rounded:
        return expected(call, (claim,), grad_output, changes=entry.arithmetic, function=entry.function)[claim]

    def truth() -> Rounded | None:
        return certified(call, claim, grad_output, bound)

    settled = settle(observed, bound, FORMATS[call.dtype_of(claim)], covering, weaker, truth, certify=certify)
    return Finding(case, call, claim, *settled, grad_output, mode)


def settle(
    observed: np.ndarray,
    bound: Rounded,
    format: Format,
    entries: Sequence[Divergence],
    weaker: Callable[[Divergence], Rounded],
    truth: Callable[[], Rounded | None],
    *,
    certify: bool = False,
) -> tuple[Verdict, Verdict, str, bool]:
    """The verdict that decides, the strict one, the id of the entry that explains a broken bound, and whether
    balls confirmed it.

    Parameters
    ----------
    weaker : callable
        The bound that an entry says holds. It is around the formula's own value: it covers what evaluating
        that formula costs, not the definition's.
    truth : callable
        The bound around the true value, from balls.
    """

    def explained() -> tuple[Verdict, str]:
        for entry in entries:
            against = judge(observed, weaker(entry), format)
            if against.passes:
                return against, entry.id
        return strict, ""

    strict = verdict = judge(observed, bound, format, refine=False)
    divergence, confirmed, size = "", False, bound.value.size
    if not strict.passes or strict.undecided:
        verdict, divergence = explained()
    # The evaluation's own error is part of the bound, so it decides but for a verdict within that error of
    # the limit. Every failure, and of the small cases those and a sample, are confirmed by balls: no failure
    # is false, and no small one is missed.
    close = abs(verdict.fraction - 1.0) <= CLOSE
    if 0 < size <= CERTIFIABLE and (not verdict.passes or ((close or certify) and size <= SAMPLED)):
        true = truth()
        if true is not None:
            strict, confirmed = judge(observed, true, format), True
            # Only the truth shows it, where the evaluation had lost the same as the subject.
            if not divergence:
                verdict, divergence = (strict, "") if strict.passes else explained()
    return verdict, strict, divergence, confirmed
