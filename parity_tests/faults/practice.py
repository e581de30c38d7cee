"""What people use today, on the same faults: torch.testing.assert_close on PyTorch's sample inputs, and gradcheck."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch

from parity_tests.test_sample_inputs import samples


def _tensors(sample: Any) -> list[torch.Tensor]:
    """The tensors of a sample that are differentiated, in the order in which they are given."""
    found = [value for value in (sample.input, *sample.args, *sample.kwargs.values()) if isinstance(value, torch.Tensor)]
    return [tensor for tensor in found if tensor.requires_grad]


def _fresh(sample: Any) -> Any:
    """The same sample in memory of its own."""
    return sample.transform(
        lambda value: value.detach().clone().requires_grad_(value.requires_grad) if isinstance(value, torch.Tensor) else value
    )


def _of(operator: str, dtype: torch.dtype) -> Iterator[Any]:
    return (sample for name, sample in samples(dtype, requires_grad=True) if name == operator)


def caught_by_assert_close(function: Callable[..., Any], operator: str) -> bool:
    """Whether results, and gradients of their sum, differ from torch's by more than the default tolerances.

    In float32 and float64: in half precision torch itself is off by so much that the kernels without a fault are rejected too.
    """
    for dtype in (torch.float32, torch.float64):
        for sample in _of(operator, dtype):
            theirs, ours = _fresh(sample), _fresh(sample)
            expected = getattr(torch.nn.functional, operator)(ours.input, *ours.args, **ours.kwargs)
            try:
                actual = function(theirs.input, *theirs.args, **theirs.kwargs)
                torch.testing.assert_close(actual, expected, equal_nan=True)
                if _tensors(ours) and expected.requires_grad:
                    expected.sum().backward()
                    actual.sum().backward()
                    for found, wanted in zip(_tensors(theirs), _tensors(ours), strict=True):
                        torch.testing.assert_close(found.grad, wanted.grad, equal_nan=True)
            except Exception:
                return True
    return False


def caught_by_gradcheck(function: Callable[..., Any], operator: str) -> bool:
    """Whether torch.autograd.gradcheck rejects the function on the float64 samples."""
    for sample in _of(operator, torch.float64):
        wanted = _tensors(sample)
        if not wanted or not sample.input.numel():
            continue

        def of(*values: torch.Tensor, sample: Any = sample, wanted: Any = wanted) -> Any:
            instead = {id(tensor): value for tensor, value in zip(wanted, values, strict=True)}
            positional = [instead.get(id(value), value) for value in (sample.input, *sample.args)]
            return function(*positional, **{name: instead.get(id(value), value) for name, value in sample.kwargs.items()})

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                passes = torch.autograd.gradcheck(of, tuple(wanted), raise_exception=False)
        except Exception:
            return True
        if not passes:
            return True
    return False
