"""Malformed arguments are refused with torch's exception type, and with a message that says what to change.

A row names the operator, what is wrong, the exception type, and words that the definition's message must hold: the argument,
what was given, what is allowed. torch.nn.functional must raise the same type on the same arguments.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from packaging.version import Version

import reference

SOFTMAX, NLL, CE = "softmax log_softmax", "nll_loss", "cross_entropy"
BCE, BCE_LOGITS = "binary_cross_entropy", "binary_cross_entropy_with_logits"
nan, inf = np.nan, np.inf

X = np.asarray([[0.25, 0.5, 0.75], [0.125, 0.25, 0.5]])  # logits, log-probabilities or probabilities
WHOLE = X.astype(np.int64)
COMPLEX = X.astype(np.complex128)
T = np.asarray([0, 1])


@dataclass(frozen=True, eq=False)
class Refusal:
    operator: str
    sentence: str
    exception: type[Exception]
    words: tuple[str, ...]
    arguments: dict[str, Any]
    torch_accepts: bool = False
    since: str = "2.8"  # the oldest torch that is known to refuse so

    def __str__(self) -> str:
        return f"{self.operator}[{self.sentence}]"


REFUSALS: list[Refusal] = []
shape: tuple[int, ...]
options: dict[str, Any]


def refuse(
    operators: str,
    sentence: str,
    exception: type[Exception],
    words: str,
    *arrays: Any,
    torch_accepts: bool = False,
    since: str = "2.8",
    **options: Any,
) -> None:
    """Add a row for each operator; ``words`` are separated by ' | ', ``arrays`` are input and target."""
    arguments = dict(zip(("input", "target"), arrays, strict=False)) | options
    said = tuple(words.split(" | "))
    REFUSALS.extend(Refusal(name, sentence, exception, said, arguments, torch_accepts, since) for name in operators.split())


def ones(*shape: int, dtype: str = "float64") -> np.ndarray:
    return np.ones(shape, dtype=dtype)


# --- reduction, dim, dtype of the input ------------------------------------------------------------------------------------

for word in ("average", "batchmean", "", None):
    words = f"reduction is {word!r} | 'none', 'mean' or 'sum'"
    refuse(f"{NLL} {CE}", f"reduction {word!r}", ValueError, words, X, T, reduction=word)
    refuse(f"{CE} {BCE} {BCE_LOGITS}", f"reduction {word!r}, real targets", ValueError, words, X, X, reduction=word)
for dim in (2, -3):
    refuse(SOFTMAX, f"dim {dim} of 2 dimensions", IndexError, f"dim is {dim} | between -2 and 1", X, dim=dim)
for dim in (1, -2):
    refuse(SOFTMAX, f"dim {dim} of 0 dimensions", IndexError, f"dim is {dim} | between -1 and 0", X[0, 0], dim=dim)
for wrong in (1.0, "1", (0,), True, None):
    accepted = wrong is None  # torch chooses a dimension, with a warning
    since = "2.13" if wrong == "1" else "2.8"  # before, a name of a dimension, and a RuntimeError
    refuse(SOFTMAX, f"dim {wrong!r}", TypeError, f"dim is {wrong!r} | integer", X, dim=wrong, torch_accepts=accepted, since=since)
for bad in (WHOLE, X > 0, COMPLEX):
    words = f"input has dtype | {bad.dtype} | real floating point"
    refuse(SOFTMAX, f"{bad.dtype} input", NotImplementedError, words, bad, dim=1)
    refuse(f"{NLL} {CE}", f"{bad.dtype} input", NotImplementedError, words, bad, T)
    refuse(CE, f"{bad.dtype} input, probabilities", NotImplementedError, words, bad, X)
    refuse(BCE_LOGITS, f"{bad.dtype} input", NotImplementedError, words, bad, X)
    refuse(BCE, f"{bad.dtype} input, float64 target", RuntimeError, f"target has dtype | float64 | {bad.dtype}", bad, X)
refuse(BCE, "int64 input and target", NotImplementedError, "input has dtype | int64 | real", WHOLE, WHOLE)
refuse(SOFTMAX, "a dtype that is not real", NotImplementedError, "input has dtype | int64 | real", X, dim=1, dtype="int64")

# --- class indices ---------------------------------------------------------------------------------------------------------

BOTH = f"{NLL} {CE}"
for shape in ((3,), (2, 3), (2, 3, 2), (2, 3, 2, 2)):
    rows = shape[:1] * (len(shape) > 1) + shape[2:]
    for beyond in (3, -1, -101):
        for reduction in ("none", "mean", "sum"):
            sentence, words = (
                f"target {beyond}, shape {shape}, {reduction}",
                f"target holds {beyond} | between 0 and 2 | ignore_index (-100)",
            )
            refuse(BOTH, sentence, IndexError, words, ones(*shape), np.full(rows, beyond), reduction=reduction)
refuse(BOTH, "-100 where ignore_index is -1", IndexError, "target holds -100 | ignore_index (-1)", X, -100 * T, ignore_index=-1)
refuse(BOTH, "uint8 target 156, which is -100 modulo 256", IndexError, "target holds 156", X, np.asarray([156, 0], dtype=np.uint8))
refuse(BOTH, "target beyond the classes, weight", IndexError, "target holds 3 | between 0 and 2", X, 3 * T, weight=ones(3))
refuse(CE, "target beyond the classes, smoothing", IndexError, "target holds 3", X, 3 * T, label_smoothing=0.25)
refuse(BOTH, "no classes, a target", IndexError, "target holds 0 | ignore_index (-100)", ones(2, 0), 0 * T)
for dtype in ("float32", "float64", "bool", "complex128"):
    refuse(BOTH, f"{dtype} indices", RuntimeError, f"target has dtype | {dtype} | integer", X, T.astype(dtype))
    refuse(BOTH, f"{dtype} index of a single row", RuntimeError, f"target has dtype | {dtype} | integer", X[0], T[0].astype(dtype))
SHAPES: dict[type[Exception], list[tuple[tuple[int, ...], tuple[int, ...]]]] = {
    ValueError: [((3,), (2,)), ((3,), (0,)), ((2, 3), ()), ((2, 3), (1,)), ((2, 3), (3,)), ((1, 3), ()), ((2, 3), (1, 2))],
    RuntimeError: [((3,), (1, 1)), ((3,), (2, 2)), ((2, 3), (2, 1)), ((2, 3, 2), (2,)), ((2, 3, 2), (2, 1)), ((2, 3, 2, 2), (2, 2, 1))],
}
SHAPES[ValueError] += [((2, 3, 2), ()), ((2, 3, 2), (3, 2)), ((2, 3, 2, 2), (3, 2, 2)), ((2, 3, 2, 2), (3, 2))]
SHAPES[RuntimeError] += [((2, 3, 2, 2), (2, 2)), ((2, 3, 1, 1, 2), (2, 1, 1)), ((2, 3, 1, 1, 2), (2, 1, 1, 1))]
for exception, pairs in SHAPES.items():
    for shape, given_shape in pairs:
        expected = shape[:1] * (len(shape) > 1) + shape[2:]
        words = f"target has shape {given_shape} | input of shape {shape} | {expected}"
        target = np.zeros(given_shape, dtype=np.int64)
        since = "2.13" if shape == (3,) and exception is ValueError else "2.8"  # before, a RuntimeError
        refuse(BOTH, f"input {shape}, target {given_shape}", exception, words, ones(*shape), target, since=since)
refuse(NLL, "int64 probabilities", RuntimeError, "target has shape (2, 3) | (2,)", X, WHOLE)
refuse(NLL, "0-d input", ValueError, "input has shape () | (C), (N, C)", X[0, 0], T[0])
refuse(CE, "0-d input and target", RuntimeError, "target has dtype | int64 | real floating point", ones(), np.asarray(0))
refuse(CE, "0-d input, target of shape (1,)", IndexError, "input has shape () | (C), (N, C)", ones(), T[:1])
refuse(CE, "0-d input and probability", IndexError, "input has shape () | (C), (N, C)", ones(), ones())

# --- class weights, smoothing, probabilities -------------------------------------------------------------------------------

for shape in ((2,), (4,), (0,), (), (1, 3), (3, 1)):
    words = f"weight has shape {shape} | (3,)"
    refuse(BOTH, f"weight of shape {shape}", RuntimeError, words, X, T, weight=ones(*shape))
    refuse(CE, f"weight of shape {shape}, probabilities", RuntimeError, words, X, X, weight=ones(*shape))
for dtype in ("float32", "int64", "bool", "complex128"):
    words = f"weight has dtype | {dtype} | float64"
    refuse(BOTH, f"{dtype} weight for float64 input", RuntimeError, words, X, T, weight=ones(3, dtype=dtype))
for share in (1.5, inf, -0.25, nan):
    for kind, target in (("indices", T), ("probabilities", X)):
        words = f"label_smoothing is {share} | between 0 and 1"
        accepted = not share > 1  # torch's check is below its test for smoothing
        refuse(CE, f"label_smoothing {share}, {kind}", RuntimeError, words, X, target, torch_accepts=accepted, label_smoothing=share)
for index in (0, 5):
    refuse(CE, f"ignore_index {index}, probabilities", RuntimeError, f"ignore_index is {index} | negative", X, X, ignore_index=index)
for dtype in ("int64", "bool", "complex128"):
    words = f"target has dtype | {dtype} | real floating point"
    refuse(CE, f"{dtype} probabilities", RuntimeError, words, X, X.astype(dtype))
    refuse(CE, f"{dtype} probabilities of a single row", RuntimeError, words, X[0], X[0].astype(dtype))
    refuse(BCE_LOGITS, f"{dtype} target", RuntimeError, words, X, X.astype(dtype), torch_accepts=dtype == "complex128")

# --- binary cross-entropy --------------------------------------------------------------------------------------------------

for outside in (1.5, -0.5, nan, inf, -5e-324, 1 + 2**-52):
    bad = np.asarray([[0.25, outside, 0.75], [2.0, 0.25, 0.5]])
    for name in ("input", "target"):
        for reduction in ("none", "mean"):
            given: dict[str, Any] = {"input": X, "target": X, "reduction": reduction} | {name: bad}
            refuse(BCE, f"{name} {outside}, {reduction}", RuntimeError, f"{name} holds {outside} | between 0 and 1", **given)
for shape in ((3,), (1, 3), (), (3, 2), (2, 3, 1)):
    words = f"target has shape {shape} | input, (2, 3)"
    refuse(f"{BCE} {BCE_LOGITS}", f"target of shape {shape}", ValueError, words, X, ones(*shape))
for dtype in ("float32", "int64", "bool", "complex128"):
    refuse(BCE, f"{dtype} target, float64 input", RuntimeError, f"target has dtype | {dtype} | float64", X, X.astype(dtype))
for shape in ((2,), (4,), (0,), (2, 2, 3), (1, 2, 3)):
    words = f"has shape {shape} | broadcast | (2, 3)"
    refuse(f"{BCE} {BCE_LOGITS}", f"weight of shape {shape}", RuntimeError, f"weight {words}", X, X, weight=ones(*shape))
    refuse(BCE_LOGITS, f"pos_weight of shape {shape}", RuntimeError, f"pos_weight {words}", X, X, pos_weight=ones(*shape))
for name, operators in (("weight", f"{BCE} {BCE_LOGITS}"), ("pos_weight", BCE_LOGITS)):
    options = {name: ones(1)}
    refuse(operators, f"{name} enlarges a single element", RuntimeError, f"{name} has shape (1,) | ()", ones(), ones(), **options)
    options = {name: ones(3)}
    refuse(operators, f"{name} enlarges a column", RuntimeError, f"{name} has shape (3,) | (2, 1)", X[:, :1], X[:, :1], **options)
    options = {name: COMPLEX[0]}
    refuse(operators, f"complex {name}", RuntimeError, f"{name} has dtype | complex128 | real", X, X, **options)


# --- the tests -------------------------------------------------------------------------------------------------------------


def as_torch(argument: Any, name: str = "") -> Any:
    if name == "dtype":
        return getattr(torch, argument)
    return torch.tensor(np.asarray(argument)) if isinstance(argument, (np.ndarray, np.generic)) else argument


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_refuses_as_torch_does(refusal: Refusal) -> None:
    """On NumPy and on torch the exception has torch's type, exactly, and the message holds the words."""
    tensors = {name: as_torch(argument, name) for name, argument in refusal.arguments.items()}
    definition = getattr(reference, refusal.operator)
    for arguments in (refusal.arguments, tensors):
        with pytest.raises(refusal.exception) as caught:
            definition(**arguments)
        assert caught.type is refusal.exception
        missing = [word for word in refusal.words if word not in str(caught.value)]
        assert not missing, f"{caught.value} does not say {missing}"
    if refusal.torch_accepts:
        return
    if Version(torch.__version__) < Version(refusal.since):
        pytest.skip(f"torch {torch.__version__} is older than {refusal.since}, the oldest that is known to refuse so")
    with pytest.raises(Exception) as by_torch:
        getattr(torch.nn.functional, refusal.operator)(**tensors)
    assert by_torch.type is refusal.exception, by_torch.value


