"""What is refused: malformed arguments, each with torch's exception type and the words that the definition's
message must hold.

Rows are written in float64. In another dtype the float64 arrays become arrays of it; all others stay as they
are, as their dtype is the point of the row. ``words`` are separated by " | ": the argument, what was given,
what is allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from packaging.version import Version

from torch_loss_parity.reference.arithmetic.formats import FORMATS, Format

SOFTMAX, NLL, CE = "softmax log_softmax", "nll_loss", "cross_entropy"
BCE, BCE_LOGITS = "binary_cross_entropy", "binary_cross_entropy_with_logits"
nan, inf = np.nan, np.inf


@dataclass(frozen=True, eq=False)
class Refusal:
    """Arguments that an operator refuses.

    Attributes
    ----------
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
    """

    operator: str
    sentence: str
    exception: type[Exception]
    words: tuple[str, ...]
    arguments: Mapping[str, Any]
    differentiated: tuple[str, ...] = ()
    torch_alone: str = ""
    definition_alone: str = ""
    since: str = "2.8"
    changed: tuple[tuple[str, type[Exception]], ...] = ()

    def __str__(self) -> str:
        return f"{self.operator}: {self.sentence}"

    def expected(self) -> type[Exception]:
        """What the installed torch is recorded to raise."""
        later = (kind for release, kind in self.changed if Version(torch.__version__) >= Version(release))
        return next(later, self.exception)

    @property
    def names_a_class_that_is_none(self) -> bool:
        """A target out of range: on a GPU no exception but an assertion that ends the process's use of the
        device.
        """
        return self.exception is IndexError and any(word.startswith("target holds") for word in self.words)

    def in_dtype(self, dtype: str) -> dict[str, Any]:
        """The arguments; what is float64 stands for ``dtype``, and holds numbers of it."""
        format = FORMATS[dtype]
        made = {name: value(format) if callable(value) else value for name, value in self.arguments.items()}
        return {name: format.round(value) if is_own(value) else value for name, value in made.items()}


def is_own(value: Any) -> bool:
    """Whether an argument is an array of the dtype in question."""
    return isinstance(value, np.ndarray) and value.dtype == np.float64


REFUSALS: list[Refusal] = []
shape: tuple[int, ...]


def refuse(
    operators: str,
    sentence: str,
    exception: type[Exception],
    words: str,
    *arrays: Any,
    differentiated: tuple[str, ...] = (),
    torch_alone: str = "",
    definition_alone: str = "",
    since: str = "2.8",
    changed: tuple[tuple[str, type[Exception]], ...] = (),
    **options: Any,
) -> None:
    """Add a row for each operator; ``arrays`` are input and target."""
    arguments = dict(zip(("input", "target"), arrays, strict=False)) | options
    said = tuple(words.split(" | "))
    rest = differentiated, torch_alone, definition_alone, since, changed
    REFUSALS.extend(Refusal(name, sentence, exception, said, arguments, *rest) for name in operators.split())


def ones(*shape: int, dtype: str = "float64") -> np.ndarray:
    return np.ones(shape, dtype=dtype)


def rows_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the class indices for an input of ``shape``."""
    return shape[:1] * (len(shape) > 1) + shape[2:]


def of_another_dtype(array: np.ndarray) -> Callable[[Format], np.ndarray]:
    """``array`` in a real dtype that is not the one in question: float32 or, for that, float16."""
    return lambda format: array.astype("float16" if format.name == "float32" else "float32")


X = np.asarray([[0.25, 0.5, 0.75], [0.125, 0.25, 0.5]])  # logits, log-probabilities or probabilities
WHOLE = X.astype(np.int64)
COMPLEX = X.astype(np.complex128)
T = np.asarray([0, 1])

# --- reduction, dim, dtype of the input ---------------------------------------------------------------------

for word in ("average", "batchmean", "MEAN", "", None, True, 1):
    words = f"reduction is {word!r} | 'none', 'mean' or 'sum'"
    refuse(f"{NLL} {CE}", f"reduction {word!r}", ValueError, words, X, T, reduction=word)
    refuse(
        f"{CE} {BCE} {BCE_LOGITS}",
        f"reduction {word!r}, real targets",
        ValueError,
        words,
        X,
        X,
        reduction=word,
    )
for dim in (2, -3, 2**31):
    refuse(SOFTMAX, f"dim {dim} of 2 dimensions", IndexError, f"dim is {dim} | between -2 and 1", X, dim=dim)
    refuse(
        SOFTMAX,
        f"dim {dim} of 2 dimensions, no elements",
        IndexError,
        f"dim is {dim} | between -2 and 1",
        X[:0],
        dim=dim,
    )
for dim in (1, -2):
    refuse(
        SOFTMAX,
        f"dim {dim} of 0 dimensions",
        IndexError,
        f"dim is {dim} | between -1 and 0",
        X[0, 0],
        dim=dim,
    )
