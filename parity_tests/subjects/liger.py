"""Liger-Kernel's Triton kernels as a subject: ``--subject torch_loss_parity.subjects.liger --device cuda``
(extra: triton); without a GPU under Triton's interpreter, ``TRITON_INTERPRET=1``.

What Liger has no argument for is not promised: class probabilities, and what autograd makes of a gradient.
Its kernels take rows, softmax those of the last dim and cross_entropy (N, C); other shapes are brought to
that as people who use it bring them. They are given the tensors as they are: that cross_entropy stores the
gradient in its input is for the suite to say.
"""

from __future__ import annotations

import torch

from torch_loss_parity.subjects.rows import of_rows
from torch_loss_parity.subjects.triton_runs import OF_LOSSES, dtypes, must_be_on_a_gpu, must_run, weights

must_run("Liger-Kernel")

from liger_kernel.ops.softmax import LigerSoftmaxFunction  # noqa: E402
from liger_kernel.transformers.functional import liger_cross_entropy  # noqa: E402

PROMISES = {
    **OF_LOSSES,
    **weights(),
    "dtypes": dtypes(),
    "softmax": {"dtype": None},
}


def softmax(input: torch.Tensor, dim: int) -> torch.Tensor:
    """LigerSoftmaxFunction, of the last dim."""
    must_be_on_a_gpu(input, "Liger-Kernel")
    result: torch.Tensor = LigerSoftmaxFunction.apply(input.movedim(dim, -1))
    return result.movedim(-1, dim)


def cross_entropy(
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """liger_kernel.transformers.functional.liger_cross_entropy."""

    def kernel(rows: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = liger_cross_entropy(
            rows,
            classes,
            weight=weight,
            ignore_index=ignore_index,
            reduction=reduction,
            label_smoothing=label_smoothing,
        )
        return result

    must_be_on_a_gpu(input, "Liger-Kernel")
    return of_rows(kernel, input, target, reduction, class_dim=1)
