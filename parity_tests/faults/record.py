"""A fault: a wrong implementation of one operator, with what it is modelled on and what is expected to catch
it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch_loss_parity.faults import kernels
from torch_loss_parity.faults.right import definition

KINDS = {
    "DEN": "denominator of the mean",
    "IGN": "ignore_index",
    "SMO": "label smoothing",
    "WGT": "weights and probability targets",
    "UPG": "upstream gradient, or backward formula",
    "STB": "unstable composition",
    "INF": "infinite and nan logits",
    "ACC": "accumulation in low precision",
    "SAT": "clamps and saturated probabilities",
    "OOB": "arguments that are not refused",
    "EMP": "empty, all ignored, uninitialised",
    "SHP": "shapes, broadcasting, dim",
    "LAY": "memory layout",
    "TIL": "tails of blocks",
    "IDX": "index overflow",
    "MUT": "something overwritten",
    "HOD": "second order, forward mode",
    "DTY": "dtypes",
    "CMP": "rewrites by a compiler",
    "REP": "dependence on run, batch or environment",
    "SHD": "sharded vocabulary",
    "ORC": "what fools a loose test",
    "CHT": "passing without computing",
}


@dataclass(frozen=True)
class Fault:
    """A wrong implementation.

    Attributes
    ----------
    name : str
        The name of its function, with hyphens: ``--subject fault:NAME``.
    operator : str
        What it implements.
    kind : str
        One of `KINDS`.
    thread : str
        The report that it is modelled on: a thread on GitHub, or the suite that was seen to be blind to it.
    catches : tuple of str
        The claims that are expected to fail.
    effort, dtype : str
        The least effort, and a dtype, that reach what it gets wrong.
    sentence : str
        What it gets wrong.
    function : callable
        The implementation.
    promises : mapping
        What it takes beside torch's arguments, as ``PROMISES`` of a module writes it.
    """

    name: str
    operator: str
    kind: str
    thread: str
    catches: tuple[str, ...]
    effort: str
    dtype: str
    sentence: str
    function: Callable[..., Any]
    promises: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


FAULTS: dict[str, Fault] = {}
Written = Callable[..., Any]
Build = Callable[[str, Written], Written]


def _recorded(build: Build) -> Callable[..., Callable[[Written], Written]]:
    def decorator(
        operator: str,
        kind: str,
        thread: str,
        *catches: str,
        effort: str = "quick",
        dtype: str = "float32",
        promises: Mapping[str, Any] | None = None,
    ) -> Callable[[Written], Written]:
        def record(function: Written) -> Written:
            name, sentence = function.__name__.replace("_", "-"), (function.__doc__ or "").strip()
            if kind not in KINDS or not catches or not sentence or name in FAULTS:
                raise ValueError(
                    f"fault {name}: it needs a kind among {', '.join(KINDS)}, what catches it, a docstring, "
                    f"and a name of its own"
                )
            built = build(operator, function)
            FAULTS[name] = Fault(
                name, operator, kind, thread, catches, effort, dtype, sentence, built, promises or {}
            )
            return function

        return record

    return decorator


# What is wrong, and so what a function is written for: (operator, kind, thread, claims that are to catch it).
composed = _recorded(kernels.composed)
"""The result, and with it the gradient that autograd finds; written as a composition of
`torch_loss_parity.faults.components`.
"""
differentiable = _recorded(definition.differentiable)
"""The result, and its derivatives of any order."""
forward = _recorded(lambda operator, function: definition.kernel(operator, forward=function))
"""The result; the gradient is right."""
backward = _recorded(lambda operator, function: definition.kernel(operator, backward=function))
"""The gradient; the result is right. Takes the upstream gradient first."""
whole = _recorded(lambda operator, function: function)
"""Everything: it takes what a caller gives."""
