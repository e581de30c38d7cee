"""What people use today, on the same faults: torch.testing.assert_close on PyTorch's sample inputs, and
gradcheck.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from torch_loss_parity.claims.sample_inputs import samples
from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.processes.origin import OTHER_OUTCOMES
from torch_loss_parity.subjects.builtin import function_of

# In half precision torch itself is off by so much that the kernels without a fault are rejected too.
DTYPES = (torch.float32, torch.float64)


@cache
def _samples(operator: str, dtype: torch.dtype) -> tuple[Any, ...]:
    """PyTorch's samples for an operator; nobody writes to them."""
    return tuple(sample for name, sample in samples(dtype, requires_grad=True) if name == operator)


@cache
def _expected(operator: str, dtype: torch.dtype) -> tuple[tuple[torch.Tensor, list[torch.Tensor]], ...]:
    """torch's result for each sample, and the gradients of its sum."""
    expected = []
    for sample in map(_fresh, _samples(operator, dtype)):
        result = function_of(OPERATORS[operator])(sample.input, *sample.args, **sample.kwargs)
        if _tensors(sample) and result.requires_grad:
            result.sum().backward()
        expected.append(
            (result.detach(), [tensor.grad for tensor in _tensors(sample) if tensor.grad is not None])
        )
    return tuple(expected)


def prepare(operator: str) -> None:
    """Load the samples, and what torch makes of them: whoever judges many functions does it once."""
    for dtype in DTYPES:
        _expected(operator, dtype)


def _tensors(sample: Any) -> list[torch.Tensor]:
    """The tensors of a sample that are differentiated, in the order in which they are given."""
    tensors = [
        value
        for value in (sample.input, *sample.args, *sample.kwargs.values())
        if isinstance(value, torch.Tensor)
    ]
    return [tensor for tensor in tensors if tensor.requires_grad]


def _fresh(sample: Any) -> Any:
    """The same sample in memory of its own."""
    return sample.transform(
        lambda value: (
            value.detach().clone().requires_grad_(value.requires_grad)
            if isinstance(value, torch.Tensor)
            else value
        )
    )


def caught_by_assert_close(function: Callable[..., Any], operator: str) -> bool:
    """Whether results, and gradients of their sum, differ from torch's by more than the default tolerances,
    in float32 or float64.
    """

    def agrees(sample: Any, expected: torch.Tensor, gradients: list[torch.Tensor]) -> bool:
        try:
            actual = function(sample.input, *sample.args, **sample.kwargs)
            torch.testing.assert_close(actual, expected, equal_nan=True)
            if gradients:
                actual.sum().backward()
                for tensor, wanted in zip(_tensors(sample), gradients, strict=True):
                    torch.testing.assert_close(tensor.grad, wanted, equal_nan=True)
        except OTHER_OUTCOMES:  # no failure, as pytest sees it
            return True
        except Exception:
            return False
        return True

    compared = (
        (sample, *wanted)
        for dtype in DTYPES
        for sample, wanted in zip(_samples(operator, dtype), _expected(operator, dtype), strict=True)
    )
    return not all(agrees(_fresh(sample), expected, gradients) for sample, expected, gradients in compared)


def caught_by_gradcheck(function: Callable[..., Any], operator: str) -> bool:
    """Whether torch.autograd.gradcheck rejects the function on the float64 samples."""
    for sample in map(_fresh, _samples(operator, torch.float64)):
        wanted = _tensors(sample)
        if not wanted or not sample.input.numel():
            continue

        def of(*values: torch.Tensor, sample: Any = sample, wanted: Any = wanted) -> Any:
            instead = {id(tensor): value for tensor, value in zip(wanted, values, strict=True)}
            positional = [instead.get(id(value), value) for value in (sample.input, *sample.args)]
            return function(
                *positional, **{name: instead.get(id(value), value) for name, value in sample.kwargs.items()}
            )

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                passes = torch.autograd.gradcheck(of, tuple(wanted), raise_exception=False)
        except OTHER_OUTCOMES:
            return False
        except Exception:
            return True
        if not passes:
            return True
    return False