for wrong in (1.0, "1", (0,), True):
    since = "2.13" if wrong == "1" else "2.8"  # before, a name of a dimension, and a RuntimeError
    refuse(SOFTMAX, f"dim {wrong!r}", TypeError, f"dim is {wrong!r} | integer", X, dim=wrong, since=since)
deprecated = "torch chooses a dimension, with a warning: see torch_loss_parity.claims.semantics"
refuse(SOFTMAX, "dim None", TypeError, "dim is None | integer", X, dim=None, definition_alone=deprecated)
for bad in (WHOLE, X > 0, COMPLEX):
    words = f"input has dtype | {bad.dtype} | real floating point"
    refuse(SOFTMAX, f"{bad.dtype} input", NotImplementedError, words, bad, dim=1)
    refuse(f"{NLL} {CE}", f"{bad.dtype} input", NotImplementedError, words, bad, T)
    refuse(CE, f"{bad.dtype} input, probabilities", NotImplementedError, words, bad, X)
    refuse(BCE_LOGITS, f"{bad.dtype} input", NotImplementedError, words, bad, X)
    refuse(
        BCE,
        f"{bad.dtype} input, real target",
        RuntimeError,
        f"target has dtype | float64 | {bad.dtype}",
        bad,
        X,
    )
refuse(BCE, "int64 input and target", NotImplementedError, "input has dtype | int64 | real", WHOLE, WHOLE)
refuse(
    SOFTMAX,
    "a dtype that is not real",
    NotImplementedError,
    "input has dtype | int64 | real",
    X,
    dim=1,
    dtype="int64",
)

# --- class indices ------------------------------------------------------------------------------------------

BOTH = f"{NLL} {CE}"
for shape in ((3,), (2, 3), (2, 3, 2), (2, 3, 2, 2), (2, 3, 2, 1, 2)):
    rows = rows_of(shape)
    for beyond, reduction in product((3, -1, -101), ("none", "mean", "sum")):
        words = f"target holds {beyond} | between 0 and 2 | ignore_index (-100)"
        sentence = f"target {beyond}, shape {shape}, {reduction}"
        given: dict[str, Any] = {
            "input": ones(*shape),
            "target": np.full(rows, beyond),
            "reduction": reduction,
        }
        refuse(BOTH, sentence, IndexError, words, **given)
        refuse(CE, f"{sentence}, smoothing", IndexError, words, **given, label_smoothing=0.25)
refuse(
    BOTH,
    "-100 where ignore_index is -1",
    IndexError,
    "target holds -100 | ignore_index (-1)",
    X,
    -100 * T,
    ignore_index=-1,
)
for reduction in ("none", "mean", "sum"):
    for low, byte in ((-100, 156), (-1, 255)):
        sentence = f"uint8 target {byte}, which is {low} modulo 256, {reduction}"
        given = {"ignore_index": low, "reduction": reduction}
        refuse(
            BOTH,
            sentence,
            IndexError,
            f"target holds {byte}",
            X,
            np.asarray([byte, 0], dtype=np.uint8),
            **given,
        )
refuse(
    BOTH,
    "target beyond the classes, weight",
    IndexError,
    "target holds 3 | between 0 and 2",
    X,
    3 * T,
    weight=ones(3),
)
for shape in ((0,), (2, 0), (2, 0, 2, 2)):
    rows = rows_of(shape)
    words = "target holds 0 | ignore_index (-100)"
    refuse(
        BOTH,
        f"no classes, a target, shape {shape}",
        IndexError,
        words,
        ones(*shape),
        np.zeros(rows, dtype=np.int64),
    )
for target, name in (
    (T.astype("float64"), "real"),
    *((T.astype(dtype), dtype) for dtype in ("bool", "complex128")),
):
    words = f"target has dtype | {target.dtype} | integer"
    refuse(BOTH, f"{name} indices", RuntimeError, words, X, target)
    refuse(BOTH, f"{name} index of a single row", RuntimeError, words, X[0], target[0])
    refuse(
        BOTH,
        f"{name} indices of an image",
        RuntimeError,
        words,
        ones(2, 3, 2, 2),
        np.zeros((2, 2, 2), dtype=target.dtype),
    )
for dtype in ("int8", "int16", "int32", "uint16"):
    wider = "the definition takes every integer dtype, on purpose; the documentation of torch asks for int64"
    refuse(BOTH, f"{dtype} indices", RuntimeError, "", X, T.astype(dtype), torch_alone=wider)
