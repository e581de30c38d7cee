"""Liger-Kernel's Triton cross-entropy as a subject: ``--subject torch_loss_parity.subjects.liger --device
cuda`` (extra: liger).

What Liger has no argument for is not promised: class probabilities, and what autograd makes of a gradient.
Its kernel takes rows of logits, (N, C); other shapes are brought to that as people who use it bring them. It
is given the tensors as they are: that it stores the gradient in them is for the suite to say.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

if not torch.cuda.is_available():
    raise ImportError(
        "Liger-Kernel's kernels are compiled by Triton for a GPU: it needs CUDA, and torch finds none here"
    )

from liger_kernel.transformers.functional import liger_cross_entropy

PROMISES = {"target": "indices", "double_backward": False, "forward_mode": False, "transforms": False}
Kernel = Callable[..., torch.Tensor]


def cross_entropy(
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """liger_kernel.transformers.functional.liger_cross_entropy."""
    if not input.is_cuda:
        raise NotImplementedError(f"tensors on {input.device}: Liger-Kernel needs CUDA, --device cuda")
    return of_rows(liger_cross_entropy, input, target, weight, ignore_index, reduction, label_smoothing)


def of_rows(
    kernel: Kernel,
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
) -> torch.Tensor:
    """A kernel that takes logits (N, C) and indices (N), on arguments of any shape that PyTorch takes."""
    if target.is_floating_point():
        raise NotImplementedError("class probabilities")
    options = {
        "weight": weight,
        "ignore_index": ignore_index,
        "reduction": reduction,
        "label_smoothing": label_smoothing,
    }
    if input.ndim == 2:
        return kernel(input, target, **options)
    rows = input.unsqueeze(0) if input.ndim == 1 else input.movedim(1, -1).reshape(-1, input.shape[1])
    losses = kernel(rows, target.reshape(-1), **options)
    return losses.reshape(target.shape) if reduction == "none" else losses
