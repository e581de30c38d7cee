"""Arrays in, the same kind of array out: one definition on NumPy, torch and array-api-strict.

Results have the library, the dtype and the device of their arguments, arguments are left as they were, and on
torch autograd goes through the definitions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from array_api_compat import device

from torch_loss_parity import reference

array_api_strict: ModuleType = pytest.importorskip(
    "array_api_strict",
    reason="array-api-strict, of the dev dependencies, shows that the definitions need nothing beyond the "
    "array API standard",
)


@dataclass(frozen=True)
class Library:
    """How to make an array, what its type is called, and how to look at it as float64 on NumPy."""

    name: str
    array: Callable[[Any, str], Any]
    types: Any
    floats: tuple[str, ...]
    namespace: Any

    def __str__(self) -> str:
        return self.name


LIBRARIES = (
    Library(
        "numpy",
        lambda a, dtype: np.asarray(a, dtype=dtype),
        (np.ndarray, np.generic),
        ("float32", "float64"),
        np,
    ),
    Library(
        "torch",
        lambda a, dtype: torch.asarray(np.array(a), dtype=getattr(torch, dtype)),
        (torch.Tensor,),
        ("float16", "bfloat16", "float32", "float64"),
        torch,
    ),
    Library(
        "array_api_strict",
        lambda a, dtype: array_api_strict.asarray(a, dtype=getattr(array_api_strict, dtype)),
        (array_api_strict.asarray(0.0).__class__,),
        ("float32", "float64"),
        array_api_strict,
    ),
)
NUMPY, TORCH, STRICT = LIBRARIES
LIBRARY_AND_DTYPE = [
    pytest.param(library, dtype, id=f"{library}-{dtype}") for library in LIBRARIES for dtype in library.floats
]

X = [[0.25, 0.5, 0.75], [0.125, 0.25, 0.5]]
Q = [[0.5, 0.25, 0.25], [0.0, 0.75, 0.25]]
ROWS, W = [2, -100], [0.5, 2.0, 1.25]
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "softmax": ("softmax", {"input": X, "dim": 1}),
    "softmax of a number": ("softmax", {"input": 0.5, "dim": 0}),
    "log_softmax": ("log_softmax", {"input": X, "dim": 0}),
    "nll_loss": ("nll_loss", {"input": X, "target": ROWS}),
    "nll_loss, none": ("nll_loss", {"input": X, "target": ROWS, "weight": W, "reduction": "none"}),
    "nll_loss of a single row": ("nll_loss", {"input": X[0], "target": 1, "weight": W}),
    "nll_loss, no classes": ("nll_loss", {"input": [[], []], "target": [-100, -100], "reduction": "sum"}),
    "cross_entropy": ("cross_entropy", {"input": X, "target": ROWS, "weight": W}),
    "cross_entropy, smoothing": (
        "cross_entropy",
        {"input": X, "target": ROWS, "weight": W, "label_smoothing": 0.25, "reduction": "sum"},
    ),
    "cross_entropy, probabilities": (
        "cross_entropy",
        {"input": X, "target": Q, "weight": W, "label_smoothing": 0.25},
    ),
    "cross_entropy, probabilities of a single row": (
        "cross_entropy",
        {"input": X[0], "target": Q[0], "weight": W},
    ),
    "cross_entropy, probabilities, none": ("cross_entropy", {"input": X, "target": Q, "reduction": "none"}),
    "binary_cross_entropy": ("binary_cross_entropy", {"input": X, "target": Q, "weight": W}),
    "binary_cross_entropy, none": ("binary_cross_entropy", {"input": X, "target": Q, "reduction": "none"}),
    "with_logits": ("binary_cross_entropy_with_logits", {"input": X, "target": Q, "weight": W}),
    "with_logits, pos_weight": (
        "binary_cross_entropy_with_logits",
        {"input": X, "target": Q, "pos_weight": W, "reduction": "none"},
    ),
}
SCALARS = ("dim", "reduction", "label_smoothing")


def arguments_of(call: str, library: Library, dtype: str) -> dict[str, Any]:
    integers = [ROWS, 1, [-100, -100]]
    arguments = CALLS[call][1].items()
    return {
        k: v if k in SCALARS else library.array(v, "int64" if k == "target" and v in integers else dtype)
        for k, v in arguments
    }


def results(call: str, library: Library, dtype: str) -> dict[str, Any]:
    """The value and every gradient, by name."""
    arguments, operator = arguments_of(call, library, dtype), CALLS[call][0]
    value = getattr(reference, operator)(**arguments)
    upstream = library.array(np.ones(tuple(value.shape)), dtype)
    gradients = getattr(reference, f"{operator}_backward")(upstream, **arguments)
    named = gradients._asdict() if hasattr(gradients, "_asdict") else {"input": gradients}
    return {"value": value} | {name: gradient for name, gradient in named.items() if gradient is not None}


def as_numpy(array: Any) -> np.ndarray:
    """On NumPy, which has no bfloat16: floating-point tensors as float64, which holds them exactly."""
    return np.asarray(
        array.to(torch.float64) if isinstance(array, torch.Tensor) and array.is_floating_point() else array
    )


def bits(array: Any) -> bytes:
    return as_numpy(array).tobytes()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("library", "element_type"), LIBRARY_AND_DTYPE)
def test_results_are_of_the_library(library: Library, element_type: str, call: str) -> None:
    """Type, dtype, device and shape: the value's are those of the arguments, a gradient's those of its
    argument.
    """
    arguments = arguments_of(call, library, element_type)
    for name, result in results(call, library, element_type).items():
        like: Any = arguments["input" if name == "value" else name]
        assert isinstance(result, library.types), name
        assert result.dtype == arguments["input"].dtype, name
        assert device(result) == device(like), name
        assert name == "value" or result.shape == like.shape, name


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("library", [TORCH, STRICT], ids=str)
def test_libraries_agree(library: Library, call: str) -> None:
    """Every library is given the same lines, so results have the same shape, and the same kind of number, as
    on NumPy.
    """
    here, there = results(call, library, "float64"), results(call, NUMPY, "float64")
    assert set(here) == set(there)
    for name, result in here.items():
        assert as_numpy(result).shape == there[name].shape, name
        assert np.array_equal(np.isfinite(as_numpy(result)), np.isfinite(there[name])), name
        assert np.array_equal(as_numpy(result) == 0, there[name] == 0), name


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("library", "element_type"), LIBRARY_AND_DTYPE)
def test_arguments_are_left_as_they_were(library: Library, element_type: str, call: str) -> None:
    """Definition and derivative write into nothing that they are given."""
    arguments, operator = arguments_of(call, library, element_type), CALLS[call][0]
    arrays = {k: v for k, v in arguments.items() if k not in SCALARS}
    value = getattr(reference, operator)(**arguments)
    arrays["grad_output"] = library.array(np.ones(tuple(value.shape)), element_type)
    before = {k: bits(v) for k, v in arrays.items()}
    getattr(reference, operator)(**arguments)
    getattr(reference, f"{operator}_backward")(arrays["grad_output"], **arguments)
    assert {k: bits(v) for k, v in arrays.items()} == before


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("library", LIBRARIES, ids=str)
def test_dtype_converts_first(library: Library, name: str) -> None:
    """With ``dtype``, integers are accepted and the result is of that dtype, bit for bit that of the
    converted input.
    """
    definition = getattr(reference, name)
    for given, wanted in (("int64", "float32"), ("float64", "float32"), ("float32", "float64")):
        input = library.array([[1, 2, 4], [0, 0, 3]], given)
        result = definition(input, 1, dtype=getattr(library.namespace, wanted))
        converted = definition(library.array([[1, 2, 4], [0, 0, 3]], wanted), 1)
        assert isinstance(result, library.types)
        assert result.dtype == converted.dtype == getattr(library.namespace, wanted)
        assert bits(result) == bits(converted)


def test_dtype_comes_before_any_arithmetic() -> None:
    """Half precision cannot hold 65504 - -65504; float32 can."""
    input = torch.tensor([65504.0, -65504.0], dtype=torch.float16)
    assert reference.log_softmax(input, 0, dtype=torch.float32).tolist() == [0.0, -131008.0]
    assert reference.log_softmax(input, 0).tolist() == [0.0, -np.inf]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("element_type", TORCH.floats)
def test_autograd_goes_through(element_type: str, call: str) -> None:
    """Every argument with a closed-form gradient gets one from autograd, of its own shape and dtype."""
    arguments, operator = arguments_of(call, TORCH, element_type), CALLS[call][0]
    names = [name for name in results(call, TORCH, element_type) if name != "value"]
    for name in names:
        arguments[name].requires_grad_()
    gradients = torch.autograd.grad(
        getattr(reference, operator)(**arguments).sum(), [arguments[name] for name in names]
    )
    for name, gradient in zip(names, gradients, strict=True):
        assert gradient.shape == arguments[name].shape, name
        assert gradient.dtype == arguments[name].dtype, name
