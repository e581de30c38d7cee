"""Second-order claims, judged: as `torch_loss_parity.judging.judge` for results and gradients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from torch_loss_parity.cases.case import Call, Case
from torch_loss_parity.expectation import second_order
from torch_loss_parity.expectation.expectation import grad_output_of
from torch_loss_parity.expectation.second_order import Claim, Probe
from torch_loss_parity.formulas import torch_second_order
from torch_loss_parity.judging import report
from torch_loss_parity.judging.comparison import Verdict
from torch_loss_parity.judging.judge import Finding, output_shape, settle
from torch_loss_parity.judging.modes_second_order import SECOND_ORDER, SecondOrder
from torch_loss_parity.ledger import ledger, verified
from torch_loss_parity.ledger.ledger import Divergence
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.reference.arithmetic.formats import FORMATS, Format
from torch_loss_parity.reference.arithmetic.rounding import Rounded
from torch_loss_parity.subjects import COMPLETE, Subject
from torch_loss_parity.subjects.declined import NO_SECOND_DERIVATIVE, NotOffered, reason_of
from torch_loss_parity.subjects.run_subject import WrongResult


@dataclass(frozen=True)
class SecondOrderFinding(Finding):
    """One second-order claim, judged; ``probe`` is where."""

    probe: Probe | None = field(default=None, compare=False)


def verify_second_order(
    subject: Subject,
    case: Case,
    device: str = "cpu",
    *,
    certify: bool = False,
    modes: Sequence[SecondOrder] = SECOND_ORDER,
) -> Iterator[SecondOrderFinding]:
    """Judge every claim of every mode along a random direction of one differentiable argument, another one
    from case to case.
    """
    call = OPERATORS[case.operator].call(case)
    grad_output = grad_output_of(call, output_shape(call), case.generator("grad_output"))
    along = call.differentiable[int(case.generator("along").integers(len(call.differentiable)))]
    probe = Probe(grad_output, second_order.direction_of(call, case, along))
    yield from judge_modes(subject, device, case, call, along, probe, modes, certify=certify)


def judge_modes(
    subject: Subject,
    device: str,
    case: Case | None,
    call: Call,
    along: str,
    probe: Probe,
    modes: Sequence[SecondOrder],
    *,
    certify: bool = False,
    entries: Iterable[Divergence] | None = None,
) -> Iterator[SecondOrderFinding]:
    """Judge what each mode finds along one direction, all against one expectation; the same bits have the
    same verdict.
    """
    bounds: dict[Claim, Rounded] = {}
    judged: dict[Any, SecondOrderFinding] = {}
    for mode in modes:
        sentence = f"{mode.name} along {along}"
        missing = ledger.shortfall(subject.name, device, "modes", call.operator, call.dtype, sentence)
        try:
            found = mode.observe(subject, call, device, along, probe)
        # What autograd raises for what it does not implement.
        except (NotImplementedError, RuntimeError, WrongResult) as error:
            if missing is None and isinstance(error, WrongResult):
                raise
            if missing is None and case is not None and _no_second_derivative(subject, error):
                own = isinstance(error, NotOffered)  # and no matter of the mode
                yield SecondOrderFinding.of_declined(
                    case, reason_of(error) if own else f"{mode.name}: {reason_of(error)}"
                )
                continue
            if missing is None:
                raise WrongResult(
                    f"{sentence} of {call.operator} raises {type(error).__name__}: {error}"
                ) from error
            yield SecondOrderFinding(
                case,
                call,
                f"jvp along {along}",
                Verdict(0.0),
                Verdict(0.0),
                missing.id,
                False,
                mode=mode.name,
            )
            continue
        news = (
            verified.no_longer_falls_short(missing.id, call.operator, call.dtype, sentence, device)
            if missing
            else None
        )
        for claim, observed in found.items():
            if not claim.of and call.arguments["input"].size == 0:
                # The derivative of a result that depends on nothing: 0, or 0/0 where a mean divides by no
                # elements.
                continue
            covering = tuple(
                _covering(subject, device, call, claim, mode.name) if entries is None else entries
            )
            key = claim, observed.shape, observed.tobytes(), tuple(entry.id for entry in covering)
            if key not in judged:
                if claim not in bounds:
                    bounds[claim] = second_order.expected(call, claim, probe)
                judged[key] = judge_claim(
                    case, call, claim, observed, bounds[claim], probe, covering, certify=certify
                )
            yield replace(judged[key], mode=mode.name, news=news)


def _no_second_derivative(subject: Subject, error: Exception) -> bool:
    """Whether the subject says that it has none."""
    return subject.declines(error) or (subject.name not in COMPLETE and NO_SECOND_DERIVATIVE in str(error))


def judge_claim(
    case: Case | None,
    call: Call,
    claim: Claim,
    observed: np.ndarray,
    bound: Rounded,
    probe: Probe,
    entries: Iterable[Divergence],
    *,
    certify: bool = False,
) -> SecondOrderFinding:
    """Judge one result by the derived bound, and where it is broken by the ledger's; as
    `torch_loss_parity.judging.judge.judge_claim`.
    """

    def weaker(entry: Divergence) -> Rounded:
        return second_order.expected(call, claim, probe, changes=entry.arithmetic, function=formula_of(entry))

    def truth() -> Rounded | None:
        return second_order.certified(call, claim, probe, bound)

    settled = settle(observed, bound, format_of(call, claim), tuple(entries), weaker, truth, certify=certify)
    return SecondOrderFinding(case, call, str(claim), *settled, probe.grad_output, probe=probe)


def format_of(call: Call, claim: Claim) -> Format:
    """The format that the claim's result is stored in."""
    return FORMATS[call.dtype if claim.of else call.output_dtype]


