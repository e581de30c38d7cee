"""A softmax in Triton, a row a program, as Triton's tutorial has it, with a backward: ``--subject
torch_loss_parity.subjects.triton_softmax --device cuda`` (extra: triton); without a GPU under Triton's
interpreter, ``TRITON_INTERPRET=1``. A file of your own is put under test likewise.

Half precision is loaded, computed in float32 and rounded once; the backward takes the exponentials anew.
"""

from __future__ import annotations

from typing import Any

import torch

from torch_loss_parity.subjects.triton_runs import OF_KERNELS, dtypes, interpreted, must_run

must_run("this file")

import triton  # noqa: E402
import triton.language as tl  # noqa: E402

PROFILE = "default" if interpreted() else "triton"
PROMISES = {**OF_KERNELS, "dtypes": dtypes(), "dtype": None}


@triton.jit
def forward_kernel(y_ptr: Any, x_ptr: Any, length: int, BLOCK: tl.constexpr) -> None:
    at = tl.arange(0, BLOCK)
    inside = at < length
    offsets = tl.program_id(0).to(tl.int64) * length + at
    x = tl.load(x_ptr + offsets, mask=inside, other=-float("inf")).to(tl.float32)
    e = tl.exp(x - tl.max(x, axis=0))
    tl.store(y_ptr + offsets, e / tl.sum(e, axis=0), mask=inside)


@triton.jit
def backward_kernel(dx_ptr: Any, g_ptr: Any, x_ptr: Any, length: int, BLOCK: tl.constexpr) -> None:
    at = tl.arange(0, BLOCK)
    inside = at < length
    offsets = tl.program_id(0).to(tl.int64) * length + at
    x = tl.load(x_ptr + offsets, mask=inside, other=-float("inf")).to(tl.float32)
    g = tl.load(g_ptr + offsets, mask=inside, other=0.0).to(tl.float32)
    e = tl.exp(x - tl.max(x, axis=0))
    p = e / tl.sum(e, axis=0)
    tl.store(dx_ptr + offsets, p * (g - tl.sum(p * g, axis=0)), mask=inside)


class _Softmax(torch.autograd.Function):
    """Of the last dim."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x)
        return _of_rows(forward_kernel, x)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return _of_rows(backward_kernel, g.contiguous(), x)


def _of_rows(kernel: Any, *arrays: torch.Tensor) -> torch.Tensor:
    result, length = torch.empty_like(arrays[0]), arrays[0].shape[-1]
    if result.numel():
        rows = result.numel() // length
        kernel[(rows,)](result, *arrays, length, BLOCK=triton.next_power_of_2(length))
    return result


def softmax(input: torch.Tensor, dim: int) -> torch.Tensor:
    """torch.nn.functional.softmax, without ``dtype``."""
    if input.ndim == 0:
        return softmax(input.reshape(1), dim).reshape(())
    if not input.is_floating_point():
        raise NotImplementedError(f"an input of {input.dtype}")
    result: torch.Tensor = _Softmax.apply(input.movedim(dim, -1))
    return result.movedim(-1, dim)
