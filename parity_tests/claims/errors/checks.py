"""Checks of errors: malformed arguments of one row are refused as torch refuses them, and change nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from inspect import signature
from typing import Any

import numpy as np
import pytest
from packaging.version import Version

from torch_loss_parity.cases.case import Call
from torch_loss_parity.claims.checks import RowCheck, TallyOf
from torch_loss_parity.claims.errors.meeting import meet
from torch_loss_parity.expectation.quantity import FORWARD
from torch_loss_parity.judging import reproduction
from torch_loss_parity.judging.causes import alike
from torch_loss_parity.judging.reproduction import Lines, Steps, Wanted, dtype_of, requiring
from torch_loss_parity.judging.sentence import Sentence
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.ledger import verified
from torch_loss_parity.ledger.environment import torch_version
from torch_loss_parity.ledger.news import News
from torch_loss_parity.operators import Operator
from torch_loss_parity.operators.facets import each
from torch_loss_parity.operators.refusals import Refusal
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.declined import NotObserved, NotOffered
from torch_loss_parity.subjects.settings import Settings

CLAIM = "errors"
TORCH = ("torch", "torch.nn")
SHOWN = 9  # problems of many rows


def refusals_of(operator: Operator) -> list[Refusal]:
    """What a subject has to refuse of an operator."""
    return [refusal for refusal in each(operator.refusals) if not refusal.definition_alone]


def row_is_refused(
    operator: Operator, dtypes: Sequence[str], settings: Settings, tally_of: TallyOf, *, refusal: Refusal
) -> None:
    """The subject refuses a row in every dtype, unless it is not asked for it here."""
    if refusal.torch_alone and settings.subject.name not in TORCH:
        pytest.skip(f"asked of torch alone: {refusal.torch_alone}")
    if refusal.is_of_values and settings.device.startswith("cuda"):
        pytest.skip(
            "on a GPU a number out of range is a device-side assertion, after which no test could run in "
            "this process"
        )
    if Version(torch_version()) < Version(refusal.since):
        pytest.skip(
            f"torch {torch_version()} is older than {refusal.since}, the oldest that is known to refuse so"
        )
    for dtype in dtypes:
        tally = tally_of(dtype)
        try:
            check_refusal(operator, refusal, dtype, settings, tally)
        except NotObserved as error:  # of another dtype it may be
            tally.decline(str(error))


def no_rows_are_refused_as_some_are(
    operator: Operator, dtypes: Sequence[str], settings: Settings, tally_of: TallyOf
) -> None:
    """What is wrong with the arguments is refused where there are no rows, too; rows of the table take the
    dtypes in turn.
    """
    if settings.subject.compiles:
        pytest.skip("some hundred calls of no rows are not compiled")
    if settings.device.startswith("cuda"):
        pytest.skip("what torch refuses of no rows was only looked at on the CPU")
    alike = [refusal.of_no_rows for refusal in refusals_of(operator)]
    asked = [
        refusal
        for refusal in alike
        if refusal is not None
        and Version(torch_version()) >= Version(refusal.since)
        and not (refusal.torch_alone and settings.subject.name not in TORCH)
    ]
    if not asked:
        pytest.skip(f"torch {torch_version()} is older than any that was asked what it refuses of no rows")
    problems: list[str] = []
    for turn, refusal in enumerate(asked):
        dtype = dtypes[turn % len(dtypes)]
        tally = tally_of(dtype)
        try:
            check_refusal(operator, refusal, dtype, settings, tally)
        except NotOffered as error:
            tally.decline(str(error))
        except AssertionError as error:
            problems.append(str(error))
    first = "\n\n".join(problems[:SHOWN])
    assert not problems, (
        f"{len(problems)} of {len(asked)} are not refused as they should be; first:\n\n{first}"
    )


def check_refusal(operator: Operator, refusal: Refusal, dtype: str, settings: Settings, tally: Tally) -> None:
    """Fail unless the subject refuses the row in one dtype, or the ledger records that it does not."""
    problem, raised = problem_of(settings.subject, settings.device, operator, refusal, dtype)
    sentence = Sentence.of(refusal, dtype, claim=CLAIM, operator=operator.name, settings=settings)
    known = sentence.shortfall
    named, expected = f"{operator.name}: {refusal}", refusal.expected(torch_version())
    if raised and known is None and settings.subject.name in TORCH and is_news(settings.device):
        where = f"torch {torch_version()}" if settings.device == "cpu" else f"torch on {settings.device}"
        until = "until then it raised" if settings.device == "cpu" else "on the CPU"
        text = f"{named}: {where} raises {raised}, {until} {expected.__name__}"
        tally.tell(News("refusals", named, dtype, text))
        problem = ""
    if not problem and known is None and settings.subject.name in TORCH and expected is not refusal.exception:
        text = (
            f"{named}: {expected.__name__} since torch {refusal.changed[0][0]}, "
            f"{refusal.exception.__name__} before"
        )
        tally.tell(News("refusals", named, dtype, text, known=True))
    tally.count(known is not None or not problem)
    if problem and known is None:
        tally.blame(cause_of(problem, raised, expected), str(refusal))
    sentence.check(problem, tally, right="it is refused as it should be")


def is_news(device: str) -> bool:
    """Whether another exception of torch's than the recorded one is no failure: the record is of the CPU, and
    of the releases that were tried.
    """
    return device != "cpu" or verified.is_later(device)


def cause_of(problem: str, raised: str, expected: type[Exception]) -> str:
    """Why a refusal is wrong, in words that others of the same cause share."""
    if raised:
        return f"raises {raised} where torch raises {expected.__name__}"
    if "accepted, and returns" in problem:
        return f"accepted where torch raises {expected.__name__}"
    return alike(problem.rpartition(": ")[2])


def problem_of(
    subject: Subject, device: str, operator: Operator, refusal: Refusal, dtype: str
) -> tuple[str, str]:
    """What is wrong with how the subject meets malformed arguments, nothing where it is ""; and if that is no
    more than the type of the exception, the name of the type."""
    malformed, expected = refusal.call(operator, dtype), refusal.expected(torch_version())
    met = meet(
        subject,
        malformed,
        device,
        ordinary=ordinary_call(operator, dtype),
        ends_cuda=refusal.is_of_values,
    )
    problem, raised = refused(met, expected, exactly=subject.name in TORCH)
    if met["changed"]:
        problem, raised = f"{problem}; " * bool(problem) + f"{', '.join(met['changed'])} changed", ""
    if met["otherwise"]:
        problem, raised = (
            f"{problem}; " * bool(problem) + ("an ordinary call returns something else afterwards"),
            "",
        )
    what = f"{operator.name} of {subject.name} on {device}, {dtype}: {refusal}"
    if not problem:
        return "", raised
    return f"{what}: {problem}\n{script_of(subject, device, operator, refusal, dtype)}", raised


def script_of(subject: Subject, device: str, operator: Operator, refusal: Refusal, dtype: str) -> str:
    """A script that gives the subject the malformed arguments, between two ordinary calls."""
    call = refusal.call(operator, dtype)
    ordinary = operator.call(operator.case(dtype, (2, 3), next(iter(operator.values)), {}, seed=0))
    needed = _without_default(operator)
    passed = [
        f"{name}=ordinary_{name}" if isinstance(value, np.ndarray) else f"{name}={value!r}"
        for name, value in ordinary.arguments.items()
        if name in needed
    ]
    arrays = {
        f"ordinary_{name}": (value, dtype_of(ordinary, name))
        for name, value in ordinary.arguments.items()
        if name in needed and isinstance(value, np.ndarray)
    }

    def lines(wanted: Wanted) -> Lines:
        names = ", ".join(f"{name!r}: {name}" for name in wanted.arrays if not name.startswith("ordinary"))
        yield f"def ordinary(): return {wanted.function}({', '.join(passed)})"
        yield "before = ordinary()"
        yield from requiring(wanted.differentiable)
        yield f"given = {{{names}}}"
        yield "copies = {name: value.detach().clone() for name, value in given.items()}"
        yield "try:"
        yield f"    print('ACCEPTED, and returns', {wanted.call})"
        yield "except Exception as error:"
        yield "    print('raised', type(error).__name__, error)"
        yield "for name, copy in copies.items():"
        yield "    if not torch.equal(given[name], copy): print(name, 'CHANGED')"
        yield "if not torch.equal(ordinary(), before): print('an ordinary call CHANGED')"

    expected = refusal.expected(torch_version()).__name__
    text = reproduction.script(
        subject, device, call, FORWARD, Steps(lines, arrays), [f"print('expected', {expected!r})"]
    )
    return "\n".join(reproduction.shown(text, operator.name))


def _without_default(operator: Operator) -> list[str]:
    parameters = signature(operator.forward).parameters
    return [name for name, parameter in parameters.items() if parameter.default is parameter.empty]


def refused(met: Mapping[str, Any], exception: type[Exception], *, exactly: bool) -> tuple[str, str]:
    """What is wrong with the refusal, and the name of the exception if it has another type; nothing where
    they are "".

    Parameters
    ----------
    met : mapping
        See `torch_loss_parity.claims.errors.meeting.meet`.
    """
    if not met["types"]:
        return f"accepted, and returns {met['returned']}; expected {exception.__name__}", ""
    name, text = met["types"][0], met["text"]
    inside = exception.__name__ in met["types"]
    if NotOffered.__name__ in met["types"] and not inside:
        raise NotOffered(text)
    right = name == exception.__name__ if exactly else inside
    if right and exactly and not text:
        # What is lost of a message that cannot be decoded, before Python 3.11.7.
        return f"raises {name} without a word", ""
    return ("", "") if right else (f"raises {name} ({text}), expected {exception.__name__}", name)


def ordinary_call(operator: Operator, dtype: str) -> Call:
    """Arguments that nobody refuses: two rows, without the arguments that have a default."""
    call = operator.call(operator.case(dtype, (2, 3), next(iter(operator.values)), {}, seed=0))
    needed = _without_default(operator)
    return replace(call, arguments={name: call.arguments[name] for name in call.arguments if name in needed})


def checks_of(operator: Operator) -> tuple[RowCheck, ...]:
    """One for each row that is asked of a subject; and all of them with no rows."""
    rows = (partial(row_is_refused, refusal=refusal) for refusal in refusals_of(operator))
    return (*rows, no_rows_are_refused_as_some_are)
