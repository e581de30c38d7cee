"""Kernels that one profile of the arithmetic allows and another does not, and a wrong one."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

PROFILE = "triton"  # of this file, put under test as a subject


def softmax(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
    """Its exp is off by 1 + |1.16 x| ulps, as an exp that is a power of 2 may be."""
    working = dtype or input.dtype
    if working == torch.float64 or not input.numel():
        return F.softmax(input, dim, dtype=dtype)
    x = input.to(working).to(torch.float32)
    e = _off(x - x.amax(dim, keepdim=True).detach())
    return (e / e.sum(dim, keepdim=True)).to(working)


def binary_cross_entropy_with_logits(
    input: torch.Tensor, target: torch.Tensor, **options: Any
) -> torch.Tensor:
    """With the same exp, whose relative error is that of a confident loss; every option is ignored."""
    return input.clamp(min=0) - input * target + torch.log1p(_off(-input.abs()))


def _off(x: torch.Tensor) -> torch.Tensor:
    exact = torch.exp(x.double())
    mantissa, exponent = torch.frexp(exact.detach())
    ulp = torch.ldexp(torch.ones_like(mantissa), exponent - 24)
    size = x.detach().double().abs()
    ulps = torch.where(size > 0, 1 + 1.16 * size, 0)  # the instruction is exact at 0
    return (exact + torch.where(mantissa > 0, ulps * ulp, 0)).float()


def binary_cross_entropy(
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> torch.Tensor:
    """It reads subnormal numbers as zero."""
    working = torch.float64 if input.dtype == torch.float64 else torch.float32
    weight = None if weight is None else _flushed(weight.to(working))
    p, t = _flushed(input.to(working)), _flushed(target.to(working))
    return F.binary_cross_entropy(p, t, weight, reduction=reduction).to(input.dtype)


def flushing_softmax(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
    """It reads subnormal logits as zero."""
    return F.softmax(_flushed(input), dim, dtype=dtype)


def _flushed(x: torch.Tensor) -> torch.Tensor:
    return x - torch.where(x.abs() < torch.finfo(x.dtype).tiny, x, 0).detach()


def two_per_cent_off(input: torch.Tensor, dim: int, dtype: Any = None) -> torch.Tensor:
    """The second element of each row is; it is wrong under any profile."""
    result = F.softmax(input, dim, dtype=dtype)
    second = torch.zeros_like(result)
    if result.ndim and result.shape[dim] > 1:
        second.select(dim, 1).fill_(0.02)
    return result * (1 + second)
