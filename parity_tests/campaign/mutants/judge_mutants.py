"""Judge mutants by the suite's own checks, called without pytest: a mutant is caught at its first failure.

What is expected of a case does not depend on the mutant: each check is evaluated once for all that are still
to be caught.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from torch_loss_parity.api import Test, tests_of
from torch_loss_parity.campaign.mutants.mutated_kernels import (
    Definitions,
    all_mutants,
    subject_of,
    with_mutant,
)
from torch_loss_parity.campaign.mutants.mutation import Mutant
from torch_loss_parity.expectation import expectation_cache
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.processes import child
from torch_loss_parity.processes.alarm import alarm
from torch_loss_parity.processes.watchdog import NotReturned
from torch_loss_parity.subjects.declined import NotOffered
from torch_loss_parity.subjects.settings import Settings

CLAIMS = ("forward", "gradients", "semantics", "errors", "domain", "layouts", "hygiene", "modes")
LOADED = "it cannot be loaded"
DTYPES = ("float32", "float64", "float16", "bfloat16")  # the definitions know none of them apart
LIMIT, OF_ALL = 20.0, 3600.0  # seconds, of one check and of them all


def judge(
    keys: Sequence[str], dtypes: Sequence[str] = DTYPES[:1], claims: Sequence[str] = CLAIMS
) -> dict[str, str]:
    """By which claim each mutant is caught; "" where none catches it."""
    caught = dict.fromkeys(keys, "")
    by_key = {mutant.key: mutant for mutant in all_mutants()}
    loaded = {key: _loaded(by_key[key]) for key in keys}
    definitions = {key: each for key, each in loaded.items() if each is not None}
    caught |= dict.fromkeys(loaded.keys() - definitions.keys(), LOADED)
    for operator, record in OPERATORS.items():
        subjects = {
            key: subject_of(by_key[key], operator, each.functions)
            for key, each in definitions.items()
            if operator in each.operators() and not caught[key]
        }
        for claim in claims:
            # Each check, for every mutant that is still to be caught.
            checks = (
                tests_of(
                    each.promise.operator(record), Settings(each, "cpu", tuple(dtypes), "quick", 0), [claim]
                )
                for each in subjects.values()
            )
            for tests in zip(*checks, strict=True):
                expectation_cache.keep()
                try:
                    for key, (_, test) in zip(subjects, tests, strict=True):
                        if not caught[key] and _fails(test, operator, claim):
                            caught[key] = claim
                finally:
                    expectation_cache.forget()
    return caught


def _loaded(mutant: Mutant) -> Definitions | None:
    """The definitions with a mutant in them; None where they cannot be loaded."""
    try:
        return with_mutant(mutant)
    except Exception:
        return None


def _fails(test: Test, operator: str, claim: str) -> bool:
    """Whether a mutant fails a check: it is wrong, it raises, or it does not return."""
    torch.manual_seed(0)
    limit = alarm(NotReturned)
    limit.set(LIMIT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            test(lambda dtype: Tally(operator, dtype, claim))
    except (pytest.skip.Exception, NotOffered):
        return False
    except (Exception, pytest.fail.Exception, NotReturned):
        return True
    finally:
        limit.close()
    return False


def judged_apart(keys: Sequence[str], dtypes: Sequence[str] = DTYPES[:1]) -> dict[str, str]:
    """As `judge`, in a process of its own."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "caught.json")
        child.call(_judge_into, keys, dtypes, file, limit=OF_ALL)
        return dict(json.loads(file.read_text()))


def _judge_into(keys: Sequence[str], dtypes: Sequence[str], file: Path) -> None:
    torch.set_num_threads(1)
    file.write_text(json.dumps(judge(keys, dtypes)))
