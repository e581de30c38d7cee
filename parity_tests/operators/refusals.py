"""Refusals of an operator: malformed arguments, each with torch's exception type and the words that the
definition's message must hold; a facet of its record.

Rows are written in float64. In another dtype the float64 arrays become arrays of it; all others stay as they
are, as their dtype is the point of the row. ``words`` are separated by " | ": the argument, what was given,
what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from torch_loss_parity.cases.case import Call
from torch_loss_parity.reference.arithmetic.formats import FORMATS, Format

if TYPE_CHECKING:
    from torch_loss_parity.operators.record import Operator

TRIED_OF_NO_ROWS = "2.13"  # the oldest torch that was asked what it refuses of no rows


@dataclass(frozen=True, eq=False, kw_only=True)
class Refusal:
    """Arguments that an operator refuses.

    Attributes
    ----------
    sentence : str
        What is wrong with them.
    exception : type
        What torch raises, and so the definition.
    words : tuple of str
        What the definition's message holds, in float64.
    arguments : mapping
        Arrays, or functions of a `Format` that make them, and plain values.
    differentiated : tuple of str
        The arguments that require a gradient.
    torch_alone : str
        Why nobody but torch has to refuse; empty where everybody has to.
    definition_alone : str
        Why nobody but the definition has to refuse.
    since : str
        The oldest torch that is known to refuse so.
    changed : tuple of (str, type)
        Releases from which on torch raises another type, the newest first. The definition raises
        ``exception`` all the same.
    taken_of_no_rows : bool
        Whether torch takes such arguments where there are no rows, as it then looks at none of them.
    """

    sentence: str
    exception: type[Exception]
    words: tuple[str, ...]
    arguments: Mapping[str, Any]
    differentiated: tuple[str, ...] = ()
    torch_alone: str = ""
    definition_alone: str = ""
    since: str = "2.8"
    changed: tuple[tuple[str, type[Exception]], ...] = ()
    taken_of_no_rows: bool = False

    def __str__(self) -> str:
        return self.sentence

    def call(self, operator: Operator, dtype: str) -> Call:
        """The malformed call; a NumPy scalar is an array without dimensions."""
        arguments = {
            name: np.asarray(value) if isinstance(value, np.generic) else value
            for name, value in self.in_dtype(dtype).items()
        }
        arrays = {name: value for name, value in arguments.items() if isinstance(value, np.ndarray)}
        others = {name: str(value.dtype) for name, value in arrays.items() if not is_own(value)}
        return Call(operator.name, arguments, dtype, dtype, self.differentiated, dtypes=others)

    @property
    def of_no_rows(self) -> Refusal | None:
        """The same with no rows; None where torch then takes them, where a number in a row is what is wrong,
        or where there is no batch of rows.
        """
        input, target = (_array(self.arguments.get(name)) for name in ("input", "target"))
        one_target = target is not None and target.ndim == 0  # it has no row to leave out
        if self.taken_of_no_rows or self.is_of_values or input is None or input.ndim < 2 or one_target:
            return None
        rows = len(input)
        if not rows:
            return None
        left = {
            name: without_rows(value, rows) if name in ("input", "target") else value
            for name, value in self.arguments.items()
        }
        since = max(self.since, TRIED_OF_NO_ROWS, key=lambda release: [*map(int, release.split("."))])
        return replace(self, sentence=f"{self.sentence}, no rows", arguments=left, since=since)

    def expects(self, operator: Operator, dtype: str) -> type[Exception]:
        """What torch raises, and the definition unless it is for `torch_alone`."""
        return self.exception

    def expected(self, torch_version: str) -> type[Exception]:
        """What that release of torch is recorded to raise."""
        from packaging.version import Version  # where a subject is only observed there may be none

        installed = Version(torch_version)
        return next((kind for release, kind in self.changed if installed >= Version(release)), self.exception)

    @property
    def is_of_values(self) -> bool:
        """Whether what is wrong is a number in an array, a class that is none or a probability that is none:
        on a GPU no exception but an assertion that ends the process's use of the device.
        """
        return any(re.match(r"(input|target) holds ", word) for word in self.words)

    def in_dtype(self, dtype: str) -> dict[str, Any]:
        """The arguments; what is float64 stands for ``dtype``, and holds numbers of it."""
        format = FORMATS[dtype]
        arguments = {
            name: value(format) if callable(value) else value for name, value in self.arguments.items()
        }
        return {name: format.round(value) if is_own(value) else value for name, value in arguments.items()}


def refusal(
    sentence: str,
    exception: type[Exception],
    words: str,
    *arrays: Any,
    differentiated: tuple[str, ...] = (),
    torch_alone: str = "",
    definition_alone: str = "",
    since: str = "2.8",
    changed: tuple[tuple[str, type[Exception]], ...] = (),
    taken_of_no_rows: bool = False,
    **options: Any,
) -> Refusal:
    """A `Refusal`; ``arrays`` are input and target, and what is no field of it is another argument."""
    return Refusal(
        sentence=sentence,
        exception=exception,
        words=tuple(words.split(" | ")),
        arguments=dict(zip(("input", "target"), arrays, strict=False)) | options,
        differentiated=differentiated,
        torch_alone=torch_alone,
        definition_alone=definition_alone,
        since=since,
        changed=changed,
        taken_of_no_rows=taken_of_no_rows,
    )


def _array(value: Any) -> np.ndarray | None:
    value = value(FORMATS["float64"]) if callable(value) else value
    return value if isinstance(value, np.ndarray) else None


def without_rows(value: Any, rows: int) -> Any:
    """An array of so many rows without them; another one as it is."""
    array = _array(value)
    if array is None or array.shape[:1] != (rows,):
        return value
    return (lambda format: value(format)[:0]) if callable(value) else value[:0]


def all_taken_of_no_rows(refusals: Iterable[Refusal]) -> Iterator[Refusal]:
    """Refusals of what torch takes where there are no rows."""
    return (replace(each, taken_of_no_rows=True) for each in refusals)


def is_own(value: Any) -> bool:
    """Whether an argument is an array of the dtype in question."""
    return isinstance(value, np.ndarray) and value.dtype == np.float64


# What rows are made of: logits, log-probabilities or probabilities, and targets.
X = np.asarray([[0.25, 0.5, 0.75], [0.125, 0.25, 0.5]])
T = np.asarray([0, 1])
WHOLE = X.astype(np.int64)
COMPLEX = X.astype(np.complex128)
NOT_REAL = (WHOLE, X > 0, COMPLEX)


def ones(*shape: int, dtype: str = "float64") -> np.ndarray:
    return np.ones(shape, dtype=dtype)


def of_another_dtype(array: np.ndarray) -> Callable[[Format], np.ndarray]:
    """``array`` in a real dtype that is not the one in question: float32 or, for that, float16."""
    return lambda format: array.astype("float16" if format.name == "float32" else "float32")


def wrong_reductions(target: np.ndarray, named: str = "") -> Iterator[Refusal]:
    """Words that are no reduction, of an operator that has ``reduction``."""
    for word in ("average", "batchmean", "MEAN", "", None, True, 1):
        words = f"reduction is {word!r} | 'none', 'mean' or 'sum'"
        yield refusal(f"reduction {word!r}{named}", ValueError, words, X, target, reduction=word)


def no_real_input(target: np.ndarray | None = None, named: str = "", **options: Any) -> Iterator[Refusal]:
    """Integers, truth values and complex numbers as ``input``."""
    for bad in NOT_REAL:
        words = f"input has dtype | {bad.dtype} | real floating point"
        arrays = (bad,) if target is None else (bad, target)
        yield refusal(f"{bad.dtype} input{named}", NotImplementedError, words, *arrays, **options)


def no_gradient_of(name: str, input: np.ndarray, target: np.ndarray, named: str = "") -> Refusal:
    """A gradient that torch does not have, of a weight for each of three classes."""
    weight: dict[str, Any] = {name: ones(3)}
    return refusal(
        f"the gradient of {name}{named}",
        RuntimeError,
        "",
        input,
        target,
        **weight,
        differentiated=(name,),
        torch_alone="others may differentiate it",
    )