SHAPES: dict[type[Exception], list[tuple[tuple[int, ...], tuple[int, ...]]]] = {
    ValueError: [
        ((3,), (2,)),
        ((3,), (0,)),
        ((2, 3), ()),
        ((2, 3), (1,)),
        ((2, 3), (3,)),
        ((1, 3), ()),
        ((2, 3), (1, 2)),
    ],
    RuntimeError: [
        ((3,), (1, 1)),
        ((3,), (2, 2)),
        ((2, 3), (2, 1)),
        ((2, 3, 2), (2,)),
        ((2, 3, 2), (2, 1)),
        ((2, 3, 2, 2), (2, 2, 1)),
    ],
}
SHAPES[ValueError] += [
    ((2, 3, 2), ()),
    ((2, 3, 2), (3, 2)),
    ((2, 3, 2, 2), (3, 2, 2)),
    ((2, 3, 2, 2), (3, 2)),
]
SHAPES[RuntimeError] += [
    ((2, 3, 2, 2), (2, 2)),
    ((2, 3, 1, 1, 2), (2, 1, 1)),
    ((2, 3, 1, 1, 2), (2, 1, 1, 1)),
]
for exception, pairs in SHAPES.items():
    for shape, given_shape in pairs:
        words = f"target has shape {given_shape} | input of shape {shape} | {rows_of(shape)}"
        since = "2.13" if shape == (3,) and exception is ValueError else "2.8"  # before, a RuntimeError
        wrong_shape = np.zeros(given_shape, dtype=np.int64)
        refuse(
            BOTH,
            f"input {shape}, target {given_shape}",
            exception,
            words,
            ones(*shape),
            wrong_shape,
            since=since,
        )
refuse(NLL, "int64 probabilities", RuntimeError, "target has shape (2, 3) | (2,)", X, WHOLE)
refuse(NLL, "0-d input", ValueError, "input has shape () | (C), (N, C)", X[0, 0], T[0])
refuse(
    CE,
    "0-d input and target",
    RuntimeError,
    "target has dtype | int64 | real floating point",
    ones(),
    np.asarray(0),
)
refuse(CE, "0-d input, target of shape (1,)", IndexError, "input has shape () | (C), (N, C)", ones(), T[:1])
refuse(CE, "0-d input and probability", IndexError, "input has shape () | (C), (N, C)", ones(), ones())
for index in (1.0, "1", None, True):
    refuse(
        BOTH,
        f"ignore_index {index!r}",
        TypeError,
        f"ignore_index is {index!r} | integer",
        X,
        T,
        ignore_index=index,
    )
for index in (2**63, -(2**63) - 1):
    words = f"ignore_index is {index} | 64 bits"
    refuse(BOTH, f"ignore_index {index}", ValueError, words, X, T, ignore_index=index, since="2.13")

# --- class weights, smoothing, probabilities ----------------------------------------------------------------

for shape in ((2,), (4,), (0,), (), (1,), (1, 3), (3, 1)):
    words = f"weight has shape {shape} | (3,)"
    refuse(BOTH, f"weight of shape {shape}", RuntimeError, words, X, T, weight=ones(*shape))
    refuse(CE, f"weight of shape {shape}, probabilities", RuntimeError, words, X, X, weight=ones(*shape))
    for spatial in ((2,), (2, 2), (2, 1, 2)):
        image, classes = ones(2, 3, *spatial), np.zeros((2, *spatial), dtype=np.int64)
        refuse(
            BOTH,
            f"weight of shape {shape}, input {image.shape}",
            RuntimeError,
            words,
            image,
            classes,
            weight=ones(*shape),
        )
for dtype in ("int64", "bool", "complex128"):
    words = f"weight has dtype | {dtype} | float64"
    refuse(BOTH, f"{dtype} weight", RuntimeError, words, X, T, weight=ones(3, dtype=dtype))
refuse(
    BOTH,
    "weight of another real dtype",
    RuntimeError,
    "weight has dtype | float32 | float64",
    X,
    T,
    weight=of_another_dtype(ones(3)),
)
refuse(
    CE,
    "weight of another real dtype, smoothing",
    RuntimeError,
    "weight has dtype | float32",
    X,
    T,
    weight=of_another_dtype(ones(3)),
    label_smoothing=0.25,
)
refuse(
    CE,
    "complex128 weight, probabilities",
    RuntimeError,
    "weight has dtype | complex128 | real",
    X,
    X,
    weight=COMPLEX[0],
)
for share, (kind, target) in product(
    (1.5, 1 + 2**-52, inf, -0.25, -inf, nan), (("indices", T), ("probabilities", X))
):
    words = f"label_smoothing is {share} | between 0 and 1"
    refuse(CE, f"label_smoothing {share}, {kind}", RuntimeError, words, X, target, label_smoothing=share)
for no_number in ("0.1", None, 0.5j):
    refuse(
        CE,
        f"label_smoothing {no_number!r}",
        TypeError,
        f"label_smoothing is {no_number!r} | number",
        X,
        T,
        label_smoothing=no_number,
    )
