"""Errors: malformed arguments are refused with the exception type that torch raises, and leave everything as
it was.

Every row of `torch_loss_parity.claims.errors.refusals` is a case, in every dtype. torch itself must raise
exactly the type of the row, and say something; another subject may raise a subclass of it. No message is
compared. A later release of torch than any that was recorded may refuse with another type: that is news.
After the refusal the arguments are what they were, bit by bit, and an ordinary call returns what it returned
before. That the definition refuses too, and says why, is checked in ``meta/test_reference_refusals.py``.

At quick effort each row runs in one dtype: they take turns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from packaging.version import Version

from torch_loss_parity.claims.errors.refusals import REFUSALS, Refusal, is_own
from torch_loss_parity.judging.tally import Tally
from torch_loss_parity.ledger import ledger, verified
from torch_loss_parity.ledger.news import News
from torch_loss_parity.operators import OPERATORS, Operator
from torch_loss_parity.settings import Settings
from torch_loss_parity.subjects import Subject
from torch_loss_parity.subjects.declined import NotOffered
from torch_loss_parity.subjects.run_subject import by_position_and_name
from torch_loss_parity.tensors.arrays import TORCH_DTYPES

CLAIM = "errors"
TORCH = ("torch", "torch.nn")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each row, named after the operator and the row's sentence."""
    dtypes = [dtype.strip() for dtype in metafunc.config.getoption("dtype").split(",")]
    quick = metafunc.config.getoption("effort") == "quick"
    asked = [refusal for refusal in REFUSALS if not refusal.definition_alone]
    parameters = [
        (OPERATORS[row.operator], [dtypes[i % len(dtypes)]] if quick else dtypes, row)
        for i, row in enumerate(asked)
    ]
    ids = [f"{row.operator}: {row.sentence}" for row in asked]
    metafunc.definition.add_marker(
        pytest.mark.parametrize(("operator", "dtypes", "refusal"), parameters, ids=ids)
    )


def test_errors(
    operator: Operator,
    dtypes: list[str],
    refusal: Refusal,
    knobs: Settings,
    findings_of: Callable[[str], Tally],
) -> None:
    if refusal.torch_alone and knobs.subject.name not in TORCH:
        pytest.skip(f"asked of torch alone: {refusal.torch_alone}")
    if refusal.names_a_class_that_is_none and knobs.device.startswith("cuda"):
        pytest.skip(
            "on a GPU a target out of range is a device-side assertion, after which no test could "
            "run "
            "in this process"
        )
    if Version(torch.__version__) < Version(refusal.since):
        pytest.skip(
            f"torch {torch.__version__} is older than {refusal.since}, the oldest that is known to refuse so"
        )
    for dtype in dtypes:
        check(refusal, dtype, knobs, findings_of(dtype))


def check(refusal: Refusal, dtype: str, knobs: Settings, findings: Tally) -> None:
    """Fail unless the subject refuses the row in one dtype, or the ledger records that it does not."""
    problem, raised = ask(knobs.subject, knobs.device, refusal, dtype)
    known = ledger.shortfall(
        knobs.subject.name, knobs.device, CLAIM, refusal.operator, dtype, refusal.sentence
    )
    if raised and known is None and knobs.subject.name in TORCH and verified.is_later(knobs.device):
        text = (
            f"{refusal}: torch {torch.__version__} raises {raised}, until then it raised "
            f"{refusal.expected().__name__}"
        )
        findings.tell(News("refusals", str(refusal), dtype, text))
        problem = ""
    if (
        not problem
        and known is None
        and knobs.subject.name in TORCH
        and refusal.expected() is not refusal.exception
    ):
        text = (
            f"{refusal}: {refusal.expected().__name__} since torch {refusal.changed[0][0]}, "
            f"{refusal.exception.__name__} before"
        )
        findings.tell(News("refusals", str(refusal), dtype, text, known=True))
    findings.count(known is not None or not problem)
    if known is None:
        assert not problem, problem
    else:
        if problem:
            findings.diverge(known.id)
        else:
            refused, where = "it is refused as it should be", (refusal.operator, dtype, refusal.sentence)
            findings.tell(verified.no_longer_falls_short(known.id, *where, knobs.device, refused))


def ask(subject: Subject, device: str, refusal: Refusal, dtype: str) -> tuple[str, str]:
    """What is wrong with how the subject meets malformed arguments, nothing where it is ""; and if that is no
    more than the type of the exception, the name of the type."""
    function = subject.function(refusal.operator)
    made = tensors(refusal, dtype, device)
    kept = {name: bits(value) for name, value in made.items() if isinstance(value, torch.Tensor)}
    ordinary = ordinary_call(refusal.operator, dtype, device)
    before = bits(function(**ordinary))
    problem, raised = refused(function, made, refusal.expected(), exactly=subject.name in TORCH)
    changed = [name for name, was in kept.items() if bits(made[name]) != was]
    if changed:
        problem, raised = f"{problem}; " * bool(problem) + f"{', '.join(changed)} changed", ""
    if bits(function(**ordinary)) != before:
        problem, raised = (
            f"{problem}; " * bool(problem) + ("an ordinary call returns something else afterwards"),
            "",
        )
    what = f"{refusal.operator} of {subject.name} on {device}, {dtype}: {refusal.sentence}"
    return f"{what}: {problem}" if problem else "", raised


def refused(
    function: Any, made: dict[str, Any], exception: type[Exception], *, exactly: bool
) -> tuple[str, str]:
    """What is wrong with the refusal, and the name of the exception if it has another type; nothing where
    they are "".
    """
    positional, named = by_position_and_name(made)
    try:
        result = function(*positional, **named)
    except Exception as error:
        if isinstance(error, NotOffered) and not isinstance(error, exception):
            raise
        right = type(error) is exception if exactly else isinstance(error, exception)
        name = type(error).__name__
        if right and exactly and not str(error):
            # What is lost of a message that cannot be decoded, before Python 3.11.7.
            return f"raises {name} without a word", ""
        return ("", "") if right else (f"raises {name} ({error}), expected {exception.__name__}", name)
    return f"accepted, and returns {result}; expected {exception.__name__}", ""


def tensors(refusal: Refusal, dtype: str, device: str) -> dict[str, Any]:
    """The arguments as torch tensors: float64 arrays in the dtype in question, all others in their own."""
    made: dict[str, Any] = {}
    for name, value in refusal.in_dtype(dtype).items():
        if isinstance(value, (np.ndarray, np.generic)):
            tensor = torch.tensor(np.asarray(value))
            made[name] = tensor.to(
                device=device, dtype=TORCH_DTYPES[dtype] if is_own(np.asarray(value)) else None
            )
            made[name].requires_grad_(name in refusal.differentiated)
        else:
            made[name] = getattr(torch, value) if name == "dtype" else value
    return made


def ordinary_call(operator: str, dtype: str, device: str) -> dict[str, Any]:
    """Arguments that nobody refuses."""
    x = torch.tensor([[0.25, 0.5, 0.75], [0.125, 0.25, 0.5]], dtype=TORCH_DTYPES[dtype], device=device)
    if operator in ("softmax", "log_softmax"):
        return {"input": x, "dim": 1}
    target = torch.tensor([0, 2], device=device) if OPERATORS[operator].targets_classes else x.flip(0)
    return {"input": x, "target": target}


def bits(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Everything about a tensor's numbers; nan and the sign of zero included."""
    host = tensor.detach().cpu()
    return (
        tuple(host.shape),
        host.dtype,
        host.numel() and host.contiguous().flatten().view(torch.uint8).numpy().tobytes(),
    )
