"""The bridge to Liger-Kernel, as far as it can be tried without CUDA: what it says, and what it
hands over.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from torch_loss_parity.operators import OPERATORS
from torch_loss_parity.subjects import SubjectError, load
from torch_loss_parity.subjects.rows import of_rows

NAME = "torch_loss_parity.subjects.liger"
FUNCTIONAL = "liger_kernel.transformers.functional"
SOFTMAX = "liger_kernel.ops.softmax"


def stand_in(input: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
    """Takes what Liger takes: rows of logits, indices, and its own names of the options."""
    assert input.ndim == 2
    assert target.ndim == 1
    assert set(options) == {"weight", "ignore_index", "reduction", "label_smoothing"}
    return F.cross_entropy(input, target, **options)


@pytest.fixture
def liger(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The bridge, where there is CUDA and a library that is not Liger."""
    module: Any = ModuleType(FUNCTIONAL)
    module.liger_cross_entropy = stand_in
    softmax: Any = ModuleType(SOFTMAX)
    softmax.LigerSoftmaxFunction = None
    for name in ("liger_kernel", "liger_kernel.transformers", "liger_kernel.ops"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, FUNCTIONAL, module)
    monkeypatch.setitem(sys.modules, SOFTMAX, softmax)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    sys.modules.pop(NAME, None)
    yield importlib.import_module(NAME)
    sys.modules.pop(NAME, None)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
def test_without_cuda_it_is_refused_and_says_so() -> None:
    with pytest.raises(
        SubjectError,
        match=r"'torch_loss_parity\.subjects\.liger' cannot be imported .*compiled by Triton for a GPU.*"
        r"TRITON_INTERPRET=1",
    ):
        load(NAME, tuple(OPERATORS))


def test_tensors_elsewhere_are_not_offered(liger: Any) -> None:
    with pytest.raises(NotImplementedError, match="tensors on cpu: Liger-Kernel needs CUDA, --device cuda"):
        liger.cross_entropy(torch.zeros(2, 3), torch.tensor([0, 1]))


def test_class_probabilities_are_not_offered() -> None:
    with pytest.raises(NotImplementedError, match="class probabilities"):
        of_rows(F.cross_entropy, torch.zeros(2, 3), torch.full((2, 3), 1 / 3), "mean", class_dim=1)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(4,), (5, 4), (2, 4, 3), (2, 4, 3, 2)])
def test_every_shape_and_option_reaches_the_kernel(
    liger: Any, shape: tuple[int, ...], reduction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    input = torch.randn(shape, generator=generator, dtype=torch.float64)
    rows = shape[:1] + shape[2:] if len(shape) > 1 else ()
    target = torch.randint(0, 4, rows, generator=generator)
    target = torch.where(torch.rand(rows, generator=generator) < 0.3, 1, target)
    weight = torch.rand(4, generator=generator, dtype=torch.float64)
    monkeypatch.setattr(liger, "must_be_on_a_gpu", lambda *_: None)
    result = liger.cross_entropy(input, target, weight, 1, reduction, 0.25)
    expected = F.cross_entropy(
        input, target, weight, ignore_index=1, reduction=reduction, label_smoothing=0.25
    )
    assert result.shape == expected.shape
    # The rows are the same, and added up in another order; that of a single row, or of none, is no order.
    torch.testing.assert_close(result, expected, equal_nan=True)