@pytest.mark.parametrize("refusal", [refusal for refusal in REFUSALS if refusal.torch_accepts], ids=str)
@pytest.mark.filterwarnings("ignore:Implicit dimension choice")
def test_stricter_than_torch_on_purpose(refusal: Refusal) -> None:
    """Where torch goes on with a value that makes no sense, the definition does not. A row that torch refuses too belongs above."""
    getattr(torch.nn.functional, refusal.operator)(**{name: as_torch(argument, name) for name, argument in refusal.arguments.items()})


MIXTURES = {
    "input": {"input": X.tolist(), "target": X},
    "target": {"input": X, "target": T.tolist()},
    "weight": {"input": X, "target": X, "weight": [1.0, 1.0, 1.0]},
    "target is torch": {"input": X, "target": torch.tensor(X)},
    "input is torch": {"input": torch.tensor(X), "target": X},
}


@pytest.mark.parametrize("words", MIXTURES)
@pytest.mark.parametrize("name", [NLL, CE, BCE, BCE_LOGITS])
def test_wants_arrays_of_one_library(name: str, words: str) -> None:
    """A plain list, or arrays of two libraries, is a TypeError that names the arguments."""
    with pytest.raises(TypeError, match=re.escape(words)):
        getattr(reference, name)(**MIXTURES[words])


def test_wants_pos_weight_of_the_same_library() -> None:
    with pytest.raises(TypeError, match="pos_weight is torch"):
        reference.binary_cross_entropy_with_logits(X, X, pos_weight=torch.ones(3))


@pytest.mark.parametrize("name", SOFTMAX.split())
def test_softmax_wants_an_array(name: str) -> None:
    with pytest.raises(TypeError, match="input must be an array"):
        getattr(reference, name)([0.0, 1.0], dim=0)


@pytest.mark.parametrize("name", SOFTMAX.split())
def test_the_derivative_wants_a_gradient_of_the_output_shape(name: str) -> None:
    with pytest.raises(RuntimeError, match=re.escape("grad_output has shape (3,); it must have the shape of the output, (2, 3)")):
        getattr(reference, f"{name}_backward")(X[0], X, 1)
