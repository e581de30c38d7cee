"""Checks of special values and semantics: a row of an operator's record, or a promotion, in some dtypes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from packaging.version import Version

from torch_loss_parity.cases.case import Call
from torch_loss_parity.claims.checks import RowCheck, TallyOf
from torch_loss_parity.claims.semantics.defaults import what_is_left_out_has_its_default
from torch_loss_parity.claims.semantics.promoting import promote
from torch_loss_parity.expectation.expectation import FORWARD, expected
from torch_loss_parity.judging import reproduction
from torch_loss_parity.judging.causes import alike, first_sentence
from torch_loss_parity.judging.comparison import judge
from torch_loss_parity.judging.failure_message import PLAIN, explain
from torch_loss_parity.judging.judge import Finding, judge_quantity, together
from torch_loss_parity.judging.left_open import judged_as_left_open, without_another_meaning
from torch_loss_parity.judging.sentence import Sentence
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.ledger import ledger
from torch_loss_parity.ledger.environment import torch_version
from torch_loss_parity.operators import Operator
from torch_loss_parity.operators.facets import each
from torch_loss_parity.operators.meaning import IGNORED, NO_ROWS, TIMES_ZERO
from torch_loss_parity.operators.semantics import Promotion, Row
from torch_loss_parity.reference.arithmetic.formats import FORMATS
from torch_loss_parity.reference.arithmetic.rounding import Rounded
from torch_loss_parity.subjects import Subject, run_subject
from torch_loss_parity.subjects.declined import NotObserved, NotOffered, OutsideThePromise
from torch_loss_parity.subjects.settings import Settings

CLAIM = "semantics"
GOT, OF_DTYPES = "got", "a result or gradient is not that of the promoted dtypes"
TORCH = ("torch", "torch.nn")
RIGHT = "it is as it should be"
# What an operator that refuses a row raises, or one that divides by a size.
REFUSALS = (RuntimeError, ValueError, IndexError, TypeError, ZeroDivisionError)


def rows_to_run(
    rows: Sequence[Row], dtypes: Sequence[str], effort: str, dealt_out: bool = False
) -> Iterator[tuple[Row, list[str]]]:
    """The rows of an operator that this effort runs, each with the dtypes that it runs in: one, where the
    dtypes share what is asked of the operator.
    """
    turn = 0
    for row in rows:
        allowed = [dtype for dtype in dtypes if dtype in row.dtypes]
        if effort == "quick" and row.about_shape:
            continue
        if allowed and (effort == "quick" or (effort == "standard" and (row.about_shape or dealt_out))):
            allowed = [allowed[turn % len(allowed)]]
            turn += 1
        if allowed:
            yield row, allowed


def row_holds(
    operator: Operator, dtypes: Sequence[str], settings: Settings, tally_of: TallyOf, *, row: Row
) -> None:
    """Results and gradients are what the definition and the row say, or the ledger has it otherwise."""
    if row.torch_alone and settings.subject.name not in TORCH:
        pytest.skip("what torch does where an argument is left out, which is deprecated; nobody else has to")
    if Version(torch_version()) < Version(row.since):
        pytest.skip(f"torch {torch_version()} is older than {row.since}, the oldest that is known to do so")
    extended = with_a_z_loss(row, operator, settings.subject)
    for each_row, dtype in product((row, *extended), dtypes):
        tally = tally_of(dtype)
        try:
            problem = problem_in_row(settings.subject, settings.device, operator, each_row, dtype, tally)
        except NotObserved as error:  # of another dtype it may be
            tally.decline(str(error))
            continue
        sentence = Sentence.of(each_row, dtype, claim=CLAIM, operator=operator.name, settings=settings)
        if problem and sentence.shortfall is None:
            tally.count(False)
            said = first_sentence(problem).partition(f"{each_row}: ")[2] or problem
            tally.blame(alike(said), str(each_row))
        sentence.check(problem, tally, RIGHT)
        if problem:  # recorded
            tally.count()


def with_a_z_loss(row: Row, operator: Operator, subject: Subject) -> list[Row]:
    """A row that is ignored, whatever it holds, under the z-loss that a subject promises."""
    weights = subject.promise.options.get(operator.name, {}).get("z_loss", ())
    if row.meaning not in (IGNORED, TIMES_ZERO) or not any(weights):
        return []
    arguments = {**row.arguments, "z_loss": max(weights)}
    return [replace(row, sentence=f"{row.sentence}, z-loss", arguments=arguments, value=None, gradient=None)]


def problem_in_row(
    subject: Subject, device: str, operator: Operator, row: Row, dtype: str, tally: Tally
) -> str:
    """What is wrong with the subject's value and gradients in one row; nothing where it is ""."""
    call, spelt_out = row.call(operator, dtype), row.expects(operator, dtype)
    bounds = expected(spelt_out, (FORWARD,), profile=subject.profile)
    grad_output = row.grad_output(bounds[FORWARD].value.shape)
    bounds |= expected(spelt_out, call.differentiable, grad_output, profile=subject.profile)
    try:
        with subject.declining():
            results = run_subject.separately(subject, call, device, grad_output)
    except NotOffered:  # a RuntimeError too, as NotImplementedError is
        raise
    except (*REFUSALS, run_subject.WrongResult) as error:
        finding = Finding.of_failure(None, call, f"{row}: {type(error).__name__}: {error}")
        return explain(finding, subject, device)
    problems = []
    of_gradients = together(subject, spelt_out, call.differentiable, grad_output)
    for quantity, observed in results.items():
        upstream, weaker = (None, None) if quantity == FORWARD else (grad_output, of_gradients)
        bound = bounds[quantity]
        finding = judge_quantity(
            subject, device, None, spelt_out, quantity, observed, bound, upstream, weaker=weaker
        )
        if row.leaves_open(quantity):
            finding = without_another_meaning(finding, observed, bound)
            # torch is held to what it does; autograd of the reference makes of infinities what it makes.
            held = subject.name in ledger.subjects() and subject.name != "reference"
            if not finding.verdict.passes and not held:
                finding = judged_as_left_open(finding, observed, subject.profile)
        wrong = disagreement(
            finding,
            observed,
            bounds[quantity],
            stated_value(row, dtype, quantity, grad_output, bounds[quantity]),
            averages_nothing=row.meaning is NO_ROWS and quantity == FORWARD,
        )
        if not wrong:
            tally.add(finding)
        elif not finding.verdict.passes:
            wrong = explain(replace(finding, call=call), subject, device)
        else:
            wrong = f"{wrong}\n{_script(subject, device, call, quantity, upstream, bounds[quantity])}"
        problems += [f"{row}: {wrong}"] if wrong else []
    return "\n".join(problems)


