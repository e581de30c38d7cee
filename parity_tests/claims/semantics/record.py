"""A row of the table of semantics: one corner of an operator's domain, as a sentence and its arguments.

Arguments are written once and rounded to each dtype that they are tried in. What depends on the format, as
its largest number does, is a function of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from torch_loss_parity.cases.case import Call
from torch_loss_parity.operators import DTYPES
from torch_loss_parity.reference.arithmetic.formats import FORMATS, Format

SOFTMAX, LOG_SOFTMAX, NLL, CE = "softmax", "log_softmax", "nll_loss", "cross_entropy"
BCE, BCE_LOGITS = "binary_cross_entropy", "binary_cross_entropy_with_logits"
REDUCTIONS = ("none", "mean", "sum")
WIDE = ("bfloat16", "float32", "float64")  # with the exponents of float32 at least: 1e-12 is not 0 there

ByFormat = Callable[[Format], Any]


@dataclass(frozen=True, eq=False)
class Row:
    """What an operator means somewhere: its value and its gradients are those of the definition.

    Attributes
    ----------
    operator, sentence : str
        Whom the row is about, and what it says.
    arguments : mapping
        Arrays, or functions of a `Format` that make them, and plain values.
    value, gradient, target_gradient : optional
        Where they are round numbers, infinite or nan: the result, and the gradients of its elements with
        respect to ``input`` and ``target``. They broadcast.
    upstream : optional
        The upstream gradient; random powers of two of either sign unless given.
    dtypes, reason : tuple of str, str
        The dtypes in which the sentence makes sense and, unless these are all, why.
    stands_for : mapping
        Arguments that the definition wants spelt out; the row is then about torch alone.
    about_shape : bool
        Whether the row is about the shape alone, and holds ordinary numbers.
    since : str
        The oldest torch that is known to do so.
    """

    operator: str
    sentence: str
    arguments: Mapping[str, Any]
    value: Any = None
    gradient: Any = None
    target_gradient: Any = None
    upstream: Any = None
    dtypes: tuple[str, ...] = DTYPES
    reason: str = ""
    stands_for: Mapping[str, Any] = field(default_factory=dict)
    about_shape: bool = False
    since: str = "2.8"

    def __str__(self) -> str:
        return f"{self.operator}: {self.sentence}"

    @property
    def torch_alone(self) -> bool:
        return bool(self.stands_for)

    def call(self, dtype: str, *, spelt_out: bool = False) -> Call:
        """The row's call in ``dtype``; ``spelt_out`` as the definition wants it."""
        format = FORMATS[dtype]
        made = {name: _in_format(argument, format) for name, argument in self.arguments.items()}
        facts = _facts(self.operator, made | dict(self.stands_for))
        if spelt_out:
            made |= self.stands_for
        return Call(
            self.operator, made, dtype, made.get("dtype", dtype), _differentiable(self.operator, made), facts
        )

    def grad_output(self, shape: tuple[int, ...]) -> np.ndarray:
        """The upstream gradient for a result of ``shape``: products with it are exact, and it is never a
        constant.
        """
        if self.upstream is not None:
            return np.broadcast_to(np.asarray(self.upstream, dtype=np.float64), shape)
        rng = np.random.default_rng(3)
        return np.asarray(rng.choice([-1.0, 1.0], shape) * np.ldexp(1.0, rng.integers(-2, 2, shape)))

    def stated(self, dtype: str) -> dict[str, Any]:
        """What the row says of "forward", "input" and "target", in ``dtype``."""
        said = {"forward": self.value, "input": self.gradient, "target": self.target_gradient}
        return {
            quantity: _resolved(number, FORMATS[dtype])
            for quantity, number in said.items()
            if number is not None
        }


def _resolved(value: Any, format: Format) -> Any:
    return value(format) if callable(value) else value


def _in_format(argument: Any, format: Format) -> Any:
    argument = _resolved(argument, format)
    if isinstance(argument, (list, np.generic)):
        argument = np.asarray(argument)
    return (
        format.round(argument)
        if isinstance(argument, np.ndarray) and argument.dtype.kind == "f"
        else argument
    )


def _differentiable(operator: str, arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """The arguments that torch differentiates."""
    if operator in (BCE, BCE_LOGITS):
        return ("input", "target")
    if operator == CE and arguments["target"].dtype.kind == "f":
        return ("input", "target", "weight") if "weight" in arguments else ("input", "target")
    return ("input",)


def _facts(operator: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What a condition in the ledger may ask about the call."""
    plain = {name: value for name, value in arguments.items() if not isinstance(value, np.ndarray)}
    facts = {"reduction": "mean", "ignore_index": -100, "label_smoothing": 0.0, "last_dim": True} | plain
    if operator in (SOFTMAX, LOG_SOFTMAX):
        ndim = arguments["input"].ndim
        facts["last_dim"] = ndim == 0 or arguments["dim"] % ndim == ndim - 1
    elif operator == CE:
        facts["target"] = "probabilities" if arguments["target"].dtype.kind == "f" else "indices"
    elif operator != NLL:
        facts["target"] = "hard" if np.isin(arguments["target"], (0.0, 1.0)).all() else "soft"
    return facts


class Table(list[Row]):
    """Rows, added operator by operator."""

    def add(
        self,
        operators: str,
        sentence: str,
        *,
        value: Any = None,
        gradient: Any = None,
        target_gradient: Any = None,
        upstream: Any = None,
        dtypes: tuple[str, ...] = DTYPES,
        reason: str = "",
        stands_for: Mapping[str, Any] | None = None,
        about_shape: bool = False,
        since: str = "2.8",
        **arguments: Any,
    ) -> None:
        """Add a row for each of ``operators``, which are separated by spaces."""
        assert bool(reason) == (dtypes != DTYPES), f"{sentence}: say why in these dtypes only"
        stated = value, gradient, target_gradient, upstream
        for operator in operators.split():
            self.append(
                Row(
                    operator,
                    sentence,
                    arguments,
                    *stated,
                    dtypes,
                    reason,
                    stands_for or {},
                    about_shape,
                    since,
                )
            )


def reals(*shape: int) -> np.ndarray:
    """Multiples of 1/32 in [-2, 2], which every dtype holds."""
    return np.asarray(np.random.default_rng(0).integers(-64, 65, shape) / 32)


def shares(*shape: int, draw: int = 1) -> np.ndarray:
    """Multiples of 1/64 in (0, 1), which every dtype holds."""
    return np.asarray(np.random.default_rng(draw).integers(4, 61, shape) / 64)


def indices(shape: tuple[int, ...]) -> np.ndarray:
    """Targets of three classes for logits of ``shape``, each class among the first three."""
    rows = shape[:1] * (len(shape) > 1) + shape[2:]
    return np.asarray(
        np.random.default_rng(3).permutation(np.arange(np.prod(rows, dtype=int)) % 3).reshape(rows)
    )
