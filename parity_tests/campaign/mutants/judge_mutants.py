"""Judge mutants by the suite's own checks, called without pytest: a mutant is caught at its first failure.

What is expected of a case does not depend on the mutant: each check is evaluated once for all that are still
to be caught.
"""

from __future__ import annotations

import json
import signal
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
import torch

from torch_loss_parity.api import OF_DTYPE, OF_ROW, Test
from torch_loss_parity.campaign.mutants.mutated_kernels import (
    Definitions,
    all_mutants,
    subject_of,
    with_mutant,
)
from torch_loss_parity.expectation import expectation_cache
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.processes import child, system
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.declined import NotOffered
from torch_loss_parity.subjects.settings import Settings

CLAIMS = ("forward", "gradients", "semantics", "errors", "domain", "layouts", "hygiene", "modes")
LOADED = "it cannot be loaded"
DTYPES = ("float32", "float64", "float16", "bfloat16")  # the definitions know none of them apart
LIMIT, OF_ALL = 20.0, 3600.0  # seconds, of one check and of them all


class Endless(Exception):
    """A mutant does not return."""


def judge(
    keys: Sequence[str], dtypes: Sequence[str] = DTYPES[:1], claims: Sequence[str] = CLAIMS
) -> dict[str, str]:
    """By which claim each mutant is caught; "" where none catches it."""
    caught = dict.fromkeys(keys, "")
    definitions: dict[str, Definitions] = {}
    for mutant in all_mutants():
        if mutant.key in caught:
            try:
                definitions[mutant.key] = with_mutant(mutant)
            except Exception:
                caught[mutant.key] = LOADED
    by_key = {mutant.key: mutant for mutant in all_mutants()}
    for operator in OPERATORS:
        subjects = {
            key: subject_of(by_key[key], operator, each.functions)
            for key, each in definitions.items()
            if operator in each.operators() and not caught[key]
        }
        for claim in claims:
            for tests in _tests(operator, claim, subjects, dtypes):
                expectation_cache.keep()
                try:
                    for key, test in tests.items():
                        if not caught[key] and _fails(test, operator, claim):
                            caught[key] = claim
                finally:
                    expectation_cache.forget()
    return caught


def _tests(
    operator: str, claim: str, subjects: dict[str, Subject], dtypes: Sequence[str]
) -> Iterator[dict[str, Test]]:
    """Each check of a claim, for every subject."""
    settings = {key: Settings(each, "cpu", tuple(dtypes), "quick", 0) for key, each in subjects.items()}
    records = {key: each.promise.operator(OPERATORS[operator]) for key, each in subjects.items()}
    if claim in OF_ROW:
        for number in range(len(OF_ROW[claim](OPERATORS[operator]))):
            yield {
                key: lambda of, key=key, i=number: OF_ROW[claim](records[key])[i](  # type: ignore[misc]
                    records[key], dtypes, settings[key], of
                )
                for key in subjects
            }
        return
    for dtype in dtypes:
        for number in range(len(OF_DTYPE[claim](OPERATORS[operator]))):
            yield {
                key: lambda of, key=key, i=number, d=dtype: OF_DTYPE[claim](records[key])[i](  # type: ignore[misc]
                    records[key], d, settings[key], of(d)
                )
                for key in subjects
            }


def _fails(test: Test, operator: str, claim: str) -> bool:
    """Whether a mutant fails a check: it is wrong, it raises, or it does not return."""
    torch.manual_seed(0)
    try:
        with warnings.catch_warnings(), _alarm():
            warnings.simplefilter("ignore")
            test(lambda dtype: Tally(operator, dtype, claim))
    except (pytest.skip.Exception, NotOffered):
        return False
    except (Exception, pytest.fail.Exception):
        return True
    return False


@contextmanager
def _alarm() -> Iterator[None]:
    """Raise if what is done takes long, where the system has an alarm."""
    if not system.ALARM:
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise Endless

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def judged_apart(keys: Sequence[str], dtypes: Sequence[str] = DTYPES[:1]) -> dict[str, str]:
    """As `judge`, in a process of its own."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "caught.json")
        child.call(_judge_into, keys, dtypes, file, limit=OF_ALL)
        return dict(json.loads(file.read_text()))


def _judge_into(keys: Sequence[str], dtypes: Sequence[str], file: Path) -> None:
    torch.set_num_threads(1)
    file.write_text(json.dumps(judge(keys, dtypes)))