def _script(
    subject: Subject, device: str, call: Call, quantity: str, upstream: np.ndarray | None, bound: Rounded
) -> str:
    """A script that prints a result that is wrong though no bound is broken."""
    printed = [f"print(result.tolist(), 'expected', {np.asarray(bound.nearest).tolist()})"]
    text = reproduction.script(subject, device, call, quantity, PLAIN, printed, grad_output=upstream)
    return "\n".join(reproduction.shown(text, call.operator))


def stated_value(
    row: Row, dtype: str, quantity: str, grad_output: np.ndarray, bound: Rounded
) -> np.ndarray | None:
    """What the row says of a quantity, of a gradient times the upstream gradient; None where it is silent."""
    stated: Mapping[str, Any] = row.stated(dtype)
    if quantity not in stated:
        return None
    number = np.asarray(stated[quantity], dtype=np.float64)
    if quantity != FORWARD:
        shape = bound.value.shape
        rows = (
            grad_output
            if grad_output.ndim in (0, len(shape))
            else np.expand_dims(grad_output, min(1, len(shape) - 1))
        )
        with np.errstate(invalid="ignore"):
            number = np.broadcast_to(number, shape) * rows
    return np.broadcast_to(number, bound.value.shape)


def disagreement(
    finding: Finding,
    observed: np.ndarray,
    bound: Rounded,
    stated: np.ndarray | None,
    averages_nothing: bool = False,
) -> str:
    """What is wrong with a result; nothing where it is "".

    Of a mean of nothing a way may have a number where the definition has nan: losses that were divided by no
    rows, added up, are 0. What the documentation decides is not left to it.
    """
    verdict, quantity = (
        finding.verdict,
        "the result" if finding.quantity == FORWARD else (f"the gradient with respect to {finding.quantity}"),
    )
    format = FORMATS[finding.call.output_dtype if finding.quantity == FORWARD else finding.call.dtype]
    if stated is not None:
        stated = format.round(stated)
        definition = judge(stated, bound, format)
        if not definition.passes:
            return f"the row says that {quantity} is {stated}, the definition {bound.nearest}"
    if not verdict.passes:
        return f"{quantity} is {observed}, expected {bound.nearest}"
    decided = stated if averages_nothing and not finding.divergence else None
    if decided is not None and np.any(np.isfinite(observed) & ~np.isfinite(decided)):
        return f"{quantity} is {observed}, the row says {stated}"
    if finding.strict.undecided and not finding.divergence:
        if stated is None:
            return (
                f"{quantity} is {observed}, the definition's is {bound.nearest}, and no bound holds there: "
                f"the row must state it, or say in which dtypes it makes sense"
            )
        if not np.array_equal(observed, stated, equal_nan=True):
            return f"{quantity} is {observed}, the row says {stated}"
    return ""


