"""cut-cross-entropy's linear_cross_entropy as a subject: ``--subject
torch_loss_parity.subjects.cut_cross_entropy --device cuda`` (extra: triton); without a GPU under Triton's
interpreter, ``TRITON_INTERPRET=1``.

Neither bias nor weight, smoothing or probabilities are offered. Gradients below a threshold are left out by
default, which ``filter_eps`` turns off. Gradients need half precision; losses are float32.
"""

from __future__ import annotations

import torch

from torch_loss_parity.subjects.rows import of_rows
from torch_loss_parity.subjects.triton_runs import OF_LOSSES, must_be_on_a_gpu, must_run

must_run("cut-cross-entropy")

import cut_cross_entropy as kernels  # noqa: E402

PROMISES = {
    **OF_LOSSES,
    "dtypes": ("float16", "bfloat16"),
    "result_dtype": "float32",
}


def linear_cross_entropy(
    input: torch.Tensor,
    linear_weight: torch.Tensor,
    target: torch.Tensor,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> torch.Tensor:
    """cut_cross_entropy.linear_cross_entropy, with every gradient however small."""
    if linear_weight.ndim != 2:
        raise NotImplementedError("a layer with positions")

    def kernel(rows: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = kernels.linear_cross_entropy(
            rows,
            linear_weight,
            classes,
            ignore_index=-100 if ignore_index is None else ignore_index,
            reduction=reduction,
            filter_eps=None,
        )
        return result

    must_be_on_a_gpu(input, "cut-cross-entropy")
    return of_rows(kernel, input, target, reduction, class_dim=-1)
