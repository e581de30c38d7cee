"""Semantics of an operator: rows of a sentence and its arguments, one for each corner of the operator's
domain; a facet of its record.

Shapes, denominators, what is nan and what infinite, and what each gradient does there follow
torch.nn.functional; the numbers follow the definition. Arguments are written once and rounded to each dtype
that they are tried in. What depends on the format, as its largest number does, is a function of it. Where a
result is no finite number, the row says what the documentation decides there and what it leaves open, see
`torch_loss_parity.operators.meaning`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np

from torch_loss_parity.cases.case import Call
from torch_loss_parity.operators.facets import Options, lies_last
from torch_loss_parity.operators.meaning import Meaning
from torch_loss_parity.reference.arithmetic.formats import FORMATS, Format

if TYPE_CHECKING:
    from torch_loss_parity.operators.record import Operator

GIVEN = "given"  # of an array: any but None


@dataclass(frozen=True, eq=False, kw_only=True)
class Row:
    """What an operator means somewhere: its value and its gradients are those of the definition.

    Attributes
    ----------
    sentence : str
        What the row says.
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
    meaning : Meaning, optional
        What the documentation decides or leaves open; wherever the definition is infinite or nan.
    """

    sentence: str
    arguments: Mapping[str, Any]
    value: Any = None
    gradient: Any = None
    target_gradient: Any = None
    upstream: Any = None
    dtypes: tuple[str, ...] = tuple(FORMATS)
    reason: str = ""
    stands_for: Mapping[str, Any] = field(default_factory=dict)
    about_shape: bool = False
    since: str = "2.8"
    meaning: Meaning | None = None

    def __post_init__(self) -> None:
        if bool(self.reason) == (set(self.dtypes) == set(FORMATS)):
            raise ValueError(f"{self.sentence}: say why in these dtypes only")

    @property
    def torch_alone(self) -> bool:
        """Whether only torch is asked: what nobody else has to do."""
        return bool(self.stands_for)

    def leaves_open(self, quantity: str) -> bool:
        """Whether the documentation leaves open if the quantity is infinite or nan."""
        return self.meaning is not None and quantity in self.meaning.open

    def __str__(self) -> str:
        return self.sentence

    def call(self, operator: Operator, dtype: str) -> Call:
        """The row's call of ``operator`` in ``dtype``."""
        return self._call(operator, dtype, spelt_out=False)

    def expects(self, operator: Operator, dtype: str) -> Call:
        """The call, spelt out as the definition wants it."""
        return self._call(operator, dtype, spelt_out=True)

    def _call(self, operator: Operator, dtype: str, *, spelt_out: bool) -> Call:
        format = FORMATS[dtype]
        given = {name: _in_format(argument, format) for name, argument in self.arguments.items()}
        complete = given | dict(self.stands_for)
        options = options_of(operator, complete)
        return Call(
            operator.name,
            complete if spelt_out else given,
            dtype,
            given.get("dtype", dtype),
            operator.differentiable(options),
            {**options, "last_dim": lies_last(options, complete["input"].shape)},
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
        stated = {"forward": self.value, "input": self.gradient, "target": self.target_gradient}
        return {
            quantity: _resolved(number, FORMATS[dtype])
            for quantity, number in stated.items()
            if number is not None
        }


def row(
    sentence: str,
    *,
    value: Any = None,
    gradient: Any = None,
    target_gradient: Any = None,
    upstream: Any = None,
    dtypes: tuple[str, ...] = tuple(FORMATS),
    reason: str = "",
    stands_for: Options | None = None,
    about_shape: bool = False,
    since: str = "2.8",
    meaning: Meaning | None = None,
    **arguments: Any,
) -> Row:
    """A `Row`; what is no field of it is an argument of the operator."""
    return Row(
        sentence=sentence,
        arguments=arguments,
        value=value,
        gradient=gradient,
        target_gradient=target_gradient,
        upstream=upstream,
        dtypes=dtypes,
        reason=reason,
        stands_for=stands_for or {},
        about_shape=about_shape,
        since=since,
        meaning=meaning,
    )


def options_of(operator: Operator, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a case that would draw such arguments, as far as arguments tell: an array is ``GIVEN``,
    and a target of the kind that its family tells.
    """
    options = {}
    known = signature(operator.forward).parameters
    for name, (default, *_) in operator.options.items():
        if name not in known:  # how arguments are drawn, as which rows are ignored
            continue
        argument = arguments.get(name, default)
        if isinstance(argument, np.ndarray):
            argument = operator.family.target_kind(argument) if name == "target" else GIVEN
        options[name] = argument
    return options


def _resolved(value: Any, format: Format) -> Any:
    return value(format) if callable(value) else value


def _in_format(argument: Any, format: Format) -> Any:
    argument = _resolved(argument, format)
    if isinstance(argument, (list, np.generic)):
        argument = np.asarray(argument)
    real = isinstance(argument, np.ndarray) and argument.dtype.kind == "f"
    return format.round(argument) if real else argument


@dataclass(frozen=True, eq=False, kw_only=True)
class Promotion:
    """Arguments of two dtypes: the result has the dtype that both promote to, or the one that is asked for.

    Attributes
    ----------
    sentence : str
        What is said, but for the other dtype, which ends it.
    other : str
        The argument of the other dtype.
    others : tuple of str
        The dtypes that it is tried in.
    arguments : mapping
        Numbers on which the operator is exact in every dtype.
    value, gradient : Any
        What comes out, and the gradient with respect to ``input``, exactly; none where ``input`` holds
        integers.
    """

    sentence: str
    other: str
    others: tuple[str, ...]
    arguments: Mapping[str, Any]
    value: Any
    gradient: Any = None


def reals(*shape: int) -> np.ndarray:
    """Multiples of 1/32 in [-2, 2], which every dtype holds."""
    return np.asarray(np.random.default_rng(0).integers(-64, 65, shape) / 32)


def shares(*shape: int, draw: int = 1) -> np.ndarray:
    """Multiples of 1/64 in (0, 1), which every dtype holds."""
    return np.asarray(np.random.default_rng(draw).integers(4, 61, shape) / 64)
