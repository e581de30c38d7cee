"""A right kernel: a correct implementation of one operator, in an order of operations that people ship."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch_loss_parity.faults.right import definition, kernels
from torch_loss_parity.operators import DTYPES, OPERATORS

SHARP, TEXTBOOK = "sharp", "textbook"
GRADES = (SHARP, TEXTBOOK)


@dataclass(frozen=True)
class RightKernel:
    """A correct implementation.

    Attributes
    ----------
    name : str
        The name of its function, with hyphens: ``--subject right:NAME``.
    operator : str
        What it implements.
    ships : str
        Who ships it: a project and the place in it, or what is well known of it.
    sentence : str
        In what it differs from the definition.
    grade : str or None
        How near to the best known bound it is expected to stay, one of `GRADES`; None where that is not
        known.
    dtypes : tuple of str
        Those in which it returns what torch returns.
    function : callable
        The implementation.
    promises : mapping
        What it takes beside torch's arguments, as ``PROMISES`` of a module writes it.
    """

    name: str
    operator: str
    ships: str
    sentence: str
    grade: str | None
    dtypes: tuple[str, ...]
    function: Callable[..., Any]
    promises: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


RIGHT_KERNELS: dict[str, RightKernel] = {}
Written = Callable[..., Any]


def _record(
    operator: str,
    build: Callable[[Written], Written],
    ships: str,
    grade: str | None,
    dtypes: tuple[str, ...] = DTYPES,
    promises: Mapping[str, Any] | None = None,
) -> Callable[[Written], Written]:
    def record(function: Written) -> Written:
        name, sentence = function.__name__.replace("_", "-"), (function.__doc__ or "").strip()
        sentence = " ".join(sentence.split())
        if operator not in OPERATORS or grade not in (*GRADES, None) or not ships or not sentence:
            raise ValueError(
                f"right kernel {name}: it needs an operator, who ships it, a docstring, and a grade among "
                f"{', '.join(GRADES)} or None"
            )
        if name in RIGHT_KERNELS:
            raise ValueError(f"there are two right kernels called {name}")
        built = build(function)
        RIGHT_KERNELS[name] = RightKernel(
            name, operator, ships, sentence, grade, dtypes, built, promises or {}
        )
        return function

    return record


def of_rows(operator: str, backward: Written, **described: Any) -> Callable[[Written], Written]:
    """Records the forward of a kernel of rows, see `kernels.of_rows`; ``described`` has ``ships`` and
    ``grade``.
    """
    return _record(operator, lambda forward: kernels.of_rows(operator, forward, backward), **described)


def of_classes(operator: str, backward: Written, **described: Any) -> Callable[[Written], Written]:
    """Records the forward of a kernel of rows with a class each, see `kernels.of_classes`."""
    return _record(operator, lambda forward: kernels.of_classes(operator, forward, backward), **described)


def of_probabilities(backward: Written, **described: Any) -> Callable[[Written], Written]:
    """Records the losses of a kernel of rows with class probabilities, see `kernels.of_probabilities`."""
    return _record("cross_entropy", lambda losses: kernels.of_probabilities(losses, backward), **described)


def of_elements(operator: str, backward: Written, **described: Any) -> Callable[[Written], Written]:
    """Records the forward of a kernel of elements, see `kernels.of_elements`."""
    return _record(operator, lambda forward: kernels.of_elements(operator, forward, backward), **described)


def composed(operator: str, **described: Any) -> Callable[[Written], Written]:
    """Records a composition of torch's own functions, see `definition.differentiable`."""
    return _record(operator, partial(definition.differentiable, operator), **described)


def whole(operator: str, **described: Any) -> Callable[[Written], Written]:
    """Records a function that takes what a caller gives, and refuses what is malformed itself."""
    return _record(operator, lambda function: function, **described)


def built(
    operator: str, build: Callable[[Written], Written], **described: Any
) -> Callable[[Written], Written]:
    """Records what ``build`` makes of a part of a kernel."""
    return _record(operator, build, **described)