for index in (0, 5):
    refuse(
        CE,
        f"ignore_index {index}, probabilities",
        RuntimeError,
        f"ignore_index is {index} | negative",
        X,
        X,
        ignore_index=index,
    )
for dtype in ("int64", "bool", "complex128"):
    words = f"target has dtype | {dtype} | real floating point"
    refuse(CE, f"{dtype} probabilities", RuntimeError, words, X, X.astype(dtype))
    refuse(CE, f"{dtype} probabilities of a single row", RuntimeError, words, X[0], X[0].astype(dtype))
    changed = (("2.14", NotImplementedError),) if dtype == "bool" else ()
    refuse(BCE_LOGITS, f"{dtype} target", RuntimeError, words, X, X.astype(dtype), changed=changed)

# --- binary cross-entropy -----------------------------------------------------------------------------------

OUTSIDE: dict[str, Callable[[Format], float]] = {
    "1.5": lambda format: 1.5,
    "-0.5": lambda format: -0.5,
    "nan": lambda format: nan,
    "inf": lambda format: inf,
    "the largest below 0": lambda format: -format.smallest_subnormal,
    "the smallest above 1": lambda format: 1 + 2 * format.unit_roundoff,
}
for (name, outside), argument, reduction in product(
    OUTSIDE.items(), ("input", "target"), ("none", "mean", "sum")
):
    given = {"input": X, "target": X, "reduction": reduction}
    given[argument] = lambda format, outside=outside: np.asarray(
        [[0.25, outside(format), 0.75], [2.0, 0.25, 0.5]]
    )
    words = f"{argument} holds {outside(FORMATS['float64'])} | between 0 and 1"
    refuse(BCE, f"{argument} {name}, {reduction}", RuntimeError, words, **given)
for shape in ((3,), (1, 3), (), (3, 2), (2, 3, 1)):
    words = f"target has shape {shape} | input, (2, 3)"
    refuse(f"{BCE} {BCE_LOGITS}", f"target of shape {shape}", ValueError, words, X, ones(*shape))
for dtype in ("int64", "bool", "complex128"):
    refuse(BCE, f"{dtype} target", RuntimeError, f"target has dtype | {dtype} | float64", X, X.astype(dtype))
refuse(
    BCE,
    "target of another real dtype",
    RuntimeError,
    "target has dtype | float32 | float64",
    X,
    of_another_dtype(X),
)
for shape in ((2,), (4,), (0,), (2, 2, 3), (1, 2, 3)):
    words = f"has shape {shape} | broadcast | (2, 3)"
    refuse(
        f"{BCE} {BCE_LOGITS}",
        f"weight of shape {shape}",
        RuntimeError,
        f"weight {words}",
        X,
        X,
        weight=ones(*shape),
    )
    refuse(
        BCE_LOGITS,
        f"pos_weight of shape {shape}",
        RuntimeError,
        f"pos_weight {words}",
        X,
        X,
        pos_weight=ones(*shape),
    )
for name, operators in (("weight", f"{BCE} {BCE_LOGITS}"), ("pos_weight", BCE_LOGITS)):
    given = {"input": ones(), "target": ones(), name: ones(1)}
    refuse(
        operators, f"{name} enlarges a single element", RuntimeError, f"{name} has shape (1,) | ()", **given
    )
    given = {"input": X[:, :1], "target": X[:, :1], name: ones(3)}
    refuse(operators, f"{name} enlarges a column", RuntimeError, f"{name} has shape (3,) | (2, 1)", **given)
    given = {"input": X[:0], "target": X[:0], name: ones(2, 3)}
    refuse(operators, f"{name} enlarges nothing", RuntimeError, f"{name} has shape (2, 3) | (0, 3)", **given)
    given = {"input": X, "target": X, name: COMPLEX[0]}
    refuse(operators, f"complex {name}", RuntimeError, f"{name} has dtype | complex128 | real", **given)

# --- gradients that torch does not have ---------------------------------------------------------------------

OTHERS_MAY = "others may differentiate it"
for name, operators, target in (
    ("weight", BOTH, T),
    ("weight", f"{BCE} {BCE_LOGITS}", X),
    ("pos_weight", BCE_LOGITS, X),
):
    weights: dict[str, Any] = {name: ones(3), "differentiated": (name,), "torch_alone": OTHERS_MAY}
    refuse(operators, f"the gradient of {name}", RuntimeError, "", X, target, **weights)
refuse(
    BOTH,
    "the gradient of weight, images",
    RuntimeError,
    "",
    ones(2, 3, 2, 2),
    np.zeros((2, 2, 2), dtype=np.int64),
    weight=ones(3),
    differentiated=("weight",),
    torch_alone=OTHERS_MAY,
)