def result_has_the_promoted_dtype(
    operator: Operator, dtypes: Sequence[str], settings: Settings, tally_of: TallyOf, *, promotion: Promotion
) -> None:
    """With arguments of two dtypes the result has the one that they promote to, and each gradient that of its
    argument.
    """
    for dtype, other in product(dtypes, promotion.others):
        if other != dtype:
            tally = tally_of(dtype)
            try:
                text, problem = promoted(settings.subject, settings.device, operator, promotion, dtype, other)
            except NotObserved as error:
                tally.decline(str(error))
                continue
            sentence = Sentence(
                settings.subject.judged_as, settings.device, CLAIM, operator.name, dtype, text
            )
            excused = sentence.shortfall is not None
            tally.count(excused or not problem)
            if problem and not excused:
                said = first_sentence(problem).partition(f"{text}: ")[2]
                tally.blame(OF_DTYPES if said.startswith(GOT) else alike(said), text)
            sentence.check(problem, tally, RIGHT)


def promoted(
    subject: Subject, device: str, operator: Operator, promotion: Promotion, dtype: str, other: str
) -> tuple[str, str]:
    """What is asked, and what is wrong."""
    own = {
        name: getattr(torch, other if name == promotion.other else dtype)
        for name in ("input", "target", "weight")
    }
    result = torch.promote_types(own["input"], own[promotion.other])
    arguments = {
        name: np.asarray(value) if isinstance(value, list) else value
        for name, value in promotion.arguments.items()
    }
    if "dtype" in arguments:
        arguments["dtype"], result = dtype, getattr(torch, dtype)
    real = tuple(name for name in ("input", "target") if name in arguments and own[name].is_floating_point)
    leaves = subject.promise.differentiated(operator.name, real)
    sentence = f"{promotion.sentence} {other}: the result is {str(result).removeprefix('torch.')}"
    wrong = f"{operator.name} of {subject.name} on {device}, {dtype}: {sentence}: "
    script = _script_of_promotion(subject, device, operator, promotion, own, result, leaves)
    dtypes = {name: str(each).removeprefix("torch.") for name, each in own.items() if name in arguments}
    try:
        with subject.declining():
            call = Call(operator.name, arguments, dtype, dtype, leaves, dtypes=dtypes)
            if promotion.other != "input" and (outside := subject.promise.outside_call(call)):
                raise OutsideThePromise(outside)
            met = promote(subject, call, device)
    except NotOffered:
        raise
    except REFUSALS as error:
        return sentence, f"{wrong}{type(error).__name__}: {error}\n{script}"
    right = met["dtype"] == str(result) and (
        np.array_equal(met["output"], promotion.value)
        or _is_as_near_as_rounding_allows(
            subject, device, operator, promotion, met["output"], met["dtype"].removeprefix("torch.")
        )
    )
    right = right and met["dtypes"] == [str(own[name]) for name in leaves]
    right = right and ("input" not in leaves or np.array_equal(met["gradients"][0], promotion.gradient))
    return sentence, "" if right else f"{wrong}{GOT} {met['said']}\n{script}"


def _script_of_promotion(
    subject: Subject,
    device: str,
    operator: Operator,
    promotion: Promotion,
    own: Mapping[str, torch.dtype],
    result: torch.dtype,
    leaves: Sequence[str],
) -> str:
    arguments = promotion.arguments
    arrays = {
        name: (np.asarray(value), str(own[name]).removeprefix("torch."))
        for name, value in arguments.items()
        if isinstance(value, list)
    }
    values = {name: name if name in arrays else repr(value) for name, value in arguments.items()}
    if "dtype" in values:
        values["dtype"] = str(result)
    body = [
        *reproduction.requiring(leaves),
        f"output = subject.{operator.name}({', '.join(f'{name}={value}' for name, value in values.items())})",
        f"print(output, 'expected', {np.asarray(promotion.value).tolist()}, {str(result)!r})",
        f"print(torch.autograd.grad(output.sum(), [{', '.join(leaves)}]))" if leaves else "",
        f"print('expected', {np.asarray(promotion.gradient).tolist()})" if "input" in leaves else "",
    ]
    text = reproduction.written(subject.import_of(operator.name), arrays, device, filter(None, body))
    return "\n".join(reproduction.shown(text, operator.name))


def _is_as_near_as_rounding_allows(
    subject: Subject, device: str, operator: Operator, promotion: Promotion, output: np.ndarray, dtype: str
) -> bool:
    """Whether a result other than the round numbers of a promotion is right: exp(-200) where these have 0."""
    arguments = {
        name: np.asarray(value) if isinstance(value, list) else value
        for name, value in promotion.arguments.items()
        if name != "dtype"
    }
    arguments["input"] = arguments["input"].astype(np.float64)
    call = Call(operator.name, arguments, dtype, dtype)
    bound = expected(call, (FORWARD,), profile=subject.profile)[FORWARD]
    finding = judge_quantity(subject, device, None, call, FORWARD, output, bound, None)
    return finding.verdict.passes


def checks_of(operator: Operator) -> tuple[RowCheck, ...]:
    """One for each row; and what has a default, left out."""
    rows = (partial(row_holds, row=row) for row in each(operator.semantics))
    return (*rows, what_is_left_out_has_its_default)
