"""Liger-Kernel's fused linear cross-entropy as a subject: ``--subject
torch_loss_parity.subjects.liger_fused_linear --device cuda`` (extra: triton); without a GPU under Triton's
interpreter, ``TRITON_INTERPRET=1``.

Losses are float32, whatever the dtype of the layer. Gradients are made in the forward, a chunk of rows
after the other.
"""

from __future__ import annotations

import torch

from torch_loss_parity.subjects.rows import of_rows
from torch_loss_parity.subjects.triton_runs import OF_LOSSES, dtypes, must_be_on_a_gpu, must_run, weights

must_run("Liger-Kernel")

from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy  # noqa: E402

PROMISES = {
    **OF_LOSSES,
    **weights(),
    "dtypes": dtypes(),
    "result_dtype": "float32",
}


def linear_cross_entropy(
    input: torch.Tensor,
    linear_weight: torch.Tensor,
    target: torch.Tensor,
    *,
    linear_bias: torch.Tensor | None = None,
    weight: torch.Tensor | None = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """liger_kernel.transformers.functional.liger_fused_linear_cross_entropy."""
    if linear_weight.ndim != 2:
        raise NotImplementedError("a layer with positions")

    def kernel(rows: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = liger_fused_linear_cross_entropy(
            rows,
            linear_weight,
            classes,
            bias=linear_bias,
            ce_weight=weight,
            ignore_index=-100 if ignore_index is None else ignore_index,
            reduction=reduction,
            label_smoothing=label_smoothing,
        )
        return result

    must_be_on_a_gpu(input, "Liger-Kernel")
    return of_rows(kernel, input, target, reduction, class_dim=-1)