def formula_of(entry: Divergence) -> Any:
    """The formula that torch in fact evaluates, according to an entry of the ledger."""
    return ledger.formula(entry.formula, torch_second_order) if entry.formula else None


def entries() -> tuple[Divergence, ...]:
    """The entries of the ledger that speak of second-order claims."""
    return tuple(
        entry
        for entry in ledger.entries()
        if any(second_order.is_second_order(claim) for claim in entry.claims)
    )


def _covering(subject: Subject, device: str, call: Call, claim: Claim, mode: str) -> Iterator[Divergence]:
    candidates = ledger.in_force(subject.name, device, call.operator, call.dtype)
    return (entry for entry in candidates if entry.covers(call, str(claim), mode))


def smallest_probe(entry: Divergence, claim: Claim, dtype: str) -> tuple[Call, Probe]:
    """The smallest input recorded for ``claim``, with its upstream gradient and direction."""
    recorded: Mapping[str, Any] = next(
        smallest for smallest in entry.smallest if smallest["claim"] == str(claim)
    )
    arrays = {
        name: np.asarray(value) if isinstance(value, list) else value for name, value in recorded.items()
    }
    probe = Probe(*(np.asarray(recorded[name], dtype=np.float64) for name in ("grad_output", "direction")))
    arguments = {
        name: value for name, value in arrays.items() if name not in ("claim", "grad_output", "direction")
    }
    differentiable = tuple(dict.fromkeys((claim.along, claim.of or claim.along)))
    return Call(entry.operators[0], arguments, dtype, dtype, differentiable), probe


def explain(finding: SecondOrderFinding, subject: Subject, device: str) -> str:
    """Why a finding fails, and a script that shows it."""
    described, _, _ = report.explain(finding, subject, device).partition("  reproduce with")
    described = described.replace(f"gradient with respect to {finding.claim}", finding.claim)
    lines = [
        "from torch_loss_parity.cases.case import Case",
        "from torch_loss_parity.subjects import load",
        "from torch_loss_parity.judging.judge_second_order import reproduce",
        f"reproduce(load({subject.name!r}, ()), {finding.case!r}, {device!r}, {finding.mode!r}, "
        f"{finding.claim!r})",
    ]
    return described + "\n".join(["  reproduce with", *(f"    {line}" for line in lines)])


def reproduce(subject: Subject, case: Case, device: str, mode: str, claim: str) -> None:
    """Print what one mode finds for one claim of a case, what is expected and what is allowed."""
    call, asked = OPERATORS[case.operator].call(case), Claim.parse(claim)
    grad_output = grad_output_of(call, output_shape(call), case.generator("grad_output"))
    driven = next(each for each in SECOND_ORDER if each.name == mode)
    # What a double backward finds may be a claim along another argument than it took.
    for along in call.differentiable:
        probe = Probe(grad_output, second_order.direction_of(call, case, along))
        found = driven.observe(subject, call, device, along, probe)
        if asked in found:
            bound = second_order.expected(call, asked, probe)
            print(
                f"{mode}, {claim}:\n{found[asked]}\nexpected\n{bound.value}\nallowed "
                f"error\n{bound.total_error()}"
            )
